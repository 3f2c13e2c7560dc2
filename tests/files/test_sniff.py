"""What a layer is, by its first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from didlab.errors import CompressionInvalid, Unsupported
from didlab.files import sniff, zstdlib
from didlab.oci import media_types


def tar(form: int, name: str = "etc/passwd") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def v7(name: bytes = b"etc/passwd", *, signed: bool = False) -> bytes:
    """A header older than ustar: its checksum is all that tells."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:148] = b"0000644\x000000000\x000000000\x0000000000003\x0000000000000\x00"
    block[148:156] = b" " * 8
    total = sum(block) - (256 * sum(byte > 127 for byte in block) if signed else 0)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (gzip.compress(b"x"), "gzip"),
        (b"\x1f\x8b", "gzip"),
        (zstdlib.module().compress(b"x"), "zstd"),
        (b"\x50\x2a\x4d\x18\0\0\0\0", "zstd"),
        (b"\x5f\x2a\x4d\x18\0\0\0\0", "zstd"),
        (tar(tarfile.USTAR_FORMAT), "tar"),
        (tar(tarfile.GNU_FORMAT), "tar"),
        (tar(tarfile.PAX_FORMAT, "ü" * 200), "tar"),
        (tar(tarfile.USTAR_FORMAT, "BZh91AY"), "tar"),
        (tar(tarfile.USTAR_FORMAT, "{a}"), "tar"),
        (v7(), "tar"),
        (v7(b"\xfcber"), "tar"),
        (v7(b"\xfcber", signed=True), "tar"),
        (bytes(1024), "tar"),
        (bytes(1), "tar"),
        (b"", "tar"),
    ],
)
def test_layers(first: bytes, kind: str) -> None:
    assert sniff.kind(first) == kind
    assert sniff.kind(first[: sniff.NEEDED]) == kind


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a", "b")
    return out.getvalue()


@pytest.mark.parametrize(
    ("first", "named"),
    [
        (lzma.compress(b"x"), "xz"),
        (lzma.compress(b"x", lzma.FORMAT_ALONE), "lzma"),
        (bz2.compress(b"x"), "bzip2"),
        (b"\x04\x22\x4d\x18\x64", "lz4"),
        (archive(), "zip"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "HTML"),
        (b'\xef\xbb\xbf{"errors":[]}', "JSON"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b"404 page not found\n", "text"),
        (tar(tarfile.USTAR_FORMAT)[:300], "cut off"),
        (b"\x60\x2a\x4d\x18\0\0\0\0", "begins with 60 2a 4d 18"),
        (b"\x80\x81" * 300, "begins with 80 81"),
        (v7().replace(b"etc", b"etd"), "begins with"),
        (b"\x1f", "begins with 1f"),
    ],
)
def test_others_are_named(first: bytes, named: str) -> None:
    with pytest.raises(CompressionInvalid, match=named) as caught:
        sniff.kind(first)
    assert str(caught.value).isprintable()


def test_encrypted() -> None:
    with pytest.raises(Unsupported, match="encrypted"):
        sniff.kind(b"\x01\x02", media_types.OCI_LAYER_GZIP + "+encrypted")


@pytest.mark.parametrize(
    ("kind", "media_type", "warning"),
    [
        ("gzip", media_types.DOCKER_LAYER, None),
        ("tar", media_types.OCI_LAYER, None),
        ("zstd", "text/plain", None),
        ("zstd", media_types.OCI_LAYER_GZIP + "; a=b", "says gzip, but the layer is zstd"),
        ("gzip", media_types.OCI_LAYER, "says a plain tar, but the layer is gzip"),
        ("tar", media_types.OCI_LAYER_ZSTD, "says zstd, but the layer is a plain tar"),
    ],
)
def test_media_type_lies(kind: sniff.Kind, media_type: str, warning: str | None) -> None:
    told = sniff.mismatch(kind, media_type)
    assert told is None if warning is None else warning in (told or "")
