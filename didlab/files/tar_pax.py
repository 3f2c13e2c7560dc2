"""PAX extended headers: records, times and extended attributes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote_to_bytes

from didlab.errors import LimitExceeded
from didlab.files.limits import Limits
from didlab.files.tar_header import INT64, invalid

SPARSE_MAP = b"GNU.sparse.map"
_SPARSE_OFFSET, _SPARSE_LENGTH = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_STRINGS = (b"path", b"linkpath", b"uname", b"gname", b"GNU.sparse.name")

_INTEGER = re.compile(rb"([+-]?)0*([0-9]+)")
_TIME = re.compile(rb"(-?)0*([0-9]+)(?:\.([0-9]*))?")


def _split(body: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; one look at each byte, whatever the lengths say."""
    start, end = 0, len(body)
    while start < end:
        blank = body.find(b" ", start, start + 12)
        digits = body[start : max(blank, start)]
        if not digits.isdigit():
            raise invalid("a PAX record without a length", at + start)
        stop = start + int(digits)
        if stop <= blank + 2 or stop > end or body[stop - 1] != 0x0A:
            raise invalid("a PAX record of a wrong length", at + start)
        equals = body.find(b"=", blank + 1, stop - 1)
        key = body[blank + 1 : max(equals, blank + 1)]
        if not key or b"\0" in key:
            raise invalid("a PAX record without a name", at + start)
        yield key, body[equals + 1 : stop - 1]
        start = stop


def records(body: bytes, at: int, limits: Limits) -> dict[bytes, bytes]:
    r"""Read the body of a PAX header that lies at ``at``; the last one of a name holds.

    The pairs of GNU's sparse format 0.0 become the map that 0.1 has.

    >>> records(b"16 path=etc/ssh\n", 0, Limits())
    {b'path': b'etc/ssh'}
    """
    found: dict[bytes, bytes] = {}
    pairs: list[bytes] = []
    for count, (key, value) in enumerate(_split(body, at), 1):
        if count > limits.records:
            raise LimitExceeded(
                f"the PAX header at byte {at} of the tar has more than {limits.records} records",
                what="PAX records",
                limit=limits.records,
                seen=count,
            )
        if key in _STRINGS and b"\0" in value:
            raise invalid("a name with a NUL in it", at)
        if key in (_SPARSE_OFFSET, _SPARSE_LENGTH):
            if (key == _SPARSE_LENGTH) != len(pairs) % 2 or b"," in value:
                raise invalid("offsets and lengths of a sparse file are no pairs", at)
            pairs.append(value)
        else:
            found[key] = value
    if pairs:
        found[SPARSE_MAP] = b",".join(pairs)
    return found


def integer(text: bytes) -> int | None:
    """Read a decimal number; None where it is none, far out where it has too many digits."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    sign, digits = match.groups()
    value = int(digits) if len(digits) <= 20 else 10**20
    return -value if sign == b"-" else value


def microseconds(text: bytes) -> tuple[int, bool] | None:
    """Read a time, rounded down, and whether it had to be clamped; None where it is none.

    >>> microseconds(b"1.5"), microseconds(b"-1.0000001"), microseconds(b"NaN")
    ((1500000, False), (-1000001, False), None)
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction = match.groups(b"")
    if len(whole) > 13:
        return (-INT64 if sign else INT64), True
    value = int(whole) * 1_000_000 + int(fraction[:6].ljust(6, b"0"))
    exact = -value - bool(fraction[6:].strip(b"0")) if sign else value
    return max(-INT64, min(exact, INT64)), abs(exact) > INT64


def xattrs(pax: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the extended attributes, their values in base64."""
    found: dict[str, str] = {}
    for key, value in pax.items():
        if key.startswith(_LIBARCHIVE):
            name = unquote_to_bytes(key[len(_LIBARCHIVE) :])
            try:
                content = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except binascii.Error:
                continue
            # bsdtar writes both: star's are the bytes themselves.
            found.setdefault(_name(name), base64.b64encode(content).decode())
    for key, value in pax.items():
        if key.startswith(_SCHILY):
            found[_name(key[len(_SCHILY) :])] = base64.b64encode(value).decode()
    return found


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
