"""Blobs to their places: in parallel, mended where they break, verified."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout

from didlab import _pausing as pausing
from didlab.errors import IntegrityError, LimitExceeded, TransportError, Truncated
from didlab.export.output import PartialFile
from didlab.export.plan import Hole
from didlab.export.progress import Progress
from didlab.oci.digest import Verifier
from didlab.sources.base import BlobReader, Source

#: Failures of one blob without any progress in between, after which it is given up.
FAILURES = 5
#: Progress that starts the count anew.
PROGRESS = 64 * 1024
#: Bytes that one blob may cost on the wire, in its own sizes, where ranges are not served.
BUDGET = 3
#: Seconds between two looks at the workers, and so for Ctrl-C to be seen.
_LOOK = 0.1


class Counter:
    """Bytes that arrived, added up by workers and collected by whoever shows them."""

    def __init__(self) -> None:
        self.total = 0
        self._shown = 0
        self._lock = threading.Lock()

    def add(self, n: int) -> None:
        """Count ``n`` bytes."""
        with self._lock:
            self.total += n

    def show(self, progress: Progress) -> None:
        """Tell ``progress`` what came since the last time."""
        with self._lock:
            fresh, self._shown = self.total - self._shown, self.total
        if fresh:
            progress.update(fresh)


def resuming(reader: BlobReader) -> Iterator[bytes]:
    """Yield a blob's bytes, continued where a connection broke.

    Raises
    ------
    TransportError
        After `FAILURES` failures without progress in between.
    LimitExceeded
        The place serves no ranges and starting again has cost more than it should.
    """
    position = failures = spent = 0
    while True:
        before = position
        try:
            for data in reader.stream(position):
                position += len(data)
                yield data
        except TransportError as error:
            if not error.retryable:
                raise
            came = position - before
            spent += came + (0 if reader.ranged is not False else before)
            failures = 1 if came >= PROGRESS else failures + 1
            if failures >= FAILURES:
                raise Truncated(
                    f"gave up after {failures} failures in a row at {position} of {reader.size} "
                    f"bytes: {error.message}",
                    host=error.host,
                    received=position,
                    size=reader.size,
                    hint="the same call may work later, or by mirrors= or proxy=",
                ) from error
            if reader.ranged is False and spent > BUDGET * reader.size:
                raise LimitExceeded(
                    f"{reader.served_by} serves no ranges and breaks off again and again: "
                    f"{spent} bytes for a blob of {reader.size}",
                    what="bytes for one blob",
                    limit=BUDGET * reader.size,
                    seen=spent,
                ) from error
            if came < PROGRESS:
                pausing.wait(pausing.pause(failures))
        else:
            return


def fill(
    source: Source,
    holes: Sequence[Hole],
    output: PartialFile,
    *,
    workers: int,
    progress: Progress,
) -> int:
    """Fetch every hole's blob to its place, the largest first, and return the bytes that came.

    On any failure, and on Ctrl-C, the workers are told to stop and are not waited for longer
    than it takes them to notice.
    """
    counter = Counter()
    stop = threading.Event()
    # The largest first: then no long one is left alone at the end.
    order = sorted(holes, key=lambda hole: -hole.descriptor.size)
    pool = ThreadPoolExecutor(min(workers, len(order)) or 1, thread_name_prefix="didlab-fetch")
    futures = [pool.submit(_job, source, hole, output, counter, stop) for hole in order]
    try:
        _watch(futures, counter, progress)
    except BaseException:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        _settle(futures)
        raise
    pool.shutdown(wait=False)
    return counter.total


def _watch(futures: Sequence[Future[None]], counter: Counter, progress: Progress) -> None:
    waiting = set(futures)
    while waiting:
        # With a timeout: a bare wait cannot be interrupted on Windows.
        done, waiting = wait(waiting, timeout=_LOOK, return_when=FIRST_COMPLETED)
        counter.show(progress)
        for future in done:
            future.result()


def _settle(futures: Sequence[Future[None]]) -> None:
    """Give workers a moment to notice, so that usually no thread is left behind."""
    for future in futures:
        if not future.cancelled():
            try:
                future.exception(timeout=1.0)
            except FutureTimeout:
                return


def _job(
    source: Source, hole: Hole, output: PartialFile, counter: Counter, stop: threading.Event
) -> None:
    pausing.stop.set(stop)
    reader = source.open(hole.descriptor)
    with output.writer() as writer:
        tries = 2
        while True:
            verifier = Verifier(hole.descriptor.digest, hole.descriptor.size, where=source.location)
            position = hole.offset
            try:
                for data in resuming(reader):
                    verifier.update(data)
                    writer.write_at(position, data)
                    position += len(data)
                    counter.add(len(data))
                    pausing.check()
                verifier.check()
            except IntegrityError:
                tries -= 1
                if not tries:
                    raise
                # Once more from the start, from another place where there is one.
                reader.discredit()
                counter.add(hole.offset - position)
            else:
                return
