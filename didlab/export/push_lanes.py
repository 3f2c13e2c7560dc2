"""Several jobs at a time, called off together: by the first failure, or by Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context

from didlab import _pausing as pausing


def run(jobs: Sequence[Callable[[], None]], lanes: int, look: Callable[[], None]) -> None:
    """Do the jobs in order, ``lanes`` at a time; ``look`` is called in this thread meanwhile.

    Raises
    ------
    Exception
        The first failure of a job; the others are called off then.
    """
    waiting = deque(jobs)
    left = len(jobs)
    failures: list[BaseException] = []
    condition = threading.Condition()
    stop = pausing.Stop()

    def lane() -> None:
        nonlocal left
        pausing.stop.set(stop)
        while not stop.is_set():
            with condition:
                if not waiting:
                    return
                job = waiting.popleft()
            try:
                job()
            except pausing.Stopped:
                return
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                with condition:
                    failures.append(error)
                    condition.notify_all()
                return
            with condition:
                left -= 1
                condition.notify_all()

    threads = [
        threading.Thread(
            target=copy_context().run, args=(lane,), name=f"didlab-push-{number}", daemon=True
        )
        for number in range(min(lanes, len(jobs)))
    ]

    def begin() -> None:
        for thread in threads:
            thread.start()

    try:
        # Not in the main thread: Ctrl-C in the middle of a start leaves a broken thread behind.
        pausing.aside(begin, "didlab-begin")
        while True:
            with condition:
                if not failures and left:
                    # With a timeout: a bare wait cannot be interrupted on Windows.
                    condition.wait(pausing.LOOK)
                done = not left
            look()
            if failures:
                raise failures[0]
            if done:
                return
    finally:
        stop.set()
        end = time.monotonic() + 1.0
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))
