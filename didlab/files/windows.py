"""Seek points: where decoding can be taken up again, and what it has to look back to.

Of the 32 KiB before a point, only what the next 32 KiB of output really copy is needed, seldom
more than a sixth. The rest is zeroed before the window is compressed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from didlab.errors import CompressionInvalid
from didlab.files import zstdlib
from didlab.files.inflate import WINDOW, Stream

#: Two bytes that name each place in a window.
_LOW = bytes(range(256)) * (WINDOW // 256)
_HIGH = bytes(place >> 8 for place in range(WINDOW))


@dataclass(slots=True)
class Mark:
    """A place where decoding can be taken up.

    Attributes
    ----------
    compressed : int
        Offset in the blob of the first byte to read.
    bits : int
        How many bits of the byte before it belong to the rest as well.
    decompressed : int
        Offset in the tar of the first byte that comes out.
    window : bytes
        What the rest may refer to, packed; empty where nothing is needed. A decoder fills it in
        a little after the mark, at the latest when it ends.
    """

    compressed: int
    bits: int
    decompressed: int
    window: bytes


def pack(window: bytes) -> bytes:
    """Compress a window."""
    module = zstdlib.module()
    if module is None:
        return zlib.compress(window, 6)
    packed: bytes = module.compress(window, 3)
    return packed


def unpack(packed: bytes) -> bytes:
    """Return the window, whichever way it was compressed."""
    decoder: Any = zlib.decompressobj()
    damage: type[Exception] = zlib.error
    if packed[:4] == zstdlib.MAGIC:
        module = zstdlib.needed("a seek point")
        decoder, damage = module.ZstdDecompressor(), module.ZstdError
    try:
        # One byte more, so that a longer one does not pass for complete.
        window: bytes = decoder.decompress(packed, WINDOW + 1)
    except damage as error:
        raise CompressionInvalid("a seek point's window is damaged") from error
    if not decoder.eof or len(window) > WINDOW:
        raise CompressionInvalid("a seek point's window is damaged")
    return window


def needed(window: bytes, truth: bytes, raw: Stream, bits: int, data: bytes) -> bytes:
    """Return ``window`` with all that ``truth``, the output after it, does not copy zeroed.

    ``data`` is decoded again with windows that hold each place's own number instead of content:
    what differs from the truth was copied, and says from where. Only a byte that happens to be
    both halves of its place's number (a multiple of 257) would hide, so such bytes always stay.
    """
    size = len(window)
    low = _again(raw, bits, data, _LOW[:size], len(truth))
    high = _again(raw, bits, data, _HIGH[:size], len(truth))
    if not len(low) == len(high) == len(truth):
        return window
    try:
        import numpy as np
    except ImportError:
        return window
    lows, highs = np.frombuffer(low, np.uint8), np.frombuffer(high, np.uint8)
    real, old = np.frombuffer(truth, np.uint8), np.frombuffer(window, np.uint8)
    copied = np.flatnonzero((lows != real) | (highs != real))
    places = highs[copied].astype(np.intp) << 8 | lows[copied]
    if copied.size and places.max() >= size:
        return window  # decoded otherwise than the first time: nothing can be said
    sparse = np.zeros(size, np.uint8)
    sparse[places] = old[places]
    same = old[::257]
    sparse[::257] = np.where(same == np.arange(same.size), same, sparse[::257])
    return sparse.tobytes()


def _again(raw: Stream, bits: int, data: bytes, window: bytes, length: int) -> bytes:
    raw.reset()
    if bits:
        raw.prime(bits, data[0])
        data = data[1:]
    raw.look_back(window)
    return raw.run(data, length)
