"""Finds the headers of one piece of tar at once, and follows the chain of the usual ones.

Usual is an entry with POSIX's or GNU's magic, a right checksum and an octal size, that lies in
the piece with all of its content, maybe with a PAX header before it. Whatever else stands on
the chain ends the run: the walker reads it alone, field by field, and comes back.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from didlab.files.limits import Limits
from didlab.files.tar_header import BLOCK

if TYPE_CHECKING:
    from numpy import bool_, float64, int64, uint8
    from numpy.typing import NDArray

#: What a candidate is: to be read alone, an entry, a PAX header.
_ALONE, _ENTRY, _PAX = range(3)
#: Bytes of a usual PAX body: thousands of them are kept for a while.
_BODY = 4096


class Run(NamedTuple):
    """Entries that follow each other; ``stop`` is where the next header lies in the piece.

    ``heads`` are their header blocks, ``starts`` where their content begins in the piece;
    ``bodies`` has the PAX records of those that have some.
    """

    stop: int
    heads: NDArray[uint8]
    starts: NDArray[int64]
    sizes: NDArray[int64]
    bodies: dict[int, bytes]


def octal(field: NDArray[uint8]) -> tuple[NDArray[int64], NDArray[bool_]]:
    """Read columns of octal digits with at most two blanks behind, and say which are such."""
    import numpy as np

    width = field.shape[1]
    # A blank or NUL wraps around to a large number.
    digits = field - np.uint8(48)
    good = digits < 8
    # All alike, as one writer makes them: twelve digits and a blank, or six and two.
    for blanks in (1, 2):
        stop = width - blanks
        if good[:, :stop].all() and not (field[:, stop:] & 0xDF).any():
            return (digits[:, :stop] @ _weights(stop)).astype(np.int64), np.ones(len(field), bool)
    fixed = digits[:, : width - 2] @ _weights(width - 2)
    value = fixed.astype(np.int64)
    last_but_one, last = good[:, width - 2], good[:, width - 1]
    blank = (field[:, width - 2 :] == 0) | (field[:, width - 2 :] == 32)
    value = np.where(last_but_one, value * 8 + digits[:, width - 2], value)
    value = np.where(last_but_one & last, value * 8 + digits[:, width - 1], value)
    usual = good[:, : width - 2].all(axis=1)
    usual &= (last_but_one | blank[:, 0]) & (blank[:, 1] | (last & last_but_one))
    return value, usual


@cache
def _weights(width: int) -> NDArray[float64]:
    import numpy as np

    # Floats: exact up to 2^53, and their product is a fast one.
    return np.asarray(8.0 ** np.arange(width - 1, -1, -1))


def _summed(heads: NDArray[uint8]) -> NDArray[bool_]:
    """Say whose checksum is right; leaves blanks in place of it."""
    import numpy as np

    stored, usual = octal(heads[:, 148:156])
    heads[:, 148:156] = 32
    # Four sums of 16 bits in each word: 64 words of two bytes each stay below 2^16.
    words = heads.view(np.uint64)
    mask = np.uint64(0x00FF00FF00FF00FF)
    lanes = ((words & mask) + ((words >> np.uint64(8)) & mask)).sum(axis=1, dtype=np.uint64)
    totals = lanes.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64)
    usual &= totals == stored
    return usual


@cache
def _tables() -> tuple[NDArray[uint8], NDArray[bool_]]:
    """Return by type flag: what a candidate is, and whether content follows."""
    import numpy as np

    kinds = np.zeros(256, np.uint8)
    kinds[[0, *b"01234567"]] = _ENTRY
    kinds[ord("x")] = _PAX
    content = np.zeros(256, bool)
    content[list(b"07x")] = True
    return kinds, content


class Scan:
    """The candidates in ``data`` from a block boundary at ``start`` on."""

    def __init__(self, data: bytes, start: int, limits: Limits) -> None:
        import numpy as np

        self._data = data
        self._start = start
        count = (len(data) - start) // BLOCK
        blocks = np.frombuffer(data, np.uint8, count * BLOCK, start).reshape(count, BLOCK)
        self._blocks: list[int] = []
        if not count:
            return
        magic = np.ndarray(count, np.dtype("u4"), data, start + 257, (BLOCK,))
        found = np.flatnonzero(magic == np.frombuffer(b"usta", np.dtype("u4"))[0])
        heads = blocks.take(found, axis=0)

        flags = heads[:, 156]
        sizes, usual = octal(heads[:, 124:136])
        kind_of, has_content = _tables()
        kinds = kind_of[flags]
        usual &= heads[:, 261] == ord("r")
        usual &= (heads[:, 262] == 0) | (
            (heads[:, 262] == 32) & (heads[:, 263] == 32) & (heads[:, 264] == 0)
        )
        # Whether content follows an old file with a size is for its final name to say.
        usual &= (flags != 0) | (sizes == 0)
        usual &= (kinds != _PAX) | (sizes <= min(limits.header, _BODY))
        usual &= _summed(heads)
        contents = np.where(has_content[flags], sizes, 0)
        ends = found + 1 + (contents + (BLOCK - 1)) // BLOCK
        usual &= ends <= count
        kinds[~usual] = _ALONE

        # Who follows whom: the number of the candidate at the end, or one too many.
        after = np.searchsorted(found, ends)
        here = np.append(found, -1)[after] == ends
        self._next: list[int] = np.where(here, after, len(found)).tolist()
        self._found = found
        self._blocks = found.tolist()
        self._ends: list[int] = ends.tolist()
        self._kinds: list[int] = kinds.tolist()
        self._sizes: list[int] = sizes.tolist()
        self._heads = heads
        self._contents = contents

    def run(self, position: int) -> Run | None:
        """Return the usual entries from a position on, or None where there is none."""
        import numpy as np

        block = (position - self._start) // BLOCK
        at = bisect_left(self._blocks, block)
        if at == len(self._blocks) or self._blocks[at] != block or not self._kinds[at]:
            return None
        kinds, follows, blocks, sizes = self._kinds, self._next, self._blocks, self._sizes
        count, data, first = len(blocks), self._data, self._start + BLOCK
        chain: list[int] = []
        bodies: dict[int, bytes] = {}
        stop = block
        while at < count and (kind := kinds[at]):
            entry = at
            if kind == _PAX:
                entry = follows[at]
                if entry == count or kinds[entry] != _ENTRY:
                    break
                begin = first + blocks[at] * BLOCK
                body = data[begin : begin + sizes[at]]
                # These change where the next header lies.
                if b"size=" in body or b"GNU.sparse." in body:
                    break
                bodies[len(chain)] = body
            chain.append(entry)
            stop = self._ends[entry]
            at = follows[entry]
        if not chain:
            return None
        chosen = np.array(chain)
        whole = len(chain) == count
        heads = self._heads if whole else self._heads.take(chosen, axis=0)
        return Run(
            self._start + stop * BLOCK,
            heads,
            first + self._found.take(chosen) * BLOCK,
            self._contents.take(chosen),
            bodies,
        )
