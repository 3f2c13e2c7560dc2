"""Layers with a table of contents, built after the public specifications.

eStargz: containerd's stargz-snapshotter, docs/estargz.md. zstd:chunked: containers/storage,
pkg/chunked. Nothing here is shared with the reader.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rig.images import sha256

ESTARGZ = "containerd.io/snapshot/stargz/toc.digest"
CHUNKED = "io.github.containers.zstd-chunked."
OLD_CHUNKED = "io.containers.zstd-chunked."

Member = tuple[tarfile.TarInfo, bytes]
Edit = Callable[[dict[str, Any]], None]

_KINDS = {
    tarfile.REGTYPE: "reg",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


@dataclass
class Tabled:
    """A blob, the annotations of its descriptor, and the tar in it."""

    blob: bytes
    annotations: dict[str, str]
    tar: bytes = field(repr=False)
    table: bytes = field(repr=False)
    reads: list[tuple[int, int]] = field(default_factory=list)

    def read_at(self, start: int, stop: int) -> bytes:
        """As a blob reader; remembers the ranges."""
        assert 0 <= start < stop <= len(self.blob), "asked beyond the blob"
        self.reads.append((start, stop))
        return self.blob[start:stop]


def entry(name: str, data: bytes = b"", **fields: Any) -> Member:
    """A member of a tar: ``entry("bin/", type=tarfile.DIRTYPE, mode=0o755)``."""
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    for key, value in fields.items():
        setattr(info, key, value)
    info.size = len(data)
    return info, data


def estargz(
    members: Sequence[Member],
    *,
    chunk: int = 4 << 20,
    join: int = 0,
    footer: str = "specified",
    landmark: bool = True,
    edit: Edit = lambda table: None,
    raw: Callable[[bytes], bytes] = lambda table: table,
) -> Tabled:
    """An eStargz blob; ``join`` puts payloads into one gzip member until it has so many bytes."""
    out = _Stream(_gzip)
    entries = _stargz(out, members, chunk, join, landmark)
    table = _dumped(entries, edit, raw, indent="\t")
    offset = len(out.blob)
    info = tarfile.TarInfo("stargz.index.json")
    info.size = len(table)
    out.write(info.tobuf(tarfile.USTAR_FORMAT) + table + _padding(len(table)) + bytes(1024))
    out.cut()
    blob = bytes(out.blob) + _footer(offset, footer)
    return Tabled(blob, {ESTARGZ: sha256(table)}, bytes(out.tar), table)


def chunked(
    members: Sequence[Member],
    *,
    chunk: int = 64 << 10,
    prefix: str = CHUNKED,
    edit: Edit = lambda table: None,
    raw: Callable[[bytes], bytes] = lambda table: table,
) -> Tabled:
    """A zstd:chunked blob as containers/storage writes it."""
    out = _Stream(_zstd)
    entries: list[dict[str, Any]] = []
    for info, data in members:
        out.write(_header(info))
        described = _described(info)
        described["modtime"] = _time(info.mtime)
        entries.append(described)
        if data:
            out.cut()
            described["digest"] = sha256(data)
            pieces = _split(data, chunk)
            for number, (at, piece, zeros) in enumerate(pieces):
                row = described if number == 0 else {"type": "chunk", "name": info.name}
                if number:
                    entries.append(row)
                row["offset"] = len(out.blob)
                if len(pieces) > 1:
                    row["chunkSize"], row["chunkDigest"] = len(piece), sha256(piece)
                    row |= {"chunkOffset": at} if at else {}
                    row |= {"chunkType": "zeros"} if zeros else {}
                out.write(piece)
                out.cut()
            described["endOffset"] = len(out.blob)
            out.write(_padding(len(data)))
    out.write(bytes(1024))
    out.cut()
    table = _dumped(entries, edit, raw, indent=None)
    return _with_skippable(out, table, prefix)


def stargz_zstd(members: Sequence[Member], **options: Any) -> Tabled:
    """zstd:chunked as stargz's tools write it: eStargz's table in a skippable frame."""
    out = _Stream(_zstd)
    entries = _stargz(out, members, options.get("chunk", 4 << 20), 0, True)
    out.write(bytes(1024))
    out.cut()
    table = _dumped(entries, lambda table: None, lambda table: table, indent="\t")
    made = _with_skippable(out, table, CHUNKED)
    made.annotations[ESTARGZ] = sha256(table)
    return made


def zstd_module() -> Any:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return zstd


class _Stream:
    """A tar compressed in pieces; ``cut`` ends one."""

    def __init__(self, pack: Callable[[bytes], bytes]) -> None:
        self.pack = pack
        self.blob, self.tar, self.open = bytearray(), bytearray(), bytearray()

    def write(self, data: bytes) -> None:
        self.tar += data
        self.open += data

    def cut(self) -> None:
        if self.open:
            self.blob += self.pack(bytes(self.open))
            self.open.clear()


def _stargz(
    out: _Stream, members: Sequence[Member], chunk: int, join: int, landmark: bool
) -> list[dict[str, Any]]:
    entries = []
    marks = [entry(".no.prefetch.landmark", b"\x0f", mode=0o644)] if landmark else []
    for info, data in [*marks, *members]:
        out.write(_header(info))
        described = _described(info)
        if info.mtime:
            described["modtime"] = _time(int(info.mtime))
        entries.append(described)
        if data:
            described["digest"] = sha256(data)
        row = described
        for at in range(0, len(data), chunk):
            if at:
                row = {"name": info.name, "type": "chunk", "chunkOffset": at}
                entries.append(row)
            if len(out.open) >= join or not join:
                out.cut()
            piece = data[at : at + chunk]
            row["offset"] = len(out.blob)
            row |= {"innerOffset": len(out.open)} if out.open else {}
            row |= {"chunkSize": chunk} if at + chunk < len(data) else {}
            row["chunkDigest"] = sha256(piece)
            out.write(piece)
        out.write(_padding(len(data)))
    out.cut()
    return entries


def _with_skippable(out: _Stream, table: bytes, prefix: str) -> Tabled:
    packed = _zstd(table)
    offset = len(out.blob) + 8
    split = _zstd(b"tar-split data would be here")
    after = offset + len(packed) + 8
    footer = struct.pack("<7Q", offset, len(packed), len(table), 1, after, len(split), 28)
    blob = bytes(out.blob)
    for data in (packed, split, footer + b"GNUlInUx"):
        blob += struct.pack("<II", 0x184D2A50, len(data)) + data
    annotations = {
        f"{prefix}manifest-checksum": sha256(packed),
        f"{prefix}manifest-position": f"{offset}:{len(packed)}:{len(table)}:1",
        f"{prefix}tarsplit-position": f"{after}:{len(split)}:28",
    }
    return Tabled(blob, annotations, bytes(out.tar), table)


def _dumped(
    entries: list[dict[str, Any]],
    edit: Edit,
    raw: Callable[[bytes], bytes],
    indent: str | None,
) -> bytes:
    table = {"version": 1, "entries": entries}
    edit(table)
    separators = None if indent else (",", ":")
    return raw(json.dumps(table, indent=indent, separators=separators).encode())


def _described(info: tarfile.TarInfo) -> dict[str, Any]:
    row: dict[str, Any] = {"type": _KINDS[info.type], "name": info.name}
    optional = {
        "linkName": info.linkname,
        "mode": info.mode,
        "size": info.size,
        "uid": info.uid,
        "gid": info.gid,
        "devMajor": info.devmajor,
        "devMinor": info.devminor,
    }
    row |= {key: value for key, value in optional.items() if value}
    attributes = {
        key.removeprefix("SCHILY.xattr."): base64.b64encode(value.encode()).decode()
        for key, value in info.pax_headers.items()
        if key.startswith("SCHILY.xattr.")
    }
    return row | ({"xattrs": attributes} if attributes else {})


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % 512)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _split(data: bytes, chunk: int) -> list[tuple[int, bytes, bool]]:
    """Cut data at runs of zeros and after each ``chunk`` bytes."""
    pieces, at = [], 0
    for run in [*re.finditer(rb"\0{1024,}", data), None]:
        end = run.start() if run else len(data)
        pieces += [(n, data[n : min(n + chunk, end)], False) for n in range(at, end, chunk)]
        if run:
            pieces.append((end, run[0], True))
            at = run.end()
    return pieces


def _gzip(data: bytes) -> bytes:
    engine = zlib.compressobj(6, zlib.DEFLATED, 31)
    return engine.compress(data) + engine.flush()


def _zstd(data: bytes) -> bytes:
    packed: bytes = zstd_module().compress(data)
    return packed


def _footer(offset: int, kind: str) -> bytes:
    payload = b"%016xSTARGZ" % offset
    extra = payload if kind == "legacy" else b"SG" + struct.pack("<H", len(payload)) + payload
    # A last block that is stored, or (as newer compressors have it) one of fixed codes.
    block = b"\x03\0" if kind == "short" else b"\x01\0\0\xff\xff"
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra
    return head + block + bytes(8)
