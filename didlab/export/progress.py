"""Progress that is handed in, or shown by tqdm where somebody looks."""

from __future__ import annotations

import logging
import sys
from typing import Any, Protocol

from didlab import settings

log = logging.getLogger("didlab")


class Progress(Protocol):
    """What a save calls, from the thread that called it: the part of tqdm that is needed."""

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
    """A progress object of the user's: what it raises is logged once and stops nothing."""

    def __init__(self, inner: Any, total: int) -> None:
        self._inner = inner
        self._quiet = False
        if hasattr(inner, "reset"):
            self._call("reset", total=total)
        elif getattr(inner, "total", total) is None:
            inner.total = total

    def update(self, n: int) -> None:
        """Pass on."""
        self._call("update", n)

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


def start(progress: Any, total: int, title: str) -> Progress:
    """Return what shows the progress of ``total`` bytes.

    ``progress`` is True, False, an object with ``update``, or None: then settings decide, and
    whether a person looks (a notebook, or a terminal on stderr).
    """
    if progress is not None and not isinstance(progress, bool):
        return Guarded(progress, total)
    shown = settings.current().progress and _watched() if progress is None else progress
    if not shown:
        return Silent()
    bar: Progress = _tqdm()(
        total=total,
        desc=title,
        unit="B",
        unit_scale=True,
        unit_divisor=1000,
        # Nobody needs a bar for what is over at once, unless it was asked for.
        delay=0 if progress else 0.5,
        mininterval=0.1,
    )
    return bar


def _tqdm() -> Any:
    if _in_notebook():
        from tqdm.auto import tqdm as widget

        return widget
    from tqdm import tqdm

    return tqdm


def _in_notebook() -> bool:
    kernel = sys.modules.get("IPython")
    shell = kernel.get_ipython() if kernel is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _watched() -> bool:
    try:
        return _in_notebook() or sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
