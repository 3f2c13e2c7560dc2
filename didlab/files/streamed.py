"""Files of a layer that can be read from its beginning only."""

from __future__ import annotations

import tempfile
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO

from didlab.blobs.refusals import translated
from didlab.errors import CompressionInvalid
from didlab.files import sniff
from didlab.files.decompress import decoder
from didlab.files.limits import DEFAULT, Limits
from didlab.files.sniff import Kind
from didlab.oci.digest import Verifier

#: Bytes that stay in memory.
_MEMORY = 16 * 1024 * 1024


class Gathered:
    """Stretches of an uncompressed layer, cut out of one pass over it; made at the first read.

    One pass of the layer's size for all of them: what a one-frame zstd layer costs, which has no
    place to begin in but its first byte.

    Parameters
    ----------
    stream : callable
        Gives all bytes of the blob.
    stretches : iterable of (int, int)
        Beginnings and ends in the tar; those that overlap are of no file.
    """

    def __init__(
        self,
        stream: Callable[[], Iterable[bytes]],
        verifier: Callable[[], Verifier],
        kind: Kind,
        stretches: Iterable[tuple[int, int]],
        limits: Limits = DEFAULT,
    ) -> None:
        self._stream = stream
        self._verifier = verifier
        self._kind = kind
        self._limits = limits
        self._stretches = sorted(set(stretches))
        self._begins = [begin for begin, _ in self._stretches]
        lengths = (end - begin for begin, end in self._stretches)
        self._places = list(accumulate(lengths, initial=0))
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def __contains__(self, stretch: tuple[int, int]) -> bool:
        number = bisect_right(self._begins, stretch[0]) - 1
        return number >= 0 and self._stretches[number] == stretch

    def read_at(self, begin: int, end: int) -> bytes:
        """Return bytes of one of the stretches; after the first call without any request.

        Raises
        ------
        DigestMismatch
            The layer's bytes are not the ones of its digest.
        DiskFull, WriteFailed
            The disk for temporary files refused.
        """
        with self._lock:
            if self._file is None:
                self._file = self._cut_out()
                weakref.finalize(self, self._file.close)
            number = bisect_right(self._begins, begin) - 1
            self._file.seek(self._places[number] + begin - self._begins[number])
            return self._file.read(end - begin)

    def _cut_out(self) -> IO[bytes]:
        verifier = self._verifier()
        decoding = decoder(self._kind, self._limits, points=False)
        position, number = 0, 0
        last = self._stretches[-1][1]
        made = tempfile.SpooledTemporaryFile(_MEMORY)  # noqa: SIM115 - it lives as long as this
        try:
            for piece in self._stream():
                verifier.update(piece)
                if position >= last:
                    continue  # only to verify what was read
                for content in decoding.feed(piece):
                    number = self._keep(content, position, number, made)
                    position += len(content)
            verifier.check()
            if position < last:
                raise CompressionInvalid(
                    f"{verifier.digest} decompresses to {position} bytes, a file ends at {last}"
                )
        except BaseException:
            made.close()
            raise
        return made

    def _keep(self, content: bytes, position: int, number: int, made: IO[bytes]) -> int:
        """Write what is wanted of a piece; return which stretch goes on after it."""
        while number < len(self._stretches):
            begin, end = self._stretches[number]
            part = content[max(0, begin - position) : max(0, end - position)]
            if part:
                with translated(Path(tempfile.gettempdir(), "a file of a layer")):
                    made.write(part)
            if end > position + len(content):
                break
            number += 1
        return number


class Part:
    """Content that is one of the stretches which a pass over its layer gathers."""

    def __init__(self, gathered: Gathered, offset: int, size: int) -> None:
        self._gathered = gathered
        self._offset = offset
        self.size = size

    def read_at(self, start: int, stop: int) -> bytes:
        """Return a stretch. Raises as `Gathered.read_at`."""
        return self._gathered.read_at(self._offset + start, self._offset + stop)


class Streamed(Part):
    """Content that costs a pass over its layer by itself."""

    def __init__(
        self,
        stream: Callable[[], Iterable[bytes]],
        verifier: Callable[[], Verifier],
        kind: Kind,
        offset: int,
        size: int,
        limits: Limits = DEFAULT,
    ) -> None:
        alone = Gathered(stream, verifier, kind, [(offset, offset + size)], limits)
        super().__init__(alone, offset, size)


def first_files(
    pieces: Iterable[bytes], media_type: str, limits: Limits = DEFAULT
) -> Iterator[bytes]:
    """Yield a layer's uncompressed bytes as they come, nothing verified."""
    head, source = sniff.beginning(pieces)
    decoding = decoder(sniff.kind(head, media_type), limits, points=False)
    yield from decoding.feed(head)
    for piece in source:
        yield from decoding.feed(piece)
    decoding.end()
