"""A file of a layer that can be read from its beginning only."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from didlab.errors import CompressionInvalid
from didlab.files import sniff
from didlab.files.decompress import decoder
from didlab.files.limits import DEFAULT, Limits
from didlab.files.sniff import Kind
from didlab.oci.digest import Verifier

#: Bytes of a file that stay in memory.
_MEMORY = 16 * 1024 * 1024


class Streamed:
    """Content that was cut out of a whole pass over its layer; made at the first read.

    One pass of the layer's size for each file: what a one-frame zstd layer costs, which has no
    place to begin in but its first byte.

    Parameters
    ----------
    stream : callable
        Gives all bytes of the blob.
    """

    def __init__(
        self,
        stream: Callable[[], Iterable[bytes]],
        verifier: Callable[[], Verifier],
        kind: Kind,
        offset: int,
        size: int,
        limits: Limits = DEFAULT,
    ) -> None:
        self._stream = stream
        self._verifier = verifier
        self._kind = kind
        self._offset = offset
        self._limits = limits
        self._file: IO[bytes] | None = None
        self.size = size

    def read_at(self, start: int, stop: int) -> bytes:
        """Return a stretch, after the first call without any request.

        Raises
        ------
        DigestMismatch
            The layer's bytes are not the ones of its digest.
        """
        if self._file is None:
            self._file = self._cut_out()
            weakref.finalize(self, self._file.close)
        self._file.seek(start)
        return self._file.read(stop - start)

    def _cut_out(self) -> IO[bytes]:
        verifier = self._verifier()
        decoding = decoder(self._kind, self._limits, points=False)
        begin, end = self._offset, self._offset + self.size
        position = 0
        made = tempfile.SpooledTemporaryFile(_MEMORY)  # noqa: SIM115 - it lives as long as this
        try:
            for piece in self._stream():
                verifier.update(piece)
                if position >= end:
                    continue  # only to verify what was read
                for content in decoding.feed(piece):
                    made.write(content[max(0, begin - position) : max(0, end - position)])
                    position += len(content)
            verifier.check()
            if position < end:
                raise CompressionInvalid(
                    f"{verifier.digest} decompresses to {position} bytes, a file ends at {end}"
                )
        except BaseException:
            made.close()
            raise
        return made


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
