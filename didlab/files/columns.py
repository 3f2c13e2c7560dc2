"""Columns of numbers, to bytes and back: little-endian wherever they were written."""

from __future__ import annotations

import sys
from array import array


def dump(values: array[int]) -> bytes:
    """Return a column as bytes, for `load`."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def load(kind: str, raw: bytes) -> array[int]:
    """Return the column that `dump` gave, of this type code.

    Raises
    ------
    ValueError
        These are no whole numbers of that size.
    """
    values: array[int] = array(kind)
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values
