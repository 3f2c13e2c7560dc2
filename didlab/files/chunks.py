"""Where the pieces of files lie in a blob, as a table of contents says.

All that reading one file of a listed layer needs to know of such tables.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from didlab.errors import MalformedContent
from didlab.files import columns

_NO_DIGEST = bytes(32)
_FIELDS = ("rows", "starts", "stops", "offsets", "lengths", "skips")
_BYTES = 8 * len(_FIELDS) + len(_NO_DIGEST)


class Chunk(NamedTuple):
    """A piece of a file that can be fetched and checked alone.

    Attributes
    ----------
    start, stop : int
        Where it lies in the blob, compressed.
    offset, length : int
        Which bytes of the file it holds.
    digest : str
        Of its content. Empty where all of it is zeros: then it need not be fetched, though its
        place lets the chunks around it be fetched together.
    skip : int
        Bytes of other content that come before it once decompressed.
    """

    start: int
    stop: int
    offset: int
    length: int
    digest: str
    skip: int = 0


class Chunks:
    """The chunks of all files of a table, in columns; sorted by row, then by position."""

    __slots__ = ("digests", "lengths", "offsets", "rows", "skips", "starts", "stops")

    def __init__(
        self,
        rows: array[int],
        starts: array[int],
        stops: array[int],
        offsets: array[int],
        lengths: array[int],
        skips: array[int],
        digests: bytes,
    ) -> None:
        self.rows = rows  # "q", as are all arrays here
        self.starts = starts
        self.stops = stops
        self.offsets = offsets
        self.lengths = lengths
        self.skips = skips
        self.digests = digests  # 32 bytes each, zeros for none

    def __len__(self) -> int:
        return len(self.rows)

    def of_row(self, row: int) -> list[Chunk]:
        """Return the chunks of one row of the table, first to last; they cover the file."""
        first, last = bisect_left(self.rows, row), bisect_right(self.rows, row)
        return [self._chunk(number) for number in range(first, last)]

    def dump(self) -> bytes:
        """Return all of it as bytes, for `load`."""
        return b"".join([*(columns.dump(getattr(self, name)) for name in _FIELDS), self.digests])

    @classmethod
    def load(cls, raw: bytes) -> Chunks:
        """Make one of what `dump` gave.

        Raises
        ------
        MalformedContent
            These are no bytes that `dump` wrote.
        """
        count, rest = divmod(len(raw), _BYTES)
        if rest:
            raise MalformedContent("a stored index has cut rows of chunks")

        def column(number: int) -> array[int]:
            return columns.load("q", raw[8 * count * number : 8 * count * (number + 1)])

        digests = raw[8 * count * len(_FIELDS) :]
        rows, starts, stops, offsets, lengths, skips = map(column, range(len(_FIELDS)))
        return cls(rows, starts, stops, offsets, lengths, skips, digests)

    def _chunk(self, number: int) -> Chunk:
        raw = self.digests[32 * number : 32 * number + 32]
        return Chunk(
            self.starts[number],
            self.stops[number],
            self.offsets[number],
            self.lengths[number],
            "" if raw == _NO_DIGEST else "sha256:" + raw.hex(),
            self.skips[number],
        )
