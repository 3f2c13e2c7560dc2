"""Tasks that are out: handed to an executor, and their answers taken in by one thread."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from didlab import _pausing as pausing
from didlab.audits.fleet.results import told
from didlab.audits.fleet.workers import Executor

Done = Callable[[Any], None]
Failed = Callable[[str], None]


class Handing:
    """What is out, whichever executor has it.

    Attributes
    ----------
    out : set of Future
    """

    def __init__(self, stop: pausing.Stop) -> None:
        self.out: set[Future[Any]] = set()
        self._stop = stop
        self._answers: queue.SimpleQueue[tuple[Future[Any], Done, Failed]] = queue.SimpleQueue()

    def submit(
        self,
        executor: Executor,
        done: Done,
        failed: Failed,
        function: Callable[..., Any],
        *args: Any,
    ) -> None:
        """Hand a task out; `take_in` calls ``done`` or ``failed`` when there is an answer.

        An executor that takes none, such as a broken pool, is an answer at once.
        """
        try:
            future = executor.submit(function, *args)
        except Exception as error:  # noqa: BLE001 - a broken pool, or one that was shut down
            failed(told(error))
            return
        self.out.add(future)
        # In whatever thread: nothing is done there.
        future.add_done_callback(lambda future: self._answers.put((future, done, failed)))

    def take_in(self, seconds: float, *, drop: bool = False) -> None:
        """Wait for an answer, and deal with it; ``drop`` it, where nobody wants it any more."""
        try:
            future, done, failed = self._answers.get(timeout=seconds)
        except queue.Empty:
            return
        self.out.discard(future)
        if drop:
            return
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is None:
            done(future.result())
        elif not (isinstance(error, pausing.Stopped | KeyboardInterrupt) and self._stop.is_set()):
            failed(told(error))

    def call_off(self, seconds: float) -> None:
        """Cancel what has not begun, and wait a little for the rest."""
        for future in list(self.out):
            future.cancel()
        while self.out and seconds > 0:
            seconds -= pausing.LOOK
            self.take_in(pausing.LOOK, drop=True)
