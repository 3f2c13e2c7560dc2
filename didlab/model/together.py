"""Several layers at a time, one job for each: threads, one progress bar, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from didlab import _pausing as pausing
from didlab import settings
from didlab.export import progress as bars
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import BlobReader

R = TypeVar("R")

#: Layers that are read at the same time where nobody says otherwise.
TOGETHER = 4
#: Seconds that a thread which was called off gets to put away what it began.
LEAVE = 2.0


class Together(Generic[R]):
    """Jobs over layers; subclasses say what one is.

    Parameters
    ----------
    descriptors : sequence of Descriptor
        Each once.
    title : str
        Of the bar.
    progress
        As users hand it in.
    """

    def __init__(self, descriptors: Sequence[Descriptor], title: str, progress: Any) -> None:
        # The largest first: it is the one that the others wait for.
        self._waiting = sorted(descriptors, key=self._weight)
        self._order = [descriptor.digest for descriptor in descriptors]
        self._title = title
        self._progress = progress
        self._lock = threading.Lock()
        self._stop = pausing.Stop()
        self._over = threading.Event()
        self._working = 0
        self._came = 0
        self._readers: set[BlobReader] = set()
        self._results: dict[str, R] = {}
        self._error: BaseException | None = None

    def _weight(self, descriptor: Descriptor) -> int:
        """Return the bytes that the job for a layer takes."""
        return descriptor.size

    def _pass(self, descriptor: Descriptor) -> R:
        """Do the job for one layer; in a thread."""
        raise NotImplementedError

    def run(self) -> list[R]:
        """Do them all; return the results, the uppermost layer's first."""
        total = sum(map(self._weight, self._waiting))
        count = min(len(self._waiting), max(TOGETHER, settings.current().workers))
        bar = bars.start(self._progress, total, self._title)
        threads = [
            threading.Thread(
                target=copy_context().run, args=(self._work,), name="didlab-look", daemon=True
            )
            for _ in range(count)
        ]
        self._working = count
        shown = 0
        try:
            for thread in threads:
                thread.start()
            # Not by join(): Python 3.11 takes a thread for ended whose join() was interrupted.
            while not self._over.wait(pausing.LOOK):
                pausing.check()
                shown = self._show(bar, shown)
            self._show(bar, shown)
        except KeyboardInterrupt as interrupt:
            from didlab.views import tracebacks

            tracebacks.shorten(interrupt)
            raise
        finally:
            self._halt()
            bar.close()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(LEAVE)
        if self._error is not None:
            raise self._error
        return [self._results[digest] for digest in reversed(self._order)]

    def _show(self, bar: bars.Progress, shown: int) -> int:
        came = self._came
        if came != shown:
            bar.update(came - shown)
        # Also without news: a bar that waits before it appears looks at the clock then.
        tell = getattr(bar, "tell", None)
        if tell is not None:
            tell(len(self._results), len(self._order), ())
        return came

    def _halt(self) -> None:
        self._stop.set()
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.abort()

    def _work(self) -> None:
        try:
            self._passes()
        finally:
            with self._lock:
                self._working -= 1
                if not self._working:
                    self._over.set()

    def _passes(self) -> None:
        pausing.stop.set(self._stop)
        while not self._stop.is_set():
            with self._lock:
                if not self._waiting:
                    return
                descriptor = self._waiting.pop()
            try:
                self._results[descriptor.digest] = self._pass(descriptor)
            except BaseException as error:  # noqa: BLE001 - raised by the thread that called
                with self._lock:
                    if self._error is None and not isinstance(error, pausing.Stopped):
                        self._error = error
                self._halt()
                return

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Count what comes."""
        for piece in pieces:
            yield piece
            with self._lock:
                self._came += len(piece)
