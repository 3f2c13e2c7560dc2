"""Sparse files in tar: which regions are stored, in four formats that GNU tar has had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from didlab.errors import LimitExceeded
from didlab.files.limits import Limits
from didlab.files.tar_header import INT64, invalid, number
from didlab.files.tar_pax import SPARSE_MAP, integer

#: Offset and length of each stored region.
Regions = list[list[int]]

_PAIR = 24


def _too_many(at: int, limits: Limits, seen: int) -> LimitExceeded:
    return LimitExceeded(
        f"the sparse file at byte {at} of the tar has more than {limits.regions} regions",
        what="sparse regions",
        limit=limits.regions,
        seen=seen,
    )


def old_regions(table: bytes, at: int) -> Regions:
    """Read the pairs of an old GNU header, or of a block that extends it."""
    regions: Regions = []
    for start in range(0, len(table) - _PAIR + 1, _PAIR):
        if table[start] == 0:
            break
        pair = [number(table[start : start + 12]), number(table[start + 12 : start + _PAIR])]
        if pair[0] is None or pair[1] is None:
            raise invalid("the map of a sparse file has something else than numbers", at)
        regions.append([pair[0], pair[1]])
    return regions


def version(pax: Mapping[bytes, bytes]) -> str:
    """Return which sparse format the records announce: ``"0"``, ``"1"`` or none."""
    kind = (pax.get(b"GNU.sparse.major", b""), pax.get(b"GNU.sparse.minor", b""))
    if kind == (b"1", b"0"):
        return "1"
    if kind in ((b"0", b"0"), (b"0", b"1")):
        return "0"
    return "0" if kind == (b"", b"") and pax.get(SPARSE_MAP) else ""


def real_size(pax: Mapping[bytes, bytes], at: int) -> int:
    """Return the size with holes."""
    text = pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize") or b""
    size = integer(text)
    if size is None or not 0 <= size <= INT64:
        raise invalid("a sparse file without a size", at)
    return size


def listed_regions(pax: Mapping[bytes, bytes], at: int, limits: Limits) -> Regions:
    """Read the map that formats 0.0 and 0.1 have in the PAX header."""
    text = pax.get(SPARSE_MAP, b"")
    count = text.count(b",") + 1 if text else 0
    if count > 2 * limits.regions:
        raise _too_many(at, limits, count // 2)
    said = integer(pax.get(b"GNU.sparse.numblocks", b"%d" % (count // 2)))
    if count % 2 or said != count // 2:
        raise invalid("the map of a sparse file has another length than it says", at)
    return _pairs(text.split(b",") if text else [], at)


class MapReader:
    """Reads the map that format 1.0 has before the content, block by block."""

    def __init__(self, at: int, limits: Limits) -> None:
        self._at = at
        self._limits = limits
        self._text = bytearray()
        self._lines = 0

    @property
    def read(self) -> int:
        """Bytes of map so far."""
        return len(self._text)

    def block(self, block: bytes) -> Regions | None:
        """Take one more block; the regions once the map is complete."""
        self._text += block
        self._lines += block.count(b"\n")
        if len(self._text) > self._limits.sparse_map:
            raise LimitExceeded(
                f"the sparse file at byte {self._at} of the tar has a map of more than "
                f"{self._limits.sparse_map} bytes",
                what="sparse map",
                limit=self._limits.sparse_map,
                seen=len(self._text),
            )
        if not self._lines:
            if len(self._text) > 20:
                raise invalid("the map of a sparse file does not begin with a number", self._at)
            return None
        count = integer(bytes(self._text[: self._text.index(b"\n")]))
        if count is None or count < 0:
            raise invalid("the map of a sparse file does not begin with a number", self._at)
        if count > self._limits.regions:
            raise _too_many(self._at, self._limits, count)
        if self._lines < 1 + 2 * count:
            return None
        return _pairs(bytes(self._text).split(b"\n")[1 : 1 + 2 * count], self._at)


def _pairs(texts: Iterable[bytes], at: int) -> Regions:
    numbers: list[int] = []
    for text in texts:
        value = integer(text)
        if value is None:
            raise invalid("the map of a sparse file has something else than numbers", at)
        numbers.append(value)
    return [list(pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]


def checked(regions: Regions, size: int, stored: int, at: int, limits: Limits) -> Regions:
    """Return the regions that are not empty, when they fit file and archive, in order."""
    if len(regions) > limits.regions:
        raise _too_many(at, limits, len(regions))
    end = total = 0
    for offset, length in regions:
        if offset < end or length < 0 or offset + length > size:
            raise invalid("the regions of a sparse file overlap or leave it", at)
        end = offset + length
        total += length
    if total > stored:
        raise invalid("a sparse file whose regions are more than what is stored", at)
    return [region for region in regions if region[1]]


def filled(stored: bytearray, regions: Regions, size: int) -> bytearray:
    """Return the content with its holes."""
    content = bytearray(size)
    at = 0
    for offset, length in regions:
        content[offset : offset + length] = stored[at : at + length]
        at += length
    return content
