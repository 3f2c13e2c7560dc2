"""A package in rpm's databases: its header, as rpm stores it.

Layout (rpm's ``docs/manual/format_header.md``; big-endian): number of index entries, bytes of
data, then entries of 16 bytes (tag, type, offset into the data, count), then the data. There is
neither the lead nor the magic that files have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from didlab.audits.ecosystems.package import PACKAGE_LIMIT, TEXT_LIMIT, Package
from didlab.audits.ecosystems.texts import Skipped, invalid, limited, text, word
from didlab.errors import PackagesInvalid

__all__ = ["package", "packages"]

#: rpm's own limits.
_ENTRY_LIMIT = 0xFFFF
_DATA_LIMIT = 256 * 1024 * 1024
_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_LICENSE, _ARCH, _SOURCERPM = 1014, 1022, 1044
_WANTED = frozenset([_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCERPM])
_INT32, _STRING, _STRINGS, _I18N = 4, 6, 8, 9


def packages(blobs: Iterable[bytes | PackagesInvalid]) -> Iterator[Package]:
    """Yield the packages of headers.

    Parameters
    ----------
    blobs : iterable of bytes or PackagesInvalid
        Headers; an error stands for one that cannot be found.

    Raises
    ------
    PackagesInvalid
        After all others: some are no headers. At once, where the headers' own source fails.
    """
    return limited(_packages(blobs))


def _packages(blobs: Iterable[bytes | PackagesInvalid]) -> Iterator[Package]:
    skipped = Skipped("headers of rpm's database")
    for number, blob in enumerate(blobs, 1):
        if number > PACKAGE_LIMIT:
            raise invalid(f"more than {PACKAGE_LIMIT} headers in rpm's database")
        try:
            if isinstance(blob, PackagesInvalid):
                raise blob
            yield package(blob)
        except PackagesInvalid as failure:
            skipped.add(f"header {number}", failure.message)
    skipped.tell()


def package(blob: bytes) -> Package:
    """Return the package of one header.

    Raises
    ------
    PackagesInvalid
        It is none, or has no name or version.
    """
    tags = _tags(blob)
    name, version, release = (word(tags.get(tag)) for tag in (_NAME, _VERSION, _RELEASE))
    if name is None or version is None:
        raise invalid("an rpm header without name or version")
    full = version if release is None else f"{version}-{release}"
    if epoch := tags.get(_EPOCH):
        full = f"{epoch.decode('ascii')}:{full}"
    source, source_version = _source(word(tags.get(_SOURCERPM)))
    return Package(
        "rpm",
        name,
        full,
        word(tags.get(_ARCH)),
        source,
        source_version,
        text(tags.get(_LICENSE)),
    )


def _tags(blob: bytes) -> dict[int, bytes]:
    if len(blob) < 8:
        raise invalid("an rpm header of less than 8 bytes")
    entries, size = struct.unpack_from(">II", blob)
    data = 8 + 16 * entries
    if not 0 < entries <= _ENTRY_LIMIT or size > _DATA_LIMIT or data + size > len(blob):
        raise invalid("an rpm header whose index or data ends outside of it")
    found: dict[int, bytes] = {}
    for tag, kind, offset, count in struct.iter_unpack(">IIII", blob[8:data]):
        if tag not in _WANTED or tag in found:
            continue
        if offset >= size or count < 1:
            raise invalid("an rpm header with a value outside of its data", f"tag {tag}")
        start = data + offset
        if tag == _EPOCH:
            if kind != _INT32 or offset + 4 > size:
                raise invalid("an rpm header whose epoch is no number")
            found[tag] = str(int.from_bytes(blob[start : start + 4])).encode()
            continue
        if kind not in (_STRING, _STRINGS, _I18N):
            raise invalid("an rpm header with a text that is none", f"tag {tag}")
        end = blob.find(b"\0", start, data + size)
        if end < 0:
            raise invalid("an rpm header with a text that does not end", f"tag {tag}")
        found[tag] = blob[start : min(end, start + 4 * TEXT_LIMIT)]
    return found


def _source(name: str | None) -> tuple[str | None, str | None]:
    """Split ``bash-5.1.8-6.el9.src.rpm``."""
    if name is None:
        return None, None
    stem = name.removesuffix(".rpm").removesuffix(".src").removesuffix(".nosrc")
    parts = stem.rsplit("-", 2)
    if len(parts) != 3 or not all(parts):
        return name, None
    return parts[0], f"{parts[1]}-{parts[2]}"
