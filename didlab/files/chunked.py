"""zstd:chunked: a zstd tar whose files are frames of their own, listed in a skippable frame.

As written by containers/storage (podman, buildah, skopeo), and by stargz's tools, whose tables
are eStargz's. The descriptor says where the table lies: one request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from didlab.errors import CompressionInvalid
from didlab.files import estargz, toc, toc_table, zstdlib
from didlab.files.chunks import Chunks
from didlab.files.limits import DEFAULT, Limits
from didlab.files.table import Table
from didlab.oci import digest as digests

#: The second is what containers/storage wrote until 2022.
PREFIXES = ("io.github.containers.zstd-chunked.", "io.containers.zstd-chunked.")

# Offset, length, length decompressed, type.
_POSITION = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,18}):1")
#: A skippable frame's magic number and length.
_HEADER = 8
_STEP = 1024**2


def find(annotations: Mapping[str, str]) -> Finder | None:
    """Return a reader if annotations vouch for a table and say where it is."""
    for prefix in PREFIXES:
        digest = annotations.get(f"{prefix}manifest-checksum")
        place = _POSITION.fullmatch(annotations.get(f"{prefix}manifest-position", ""))
        if digests.is_digest(digest) and place:
            offset, length, size = map(int, place.groups())
            return Finder(digest, offset, length, size, stargz=estargz.ANNOTATION in annotations)
    return None


class Finder:
    """Reads the table whose frame has ``digest``."""

    kind = "chunked"

    def __init__(
        self, digest: str, offset: int, length: int, size: int, *, stargz: bool = False
    ) -> None:
        self.digest = digest
        self.offset = offset
        self.length = length
        self.size = size
        self.hidden = estargz.HIDDEN if stargz else frozenset()

    def read(
        self, read_at: Callable[[int, int], bytes], size: int, limits: Limits = DEFAULT
    ) -> tuple[Table, Chunks]:
        """Fetch the table, check and read it."""
        end = self.offset - _HEADER
        if end < 0 or not self.length or self.offset + self.length > size:
            toc.refuse("is said to lie outside of the layer")
        toc.check_worth(self.length, size)
        if self.size > toc.TOC_LIMIT:
            raise toc.too_large(self.size)
        packed = read_at(self.offset, self.offset + self.length)
        toc.check(packed, self.digest, "the layer's table of contents")
        raw = expand(packed, 0, self.size, limits)
        return toc_table.parse(raw, end, limits, self.hidden)


def expand(data: bytes, skip: int, length: int, limits: Limits) -> bytes:
    """Return ``length`` bytes of a frame after ``skip``; never more is decompressed."""
    zstd = zstdlib.needed("this layer")
    widest = {zstd.DecompressionParameter.window_log_max: limits.window.bit_length() - 1}
    engine = zstd.ZstdDecompressor(options=widest)
    try:
        while skip > 0:
            step = engine.decompress(data, max_length=min(skip, _STEP))
            skip, data = skip - len(step), b""
            if not step:
                raise CompressionInvalid("a frame of the layer ends before its content does")
        content: bytes = engine.decompress(data, max_length=length)
    except (zstd.ZstdError, EOFError) as failure:
        raise CompressionInvalid(f"a frame of the layer is no zstd: {failure}") from None
    if len(content) != length:
        raise CompressionInvalid("a frame of the layer ends before its content does")
    return content
