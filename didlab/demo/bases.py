"""What the images of the demo fleet are built on: small systems of four distributions.

os-release, users and package databases are as those systems have them; programs and libraries are
stand-ins of a few kilobytes.
"""

from __future__ import annotations

from functools import cache

from didlab.demo.content import Layer, Member, directory, file, layer, noise, symlink
from didlab.demo.elf import program

__all__ = ["BASES", "apk_database", "base", "dpkg_status", "users"]

#: Packages of each system: name, version, kilobytes on the disk.
_BUSTER = """\
base-files 10.3+deb10u13 341
bash 5.0-4 6461
libc6 2.28-10+deb10u2 12337
libssl1.1 1.1.1n-0+deb10u3 4077
login 1:4.5-1.1 1210
openssl 1.1.1n-0+deb10u3 1466
zlib1g 1:1.2.11.dfsg-1+deb10u1 207"""
_TRIXIE = """\
base-files 13.8 349
bash 5.2.37-2+b5 7164
libc6 2.41-12 13390
libssl3t64 3.5.1-1 8216
login 1:4.16.0-2+really2.41-5 120
openssl 3.5.1-1 2477
zlib1g 1:1.3.dfsg+really1.3.1-1+b1 165"""
_NOBLE = """\
base-files 13ubuntu10.3 395
bash 5.2.21-2ubuntu4 1896
libc6 2.39-0ubuntu8.6 13405
libssl3t64 3.0.13-0ubuntu3.6 6393
login 1:4.13+dfsg1-4ubuntu3.2 870
openssl 3.0.13-0ubuntu3.6 2111
zlib1g 1:1.3.dfsg-3.1ubuntu2.1 164"""
#: Here with the licence that apk's database has.
_ALPINE = """\
alpine-baselayout 3.6.5-r0 GPL-2.0-only
busybox 1.36.1-r29 GPL-2.0-only
libcrypto3 3.3.2-r0 Apache-2.0
libssl3 3.3.2-r0 Apache-2.0
musl 1.2.5-r0 MIT
zlib 1.3.1-r1 Zlib"""

#: Tag -> when it was made, os-release, packages.
BASES: dict[str, tuple[str, str, str]] = {
    "alpine": (
        "2024-09-06T11:20:07Z",
        'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME="Alpine Linux v3.20"\n',
        _ALPINE,
    ),
    "buster": (
        "2022-06-23T00:20:29Z",
        'PRETTY_NAME="Debian GNU/Linux 10 (buster)"\nNAME="Debian GNU/Linux"\nVERSION_ID="10"\n'
        'VERSION="10 (buster)"\nVERSION_CODENAME=buster\nID=debian\n',
        _BUSTER,
    ),
    "noble": (
        "2025-08-19T06:36:50Z",
        'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\n'
        "VERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n",
        _NOBLE,
    ),
    "trixie": (
        "2025-09-08T00:00:00Z",
        'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\n'
        'VERSION="13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n',
        _TRIXIE,
    ),
}

_USERS = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""


def users(*more: str) -> Member:
    """Return ``/etc/passwd``, with more users from uid 1000 on."""
    lines = (
        f"{name}:x:{1000 + at}:{1000 + at}::/app:/usr/sbin/nologin\n"
        for at, name in enumerate(more)
    )
    return file("etc/passwd", _USERS + "".join(lines))


def dpkg_status(tag: str, arch: str = "amd64", more: str = "") -> str:
    """Return dpkg's database of a system, with ``more`` packages, one a line as above."""
    lines = [*BASES[tag][2].splitlines(), *more.splitlines()]
    return "".join(_dpkg(*line.split(), arch=arch) for line in sorted(lines))


def _dpkg(name: str, version: str, size: str, *, arch: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nPriority: optional\n"
        f"Installed-Size: {size}\nMaintainer: The didlab developers <demo@didlab.invalid>\n"
        f"Architecture: {arch}\nVersion: {version}\nDescription: {name} of a demo image\n\n"
    )


def apk_database(more: str = "") -> str:
    """Return apk's database, with ``more`` packages: name, version, licence a line."""
    lines = [*_ALPINE.splitlines(), *more.splitlines()]
    made = []
    for line in sorted(lines):
        name, version, license_ = line.split()
        made.append(
            f"P:{name}\nV:{version}\nA:x86_64\nS:20480\nI:65536\nL:{license_}\no:{name}\n\n"
        )
    return "".join(made)


@cache
def base(tag: str, arch: str = "amd64") -> Layer:
    """Build the layer of a base image."""
    if tag == "alpine":
        database = [
            *map(directory, ("lib", "lib/apk", "lib/apk/db")),
            file("lib/apk/db/installed", apk_database()),
        ]
    else:
        database = [
            *map(directory, ("var/lib/dpkg", "var/lib/apt", "var/lib/apt/lists")),
            file("var/lib/dpkg/status", dpkg_status(tag, arch)),
        ]
    folders = "dev etc home proc root run srv sys usr usr/bin usr/lib usr/local usr/share var"
    setuid = [file(f"usr/bin/{name}", program(arch, f"{name}\n"), 0o4755) for name in _SETUID]
    return layer(
        *map(directory, folders.split()),
        directory("tmp", 0o1777),
        *map(directory, ("usr/local/bin", "usr/local/lib", "var/cache", "var/lib", "var/log")),
        users(),
        file("etc/shadow", "root:*:19000:0:99999:7:::\n", 0o640),
        symlink("etc/os-release", "../usr/lib/os-release"),
        file("usr/lib/os-release", BASES[tag][1]),
        file("usr/bin/sh", program(arch, "This is a demo's sh: it only says so.\n"), 0o755),
        *([] if tag == "alpine" else setuid),
        file("usr/lib/libc.so.6", noise(f"libc {tag} {arch}", 90_000)),
        file("usr/lib/libcrypto.so", noise(f"libcrypto {tag} {arch}", 120_000)),
        *database,
    )


#: What every Debian has with the rights of root.
_SETUID = ("newgrp", "passwd", "su")
