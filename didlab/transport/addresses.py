"""Where content was found to lie: a signed address is asked for once and shared."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from didlab.transport.urls import Url

#: Seconds for which an address is used without asking again; stores sign for minutes.
LIFE = 240.0
#: Addresses that one place keeps.
KEPT = 512


class Addresses:
    """Path at the registry -> address elsewhere, for content that the registry redirects.

    Several connections that fetch ranges of one blob need one redirect, not one each. An address
    that does not serve any more is forgotten, and the registry asked for a new one.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Url, float]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, path: str) -> Url | None:
        """Return the address of a path, if one is known and not too old."""
        with self._lock:
            url, until = self._kept.get(path, (None, 0.0))
            return url if time.monotonic() < until else None

    def keep(self, path: str, url: Url) -> None:
        """Remember where a path led."""
        with self._lock:
            self._kept[path] = (url, time.monotonic() + LIFE)
            self._kept.move_to_end(path)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def forget(self, path: str, url: Url) -> None:
        """Forget an address that did not serve; a newer one stays."""
        with self._lock:
            if path in self._kept and self._kept[path][0] == url:
                del self._kept[path]
