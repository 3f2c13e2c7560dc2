"""Chunks while they are collected from a table of contents: as listed, in columns."""

from __future__ import annotations

import binascii
from array import array

from didlab.files.chunks import Chunks
from didlab.files.table import FILE
from didlab.files.toc import refuse
from didlab.files.toc_batch import Batch

#: Stands beside the types of a `Table`: an entry that is a further piece of the file before it.
CHUNK = 7
_ZEROS = "sha256:" + "0" * 64
#: What a compressor adds at most to content that it cannot compress, beside 1/64 of it.
_OVERHEAD = 64 * 1024
#: Bytes of other files that a writer puts before one in the same member: some MiB at most.
_SKIP = 1024**3


class Collected:
    """All pieces so far."""

    def __init__(self) -> None:
        self.rows: array[int] = array("q")
        #: Which piece is the first of the same file.
        self.firsts: array[int] = array("q")
        self.totals: array[int] = array("q")
        self.starts: array[int] = array("q")
        self.ends: array[int] = array("q")
        self.offsets: array[int] = array("q")
        self.lengths: array[int] = array("q")
        self.skips: array[int] = array("q")
        self.digests = bytearray()

    def add(self, batch: Batch, kinds: bytes, sizes: array[int], row: int) -> None:
        """Take what has content; ``row`` is that of the first entry."""
        import numpy as np

        before = len(self.rows)
        types = np.frombuffer(kinds, np.uint8)
        size = np.frombuffer(sizes, np.int64)
        kept = (types == CHUNK) | ((types == FILE) & (size > 0))
        if not kept.any():
            return
        rows = np.cumsum(types != CHUNK) + (row - 1)
        self.rows.frombytes(rows[kept].astype(np.int64).tobytes())
        totals = size[kept]
        self.totals.frombytes(totals.tobytes())
        numbers = np.arange(before, before + len(totals), dtype=np.int64)
        heads = np.where(types[kept] == CHUNK, self.firsts[-1] if before else -1, numbers)
        self.firsts.frombytes(np.maximum.accumulate(heads).astype(np.int64).tobytes())
        batch = batch.only(kept.tolist())
        lengths = batch.sizes("chunkSize")
        self.starts += batch.sizes("offset")
        self.ends += batch.sizes("endOffset")
        self.offsets += batch.sizes("chunkOffset")
        self.lengths += lengths
        self.skips += batch.sizes("innerOffset")
        length = np.frombuffer(lengths, np.int64)
        parts = np.flatnonzero((length != 0) & (length != totals)).tolist()
        self.digests += _digests(batch, parts)

    def finish(self, end: int) -> Chunks:
        """Check that they cover their files, and lie before ``end``."""
        import numpy as np

        if not self.rows:
            return Chunks.load(b"")
        rows, firsts, starts, offsets, skips = (
            np.frombuffer(column, np.int64)
            for column in (self.rows, self.firsts, self.starts, self.offsets, self.skips)
        )
        if firsts[0] < 0 or (rows[firsts] != rows).any():
            refuse("has a chunk of no file")
        totals = np.frombuffer(self.totals, np.int64)[firsts]
        lengths = np.frombuffer(self.lengths, np.int64)
        lengths = np.where(lengths == 0, totals - offsets, lengths)  # 0 says: all that remains
        following = np.append(offsets[1:], 0)
        covered = np.where(following == 0, totals, following)
        heads = firsts == np.arange(len(firsts))
        # No sum here is beyond 64 bits: what is larger than the whole is refused before it is.
        if (
            ((offsets == 0) != heads).any()
            or (lengths <= 0).any()
            or (lengths != covered - offsets).any()
        ):
            refuse("has chunks that do not follow each other")
        # Where another begins, if nobody says; told with a file's first chunk, true of its last.
        bounds = np.append(np.unique(starts), end)
        stops = bounds[np.searchsorted(bounds[:-1], starts, side="right")]
        told = np.frombuffer(self.ends, np.int64)[firsts]
        stops = np.where((following == 0) & (told != 0), told, stops)
        # The layer begins with a tar header, never with content.
        if ((starts == 0) & (skips == 0) | (starts >= stops) | (stops > end)).any():
            refuse("has a chunk that lies outside")
        if (skips > _SKIP).any():
            refuse("has a chunk that lies deep in another")
        # What is behind the last byte need not be fetched, wherever the next file begins.
        most = starts + _OVERHEAD + (skips + lengths) + (skips + lengths) // 64
        return Chunks(
            self.rows,
            self.starts,
            array("q", np.minimum(stops, most).tobytes()),
            self.offsets,
            array("q", lengths.tobytes()),
            self.skips,
            bytes(self.digests),
        )


def _digests(batch: Batch, parts: list[int]) -> bytes:
    """Return the digests of chunks in one piece; zeros for chunks of zeros."""
    chunks = batch.texts("chunkDigest")
    # The digest of a file will do for a chunk that is all of it.
    texts = [own or file for own, file in zip(chunks, batch.texts("digest"), strict=True)]
    for number in parts:
        texts[number] = chunks[number]
    if "chunkType" in batch.keys:
        for number, kind in enumerate(batch.texts("chunkType")):
            if kind == "zeros":
                texts[number] = _ZEROS
            elif kind:
                refuse("has a chunk of an unknown type")
    try:
        raw = binascii.unhexlify("".join(texts).replace("sha256:", ""))
    except ValueError:
        raw = b""
    # Nothing could be checked without them.
    if set(map(len, texts)) - {71} or len(raw) != 32 * len(texts):
        refuse("has a chunk without a sha256 digest")
    return raw
