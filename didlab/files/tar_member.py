"""An entry out of its header and of the extended headers before it.

Where tars disagree this follows Go's ``archive/tar``, which unpacks images everywhere: links,
directories, devices and fifos have no content whatever their size field says, GNU's long name
comes before a PAX path, and an empty PAX value means none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from didlab.errors import LimitExceeded
from didlab.files import table, tar_pax, tar_sparse
from didlab.files.limits import Limits
from didlab.files.table import NO_OFFSET, Entry
from didlab.files.tar_header import (
    BLOCK,
    INT64,
    Header,
    absolute,
    clamped,
    device,
    invalid,
    shown,
    within,
)

#: What each type flag means; any other is a regular file, as POSIX says.
TYPES = {
    b"1": table.HARDLINK,
    b"2": table.SYMLINK,
    b"3": table.CHAR,
    b"4": table.BLOCK,
    b"5": table.DIR,
    b"6": table.FIFO,
}
_REGULAR = (b"0", b"\0", b"7", b"S")
#: What the size field of POSIX can say: only larger files need a PAX size.
_OCTAL_SIZE = 8**11


@dataclass(slots=True)
class Ahead:
    """What the headers before an entry say about it."""

    pax: dict[bytes, bytes] | None = None
    name: bytes | None = None
    link: bytes | None = None


@dataclass(slots=True)
class Member:
    """An entry on its way: ``stored`` bytes follow; a ``sparse`` one ("1") begins with a map."""

    path: bytes
    type: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    stored: int
    sparse: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def entry(self, offset: int) -> Entry:
        """Return the row of a table; ``offset`` is where the content begins."""
        return Entry(
            self.path,
            self.type,
            self.mode,
            self.uid,
            self.gid,
            self.size,
            self.mtime,
            self.link,
            offset if self.type == table.FILE else NO_OFFSET,
            self.extra or None,
        )


def member(
    header: Header,
    ahead: Ahead,
    at: int,
    limits: Limits,
    mtime: bytes = b"",
    warn: Callable[[str], None] = lambda text: None,
) -> Member:
    """Put one together; ``at`` is where its header lies, ``mtime`` what a global header set."""
    pax: Mapping[bytes, bytes] = ahead.pax or {}
    flag, raw = header.flag, dict(header.raw)
    name = header.name if ahead.name is None else ahead.name
    if ahead.name is None and pax.get(b"path"):
        name = pax[b"path"]
    stored = _stored(header, pax, at, warn)

    sparse = ""
    if flag == b"S":
        sparse = "S"
    elif pax and flag not in TYPES and (sparse := tar_sparse.version(pax)):
        name = pax.get(b"GNU.sparse.name") or name
    kind = TYPES.get(flag, table.FILE)
    if flag not in TYPES and flag not in _REGULAR:
        warn(f"unknown type {shown(flag)} of {shown(name)} at byte {at}: taken as a file")
    # BSD's convention of old, which writers of today still meet with a long name.
    if kind == table.FILE and name.endswith(b"/") and not sparse:
        kind = table.DIR
    if flag in TYPES or (flag == b"\0" and kind == table.DIR):
        stored = 0
    if stored > limits.decompressed - at - BLOCK:
        raise LimitExceeded(
            f"{shown(name)} at byte {at} of the tar is said to have {stored} bytes",
            what="decompressed bytes",
            limit=limits.decompressed,
            seen=at + BLOCK + stored,
        )

    made = Member(
        within(absolute(name), limits, at),
        kind,
        header.mode,
        _id(pax, b"uid", header.uid, raw),
        _id(pax, b"gid", header.gid, raw),
        stored if kind == table.FILE else 0,
        _time(pax.get(b"mtime") or mtime, header.mtime, raw),
        _link(header, ahead, pax, kind, limits, at),
        stored,
        sparse,
    )
    if sparse in ("0", "1"):
        made.size = tar_sparse.real_size(pax, at)
    if kind in (table.CHAR, table.BLOCK):
        made.extra["device"] = device(header, at)
    if pax and (attributes := tar_pax.xattrs(pax)):
        made.extra["xattrs"] = attributes
    if raw:
        made.extra["raw"] = raw
    return made


def _stored(
    header: Header, pax: Mapping[bytes, bytes], at: int, warn: Callable[[str], None]
) -> int:
    text = pax.get(b"size")
    if not text:
        return header.size
    size = tar_pax.integer(text)
    if size is None or not 0 <= size <= INT64:
        raise invalid(f"no file has a size of {shown(text)}", at)
    if size != header.size and size < _OCTAL_SIZE:
        warn(
            f"two sizes of {shown(header.name)} at byte {at}: {size} in its PAX header, which "
            f"holds, and {header.size} beside: other tools may read hidden entries here"
        )
    return size


def _id(pax: Mapping[bytes, bytes], key: bytes, given: int, raw: dict[str, str]) -> int:
    text = pax.get(key)
    if not text:
        return given
    value = tar_pax.integer(text)
    name = key.decode()
    if value is None:
        raw[name] = shown(text)
        return given
    raw.pop(name, None)
    if not -INT64 <= value <= INT64:
        value = clamped(value, name, raw)
        raw[name] = shown(text)
    return value


def _time(text: bytes, given: int, raw: dict[str, str]) -> int:
    if not text:
        return given
    read = tar_pax.microseconds(text)
    if read is None:
        raw["mtime"] = shown(text)
        return given
    raw.pop("mtime", None)
    if read[1]:
        raw["mtime"] = shown(text)
    return read[0]


def _link(
    header: Header,
    ahead: Ahead,
    pax: Mapping[bytes, bytes],
    kind: int,
    limits: Limits,
    at: int,
) -> bytes:
    if kind not in (table.HARDLINK, table.SYMLINK):
        return b""
    link = header.link if ahead.link is None else ahead.link
    if ahead.link is None and pax.get(b"linkpath"):
        link = pax[b"linkpath"]
    return within(absolute(link) if kind == table.HARDLINK else link, limits, at)
