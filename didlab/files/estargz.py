"""eStargz: a gzip tar whose files are gzip members, and whose last member lists them.

After the specification of containerd's stargz-snapshotter. The list is a file of the tar,
``stargz.index.json``; an empty member after it, the footer, says where it begins.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping

from didlab.errors import CompressionInvalid
from didlab.files import toc, toc_table
from didlab.files.chunks import Chunks
from didlab.files.limits import DEFAULT, Limits
from didlab.files.table import Table
from didlab.oci import digest as digests

ANNOTATION = "containerd.io/snapshot/stargz/toc.digest"
#: What the format adds to the tar: the table itself, and one of the landmarks that say how much
#: to prefetch. They are no content of the image: stargz's snapshotter hides them from containers,
#: and podman does not store them.
HIDDEN = frozenset([b"/stargz.index.json", b"/.prefetch.landmark", b"/.no.prefetch.landmark"])

_MAGIC = b"\x1f\x8b\x08"
_EXTRA_ONLY = b"\x04"
# 51 bytes by the specification, 47 in stargz before it, 48 by a compressor that ends otherwise.
_FOOTER = 128
_PAYLOAD = re.compile(rb"([0-9a-f]{16})STARGZ")
_OCTAL = re.compile(rb"[0-7]{1,12}")
_BLOCK = 512
_STEP = 1024**2


def find(annotations: Mapping[str, str]) -> Finder | None:
    """Return a reader if an annotation vouches for a table."""
    digest = annotations.get(ANNOTATION)
    return Finder(digest) if digests.is_digest(digest) else None


class Finder:
    """Reads the table whose JSON has ``digest``."""

    kind = "estargz"

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def read(
        self, read_at: Callable[[int, int], bytes], size: int, limits: Limits = DEFAULT
    ) -> tuple[Table, Chunks]:
        """Fetch the blob's end, then what is missing of the table; check and read it."""
        # Most tables have 2 to 3 % of their blob. A 64th spares small layers the second request
        # (beside it, 64 KiB cost nothing) and moves nothing in vain for the larger ones, whose
        # second request takes the rest only.
        begin = size - min(size, max(64 * 1024, min(size // 64, 1024**2)))
        tail = read_at(begin, size)
        offset, footer = _footer(tail, begin)
        toc.check_worth(begin + footer - offset, size)
        if offset < begin:
            packed = read_at(offset, begin) + tail[:footer]
        else:
            packed = tail[offset - begin : footer]
        raw = _unpack(packed)
        toc.check(raw, self.digest, "the layer's table of contents")
        return toc_table.parse(raw, offset, limits, HIDDEN)


def expand(data: bytes, skip: int, length: int, limits: Limits) -> bytes:
    """Return ``length`` bytes of a member after ``skip``; never more is decompressed."""
    del limits
    member = _Member(data)
    while skip:
        step = min(skip, _STEP)
        member.take(step)
        skip -= step
    return member.take(length)


class _Member:
    """One gzip member, decompressed as far as somebody asks."""

    def __init__(self, data: bytes) -> None:
        self._engine = zlib.decompressobj(31)
        self._rest = data

    def take(self, length: int) -> bytes:
        if not length:
            return b""
        try:
            content = self._engine.decompress(self._rest, length)
        except zlib.error as failure:
            raise CompressionInvalid(f"a member of the layer is no gzip: {failure}") from None
        self._rest = self._engine.unconsumed_tail
        if len(content) != length:
            raise CompressionInvalid("a member of the layer ends before its content does")
        return content


def _footer(tail: bytes, begin: int) -> tuple[int, int]:
    """Return where the table begins in the blob, and where the footer does in ``tail``."""
    at = tail.rfind(_MAGIC + _EXTRA_ONLY, max(0, len(tail) - _FOOTER))
    if at < 0:
        toc.refuse("cannot be found: the layer has no footer")
    footer = tail[at:]
    length = int.from_bytes(footer[10:12], "little")
    extra = footer[12 : 12 + length]
    if extra[:4] == b"SG\x16\0":
        extra = extra[4:]
    found = _PAYLOAD.fullmatch(extra)
    engine = zlib.decompressobj(31)
    try:
        empty = engine.decompress(footer, 1) == b"" and engine.eof and not engine.unused_data
    except zlib.error:
        empty = False
    if found is None or not empty:
        toc.refuse("cannot be found: the layer's footer is none")
    offset = int(found[1], 16)
    if not 0 < offset < begin + at:
        toc.refuse("cannot be found: the layer's footer points elsewhere")
    return offset, at


def _unpack(packed: bytes) -> bytes:
    """Return the JSON in the member that holds the table, a tar of its own."""
    member = _Member(packed)
    header = member.take(_BLOCK)
    if header[:100].rstrip(b"\0") != b"stargz.index.json" or header[156:157] not in (b"0", b"\0"):
        toc.refuse("is not where the layer's footer says")
    size = header[124:136].strip(b"\0 ")
    if not _OCTAL.fullmatch(size):
        toc.refuse("has no size")
    if int(size, 8) > toc.TOC_LIMIT:
        raise toc.too_large(int(size, 8))
    return member.take(int(size, 8))
