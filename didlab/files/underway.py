"""Layers that are being listed just now: threads that want the same one list it once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from didlab import _pausing as pausing
from didlab.files.index import LayerIndex

#: A layer's digest and size.
Key: TypeAlias = tuple[str, int]


class Claim:
    """A layer that somebody lists."""

    def __init__(self, release: Callable[[Claim], object]) -> None:
        self._release = release
        self._over = threading.Event()
        self._made: LayerIndex | None = None

    def finish(self, made: LayerIndex | None) -> None:
        """Let go those who wait, with None where nothing came of it; only once."""
        if not self._over.is_set():
            self._made = made
            self._release(self)
            self._over.set()

    def wait(self) -> LayerIndex | None:
        """Return the index when it is made; None when whoever was to make it gave up.

        Raises
        ------
        Stopped
            The job of this thread was called off.
        """
        while not self._over.wait(pausing.LOOK):
            pausing.check()
        return self._made


class Claims:
    """Who lists which layer.

    Whoever waits has finished all claims of its own, so nobody waits in a circle.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Key, Claim] = {}

    def take(self, keys: Iterable[Key]) -> tuple[dict[Key, Claim], dict[Key, Claim]]:
        """Claim layers; return the claims that are the caller's now, and those of others."""
        own: dict[Key, Claim] = {}
        others: dict[Key, Claim] = {}
        with self._lock:
            for key in keys:
                if key in self._claims:
                    others[key] = self._claims[key]
                else:
                    own[key] = self._claims[key] = Claim(self._releasing(key))
        return own, others

    def _releasing(self, key: Key) -> Callable[[Claim], object]:
        def release(claim: Claim) -> None:
            with self._lock:
                if self._claims.get(key) is claim:
                    del self._claims[key]

        return release

    def after_fork(self) -> None:
        """Forget all: who listed in other threads does not live on in the child."""
        self._lock = threading.Lock()
        self._claims = {}


#: One for the process: images share layers.
claims = Claims()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=claims.after_fork)
