"""The proxies that the environment names, worked out once for as long as it says the same."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

import requests

__all__ = ["environ_proxies"]

_Said = tuple[tuple[bytes, bytes], ...]


def environ_proxies(origin: str) -> dict[str, str]:
    """Return the proxies for scheme, host and port as requests finds them; ``no_proxy`` is minded.

    Asked for several times for each request: requests goes through the whole environment twice
    each time, half of what a small request costs.
    """
    # There the system's settings have a say, too, and may change at any time.
    if sys.platform == "win32" or sys.platform == "darwin":
        return dict(requests.utils.get_environ_proxies(origin, no_proxy=None))
    return dict(_found(origin, _said()))


def _said() -> _Said:
    """Return all that matters of the environment: a name may be written in any case."""
    if sys.platform == "win32":
        return ()
    environ = os.environb
    return tuple(
        (name, environ[name])
        for name in environ
        if name[-6:].lower() == b"_proxy" or name == b"REQUEST_METHOD"
    )


@lru_cache(maxsize=256)
def _found(origin: str, said: _Said) -> tuple[tuple[str, str], ...]:
    del said
    return tuple(requests.utils.get_environ_proxies(origin, no_proxy=None).items())
