"""Three threads for one layer: one fetches and inflates, one hashes, the caller's walks the tar."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

from didlab import _pausing as pausing

#: Pieces that wait between two threads.
_DEPTH = 6

#: What to hash, and what to walk afterwards (b"" for nothing).
Job = tuple[Callable[[], None], bytes]


def run(jobs: Iterator[Job], walk: Callable[[bytes], None], abort: Callable[[], object]) -> None:
    """Do all jobs; ``abort`` ends the fetching when the rest is called off.

    The jobs are made in one thread, hashing and walking go on beside it, each in order.
    """
    stop = threading.Event()
    hashing: queue.Queue[Callable[[], None] | None] = queue.Queue(_DEPTH)
    walking: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
    errors: list[BaseException] = []

    def fetch() -> None:
        try:
            for hash_it, content in jobs:
                if not _put(hashing, hash_it, stop):
                    return
                if content and not _put(walking, content, stop):
                    return
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)
        finally:
            _put(hashing, None, stop)
            _put(walking, None, stop)

    def hash_all() -> None:
        try:
            while (job := _get(hashing, stop)) is not None:
                job()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            stop.set()

    threads = [
        threading.Thread(target=copy_context().run, args=(work,), name=name, daemon=True)
        for work, name in ((fetch, "didlab-inflate"), (hash_all, "didlab-hash"))
    ]
    for thread in threads:
        thread.start()
    finished = False
    try:
        while (content := _get(walking, stop)) is not None:
            walk(content)
        for thread in threads:
            while thread.is_alive():
                thread.join(pausing.LOOK)
                pausing.check()
        finished = True
    finally:
        stop.set()
        if not finished:
            abort()
    if errors:
        raise errors[0]


def _put(channel: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            channel.put(item, timeout=pausing.LOOK)
        except queue.Full:
            continue
        return True
    return False


def _get(channel: queue.Queue[Any], stop: threading.Event) -> Any:
    """Return the next item; None at the end, and when the work was called off."""
    while not stop.is_set():
        pausing.check()
        try:
            return channel.get(timeout=pausing.LOOK)
        except queue.Empty:
            continue
    return None
