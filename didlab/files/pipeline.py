"""Two threads for one layer: one fetches and inflates, the caller's hashes and walks the tar.

Two, since that is what keeps two processors busy: a third one, for hashing alone, costs more in
waiting for Python's lock than it brings.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from contextvars import copy_context
from typing import Any, TypeVar

from didlab import _pausing as pausing

T = TypeVar("T")

#: Items that wait for the caller.
_DEPTH = 6
#: Seconds that the thread gets to end when the caller gives up.
_LEAVE = 1.0


def ahead(items: Iterable[T], abort: Callable[[], object]) -> Generator[T]:
    """Yield what an iterator gives, made in a thread of its own some steps ahead.

    ``abort`` ends its waiting when the caller gives up.
    """
    stop = threading.Event()
    channel: queue.Queue[Any] = queue.Queue(_DEPTH)
    errors: list[BaseException] = []
    end = object()

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                channel.put(item, timeout=pausing.LOOK)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)
        finally:
            put(end)

    thread = threading.Thread(
        target=copy_context().run, args=(work,), name="didlab-inflate", daemon=True
    )
    thread.start()
    finished = False
    try:
        while True:
            try:
                item = channel.get(timeout=pausing.LOOK)
            except queue.Empty:
                pausing.check()
                continue
            if item is end:
                break
            yield item
        finished = True
    finally:
        stop.set()
        if not finished:
            abort()
            # What it may be writing to is put away next.
            thread.join(_LEAVE)
    if errors:
        raise errors[0]
