"""Where decoding of a layer can begin, and how each stretch between such points is checked."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from didlab.errors import MalformedContent

_ROW = struct.Struct("<QBQQI32s")


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of a layer: ``start`` to ``stop`` of the blob decode to ``begin`` … ``end``.

    Where decoding begins inside a byte, ``start`` is that byte, and so the last one of the span
    before as well.
    """

    start: int
    stop: int
    bits: int
    begin: int
    end: int
    digest: bytes


class Spans:
    """All spans of a layer, in order.

    ``windows`` gives the compressed window that decoding from a span needs; it is called when a
    span is read, and may load it from disk.
    """

    __slots__ = ("_begins", "_bits", "_digests", "_starts", "length", "size", "windows")

    def __init__(
        self,
        starts: Sequence[int],
        bits: bytes,
        begins: Sequence[int],
        digests: Sequence[bytes],
        size: int,
        length: int,
        windows: Callable[[int], bytes],
    ) -> None:
        self._starts: array[int] = array("Q", starts)
        self._bits = bits
        self._begins: array[int] = array("Q", begins)
        self._digests = digests
        self.size = size
        self.length = length
        self.windows = windows

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Span:
        if not 0 <= number < len(self):
            raise IndexError(number)
        following = number + 1 < len(self)
        return Span(
            self._starts[number] - (1 if self._bits[number] else 0),
            self._starts[number + 1] if following else self.size,
            self._bits[number],
            self._begins[number],
            self._begins[number + 1] if following else self.length,
            self._digests[number],
        )

    def covering(self, begin: int, end: int) -> range:
        """Return the numbers of the spans that decode to ``begin`` … ``end``."""
        if begin >= end:
            return range(0)
        first = max(0, bisect_right(self._begins, begin) - 1)
        last = max(0, bisect_right(self._begins, end - 1) - 1)
        return range(first, last + 1)

    # --- to disk and back --------------------------------------------------------------------

    def dump(self) -> tuple[bytes, bytes]:
        """Return the rows and the windows, for `load`."""
        rows: list[bytes] = []
        windows: list[bytes] = []
        at = 0
        for number in range(len(self)):
            window = self.windows(number)
            rows.append(
                _ROW.pack(
                    self._starts[number],
                    self._bits[number],
                    self._begins[number],
                    at,
                    len(window),
                    self._digests[number],
                )
            )
            windows.append(window)
            at += len(window)
        return b"".join(rows), b"".join(windows)

    @classmethod
    def load(cls, rows: bytes, size: int, length: int, windows: Callable[[], bytes]) -> Spans:
        """Make spans of what `dump` gave; ``windows`` is called when the first one is needed.

        Raises
        ------
        MalformedContent
            These are no rows that `dump` wrote.
        """
        if not rows or len(rows) % _ROW.size:
            raise MalformedContent("a stored index has cut rows of spans")
        starts, bits, begins, offsets, lengths, digests = zip(*_ROW.iter_unpack(rows), strict=True)
        return cls(
            starts,
            bytes(bits),
            begins,
            digests,
            size,
            length,
            _Stored(offsets, lengths, windows),
        )


class _Stored:
    def __init__(
        self, offsets: Sequence[int], lengths: Sequence[int], load: Callable[[], bytes]
    ) -> None:
        self._offsets = offsets
        self._lengths = lengths
        self._load = load

    def __call__(self, number: int) -> bytes:
        if not self._lengths[number]:
            return b""
        start = self._offsets[number]
        return self._load()[start : start + self._lengths[number]]


class SpanHasher:
    """Digests of the blob and of each span, from pieces and the marks found in them."""

    def __init__(self, hasher: Callable[[], Any]) -> None:
        self._hasher = hasher
        self._current = hasher()
        self._position = 0
        self._last = b""
        self.digests: list[bytes] = []
        self._first = True

    def update(self, piece: bytes, marks: Sequence[tuple[int, int]]) -> None:
        """Take the next piece; ``marks`` (place in the blob, bits) lie in it, or at its start."""
        view = memoryview(piece)
        done = 0
        for place, bits in marks:
            if self._first:  # the mark at the blob's beginning opens the first span
                self._first = False
                continue
            at = place - self._position
            self._current.update(view[done:at])
            self.digests.append(self._current.digest())
            self._current = self._hasher()
            if bits:
                self._current.update(view[at - 1 : at] if at else self._last)
            done = at
        self._current.update(view[done:])
        self._position += len(piece)
        if piece:
            self._last = piece[-1:]

    def finish(self) -> list[bytes]:
        """Return the digests of all spans."""
        return [*self.digests, self._current.digest()]
