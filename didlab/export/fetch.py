"""One blob as a stream, mended where it breaks; for whoever wants bytes in order, not a file."""

from __future__ import annotations

from collections.abc import Iterator

from didlab import _pausing as pausing
from didlab.errors import LimitExceeded, TransportError, Truncated
from didlab.export.lanes import BUDGET, FAILURES, PROGRESS
from didlab.sources.base import BlobReader


def resuming(reader: BlobReader, start: int = 0) -> Iterator[bytes]:
    """Yield a blob's bytes from ``start`` on, continued where a connection broke.

    Raises
    ------
    TransportError
        After `FAILURES` failures without progress in between.
    LimitExceeded
        The place serves no ranges and starting again has cost more than it should.
    """
    position, failures, spent = start, 0, 0
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
