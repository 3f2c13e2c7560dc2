"""The beginning of a file, as something to look at: text, JSON, a picture, or bytes."""

from __future__ import annotations

import base64
import codecs
import json
import struct
from dataclasses import dataclass

#: Bytes of a file that are read for text, for all other content, and of a picture at most.
TEXT, HEX, PICTURE = 64 * 1024, 4096, 2_000_000
#: Pixels of a picture that a browser is asked to draw: a small file can hold gigabytes of them.
PIXELS = 24_000_000
#: Bytes of JSON that are read, to be shown in lines.
JSON = 256 * 1024
_LINES = 2000


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a file.

    Attributes
    ----------
    kind : str
        ``text``, ``json``, ``hex``, ``picture``, ``empty``, ``folder``, ``special``; ``failed``:
        the note says why.
    text : str
        Lines, not escaped; of a picture its data: URL.
    note : str
        What is left out, and the like; may be empty.
    """

    kind: str
    text: str = ""
    note: str = ""


def wanted(head: bytes, size: int) -> int:
    """Return how many bytes to read, from the first ones of a file and its size."""
    if picture_type(head) is not None and size <= PICTURE:
        return size
    if head.lstrip()[:1] in (b"{", b"[") and size <= JSON:
        return size
    return min(size, TEXT)


def preview(data: bytes, size: int) -> Preview:
    """Return what to show of a file's first bytes; ``size`` is that of the whole file."""
    if not size:
        return Preview("empty", note="an empty file")
    kind = picture_type(data)
    if kind is not None:
        why = _unfit(data, size, kind)
        if why is None:
            return Preview("picture", f"data:{kind};base64,{base64.b64encode(data).decode()}")
        return Preview("hex", dump(data[:HEX]), f"a picture ({kind}) {why}")
    pretty = _pretty(data) if len(data) == size else None
    if pretty is not None:
        return Preview("json", *_cut(pretty, whole=True))
    text = _text(data, whole=len(data) == size)
    if text is not None:
        return Preview("text", *_cut(text, whole=len(data) == size))
    more = f"the first {HEX:,} of {size:,} bytes" if size > HEX else ""
    return Preview("hex", dump(data[:HEX]), more)


def picture_type(data: bytes) -> str | None:
    """Return the media type of a picture that browsers draw, by its first bytes.

    >>> picture_type(b"GIF89a..."), picture_type(b"<svg>")
    ('image/gif', None)
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def dump(data: bytes) -> str:
    """Return bytes as hexdump -C shows them.

    >>> print(dump(b"ELF"))
    00000000  45 4c 46                                          |ELF|
    """
    lines = []
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        left, right = piece[:8].hex(" "), piece[8:].hex(" ")
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}  {left:<23}  {right:<23}  |{plain}|")
    return "\n".join(lines)


def _unfit(data: bytes, size: int, kind: str) -> str | None:
    if size > PICTURE or len(data) < size:
        return f"of more than {PICTURE // 1_000_000} MB"
    try:
        width, height = _dimensions(data, kind)
    except (struct.error, IndexError, ValueError):
        return "that says no size"
    if not 0 < width * height <= PIXELS:
        return f"of {width} × {height} pixels, too many to draw here"
    return None


def _dimensions(data: bytes, kind: str) -> tuple[int, int]:
    """Return width and height as a picture's head says them."""
    if kind == "image/png":
        return struct.unpack_from(">II", data, 16)
    if kind == "image/gif":
        return struct.unpack_from("<HH", data, 6)
    if kind == "image/webp":
        return _webp(data)
    at = 2
    while True:  # JPEG: from segment to segment, to the one that begins a frame
        marker, code, length = struct.unpack_from(">BBH", data, at)
        if marker != 0xFF:
            raise ValueError("no marker")
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length


def _webp(data: bytes) -> tuple[int, int]:
    form = data[12:16]
    if form == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if form == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _text(data: bytes, *, whole: bool) -> str | None:
    """Return text where it is some: UTF-8, or what its byte order mark says; else None."""
    name = "utf-8-sig"
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        name = "utf-16"
    elif b"\0" in data:
        return None
    try:
        # Not the end: what was cut in the middle of a character is no error.
        return codecs.getincrementaldecoder(name)().decode(data, whole)
    except UnicodeDecodeError:
        return None


def _pretty(data: bytes) -> str | None:
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _cut(text: str, *, whole: bool) -> tuple[str, str]:
    lines = text.split("\n", _LINES)
    if len(lines) > _LINES:
        return "\n".join(lines[:_LINES]), f"the first {_LINES:,} lines"
    return text, "" if whole else f"the first {TEXT // 1024} KiB"
