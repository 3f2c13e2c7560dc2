"""Some stretches of a blob by few requests: which ranges to ask for, and the stretches cut out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from didlab import _pausing as pausing
from didlab.errors import TransportError
from didlab.files.blocks import ATTEMPTS
from didlab.sources.base import BlobReader

#: Where something lies in a blob, half-open.
Stretch = tuple[int, int]

#: A gap up to here is read over: a request more costs as much.
_GAP = 64 * 1024


def coalesced(stretches: Sequence[Stretch], most: int) -> list[Stretch]:
    """Return at most ``most`` ranges that have all of the stretches; the smallest gaps go first.

    ``stretches`` are sorted; they may overlap.

    >>> coalesced([(0, 10), (5, 20), (1_000_000, 1_000_010), (9_000_000, 9_000_001)], 2)
    [(0, 1000010), (9000000, 9000001)]
    """
    ranges: list[Stretch] = []
    for start, stop in stretches:
        if ranges and start - ranges[-1][1] <= _GAP:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], stop)
        else:
            ranges.append((start, stop))
    if len(ranges) <= most:
        return ranges
    gaps = [(ranges[at][0] - ranges[at - 1][1], at) for at in range(1, len(ranges))]
    cuts = sorted(at for _, at in sorted(gaps, reverse=True)[: most - 1])
    bounds = [0, *cuts, len(ranges)]
    return [(ranges[first][0], ranges[last - 1][1]) for first, last in pairwise(bounds)]


def streamed(reader: BlobReader, start: int, stop: int, *, strict: bool = True) -> Iterator[bytes]:
    """Yield a range of a blob, continued where the connection breaks.

    Raises
    ------
    BadRange
        The place serves no ranges, and ``strict``.
    TransportError
        After some failures in a row.
    """
    failures = 0
    while start < stop:
        before = start
        try:
            for piece in reader.stream(start, stop, strict=strict):
                start += len(piece)
                yield piece
            return
        except TransportError as error:
            failures = 1 if start - before >= _GAP else failures + 1
            if not error.retryable or failures >= ATTEMPTS:
                raise
            pausing.wait(pausing.pause(failures))


def cut(
    ranges: Sequence[Stretch],
    stretches: Sequence[Stretch],
    stream: Callable[[int, int], Iterator[bytes]],
) -> Iterator[bytes]:
    """Yield the bytes of each stretch, in order, while the ranges that have them stream by.

    ``ranges`` are what `coalesced` made of ``stretches``. In memory are the bytes from the
    beginning of one stretch to its end.
    """
    number = 0
    for start, stop in ranges:
        held, at = bytearray(), start
        pieces = stream(start, stop)
        while number < len(stretches) and stretches[number][1] <= stop:
            begin, end = stretches[number]
            if begin < start:
                break
            while at + len(held) < end:
                if at + len(held) <= begin:
                    # Nothing of it is wanted by this stretch, nor by one that follows.
                    at += len(held)
                    held.clear()
                held += next(pieces)
            if at < begin:
                del held[: begin - at]
                at = begin
            yield bytes(held[: end - begin])
            number += 1
        # To its end, which lets the connection serve the next one.
        for _ in pieces:
            pass
