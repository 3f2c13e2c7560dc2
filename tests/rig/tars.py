"""Tar archives: made by every program at hand, and by hand where no program would."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from rig.processes import clean_environ, require

BLOCK = 512
END = bytes(2 * BLOCK)
#: A time before 2^33 with more digits than microseconds.
NANOSECONDS = 1_700_000_000_123_456_789


def octal(value: int, width: int) -> bytes:
    """Digits and a NUL, as most tars write them."""
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """What GNU writes where octal digits do not suffice."""
    raw = bytearray((value % (1 << (8 * width - 1))).to_bytes(width, "big"))
    raw[0] |= 0x80
    return bytes(raw)


def header(
    name: bytes,
    size: int | bytes = 0,
    flag: bytes = b"0",
    *,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 1_700_000_000,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block; numbers as octal, or as the bytes that they are given in."""

    def field(value: int | bytes, width: int) -> bytes:
        return value.ljust(width, b"\0") if isinstance(value, bytes) else octal(value, width)

    block = bytearray(BLOCK)
    for at, value in (
        (0, name[:100]),
        (100, field(mode, 8)),
        (108, field(uid, 8)),
        (116, field(gid, 8)),
        (124, field(size, 12)),
        (136, field(mtime, 12)),
        (148, b" " * 8),
        (156, flag),
        (157, link[:100]),
        (257, magic),
        (329, octal(device[0], 8)),
        (337, octal(device[1], 8)),
        (345, prefix),
    ):
        block[at : at + len(value)] = value
    return signed(block, checksum)


def signed(block: bytes | bytearray, checksum: bytes | None = None) -> bytes:
    """The block with its checksum."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def padded(content: bytes) -> bytes:
    """Content up to the end of its last block."""
    return content + bytes(-len(content) % BLOCK)


def file(name: bytes, content: bytes = b"", flag: bytes = b"0", **fields: object) -> bytes:
    """A header and its content."""
    return header(name, len(content), flag, **fields) + padded(content)  # type: ignore[arg-type]


def record(key: bytes, value: bytes) -> bytes:
    """A PAX record, whose length counts its own digits."""
    rest = b" %s=%s\n" % (key, value)
    size = len(rest)
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d%s" % (size, rest)


def pax(records: Iterable[tuple[bytes, bytes]], flag: bytes = b"x") -> bytes:
    """A PAX header as Go writes it: sorted records, a name in PaxHeaders.0."""
    return file(b"PaxHeaders.0/x", b"".join(record(*pair) for pair in records), flag)


def long(kind: bytes, name: bytes) -> bytes:
    """GNU's long name (L) or link (K)."""
    return file(b"././@LongLink", name + b"\0", kind, magic=b"ustar  \0")


def tree(folder: Path) -> Path:
    """A folder with one of everything that this system and user can make."""
    folder.mkdir()
    deep = folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    deeper = deep / ("f" * 90) / ("g" * 90)
    deeper.mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "one").write_bytes(b"1")
    (folder / "block").write_bytes(b"b" * 512)
    (folder / "more").write_bytes(bytes(range(256)) * 3)
    (folder / "mit Leerzeichen").write_text("x")
    (folder / "grün-文件").write_text("utf-8")
    (folder / ("n" * 150)).write_text("longer than a header's field")
    (deep / "leaf").write_text("with a prefix")
    (deeper / "leaf").write_text("too deep for one")
    (folder / "setuid").write_text("s")
    (folder / "setuid").chmod(0o6755)
    (folder / "sticky").mkdir()
    (folder / "sticky").chmod(0o1777)
    (folder / "symlink").symlink_to("one")
    (folder / "far").symlink_to("t" * 160)
    os.link(folder / "more", folder / "twin")
    os.link(folder / ("n" * 150), folder / ("o" * 150))
    with (folder / "sparse").open("wb") as file:
        for at in (0, 1 << 20, 3 << 20):
            file.seek(at)
            file.write(os.urandom(4096))
        file.truncate(5 << 20)
    with (folder / "holes").open("wb") as file:
        # More regions than an old GNU header and one extension hold.
        for at in range(0, 40 << 16, 1 << 16):
            file.seek(at)
            file.write(b"#" * 4096)
    if sys.platform == "linux":
        Path(os.fsdecode(os.fsencode(folder) + b"/latin-\xe9")).write_text("no utf-8")
        os.mkfifo(folder / "fifo")
        with contextlib.suppress(OSError):
            os.setxattr(folder / "one", "user.colour", b"red\0blue")
        if os.geteuid() == 0:
            with contextlib.suppress(OSError):
                os.mknod(folder / "null", 0o20666, os.makedev(1, 3))
                os.mknod(folder / "disk", 0o60660, os.makedev(259, 300))
    for path in folder.rglob("*"):
        os.utime(path, ns=(NANOSECONDS, NANOSECONDS), follow_symlinks=False)
    return folder


#: Which program makes which archives; GNU tar's sparse formats among them.
GNU_TAR = {
    "gnu-v7": ["--format=v7"],
    "gnu-ustar": ["--format=ustar"],
    "gnu-oldgnu": ["--format=oldgnu"],
    "gnu-gnu": ["--format=gnu"],
    "gnu-posix": ["--format=posix", "--xattrs"],
    "gnu-sparse-old": ["--format=gnu", "--sparse"],
    "gnu-sparse-0.0": ["--format=posix", "--sparse", "--sparse-version=0.0"],
    "gnu-sparse-0.1": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    "gnu-sparse-1.0": ["--format=posix", "--sparse", "--sparse-version=1.0"],
    "gnu-large-owner": ["--format=gnu", "--owner=x:4000000000", "--group=y:3000000"],
    "gnu-posix-owner": ["--format=posix", "--owner=x:4000000000", "--mtime=@-5"],
    "gnu-old-time": ["--format=gnu", "--mtime=@-5"],
    "gnu-names": ["--format=gnu", "--transform=s,^./,,"],
}
BSDTAR = {f"bsd-{name}": [f"--format={name}"] for name in ("v7", "ustar", "pax", "gnutar")}
PYTHON = {
    "python-ustar": tarfile.USTAR_FORMAT,
    "python-gnu": tarfile.GNU_FORMAT,
    "python-pax": tarfile.PAX_FORMAT,
}
NAMES = [*GNU_TAR, *BSDTAR, *PYTHON, "busybox"]


def make(name: str, source: Path, target: Path) -> None:
    """Make one archive of the corpus; what the format cannot say is left out by its program."""
    if name in GNU_TAR:
        program = require("tar", "tar")
        _run([program, "-C", source, "-b1", *GNU_TAR[name], "-cf", target, "."])
    elif name in BSDTAR:
        program = require("bsdtar", "libarchive-tools")
        _run([program, "-C", source, *BSDTAR[name], "-cf", target, "."])
    elif name == "busybox":
        _run([require("busybox", "busybox"), "tar", "-C", source, "-cf", target, "."])
    else:
        with tarfile.open(target, "w", format=PYTHON[name]) as archive:
            for path in sorted(source.rglob("*")):
                try:
                    archive.add(path, str(path.relative_to(source)), recursive=False)
                except ValueError:
                    assert name == "python-ustar"


def _run(argv: list[str | Path]) -> None:
    # Names that a format cannot hold are warned about, with a status.
    environ = clean_environ() | {"LC_ALL": "C.UTF-8"}
    subprocess.run(argv, check=False, env=environ, stderr=subprocess.DEVNULL, timeout=60)


def go_style() -> bytes:
    """What a layer looks like when Go's archive/tar wrote it."""
    long_name = b"usr/lib/" + b"n" * 200
    parts = [
        header(b"usr/", flag=b"5", mode=0o755),
        pax([(b"mtime", b"1700000000.123456789")]),
        file(b"usr/a", b"a"),
        pax([(b"path", long_name)]),
        file(long_name[:100], b"long"),
        pax([(b"linkpath", long_name), (b"path", b"usr/" + "ü".encode())]),
        header(b"usr/", flag=b"2", link=long_name[:100]),
        pax([(b"linkpath", long_name)]),
        header(b"usr/hard", flag=b"1", link=long_name[:100]),
        pax([(b"SCHILY.xattr.security.capability", b"\1\0\0\2\0 \0\0=\n\0\0\0\0\0\0\0\0\0\0")]),
        file(b"usr/ping", b"ping", mode=0o4755),
        pax([(b"gid", b"3000000000"), (b"uid", b"4000000000")]),
        file(b"usr/owned", b"o"),
        pax([(b"size", b"3")]),
        header(b"usr/sized", 3) + padded(b"abc"),
        header(b"usr/.wh.gone"),
        header(b"usr/.wh..wh..opq"),
    ]
    return b"".join(parts) + END


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The data in pieces of one size."""
    return (data[at : at + size] for at in range(0, len(data), size))


def members(data: bytes) -> list[tarfile.TarInfo]:
    """What Python's tarfile reads, PAX times exactly."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as archive:
        return archive.getmembers()
