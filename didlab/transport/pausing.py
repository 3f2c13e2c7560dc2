"""Waiting that can be called off."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

#: Set by workers: waiting ends, with an error, when the event is set.
stop: ContextVar[threading.Event | None] = ContextVar("didlab_stop", default=None)


class Stopped(Exception):  # noqa: N818
    """The job that waited was called off."""


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
