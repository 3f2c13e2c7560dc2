"""Package databases for tests: made by the tools that keep them, or by their format."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from rig.processes import clean_environ, require, run

# A version with each character that rpm allows, epochs and none, both kinds of architecture, a
# subpackage with a version of its own, and one whose header is larger than a page.
SPEC = """\
Name: alpha
Epoch: 2
Version: 1.5~rc1^git20
Release: 3.el9+b1
Summary: a
License: MIT AND (Apache-2.0 OR GPL-2.0-or-later)
%description
a
%package -n libstdc++-beta_x.y
Summary: b
Version: 7
License: LGPLv2+ with exceptions
%description -n libstdc++-beta_x.y
b
%package many
Summary: c
BuildArch: noarch
%description many
c
%package none
Summary: d
Epoch: 0
%description none
d
%install
mkdir -p %{buildroot}/many
for n in $(seq 400); do : > %{buildroot}/many/a-rather-long-name-of-a-file-$n; done
%files
%files -n libstdc++-beta_x.y
%files many
/many
%files none
"""
PLAIN_SPEC = """\
Name: plain
Version: 0.1
Release: 1
Summary: p
License: Public Domain
BuildArch: noarch
%description
p
%files
"""
FORMAT = r"%{NAME}\t%{EVR}\t%{ARCH}\t%{SOURCERPM}\t%{LICENSE}\n"


@dataclass(frozen=True)
class RpmDatabases:
    """One set of packages, in each form that rpm kept them."""

    folder: Path
    sqlite: bytes
    bdb: bytes
    big_endian_bdb: bytes
    ndb: bytes
    #: What ``rpm -qa`` says: name, version with epoch, architecture, source rpm, license.
    told: list[list[str]]


def make_rpms(folder: Path) -> RpmDatabases:
    """Build packages with rpmbuild, install them with rpm."""
    require("rpmbuild", "rpm")
    for name, spec in (("alpha", SPEC), ("plain", PLAIN_SPEC)):
        path = folder / f"{name}.spec"
        path.write_text(spec)
        run(
            "rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}",
            "--define", "_build_id_links none", path, environ=_environ(folder),
        )  # fmt: skip
    database = folder / "sqlite"
    database.mkdir()
    rpm(database, "-i", "--justdb", "--nodeps", *sorted((folder / "RPMS").rglob("*.rpm")))
    whole = (database / "rpmdb.sqlite").read_bytes()
    headers = stored(database / "rpmdb.sqlite")
    return RpmDatabases(
        database,
        whole,
        berkeley(folder / "bdb", headers),
        berkeley(folder / "big", headers, order=4321),
        ndb(headers),
        listed(database),
    )


def rpm(database: Path, *argv: str | Path) -> str:
    return run(
        "rpm", "--dbpath", database, "--force-debian", *argv, environ=_environ(database.parent)
    )


def listed(database: Path, *argv: str) -> list[list[str]]:
    lines = rpm(database, *argv, "-qa", "--qf", FORMAT).splitlines()
    return sorted(line.split("\t") for line in lines)


def _environ(home: Path) -> dict[str, str]:
    # Nobody's ~/.rpmmacros.
    return {**clean_environ(), "HOME": str(home), "LC_ALL": "C.UTF-8"}


def stored(path: Path) -> list[tuple[int, bytes]]:
    """Headers by their number, out of SQLite's own hands."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT hnum, blob FROM Packages ORDER BY hnum").fetchall()
    finally:
        connection.close()


def berkeley(folder: Path, headers: list[tuple[int, bytes]], order: int = 1234) -> bytes:
    """The same in a Berkeley DB hash, as rpm before 4.16 kept them."""
    folder.mkdir()
    numbers = "<I" if order == 1234 else ">I"
    lines = ["VERSION=3", "format=bytevalue", "type=hash", f"db_lorder={order}"]
    lines += ["db_pagesize=4096", "HEADER=END"]
    # Under key 0 rpm keeps the largest number.
    for key, value in [(0, struct.pack(numbers, len(headers))), *headers]:
        lines += [" " + struct.pack(numbers, key).hex(), " " + value.hex()]
    load = require(next(filter(shutil.which, ("db_load", "db5.3_load")), "db_load"), "db-util")
    run(load, folder / "Packages", text="\n".join([*lines, "DATA=END", ""]))
    return (folder / "Packages").read_bytes()


def ndb(headers: list[tuple[int, bytes]], pages: int = 1) -> bytes:
    """The same in rpm's own format, by its description: Debian's rpm is built without it."""
    slots = bytearray(
        struct.pack("<4sIIII", b"RpmP", 0, 5, pages, len(headers) + 1).ljust(32, b"\0")
    )
    block, blobs = pages * 256, b""
    for number, header in headers:
        size = 16 + len(header) + 12
        count = -(-size // 16)
        head = struct.pack("<4sIII", b"BlbS", number, 5, len(header))
        body = (head + header).ljust(16 * count - 12, b"\0")
        blobs += body + struct.pack("<II4s", zlib.adler32(body), len(header), b"BlbE")
        slots += struct.pack("<4sIII", b"Slot", number, block, count)
        block += count
    slots += struct.pack("<4sIII", b"Slot", 0, 0, 0) * (pages * 256 - len(slots) // 16)
    return bytes(slots) + blobs


def header(*entries: tuple[int, int, bytes], entry_count: int | None = None) -> bytes:
    """An rpm header of (tag, type, value)."""
    index, data = b"", b""
    for tag, kind, value in entries:
        index += struct.pack(">IIII", tag, kind, len(data), 1)
        data += value
    count = len(entries) if entry_count is None else entry_count
    return struct.pack(">II", count, len(data)) + index + data


APK = b"""\
C:Q1jyLeuB9xr7k0VnVJEgs1SsGwE1Y=
P:musl
V:1.2.5-r9
A:x86_64
S:407278
I:667648
T:the musl c library (libc) implementation
U:https://musl.example/
L:MIT
o:musl
m:Somebody <somebody@example.com>
t:1739566318
c:a5b8e4a3c2f1d0e9b8a7c6d5e4f3a2b1c0d9e8f7
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1Fs6RcxVpiMdkfiF5G2bMV0mQqoM=
R:libc.musl-x86_64.so.1
a:0:0:777
Z:Q17yJ3JFNypA4mxhJJr0ou6CzsJVI=

C:Q1u4bSs6qGfFPFVWIQdVAcnyrKHj0=
P:ssl_client
V:1.37.0-r12
A:x86_64
S:4692
I:28672
T:EXternal ssl_client for busybox wget
L:GPL-2.0-only
o:busybox
F:usr
F:usr/bin
R:ssl_client
a:0:0:755
Z:Q1s/DGiuJ5cc+tBVNYM2Z+GPNYI8w=

P:py3-what+ever
V:3.0_alpha1_p20250101-r0
A:noarch
L:Apache-2.0 AND (MIT OR BSD-3-Clause)

"""
STATUS = b"""\
Package: libc6
Status: install ok installed
Priority: optional
Section: libs
Installed-Size: 12345
Maintainer: Somebody <somebody@example.com>
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u9
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library
 Package: not-a-field
 .
 Version: 9

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: bash
Status: hold ok installed
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b7
Description: shell
"""


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def walked(folder: Path) -> list[tuple[bytes, int, Path]]:
    """Every regular file: its path below the folder as an absolute one, size, and place."""
    found = []
    for root, _folders, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                inside = "/" + path.relative_to(folder).as_posix()
                found.append((os.fsencode(inside), path.stat().st_size, path))
    return sorted(found)
