"""Work in the background that can be called off, so that a kernel stays free for the next cell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from didlab import _pausing as pausing


class Halted(KeyboardInterrupt):
    """The Stop button was pressed: for whatever waits, the same as Ctrl-C."""


class Jobs:
    """One job of a kind at a time, each in a daemon thread; a newer one calls the older off.

    What a job that was called off brings is dropped. Reads and waits of the library end at once,
    since the job's `didlab._pausing.Stop` stands where they look.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[pausing.Stop, threading.Thread]] = {}
        self._closed = False

    def start(
        self,
        kind: str,
        work: Callable[[pausing.Stop], Any],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Begin ``work``; then ``done`` with what it returns, or ``failed``; `Halted` if stopped.

        ``failed`` hears of a stop only if it was asked for by `stop`, not by a newer job.
        """
        stop = pausing.Stop()
        thread = threading.Thread(
            target=self._run,
            args=(kind, stop, work, done, failed),
            name=f"didlab-explore-{kind}",
            daemon=True,
        )
        with self._lock:
            if self._closed:
                return
            older = self._running.get(kind)
            self._running[kind] = (stop, thread)
        if older is not None:
            older[0].set()
        thread.start()

    def _run(
        self,
        kind: str,
        stop: pausing.Stop,
        work: Callable[[pausing.Stop], Any],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        pausing.stop.set(stop)
        tell: Callable[[], None]
        try:
            result = work(stop)
        except (pausing.Stopped, Halted):
            tell = lambda: failed(Halted())  # noqa: E731 - told below, if anybody is to hear of it
        except BaseException as error:  # noqa: BLE001 - shown in the widget
            known = error
            tell = lambda: failed(Halted() if stop.is_set() else known)  # noqa: E731
        else:
            tell = lambda: done(result)  # noqa: E731
        try:
            if self._current(kind, stop):
                tell()
        finally:
            with self._lock:  # only now: whoever waits for the end has seen what came of it
                mine = self._running.get(kind)
                if mine is not None and mine[0] is stop:
                    del self._running[kind]

    def _current(self, kind: str, stop: pausing.Stop) -> bool:
        with self._lock:
            mine = self._running.get(kind)
            return mine is not None and mine[0] is stop

    def busy(self, kind: str) -> bool:
        """Whether a job of this kind is under way."""
        with self._lock:
            return kind in self._running

    def stop(self, kind: str) -> None:
        """Call a job off; it ends soon, and says so."""
        with self._lock:
            running = self._running.get(kind)
        if running is not None:
            running[0].set()

    def drop(self, kind: str) -> None:
        """Call a job off, and hear no more of it."""
        with self._lock:
            running = self._running.pop(kind, None)
        if running is not None:
            running[0].set()

    def close(self) -> None:
        """Call everything off, for good."""
        self._closed = True
        with self._lock:
            running = list(self._running.values())
            self._running.clear()
        for stop, _ in running:
            stop.set()

    def wait(self, seconds: float = 30.0) -> bool:
        """Wait until nothing is under way, jobs that others began included; for tests."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                threads = [thread for _, thread in self._running.values()]
            if not threads:
                return True
            for thread in threads:
                if thread.ident is not None:
                    thread.join(0.05)
        return False
