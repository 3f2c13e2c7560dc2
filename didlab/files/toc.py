"""Tables of contents that a layer carries, vouched for by an annotation of its descriptor.

With one, a layer is listed by a range or two, and each file is fetched alone. Two formats exist:
eStargz (`didlab.files.estargz`) and zstd:chunked (`didlab.files.chunked`); their tables are JSON
of nearly the same shape, which `didlab.files.toc_table` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NoReturn, Protocol

from didlab.errors import DigestMismatch, LimitExceeded, TarInvalid
from didlab.files.chunks import Chunk, Chunks
from didlab.files.limits import DEFAULT, Limits
from didlab.files.table import Table
from didlab.oci.descriptor import Descriptor

#: Bytes that a table may have, decompressed: room for about 600,000 files.
TOC_LIMIT = 256 * 1024**2
#: A table that is larger than this and than half of its blob is not worth its requests.
_WORTH = 4 * 1024**2


class Finder(Protocol):
    """Reads the table of contents of one layer."""

    @property
    def kind(self) -> str:
        """``"estargz"`` or ``"chunked"``: how `decode` reads this layer's chunks."""

    @property
    def digest(self) -> str:
        """What the annotation promises of the table."""

    def read(
        self, read_at: Callable[[int, int], bytes], size: int, limits: Limits = DEFAULT
    ) -> tuple[Table, Chunks]:
        """Fetch the table and check it against its annotation.

        Parameters
        ----------
        read_at : callable
            As `didlab.sources.base.BlobReader.read_at`.
        size : int
            Bytes of the blob.
        limits : Limits, optional
            What it may cost.

        Raises
        ------
        TarInvalid, CompressionInvalid, DigestMismatch, TypeConfusion, LimitExceeded
            The table cannot be used; the layer itself may be fine.
        """


def find(descriptor: Descriptor) -> Finder | None:
    """Return a reader of the layer's table of contents if an annotation vouches for one.

    No I/O. Annotations that make no sense vouch for nothing.
    """
    from didlab.files import chunked, estargz

    # A zstd layer that was converted by stargz's tools has the annotations of both.
    return chunked.find(descriptor.annotations) or estargz.find(descriptor.annotations)


def vouched(descriptor: Descriptor) -> str:
    """Return which table of contents a descriptor vouches for; empty for none."""
    finder = find(descriptor)
    return "" if finder is None else f"{finder.kind} {finder.digest}"


def decode(kind: str, chunk: Chunk, data: bytes, limits: Limits = DEFAULT) -> bytes:
    """Return the content of a chunk, given the bytes from ``chunk.start`` to ``chunk.stop``.

    Raises
    ------
    CompressionInvalid, DigestMismatch, LimitExceeded
    """
    from didlab.files import chunked, estargz

    if chunk.length > limits.whole_file:
        raise LimitExceeded(
            f"a chunk of {chunk.length} bytes is more than {limits.whole_file}",
            what="bytes of a chunk",
            limit=limits.whole_file,
            seen=chunk.length,
        )
    if not chunk.digest:
        return bytes(chunk.length)
    expand = {"estargz": estargz.expand, "chunked": chunked.expand}[kind]
    content = expand(data, chunk.skip, chunk.length, limits)
    check(content, chunk.digest, f"the chunk at byte {chunk.start} of the layer")
    return content


def check(data: bytes, digest: str, what: str) -> None:
    """Raise `DigestMismatch` unless ``data`` has the digest."""
    algorithm = digest.partition(":")[0]
    actual = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    if actual != digest:
        raise DigestMismatch(
            f"{what} has digest {actual}, not {digest}", expected=digest, actual=actual
        )


def check_worth(length: int, size: int) -> None:
    """Refuse a table of ``length`` bytes that is as costly as the blob of ``size`` itself."""
    limit = min(TOC_LIMIT, max(_WORTH, size // 2))
    if length > limit:
        raise too_large(length, limit)


def too_large(length: int, limit: int = TOC_LIMIT) -> LimitExceeded:
    """Return the error for a table of contents that is too large to be read."""
    return LimitExceeded(
        f"the table of contents has {length} bytes, more than {limit}",
        what="bytes of a table of contents",
        limit=limit,
        seen=length,
    )


def refuse(why: str, where: str | None = None) -> NoReturn:
    """Raise `TarInvalid` for a table of contents."""
    raise TarInvalid(f"the layer's table of contents {why}", where=where)
