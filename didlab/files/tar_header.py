"""One 512-byte tar header: its fields as every tar writes them."""

from __future__ import annotations

import struct
from typing import NamedTuple

from didlab.errors import LimitExceeded, TarInvalid
from didlab.files.limits import Limits

BLOCK = 512
ZERO = bytes(BLOCK)
INT64 = 2**63 - 1

POSIX, GNU, OLD = range(3)

# name mode uid gid size mtime checksum type link magic uname gname major minor prefix
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")


class Header(NamedTuple):
    """The fields of one header; ``raw`` has numbers that were clamped, as text."""

    flag: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    device: tuple[bytes, bytes]
    raw: dict[str, str]


def blocks(size: int) -> int:
    """Return how many blocks hold so many bytes."""
    return (size + BLOCK - 1) // BLOCK


def shown(name: bytes) -> str:
    """Return raw bytes as text for a message."""
    return name[:200].decode("utf-8", "backslashreplace")


def invalid(message: str, at: int) -> TarInvalid:
    """Make the error for a tar that breaks its format at an offset."""
    return TarInvalid(f"the tar is damaged at byte {at}: {message}", where=str(at))


def number(field: bytes) -> int | None:
    r"""Read octal digits, or base-256; None where it is neither.

    Blanks and NULs around the digits count for nothing, and nothing at all is 0.

    >>> number(b"0000644\0"), number(b" 644 \0"), number(b"\x80\0\0\1"), number(b"9")
    (420, 420, 1, None)
    """
    if field[:1] >= b"\x80":
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    digits = field.strip(b" \0").split(b"\0", 1)[0]
    if not digits:
        return 0
    # int() would also take signs, underscores and 0o.
    return None if digits.strip(b"01234567") else int(digits, 8)


def summed(block: bytes) -> bool:
    """Whether the checksum is right: of unsigned bytes, or signed ones as old tars added."""
    stored = number(block[148:156])
    rest = block[:148] + block[156:]
    total = sum(rest) + 8 * 0x20
    if stored == total:
        return True
    return stored == total - 256 * sum(byte > 127 for byte in rest)


def _whole(field: bytes, what: str, at: int) -> int:
    value = number(field)
    if value is None:
        raise invalid(f"its {what} is no number: {shown(field)}", at)
    return value


def clamped(value: int, what: str, raw: dict[str, str]) -> int:
    """Return what a table can hold, and remember in ``raw`` what it was."""
    if -INT64 <= value <= INT64:
        return value
    raw[what] = str(value)
    return INT64 if value > 0 else -INT64


def size_of(field: bytes, at: int) -> int:
    """Read a size; negative ones and those no file can have are refused."""
    size = _whole(field, "size", at)
    if not 0 <= size <= INT64:
        raise invalid(f"no file has {size} bytes", at)
    return size


def _verify(block: bytes, at: int) -> None:
    if not summed(block):
        raise invalid("no tar header, or its checksum is wrong", at)


def extended(block: bytes, at: int) -> int:
    """Return the size of a header that has a body, whatever its other fields say."""
    _verify(block, at)
    return size_of(block[124:136], at)


def parse(block: bytes, at: int, *, trusted: bool = False) -> Header:
    """Read a header that lies at ``at``; ``trusted`` when its checksum was verified."""
    if not trusted:
        _verify(block, at)
    (name, mode, uid, gid, size, mtime, _, flag, link, magic, _, _, major, minor, prefix, tail) = (
        _FIELDS.unpack(block)
    )
    raw: dict[str, str] = {}
    name = name.split(b"\0", 1)[0]
    # Only POSIX has a prefix: GNU keeps times and sparse maps there, and star's is shorter.
    if prefix[:1] != b"\0" and magic[:6] == b"ustar\0":
        if tail[-4:] == b"tar\0":
            prefix = prefix[:131]
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    return Header(
        flag,
        name,
        link.split(b"\0", 1)[0],
        _whole(mode, "mode", at) & 0o7777,
        clamped(_whole(uid, "owner", at), "uid", raw),
        clamped(_whole(gid, "group", at), "gid", raw),
        size_of(size, at),
        clamped(_whole(mtime, "time", at) * 1_000_000, "mtime", raw),
        (major, minor),
        raw,
    )


def device(header: Header, at: int) -> list[int]:
    """Return the device's numbers."""
    return [_whole(field, "device number", at) for field in header.device]


def absolute(name: bytes) -> bytes:
    """Return a path from the root: no ``.``, no empty component, no slash at the end.

    >>> absolute(b"./etc//passwd"), absolute(b"./"), absolute(b"a/../b/")
    (b'/etc/passwd', b'/', b'/a/../b')
    """
    return b"/" + b"/".join([part for part in name.split(b"/") if part not in (b"", b".")])


def within(path: bytes, limits: Limits, at: int) -> bytes:
    """Return the path unless it is longer or deeper than the limits."""
    if len(path) > limits.path:
        raise LimitExceeded(
            f"the entry at byte {at} of the tar has a path of {len(path)} bytes",
            what="path",
            limit=limits.path,
            seen=len(path),
        )
    # A component takes two bytes at least.
    if len(path) > limits.components and path.count(b"/") > limits.components:
        raise LimitExceeded(
            f"the entry at byte {at} of the tar lies {path.count(b'/')} folders deep",
            what="path components",
            limit=limits.components,
            seen=path.count(b"/"),
        )
    return path
