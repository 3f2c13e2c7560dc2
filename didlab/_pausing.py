"""Waiting between attempts, and calling it off: shared by whatever tries again."""

from __future__ import annotations

import random
import threading
import time
from contextvars import ContextVar

#: Set by workers: waiting ends, with an error, when the event is set.
stop: ContextVar[threading.Event | None] = ContextVar("didlab_stop", default=None)


class Stopped(Exception):
    """The job that waited was called off."""


def pause(attempt: int, *, jitter: float | None = None) -> float:
    """Return the seconds to wait after failure number ``attempt``: 0.1 doubling up to 5.

    >>> [pause(n, jitter=1.0) for n in (1, 2, 3, 9)]
    [0.1, 0.2, 0.4, 5.0]
    """
    factor = random.uniform(0.75, 1.25) if jitter is None else jitter  # noqa: S311
    return float(min(0.1 * 2 ** (attempt - 1), 5.0) * factor)


def wait(seconds: float) -> None:
    """Sleep, unless the job of this thread is called off meanwhile."""
    event = stop.get()
    if event is None:
        time.sleep(seconds)
    elif event.wait(seconds):
        raise Stopped


def check() -> None:
    """Raise `Stopped` if the job of this thread was called off."""
    event = stop.get()
    if event is not None and event.is_set():
        raise Stopped
