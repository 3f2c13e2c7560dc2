"""Layers as tables by Python's tarfile, and what umoci makes of them on a disk."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from didlab.files import table as tables
from didlab.files.table import Entry, Table
from rig.processes import CommandFailed, require, run

_TYPES = {
    tarfile.REGTYPE: tables.FILE,
    tarfile.AREGTYPE: tables.FILE,
    tarfile.DIRTYPE: tables.DIR,
    tarfile.SYMTYPE: tables.SYMLINK,
    tarfile.LNKTYPE: tables.HARDLINK,
    tarfile.CHRTYPE: tables.CHAR,
    tarfile.BLKTYPE: tables.BLOCK,
    tarfile.FIFOTYPE: tables.FIFO,
}


class Fact(NamedTuple):
    """What a path is; what a type does not have is None."""

    type: str
    content: bytes | None = None
    link: bytes | None = None
    mode: int | None = None
    mtime: int | None = None
    owner: tuple[int, int] | None = None


def absolute(name: str) -> bytes:
    """An entry's name as tables have it."""
    parts = [part for part in os.fsencode(name).split(b"/") if part not in (b"", b".")]
    return b"/" + b"/".join(parts)


def layer_table(tar: bytes) -> Table:
    """A layer's table."""
    entries = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            link = os.fsencode(member.linkname)
            entries.append(
                Entry(
                    absolute(member.name),
                    _TYPES[member.type],
                    member.mode & 0o7777,
                    member.uid,
                    member.gid,
                    member.size if member.isreg() else 0,
                    int(member.mtime * 1_000_000),
                    absolute(member.linkname) if member.islnk() else link,
                    member.offset_data if member.isreg() else tables.NO_OFFSET,
                )
            )
    return Table.of(entries)


def merged_facts(merged: Table, tars: list[bytes], owners: bool) -> dict[bytes, Fact]:
    """What a merged table says about its paths."""
    found = {}
    assert merged.homes is not None
    for row, entry in enumerate(merged):
        content = link = None
        kind = tables.TYPES[entry.type]
        if entry.type in (tables.FILE, tables.HARDLINK):
            kind = "file"
            home = merged.homes[row]
            assert home >= 0, f"{entry.path!r} has no content"
            content = tars[home][entry.offset : entry.offset + entry.size]
        if entry.type == tables.SYMLINK:
            link = entry.link
        implied = merged.homes[row] < 0
        found[entry.path] = Fact(
            kind,
            content,
            link,
            None if link is not None or implied else entry.mode,
            None if implied else entry.mtime // 1_000_000,
            (entry.uid, entry.gid) if owners and not implied else None,
        )
    return found


def umoci_facts(layout: Path, tag: str, target: Path, owners: bool) -> dict[bytes, Fact] | str:
    """What umoci unpacks; its message where it refuses."""
    rootless = [] if owners else ["--rootless"]
    image = f"{layout}:{tag}"
    try:
        run(require("umoci", "umoci"), "raw", "unpack", *rootless, "--image", image, target)
    except CommandFailed as error:
        return str(error)
    found = {}
    root = os.fsencode(target)
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            place = folder + b"/" + name
            found[place[len(root) :]] = _fact(place, owners)
    return found


def _fact(place: bytes, owners: bool) -> Fact:
    status = os.lstat(place)
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "dir",
        stat.S_IFLNK: "symlink",
        stat.S_IFIFO: "fifo",
        stat.S_IFCHR: "char",
        stat.S_IFBLK: "block",
    }
    kind = kinds[stat.S_IFMT(status.st_mode)]
    return Fact(
        kind,
        Path(os.fsdecode(place)).read_bytes() if kind == "file" else None,
        os.readlink(place) if kind == "symlink" else None,  # noqa: PTH115 (bytes)
        None if kind == "symlink" else stat.S_IMODE(status.st_mode),
        int(status.st_mtime // 1),
        (status.st_uid, status.st_gid) if owners else None,
    )


def differences(ours: Mapping[bytes, Fact], theirs: Mapping[bytes, Fact]) -> list[str]:
    """Where two views differ; what one of them leaves open is no difference."""
    found = []
    for path in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(path), theirs.get(path)
        if mine is None or other is None:
            found.append(f"{path!r}: {mine} / {other}")
            continue
        for name, left, right in zip(Fact._fields, mine, other, strict=True):
            if left != right and (left is not None or name in ("content", "link")):
                found.append(f"{path!r} {name}: {left!r} / {right!r}")
    return found
