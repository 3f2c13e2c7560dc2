"""The content of one file, wherever its bytes lie: read by stretches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from didlab.files import toc
from didlab.files.blocks import Blocks, fetch
from didlab.files.chunks import Chunk
from didlab.files.limits import DEFAULT, Limits
from didlab.sources.base import BlobReader

#: Bytes that `pieces` yields at a time.
_STEP = 16 * 1024 * 1024


class Content(Protocol):
    """What a file holds."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read_at(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, which lie inside."""


class Bytes:
    """Content that is in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read_at(self, start: int, stop: int) -> bytes:
        """Return a stretch."""
        return self._content[start:stop]


class Stretch:
    """Content that lies in one piece in the uncompressed tar."""

    def __init__(self, blocks: Blocks, offset: int, size: int) -> None:
        self._blocks = blocks
        self._offset = offset
        self.size = size

    def read_at(self, start: int, stop: int) -> bytes:
        """Return a stretch."""
        return self._blocks.read_at(self._offset + start, self._offset + stop)


class Sparse:
    """Content with holes: its regions lie one after the other in the tar."""

    def __init__(
        self, blocks: Blocks, offset: int, size: int, regions: Sequence[Sequence[int]]
    ) -> None:
        self._blocks = blocks
        self.size = size
        # Place in the file, length, place in the tar.
        self._regions: list[tuple[int, int, int]] = []
        for place, length in regions:
            self._regions.append((place, length, offset))
            offset += length

    def read_at(self, start: int, stop: int) -> bytes:
        """Return a stretch, zeros in the holes."""
        out = bytearray(stop - start)
        for place, length, offset in self._regions:
            begin, end = max(start, place), min(stop, place + length)
            if begin < end:
                at = offset + begin - place
                out[begin - start : end - start] = self._blocks.read_at(at, at + end - begin)
        return bytes(out)


class Chunked:
    """Content in the chunks that a table of contents lists, each compressed by itself."""

    def __init__(
        self,
        kind: str,
        chunks: Sequence[Chunk],
        size: int,
        open_blob: Callable[[], BlobReader],
        limits: Limits = DEFAULT,
    ) -> None:
        self._kind = kind
        self._chunks = chunks
        self._open = open_blob
        self._limits = limits
        self._reader: BlobReader | None = None
        self._last: tuple[int, bytes] | None = None
        self.size = size

    def read_at(self, start: int, stop: int) -> bytes:
        """Return a stretch; chunks that follow each other in the blob by one request."""
        parts = []
        wanted = [
            number
            for number, chunk in enumerate(self._chunks)
            if chunk.offset < stop and chunk.offset + chunk.length > start
        ]
        for number, content in self._decoded(wanted):
            offset = self._chunks[number].offset
            parts.append(content[max(0, start - offset) : stop - offset])
        return b"".join(parts)

    def _decoded(self, wanted: list[int]) -> Iterator[tuple[int, bytes]]:
        last = self._last
        if last is not None and wanted and wanted[0] == last[0]:
            yield last
            wanted = wanted[1:]
        position = 0
        while position < len(wanted):
            run = [wanted[position]]
            begin = self._chunks[run[0]].start
            for number in wanted[position + 1 :]:
                previous, chunk = self._chunks[run[-1]], self._chunks[number]
                if chunk.start != previous.stop or chunk.stop - begin > _STEP:
                    break
                run.append(number)
            stop = self._chunks[run[-1]].stop
            raw = self._range(begin, stop) if stop > begin else b""
            for number in run:
                chunk = self._chunks[number]
                packed = raw[chunk.start - begin : chunk.stop - begin]
                content = toc.decode(self._kind, chunk, packed, self._limits)
                self._last = (number, content)
                yield number, content
            position += len(run)

    def _range(self, start: int, stop: int) -> bytes:
        if self._reader is None:
            self._reader = self._open()
        return fetch(self._reader, start, stop)


def pieces(content: Content) -> Iterator[bytes]:
    """Yield all of a file, some MiB at a time."""
    for start in range(0, content.size, _STEP):
        yield content.read_at(start, min(content.size, start + _STEP))
