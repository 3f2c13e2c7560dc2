"""What a save calls; and progress objects that users hand in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

log = logging.getLogger("didlab")


class Progress(Protocol):
    """What a save calls, from the thread that called it: the part of tqdm that is needed.

    One that has ``tell(done, total, notes)``, too, hears of blobs that are complete, of all
    blobs, and of what happened since the last time.
    """

    def update(self, n: int) -> object:
        """Take note of ``n`` more bytes; fewer, when some must come again."""

    def close(self) -> object:
        """Take note of the end."""


class Silent:
    """Shows nothing."""

    def update(self, n: int) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


class Guarded:
    """A progress object of the user's, or a bar: what it raises is logged once and stops nothing.

    It needs ``update`` alone; ``reset``, ``tell`` and ``close`` are called where it has them.
    ``tell`` only with news, unless its ``ticks`` says that it wants to look at the clock.
    """

    def __init__(self, inner: Any, total: int, there: int = 0) -> None:
        self._inner = inner
        self._ticks = getattr(inner, "ticks", False) is True
        self._quiet = False
        self._told: tuple[int, int] | None = None
        if hasattr(inner, "reset"):
            self._call("reset", total=total)
        elif getattr(inner, "total", total) is None:
            inner.total = total
        if there:
            self.update(there)

    def update(self, n: int) -> None:
        """Pass on."""
        self._call("update", n)

    def tell(self, done: int, total: int, notes: Sequence[str]) -> None:
        """Pass on what is new, where it is wanted."""
        news = notes or (done, total) != self._told
        if (news or self._ticks) and hasattr(self._inner, "tell"):
            self._told = done, total
            self._call("tell", done, total, notes)

    def close(self) -> None:
        """Pass on, where there is something to close."""
        if hasattr(self._inner, "close"):
            self._call("close")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        try:
            getattr(self._inner, name)(*args, **kwargs)
        except Exception:
            if not self._quiet:
                log.warning("the progress object failed in %s(); going on", name, exc_info=True)
            self._quiet = True
