"""What a layer's first bytes say it is; its media type may lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from didlab.errors import CompressionInvalid, Unsupported
from didlab.files.zstdlib import MAGIC, SKIPPABLE
from didlab.oci import media_types

Kind = Literal["gzip", "zstd", "tar"]

#: Bytes that are needed to tell, unless the layer is shorter.
NEEDED = 512

_OTHERS = (
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"\x89LZO", "lzop"),
    (b"\x1f\x9d", "compress (.Z)"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"hsqs", "a SquashFS image"),
    (b"\x7fELF", "an ELF program"),
    (b"%PDF-", "a PDF document"),
    (b"!<arch>\n", "an ar archive"),
    (b"\x5d\0\0", "lzma"),
)


def beginning(pieces: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return enough of the first bytes to tell what they are, and the pieces after them."""
    source = iter(pieces)
    head = b""
    while len(head) < NEEDED:
        piece = next(source, None)
        if piece is None:
            break
        head += piece
    return head, source


def kind(first: bytes, media_type: str = "") -> Kind:
    r"""Return how a layer is compressed, by its first `NEEDED` bytes.

    Raises
    ------
    Unsupported
        The media type says that it is encrypted.
    CompressionInvalid
        It is neither gzip nor zstd nor a tar.

    Examples
    --------
    >>> kind(b"\x1f\x8b\x08"), kind(b"\x28\xb5\x2f\xfd"), kind(bytes(1024))
    ('gzip', 'zstd', 'tar')
    """
    if "+encrypted" in media_types.essence(media_type):
        raise Unsupported(
            f"the layer is encrypted ({media_type})",
            hint="didlab does not decrypt; decrypt the image first, e.g. with skopeo copy",
        )
    if first.startswith(b"\x1f\x8b"):
        return "gzip"
    if first.startswith(MAGIC) or (first[1:4] == SKIPPABLE and first[0] >> 4 == 5):
        return "zstd"
    if _tar(first[:NEEDED]):
        return "tar"
    raise CompressionInvalid(
        f"the layer is neither gzip nor zstd nor a tar: it seems to be {_guess(first)}",
        where="0",
    )


def mismatch(found: Kind, media_type: str) -> str | None:
    """Return a warning where the media type says something else than the bytes.

    >>> mismatch("gzip", media_types.OCI_LAYER_GZIP) is None
    True
    >>> mismatch("tar", media_types.OCI_LAYER_GZIP)
    'the media type says gzip, but the layer is a plain tar'
    """
    said = media_types.compression(media_types.essence(media_type))
    if said is None or (said or "tar") == found:
        return None
    names = {"tar": "a plain tar"}
    return (
        f"the media type says {names.get(said or 'tar', said)}, "
        f"but the layer is {names.get(found, found)}"
    )


def _tar(block: bytes) -> bool:
    """Whether it is a tar's first block, or nothing at all."""
    if not block.strip(b"\0"):
        return True
    return len(block) == NEEDED and (block[257:262] == b"ustar" or _checked(block))


def _checked(block: bytes) -> bool:
    """Whether the old header's only mark, its checksum, is right."""
    text = block[148:156].strip(b" \0")
    if not text or text.strip(b"01234567"):
        return False
    told = int(text, 8)
    counted = block[:148] + b" " * 8 + block[156:]
    # Some old programs added signed characters.
    signed = sum(counted) - 256 * sum(byte > 127 for byte in counted)
    return told in (sum(counted), signed)


def _guess(first: bytes) -> str:
    for magic, name in _OTHERS:
        if first.startswith(magic):
            return name
    start = first[:NEEDED].removeprefix(b"\xef\xbb\xbf").lstrip()
    lowered = start[:64].lower()
    if lowered.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if lowered.startswith(b"<"):
        return "XML or HTML"
    if lowered.startswith((b"{", b"[")):
        return "JSON"
    if len(first) < NEEDED and first[257:262] == b"ustar":
        return "a tar that is cut off"
    if start and all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in start):
        return "text"
    return f"something that begins with {first[:8].hex(' ')}"
