"""A whole Debian system, changed by umoci: as tar, umoci, podman and docker see it."""

from __future__ import annotations

import base64
import gzip
import os
import posixpath
import random
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from rig.bigdebian import BigImage, big_debian, memory_folder
from rig.loaders import Docker, Podman
from rig.processes import clean_environ, require

import didlab
from didlab import Manifest
from didlab.files import kept
from didlab.files.table import NO_TIME

__all__ = ["big_debian"]

NAME = "lab/bigdebian:changed"
LETTERS = {"-": "file", "d": "dir", "l": "symlink", "h": "hardlink", "c": "char", "b": "block",
           "p": "fifo"}  # fmt: skip
KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}  # fmt: skip
#: The layer of the Debian system.
BASE = 1


class Fact(NamedTuple):
    """What a path is. A file with several names is one, and its names are a `Groups`."""

    type: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int | None
    link: str = ""
    device: tuple[int, int] | None = None


Facts = dict[str, Fact]
Groups = set[frozenset[str]]


# --- what didlab says ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(big_debian: BigImage) -> Manifest:
    return didlab.open(big_debian.reference, trust_env=False)


@pytest.fixture(scope="module")
def listed(image: Manifest) -> pd.DataFrame:
    df = image.files()
    assert len(df) >= 50_000
    return df


def micros(column: pd.Series[Any]) -> list[int]:
    """Microseconds; `NO_TIME` where there is none."""
    return column.dt.tz_localize(None).to_numpy("datetime64[us]").astype("int64").tolist()


def rows(df: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """path type size mode uid gid mtime link permissions, one row after another."""
    return zip(
        df["path"],
        df["type"],
        df["size"],
        df["mode"],
        df["uid"],
        df["gid"],
        micros(df["mtime"]),
        df["linkname"].fillna(""),
        df["permissions"],
        strict=True,
    )


@pytest.fixture(scope="module")
def ours(image: Manifest, listed: pd.DataFrame) -> tuple[Facts, Groups]:
    merged = kept.merged([layer.digest for layer in image.iter_layers()])
    assert merged is not None, "a listing is kept"
    table = merged.table
    homes, origins = table.homes, table.origins
    assert homes is not None
    assert origins is not None
    facts: Facts = {}
    # By content: the name that a hard link states may be gone, or another file since.
    names: dict[tuple[int, int], set[str]] = {}
    for row, (path, kind, size, mode, uid, gid, mtime, link, _) in enumerate(rows(listed)):
        device = (table.extras.get(row) or {}).get("device")
        if kind in ("file", "hardlink"):
            names.setdefault((homes[row], origins[row]), set()).add(path)
            kind, link = "file", ""
        facts[path] = Fact(
            kind,
            size,
            mode,
            uid,
            gid,
            None if mtime == NO_TIME else mtime,
            link,
            tuple(device) if device else None,
        )
    return facts, {frozenset(group) for group in names.values() if len(group) > 1}


def shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


# --- what others say -----------------------------------------------------------------------------


def on_disk(root: Path) -> tuple[Facts, Groups]:
    """An unpacked file system."""
    facts: Facts = {}
    names: dict[int, set[str]] = {}
    top = os.fsencode(root)
    todo = [top]
    while todo:
        place = todo.pop()
        status = os.lstat(place)
        path = shown(place[len(top) :]) or "/"
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        special = kind in ("char", "block")
        facts[path] = Fact(
            kind,
            status.st_size if kind == "file" else 0,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns // 1000,
            shown(os.readlink(place)) if kind == "symlink" else "",  # noqa: PTH115 (bytes)
            (os.major(status.st_rdev), os.minor(status.st_rdev)) if special else None,
        )
        if kind == "dir":
            todo += [entry.path for entry in os.scandir(place)]
        elif status.st_nlink > 1:
            names.setdefault(status.st_ino, set()).add(path)
    return facts, {frozenset(group) for group in names.values() if len(group) > 1}


class Listed(NamedTuple):
    """A line of ``tar -tvv``; ``xattrs`` are their names and sizes."""

    path: str
    type: str
    size: int
    permissions: str
    uid: int
    gid: int
    mtime: int
    link: str
    device: tuple[int, int] | None
    xattrs: dict[str, int]


_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rf"(.)(\S{{9}})[.+*]* +(\d+)/(\d+) +(?:(\d+)|(\d+),(\d+)) (\S+ \S+?)(?:\.(\d+))? +{_QUOTED}"
    rf"(?:(?: -> | link to ){_QUOTED})?"
)


def tar_lists(archive: Path) -> list[Listed]:
    """What GNU tar shows of an archive."""
    done = subprocess.run(
        [
            *(require("tar", "tar"), "--list", "-vv", "--full-time", "--numeric-owner"),
            *("--quoting-style=c", "--xattrs", "--xattrs-include=*", "--absolute-names"),
            *("--file", archive),
        ],
        capture_output=True,
        check=True,
        env={**clean_environ(), "TZ": "UTC", "LC_ALL": "C"},
    )
    found: list[Listed] = []
    for line in done.stdout.decode().splitlines():
        if line.startswith("  x: "):
            size, name = line[5:].split(" ", 1)
            found[-1].xattrs[name] = int(size)
            continue
        match = _LINE.fullmatch(line)
        assert match, line
        letter, bits, uid, gid, size, major, minor, when, fraction, name, link = match.groups()
        kind = LETTERS[letter]
        found.append(
            Listed(
                absolute(unquoted(name)),
                kind,
                int(size or 0),
                ("d" if kind == "dir" else "-" if kind == "hardlink" else letter) + bits,
                int(uid),
                int(gid),
                seconds(when) * 1_000_000 + int((fraction or "0")[:6].ljust(6, "0")),
                absolute(unquoted(link)) if kind == "hardlink" else unquoted(link or ""),
                (int(major), int(minor)) if major else None,
                {},
            )
        )
    return found


@lru_cache(4096)
def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def unquoted(text: str) -> str:
    if "\\" not in text:
        return text
    return shown(text.encode().decode("unicode_escape").encode("latin-1"))


def absolute(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/" + "/".join(parts)


# --- differences ---------------------------------------------------------------------------------


def differences(mine: Mapping[str, Fact], other: Mapping[str, Fact]) -> list[str]:
    """Where two views differ; what we have no time for has any."""
    found = []
    for path in sorted(mine.keys() | other.keys()):
        left, right = mine.get(path), other.get(path)
        if left is not None and right is not None and left.mtime is None:
            right = right._replace(mtime=None)
        if left != right:
            found.append(f"{path}: {left} / {right}")
    return found


def same(different: Iterable[str]) -> None:
    """Fail with the first few differences."""
    found = list(different)
    if found:
        pytest.fail(f"{len(found)} differences:\n" + "\n".join(found[:9]), pytrace=False)


def test_the_comparison_sees_differences() -> None:
    fact = Fact("file", 1, 0o644, 0, 0, 5)
    assert differences({"/a": fact}, {"/a": fact}) == []
    others = [fact._replace(**{name: "other"}) for name in Fact._fields]
    assert all(differences({"/a": fact}, {"/a": other}) for other in others)
    assert differences({"/a": fact}, {})
    assert differences({}, {"/a": fact})


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(4))
def test_a_layer_is_what_tar_lists(
    image: Manifest, listed: pd.DataFrame, big_debian: BigImage, position: int, tmp_path: Path
) -> None:
    layer = image.layer(position)
    archive = tmp_path / "layer.tar"
    blob = big_debian.layout / "blobs/sha256" / layer.digest.partition(":")[2]
    with gzip.open(blob) as source, archive.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    expected = tar_lists(archive)
    archive.unlink()
    df = layer.files()
    index = kept.index(layer.digest, layer.size)
    assert index is not None
    found = []
    for row, (path, kind, size, _, uid, gid, mtime, link, bits) in enumerate(rows(df)):
        extra = index.table.extras.get(row) or {}
        found.append(
            Listed(
                path,
                kind,
                size,
                bits,
                uid,
                gid,
                mtime,
                link,
                tuple(extra["device"]) if "device" in extra else None,
                {name: len(base64.b64decode(v)) for name, v in extra.get("xattrs", {}).items()},
            )
        )
    assert len(found) == len(expected)
    same(f"{a} / {b}" for a, b in zip(found, expected, strict=True) if a != b)
    marked = {
        one.path: "opaque" if one.path.endswith("/.wh..wh..opq") else "file"
        for one in expected
        if "/.wh." in one.path
    }
    assert dict(df.dropna(subset="whiteout").set_index("path")["whiteout"]) == marked
    # What the image is made for: real whiteouts in three layers, everything odd in the lowest.
    assert bool(marked) == (position != 0)
    if position == 0:
        assert {one.type for one in expected} == set(LETTERS.values())
        assert any(one.xattrs for one in expected)
    if position == BASE:
        assert len(expected) > 50_000


# --- merged --------------------------------------------------------------------------------------


def test_merged_as_umoci_unpacks(ours: tuple[Facts, Groups], big_debian: BigImage) -> None:
    theirs, groups = on_disk(big_debian.rootfs)
    same(differences(ours[0], theirs))
    same(map(str, ours[1] ^ groups))
    assert len(groups) > 5


def test_merged_as_podman_mounts(ours: tuple[Facts, Groups], image: Manifest) -> None:
    with memory_folder() as folder:
        podman = Podman(folder)
        archive = image.save(folder / "image.tar", progress=False)
        began = time.time_ns() // 1000
        podman.run("load", "-i", archive)
        theirs, groups = on_disk(Path(podman.run("image", "mount", NAME).strip()))
    # Deleting files, podman touches their folder, and leaves it so where the layer does not
    # state it; umoci puts the time back.
    for path, fact in theirs.items():
        if fact.type == "dir" and fact.mtime is not None and fact.mtime >= began:
            theirs[path] = fact._replace(mtime=ours[0][path].mtime if path in ours[0] else None)
    same(differences(ours[0], theirs))
    same(map(str, ours[1] ^ groups))


def test_merged_as_docker_exports(ours: tuple[Facts, Groups], image: Manifest) -> None:
    with memory_folder() as folder:
        docker = Docker(folder)
        try:
            archive = image.save(folder / "image.tar", progress=False)
            began = time.time_ns() // 1_000_000_000 * 1_000_000
            docker.run("load", "-i", archive)
            container = docker.run("create", "--network=none", str(image.reference)).strip()
            docker.run("export", "-o", folder / "export.tar", container)
            exported = tar_lists(folder / "export.tar")
        finally:
            docker.service.stop()
    theirs: Facts = {}
    names: dict[str, set[str]] = {}
    for one in exported:
        if one.type == "hardlink":
            names.setdefault(one.link, {one.link}).add(one.path)
            theirs[one.path] = theirs[one.link]
            continue
        theirs[one.path] = Fact(
            one.type, one.size, mode(one.permissions), one.uid, one.gid, one.mtime, one.link,
            one.device,
        )  # fmt: skip
    # It tells seconds only, and of the root nothing.
    mine = {
        path: fact._replace(mtime=fact.mtime and fact.mtime // 1_000_000 * 1_000_000)
        for path, fact in ours[0].items()
        if path != "/"
    }
    # Mount points of a container, made with it.
    made = {"/.dockerenv", "/dev", "/dev/console", "/dev/pts", "/dev/shm", "/etc/hostname",
            "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/sys"}  # fmt: skip
    for path in made:
        assert theirs.pop(path).mtime
        mine.pop(path, None)
    for path, fact in theirs.items():
        if fact.type == "dir" and fact.mtime is not None and fact.mtime >= began and path in mine:
            # As podman; and /etc because of what was made in it.
            theirs[path] = fact._replace(mtime=mine[path].mtime)
            # Folders that no layer states are for root only: newer daemons make 0755.
            if mine[path].mtime is None:
                theirs[path] = theirs[path]._replace(mode=mine[path].mode)
    same(differences(mine, theirs))
    same(map(str, ours[1] ^ {frozenset(group) for group in names.values()}))


def mode(permissions: str) -> int:
    """The bits of what ls shows."""
    bits = 0
    for at, letter in enumerate(permissions[1:]):
        bits |= (letter in "rwxst") << 8 - at
        bits |= (letter.lower() in "st") << 11 - at // 3
    return bits


# --- content -------------------------------------------------------------------------------------


def test_contents(image: Manifest, listed: pd.DataFrame, big_debian: BigImage) -> None:
    paths = list(listed.loc[listed["type"].isin(["file", "hardlink"]), "path"])
    chosen = random.Random(4).sample(paths, 300)
    chosen += [path for path in paths if path.startswith(("/odd/", "/opt/"))]
    chosen += [path for path in paths if path.endswith(".hard")]
    root = os.fsencode(big_debian.rootfs)
    different = []
    for path in chosen:
        name = b"/odd/latin-\xe9" if path == r"/odd/latin-\xe9" else path.encode()
        with open(root + name, "rb") as file:  # noqa: PTH123 (bytes)
            if image.read(path) != file.read():
                different.append(path)
    same(different)


def test_changes_make_the_merged_file_system(image: Manifest, listed: pd.DataFrame) -> None:
    columns = ["path", "type", "size", "mode", "permissions", "uid", "gid", "mtime", "linkname",
               "layer"]  # fmt: skip

    def values(df: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
        plain = df[columns].astype({"mtime": "str", "linkname": "str"}).astype(object)
        # Which of several names of one file is shown as the file depends on what is there later.
        plain.loc[plain["type"].isin(["file", "hardlink"]), ["type", "linkname"]] = ["file", ""]
        return plain.itertuples(index=False, name=None)

    changes = image.changes()
    state: dict[str, tuple[Any, ...]] = {}
    for change, row in zip(changes["change"], values(changes), strict=True):
        assert (row[0] in state) == (change != "added"), row
        if change == "deleted":
            del state[row[0]]
        else:
            state[row[0]] = row
    expected = {row[0]: row for row in values(listed)}
    same(
        f"{path}: {state.get(path)} / {expected.get(path)}"
        for path in sorted(state.keys() | expected.keys())
        if state.get(path) != expected.get(path)
    )
    counts = changes.groupby(["layer", "change"], observed=True).size()
    assert counts[2, "deleted"] > 200
    assert min(counts[3, "deleted"], counts[2, "added"]) > 300
    assert min(counts[2, "replaced"], counts[3, "added"]) > 50


def test_extracted_as_unpacked(
    image: Manifest, ours: tuple[Facts, Groups], big_debian: BigImage
) -> None:
    sizes: dict[str, int] = {}
    for path in ours[0]:
        if path.startswith("/usr/share/"):
            top = "/".join(path.split("/")[:4])
            sizes[top] = sizes.get(top, 0) + 1
    count, chosen = max((size, path) for path, size in sizes.items() if size < 6000)
    assert count > 1000
    unpacked = big_debian.rootfs / chosen[1:]
    expected, _ = on_disk(unpacked)
    os.umask(mask := os.umask(0))
    with memory_folder() as folder:
        written = image.extract(chosen, folder / "it", progress=False)
        found, groups = on_disk(folder / "it")
        # Links that lead out of the tree: they would lead to files of this machine.
        left_out = {path.removeprefix(chosen) for path, _ in written.skipped}
        same(path for path in left_out if not leads_out(chosen, path, expected[path]))
        different = []
        for path in [path for path in expected if path not in left_out]:
            fact = expected[path]
            # Whoever extracts owns it; no setuid and its like, nothing that others may write.
            fact = fact._replace(uid=os.geteuid(), gid=os.getegid())
            if fact.type == "symlink":
                assert not leads_out(chosen, path, fact)
                mine = found.get(path, fact).link
                if destination(chosen, path, mine) == destination(chosen, path, fact.link):
                    fact = fact._replace(link=mine)
            else:
                fact = fact._replace(mode=fact.mode & 0o755 & ~mask)
            expected[path] = fact
            if fact.type == "file" and path in found:
                theirs, copy = unpacked / path[1:], folder / "it" / path[1:]
                if theirs.read_bytes() != copy.read_bytes():
                    different.append(path)
        same(different)
        same(differences(found, {k: v for k, v in expected.items() if k not in left_out}))
        assert groups == set()  # hard links become copies
    kinds = [fact.type for fact in found.values()]
    assert (written.files, written.links) == (kinds.count("file"), kinds.count("symlink"))
    assert written.directories == kinds.count("dir")


def destination(chosen: str, path: str, link: str) -> str:
    """Where a symlink below what was chosen leads, by its text."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(chosen + path), link))


def leads_out(chosen: str, path: str, fact: Fact) -> bool:
    where = destination(chosen, path, fact.link)
    return fact.type == "symlink" and where != chosen and not where.startswith(chosen + "/")
