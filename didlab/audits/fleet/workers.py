"""Executors as an audit uses them: its own threads, or one that was handed in."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Protocol

from didlab.errors import InvalidArgument


class Executor(Protocol):
    """What is needed of an executor."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Call ``function(*args)`` some time, somewhere."""


class Threads:
    """Threads that nobody waits for: neither Ctrl-C nor the end of the interpreter."""

    def __init__(self, count: int) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._count = count
        self._started = 0
        self._idle = threading.Semaphore(0)

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Call ``function(*args)`` in a thread."""
        future: Future[Any] = Future()
        if self._started < self._count and not self._idle.acquire(blocking=False):
            context = copy_context()
            threading.Thread(
                target=context.run, args=(self._work,), name="didlab-audit", daemon=True
            ).start()
            self._started += 1
        self._jobs.put((future, function, args))
        return future

    def close(self) -> None:
        """Let the threads end when they are done."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*args)
                except BaseException as error:  # noqa: BLE001 - the future tells
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del job, future
            self._idle.release()


def is_here(executor: Any) -> bool:
    """Whether an executor's tasks run in this process, with all that it knows."""
    if isinstance(executor, Threads):
        return True
    # Interpreters of their own (Python 3.14) are threads by name only.
    return isinstance(executor, ThreadPoolExecutor) and not type(executor).__name__.startswith(
        "Interpreter"
    )


def check(executor: Any) -> None:
    """Raise InvalidArgument unless it is an executor."""
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        raise InvalidArgument(
            "executor= takes an executor of concurrent.futures, not "
            + (executor.__name__ if isinstance(executor, type) else type(executor).__name__),
            hint="ProcessPoolExecutor(4), or Dask's client.get_executor()",
        )
    if hasattr(executor, "get_executor"):
        raise InvalidArgument(
            "executor= takes an executor, not Dask's client itself",
            hint="executor=client.get_executor()",
        )
