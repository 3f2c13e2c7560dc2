"""Extraction writes what an image has: content, times, permissions, links; whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.processes import require

from didlab.errors import (
    DestinationExists,
    DiskFull,
    InvalidArgument,
    LimitExceeded,
    PathNotFound,
    SizeMismatch,
    TransportError,
    UnsafeContent,
    Unsupported,
    WriteFailed,
)
from didlab.files import below, extract_private, extract_room
from didlab.files.content import Bytes
from didlab.files.extract import Extracted, extract
from didlab.files.table import CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry, Table
from didlab.model import extraction

Row = tuple[Entry, Callable[[], Iterator[bytes]] | None]

TIME = 1_600_000_000_123_456
#: A day in 1960: before the epoch.
EARLY = -300_000_000_000_000

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners of POSIX")
root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0,  # type: ignore[attr-defined,unused-ignore]
    reason="NOT TESTED: only root may",
)


def file(path: str, content: bytes = b"hello\n", mode: int = 0o644, **more: Any) -> Row:
    size = more.pop("size", len(content))
    halves = [content[: len(content) // 2], content[len(content) // 2 :]]
    entry = Entry(path.encode(), more.pop("type", FILE), mode, size=size, **more)
    return entry, lambda: iter(halves)


def folder(path: str, mode: int = 0o755, **more: Any) -> Row:
    return Entry(path.encode(), DIR, mode, **more), None


def link(path: str, target: str, **more: Any) -> Row:
    return Entry(path.encode(), SYMLINK, 0o777, link=target.encode(), **more), None


def failing(path: str, error: BaseException) -> Row:
    def content() -> Iterator[bytes]:
        yield b"half of it"
        raise error

    return Entry(path.encode(), FILE, 0o644, size=1000), content


def seen(top: Path) -> dict[str, object]:
    """Every path below a folder: what is in it, where it leads, or None for folders."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            found[name] = "-> " + path.readlink().as_posix()
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


def names(top: Path) -> list[str]:
    return sorted(path.name for path in top.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=["handles", "paths"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By descriptors, as Linux and macOS do, and by paths, as Windows must."""
    if request.param == "paths":
        monkeypatch.setattr(below, "HANDLES", False)
    elif not below.HANDLES:
        pytest.skip("this system has no calls relative to a folder")
    return str(request.param)


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def etc() -> list[Row]:
    return [
        folder("/etc", mtime=TIME),
        folder("/etc/conf.d", 0o750, mtime=TIME + 7),
        file("/etc/conf.d/a", b"A", 0o640, mtime=TIME),
        link("/etc/mine", "conf.d/a"),
        file("/etc/passwd", b"root:x:0:0\n", mtime=EARLY),
    ]


ETC = {"conf.d": None, "conf.d/a": b"A", "mine": "-> conf.d/a", "passwd": b"root:x:0:0\n"}


def test_a_tree_becomes_a_new_folder(tmp_path: Path) -> None:
    dest = tmp_path / "etc-copy"
    done = extract(etc(), dest, root=b"/etc")
    assert seen(dest) == ETC
    assert done == Extracted(dest, files=2, directories=2, links=1, bytes=12)
    assert repr(done) == f"<Extracted {dest}: 2 files, 2 directories, 1 link, 12 B>"
    assert Path(done) == dest
    assert names(tmp_path) == ["etc-copy"]


def test_a_tree_goes_into_a_folder_that_is_there(tmp_path: Path) -> None:
    done = extract(etc(), tmp_path, root=b"/etc/")
    assert done.path == tmp_path / "etc"
    assert seen(tmp_path / "etc") == ETC
    assert extract(etc(), tmp_path, root=b"/etc", name=b"other").path == tmp_path / "other"
    assert names(tmp_path) == ["etc", "other"]


def test_the_root_has_no_name_of_its_own(tmp_path: Path) -> None:
    rows = [folder("/", 0o700, mtime=TIME), *etc()]
    assert extract(rows, tmp_path / "new").directories == 2
    assert seen(tmp_path / "new")["etc/passwd"] == b"root:x:0:0\n"
    # The image says nothing about the user's folder.
    assert (tmp_path / "new").stat().st_mtime_ns != TIME * 1000
    (tmp_path / "there").mkdir()
    assert extract(rows, tmp_path / "there").path == tmp_path / "there"
    assert seen(tmp_path / "there") == seen(tmp_path / "new")


def test_an_empty_image_and_a_missing_path(tmp_path: Path) -> None:
    assert seen(extract([], tmp_path / "empty").path) == {}
    with pytest.raises(PathNotFound):
        extract([], tmp_path / "x", root=b"/etc")
    with pytest.raises(InvalidArgument):
        extract(etc(), tmp_path / "x", root=b"/etc", name=b"../x")
    with pytest.raises(WriteFailed, match="make it first"):
        extract(etc(), tmp_path / "no" / "x", root=b"/etc")
    assert names(tmp_path) == ["empty"]


def test_one_file(tmp_path: Path) -> None:
    row = file("/etc/passwd", b"root", mtime=TIME)
    done = extract([row], tmp_path, root=b"/etc/passwd")
    assert done == Extracted(tmp_path / "passwd", 1, 0, 0, 4)
    assert extract([row], tmp_path / "pw", root=b"/etc/passwd").path == tmp_path / "pw"
    assert seen(tmp_path) == {"passwd": b"root", "pw": b"root"}
    assert (tmp_path / "pw").stat().st_mtime_ns == TIME * 1000
    with pytest.raises(DestinationExists):
        extract([file("/etc/passwd", b"new")], tmp_path, root=b"/etc/passwd")
    assert (tmp_path / "passwd").read_bytes() == b"root"
    extract([file("/etc/passwd", b"new")], tmp_path, root=b"/etc/passwd", overwrite=True)
    assert seen(tmp_path) == {"passwd": b"new", "pw": b"root"}
    with pytest.raises(UnsafeContent, match="below something that is no directory"):
        extract([row, file("/etc/passwd/x")], tmp_path / "y", root=b"/etc/passwd")


def test_times(tmp_path: Path) -> None:
    rows = [*etc(), link("/etc/z", "passwd", mtime=TIME), file("/etc/zz", mtime=2**62)]
    dest = extract(rows, tmp_path / "e", root=b"/etc").path
    times = {
        name: (dest / name).lstat().st_mtime_ns // 1000
        for name in (".", "conf.d", "conf.d/a", "passwd")
    }
    assert times == {".": TIME, "conf.d": TIME + 7, "conf.d/a": TIME, "passwd": EARLY}
    if os.utime in os.supports_follow_symlinks:
        assert (dest / "z").lstat().st_mtime_ns // 1000 == TIME


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000, 0o027, 0o200])
def test_permissions_are_those_of_the_image_as_the_umask_allows(tmp_path: Path, umask: int) -> None:
    modes = {
        "plain": (FILE, 0o644, 0o644),
        "setuid": (FILE, 0o4755, 0o755),
        "setgid": (FILE, 0o2711, 0o711),
        "world": (FILE, 0o666, 0o644),
        "none": (FILE, 0o000, 0o000),
        "tmp": (DIR, 0o1777, 0o755),
        "shut": (DIR, 0o000, 0o000),
        "readable": (DIR, 0o555, 0o555),
        "stated late": (DIR, 0o700, 0o700),
    }
    rows = [folder("/r", 0o2775), file("/r/stated late/x")]
    for name, (kind, mode, _) in modes.items():
        rows.append(folder(f"/r/{name}", mode) if kind == DIR else file(f"/r/{name}", b"", mode))
    rows.append(file("/r/shut/in/side", b"x", 0o600))
    os.umask(umask)
    dest = extract(rows, tmp_path / "r", root=b"/r").path
    assert {name: mode_of(dest / name) for name in modes} == {
        name: expected & ~umask for name, (_, _, expected) in modes.items()
    }
    assert mode_of(dest) == 0o755 & ~umask
    (dest / "shut").chmod(0o700)
    assert mode_of(dest / "shut/in") == 0o755 & ~umask
    assert (dest / "shut/in/side").read_bytes() == b"x"
    there = tmp_path / "there"
    for made in (there, there / "r"):
        made.mkdir()
        made.chmod(0o700)
    again = extract(rows, there, root=b"/r").path
    assert {name: mode_of(again / name) for name in modes} == {
        name: expected & ~umask for name, (_, _, expected) in modes.items()
    }


@posix
def test_the_folder_is_private_until_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    enter = below.Folder.enter

    def look() -> None:
        looked.extend(mode_of(path) for path in tmp_path.iterdir())

    def entered(self: below.Folder, name: bytes) -> below.Folder:
        look()
        return enter(self, name)

    def content() -> Iterator[bytes]:
        look()
        yield b"x"

    monkeypatch.setattr(below.Folder, "enter", entered)
    os.umask(0)
    dest = extract([(Entry(b"/a", FILE, 0o644, size=1), content)], tmp_path / "out").path
    assert looked == [0o700] * 2
    assert mode_of(dest) == 0o777


def test_folders_that_nobody_stated_are_made(tmp_path: Path) -> None:
    rows = [file("/a/b/c/f"), folder("/a/b", 0o700, mtime=TIME)]
    dest = extract(rows, tmp_path / "out").path
    assert seen(dest) == {"a": None, "a/b": None, "a/b/c": None, "a/b/c/f": b"hello\n"}
    assert (dest / "a/b").stat().st_mtime_ns == TIME * 1000
    if os.name == "posix":
        assert (mode_of(dest / "a"), mode_of(dest / "a/b")) == (0o755, 0o700)


def test_names_that_sort_between_a_folder_and_its_content(tmp_path: Path) -> None:
    rows = [
        folder("/a", mtime=TIME),
        file("/a-b", b"1"),
        folder("/a.d", mtime=TIME),
        file("/a/x", b"2"),
        file("/a/y/z", b"3"),
        file("/a/y0", b"4"),
    ]
    dest = extract(rows, tmp_path / "out").path
    assert {name for name, what in seen(dest).items() if what} == {"a-b", "a/x", "a/y/z", "a/y0"}
    assert (dest / "a").stat().st_mtime_ns == TIME * 1000


def test_hard_links_are_copies(tmp_path: Path) -> None:
    rows = [
        file("/a", b"same"),
        file("/b", b"same", type=HARDLINK, size=0, link=b"/a"),
        file("/c", b"same", type=HARDLINK, link=b"/a"),
        (Entry(b"/d", HARDLINK, 0o644, link=b"/gone"), None),
    ]
    done = extract(rows, tmp_path / "out")
    assert seen(done.path) == {"a": b"same", "b": b"same", "c": b"same"}
    assert (done.path / "a").stat().st_nlink == 1
    assert (done.files, done.skipped) == (3, (("/d", "its content is not in the image"),))


def test_holes_stay_holes(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024

    def content() -> Iterator[bytes]:
        yield b"begin"
        yield from [bytes(1024 * 1024)] * 63
        yield bytes(1024 * 1024 - 5)

    rows: list[Row] = [(Entry(b"/s", FILE, 0o644, size=size, extra={"sparse": [[0, 5]]}), content)]
    made = extract(rows, tmp_path / "out").path / "s"
    assert made.stat().st_size == size
    with made.open("rb") as opened:
        assert opened.read(5) == b"begin"
        opened.seek(-4, os.SEEK_END)
        assert opened.read() == bytes(4)
    if sys.platform == "linux":
        assert made.stat().st_blocks * 512 < size / 4


def test_devices_and_fifos_are_left_out_and_told(tmp_path: Path) -> None:
    rows: list[Row] = [
        (Entry(b"/dev/null", CHAR, 0o666, extra={"device": [1, 3]}), None),
        (Entry(b"/dev/pipe", FIFO, 0o666), None),
        file("/dev/x"),
    ]
    done = extract(rows, tmp_path / "out")
    assert seen(done.path) == {"dev": None, "dev/x": b"hello\n"}
    assert done.skipped == (("/dev/null", "a char device"), ("/dev/pipe", "a fifo"))
    assert "; 2 skipped" in repr(done)
    alone = extract(rows[:1], tmp_path / "null", root=b"/dev/null")
    assert (alone.files, len(alone.skipped)) == (0, 1)
    assert not (tmp_path / "null").exists()


@root
def test_devices_and_owners_for_root(tmp_path: Path) -> None:
    rows: list[Row] = [
        folder("/d", uid=11, gid=12),
        (Entry(b"/d/null", CHAR, 0o666, 1, 2, extra={"device": [1, 3]}), None),
        (Entry(b"/d/pipe", FIFO, 0o640, 3, 4), None),
        link("/d/to", "null", uid=5, gid=6),
        file("/d/x", b"x", 0o4755, uid=7, gid=8),
    ]
    for overwrite in (False, True):
        made = extract(
            rows, tmp_path, root=b"/d", devices=True, owner=True, overwrite=overwrite
        ).path
        device = (made / "null").lstat()
        assert (device.st_rdev, stat.S_IMODE(device.st_mode)) == (os.makedev(1, 3), 0o644)
        assert stat.S_ISCHR(device.st_mode)
        assert stat.S_ISFIFO((made / "pipe").lstat().st_mode)
        expected = {".": (11, 12), "null": (1, 2), "pipe": (3, 4), "to": (5, 6), "x": (7, 8)}
        owners = {name: (made / name).lstat() for name in expected}
        assert {name: (i.st_uid, i.st_gid) for name, i in owners.items()} == expected
        assert mode_of(made / "x") == 0o755
    with pytest.raises(UnsafeContent, match="which no system has"):
        extract([file("/x", uid=2**63 - 1)], tmp_path / "y", owner=True)
    assert names(tmp_path) == ["d"]


def test_what_only_root_may_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    rows: list[Row] = [(Entry(b"/null", CHAR, 0o666, extra={"device": [1, 3]}), None)]
    if os.name != "posix":
        with pytest.raises(Unsupported):
            extract(rows, tmp_path / "out", devices=True)
        return
    monkeypatch.setattr(below.Folder, "node", denied)
    monkeypatch.setattr(below.Folder, "owner", denied)
    with pytest.raises(WriteFailed, match="devices=True"):
        extract(rows, tmp_path / "out", devices=True)
    with pytest.raises(WriteFailed, match="owner=True"):
        extract([file("/x")], tmp_path / "out", owner=True)
    assert names(tmp_path) == []


def test_a_folder_that_is_there_is_merged_only_when_told(tmp_path: Path) -> None:
    dest = tmp_path / "etc"
    (dest / "conf.d").mkdir(parents=True)
    (dest / "conf.d" / "mine").write_text("mine")
    (dest / "passwd").write_text("old")
    dest.chmod(0o700)
    (dest / "conf.d").chmod(0o700)
    before = seen(dest)
    with pytest.raises(DestinationExists, match="not empty"):
        extract(etc(), tmp_path, root=b"/etc")
    assert seen(dest) == before
    extract(etc(), tmp_path, root=b"/etc", overwrite=True)
    assert seen(dest) == {**ETC, "conf.d/mine": b"mine"}
    # Folders of the user's own stay as they are.
    assert (dest / "conf.d").stat().st_mtime_ns != (TIME + 7) * 1000
    if os.name == "posix":
        assert (mode_of(dest), mode_of(dest / "conf.d")) == (0o700, 0o700)
    extract(etc(), tmp_path, root=b"/etc", overwrite=True)
    assert seen(dest) == {**ETC, "conf.d/mine": b"mine"}


def test_overwriting_keeps_folders_and_replaces_the_rest(tmp_path: Path) -> None:
    dest = tmp_path / "etc"
    (dest / "passwd").mkdir(parents=True)
    with pytest.raises(DestinationExists, match="is a folder"):
        extract(etc(), tmp_path, root=b"/etc", overwrite=True)
    (dest / "passwd").rmdir()
    (dest / "conf.d" / "a").unlink()
    (dest / "conf.d").rmdir()
    (dest / "conf.d").write_text("a file where the image has a folder")
    extract(etc(), tmp_path, root=b"/etc", overwrite=True)
    assert seen(dest) == ETC


@pytest.mark.parametrize("error", [TransportError("gone"), KeyboardInterrupt(), ValueError("x")])
def test_nothing_is_left_of_a_new_folder_that_failed(tmp_path: Path, error: Any) -> None:
    with pytest.raises(type(error)) as caught:
        extract([folder("/d", 0o000), file("/d/b"), failing("/d/c", error)], tmp_path / "out")
    assert caught.value is error
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [TransportError("gone"), KeyboardInterrupt()])
def test_nothing_half_is_left_in_a_folder_that_was_there(tmp_path: Path, error: Any) -> None:
    (tmp_path / "c").write_text("old")
    rows = [file("/b"), failing("/c", error), file("/d")]
    with pytest.raises(type(error)):
        extract(rows, tmp_path, overwrite=True)
    assert seen(tmp_path) == {"b": b"hello\n", "c": b"old"}
    with pytest.raises(type(error)):
        extract([failing("/c", error)], tmp_path, root=b"/c", overwrite=True)
    assert seen(tmp_path) == {"b": b"hello\n", "c": b"old"}


@pytest.mark.parametrize("size", [5, 7])
def test_content_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(SizeMismatch) as caught:
        extract([file("/f", b"hello\n", size=size)], tmp_path / "out")
    assert caught.value.expected == size
    assert names(tmp_path) == []


def test_an_endless_file_is_cut_off(tmp_path: Path) -> None:
    closed: list[bool] = []

    def content() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.append(True)

    held = content()
    with pytest.raises(SizeMismatch):
        extract([(Entry(b"/f", FILE, size=5000), lambda: held)], tmp_path / "out")
    assert closed == [True]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskFull) as caught:
            extract([file("/f")], tmp_path / "out")
    assert caught.value.path == str(tmp_path / "out" / "f")
    assert names(tmp_path) == []


def test_room_is_looked_for_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: int | None = 11
    monkeypatch.setattr(extract_room, "available", lambda folder: free)
    calls: list[bytes] = []

    def content() -> Iterator[bytes]:
        calls.append(b"root:x:0:0\n")
        yield calls[-1]

    rows: list[Row] = [(Entry(b"/etc/passwd", FILE, 0o644, size=11), content)]
    there = tmp_path / "there"
    there.mkdir()
    for base, dest in ((b"/etc/passwd", tmp_path / "x"), (b"/etc", tmp_path / "x"), (b"/", there)):
        with pytest.raises(DiskFull, match="needs 12 B, there is room for 11 B") as caught:
            extract(rows, dest, root=base, needed=12)
        assert (caught.value.needed, caught.value.available) == (12, 11)
        assert caught.value.path == str(dest)
    with pytest.raises(DiskFull):
        extract(rows, tmp_path / "slash", root=b"/etc/passwd", into=True, needed=12)
    assert seen(tmp_path) == {"there": None}
    assert calls == []
    extract(rows, there, needed=11)
    # What is replaced makes room.
    (there / "etc/passwd").write_bytes(b"x" * 100_000)
    extract(rows, there, needed=50_000, overwrite=True)
    with pytest.raises(DiskFull):
        extract(rows, there, needed=1_000_000, overwrite=True)
    free = None
    extract(rows, tmp_path / "unknown", root=b"/etc", needed=2**62)


def test_what_rows_take() -> None:
    sparse = Entry(b"/s", FILE, size=2**40, extra={"sparse": [[0, 5], [4096, 7]]})
    rows = [file("/a", b"12345")[0], folder("/d")[0], link("/l", "a")[0], sparse]
    table = Table.of(rows)
    assert [extract_room.needed(table, row) for row in range(4)] == [5, 0, 0, 12]


def test_a_slash_at_the_end_means_a_folder(tmp_path: Path) -> None:
    row = file("/etc/passwd", b"root")
    made = extract([row], tmp_path / "one", root=b"/etc/passwd", into=True)
    assert made.path == tmp_path / "one" / "passwd"
    extract([row], tmp_path / "one", root=b"/etc/passwd", into=True, name=b"pw")
    assert extract(etc(), tmp_path / "tree", root=b"/etc", into=True).path == tmp_path / "tree/etc"
    assert extract(etc(), tmp_path / "all", into=True).path == tmp_path / "all"
    assert seen(tmp_path / "one") == {"passwd": b"root", "pw": b"root"}
    assert seen(tmp_path / "tree/etc") == ETC
    assert names(tmp_path / "all") == ["etc"]
    for base in (b"/etc/passwd", b"/"):
        with pytest.raises(DestinationExists, match="not a folder"):
            extract([row], tmp_path / "one/pw", root=base, into=True, overwrite=True)
        with pytest.raises(WriteFailed, match="make it first"):
            extract([row], tmp_path / "no/x", root=base, into=True)
        with pytest.raises(TransportError):
            bad = failing("/etc/passwd", TransportError("gone"))
            extract([bad], tmp_path / "failed", root=base, into=True)
    assert names(tmp_path) == ["all", "one", "tree"]


def test_what_the_model_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = {"sparse": [[0, 2]]}
    entries = [
        Entry(b"/etc", DIR, 0o755),
        Entry(b"/etc-x", FILE, 0o644, size=2**40),
        Entry(b"/etc/NUL", FILE, 0o644, size=4),
        Entry(b"/etc/holes", FILE, 0o644, size=3, extra=sparse),
        Entry(b"/etc/mine", SYMLINK, 0o777, link=b"NUL"),
    ]
    table = Table.of(entries)

    def run(path: str, dest: str, *, portable: bool = False) -> Path:
        return extraction.extract(
            table,
            lambda row: Bytes(bytes(entries[row].size)),
            path,
            dest,
            overwrite=False,
            devices=False,
            owner=False,
            portable=portable,
        ).path

    with monkeypatch.context() as patch:
        patch.setattr(extract_room, "available", lambda folder: 5)
        with pytest.raises(DiskFull) as caught:
            run("/etc", f"{tmp_path}/x")
        assert (caught.value.needed, names(tmp_path)) == (6, [])
    with pytest.raises(UnsafeContent, match="device on Windows"):
        run("/etc", f"{tmp_path}/x", portable=True)
    assert run("/etc/holes", f"{tmp_path}/in/") == tmp_path / "in" / "holes"
    assert run("/etc/holes", f"{tmp_path}/out") == tmp_path / "out"
    with pytest.raises(PathNotFound):
        run("/nowhere", f"{tmp_path}/no/")
    assert names(tmp_path) == ["in", "out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from didlab.files.extract import extract
from didlab.files.table import DIR, FILE, Entry

def content():
    yield b"half"
    os.kill(os.getpid(), signal.SIGKILL)

rows = [(Entry(b"/d", DIR, 0o500), None), (Entry(b"/d/f", FILE, 0o600, size=9), content)]
extract(rows, Path(sys.argv[1]), overwrite=True)
"""


@posix
def test_what_killed_extractions_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = tmp_path / "merged"
    (merged / "d").mkdir(parents=True)
    for dest in (merged, tmp_path / "new"):
        killed = subprocess.run([sys.executable, "-c", KILLED, dest], check=False)
        assert killed.returncode == -signal.SIGKILL
    left = [path for top in (tmp_path, merged / "d") for path in top.iterdir() if path != merged]
    assert len(left) == 2
    (merged / ".didlab-0123456789abcdef-\u00e9").mkdir()
    others = [f".x.didlab-{'0' * 31}.part", f"x.didlab-{'0' * 32}.part", ".didlab-cache", ".x.part"]
    for name in others:
        (merged / name).write_text("the user's own")

    def again() -> set[Path]:
        extract([file("/d/x")], merged, overwrite=True)
        extract([file("/x")], tmp_path / "x", root=b"/x", overwrite=True)
        return {path for top in (tmp_path, merged, merged / "d") for path in top.iterdir()}

    # Old by what an image says, but the system saw it change just now: somebody is at work.
    for path in left:
        os.utime(path, ns=(EARLY, EARLY))
    assert again() >= {*left, merged / ".didlab-0123456789abcdef-\u00e9"}
    later = time.time() + extract_private.KEEP + 60
    monkeypatch.setattr(time, "time", lambda: later)
    for path in left:
        os.utime(path, (later, later))
    assert again() >= set(left)
    for path in left:
        os.utime(path, ns=(EARLY, EARLY))
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 2**31)
        assert again() >= set(left)  # somebody else's
    assert again() == {
        *(merged / name for name in [*others, "d", "d/x"]),
        merged,
        tmp_path / "x",
    }
    (tmp_path / f".tree.didlab-{'0' * 32}.part" / "sub").mkdir(parents=True)
    later *= 2
    extract([file("/d/x")], tmp_path / "tree")
    assert names(tmp_path) == ["merged", "tree", "x"]


def test_a_destination_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    dest = tmp_path / "out"

    def content() -> Iterator[bytes]:
        dest.write_text("somebody else's")
        yield b"x"

    row: Row = (Entry(b"/f", FILE, 0o644, size=1), content)
    # Folders that keep their owner out are removed all the same.
    shut = [folder("/c", 0o555), file("/c/x"), folder("/d", 0o000), file("/d/x")]
    for base, rows in ((b"/", [*shut, row]), (b"/f", [row])):
        with pytest.raises(DestinationExists):
            extract(rows, dest, root=base)
        assert seen(tmp_path) == {"out": b"somebody else's"}
        dest.unlink()


def test_deep_paths(tmp_path: Path) -> None:
    deep = "/d" * 255 + "/f"
    dest = extract([file(deep)], tmp_path / "o").path
    assert sum(len(files) for _, _, files in os.walk(dest)) == 1
    with pytest.raises(LimitExceeded):
        extract([file("/d" + deep)], tmp_path / "p")
    with pytest.raises(TransportError):
        extract([failing(deep, TransportError("gone"))], tmp_path / "q")
    assert names(tmp_path) == ["o"]
    with below.Folder.open(tmp_path) as top:
        top.remove(b"o")
    assert names(tmp_path) == []


@posix
def test_descriptors_are_given_back(tmp_path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd").iterdir()))

    before = count()
    extract(etc(), tmp_path / "a", root=b"/etc")
    with pytest.raises(TransportError):
        extract([*etc()[:2], failing("/etc/conf.d/z", TransportError("x"))], tmp_path / "b")
    with pytest.raises(DestinationExists):
        extract(etc(), tmp_path / "a", root=b"/")
    assert count() == before


class Interrupter:
    """Ctrl-C before or after the ``number``-th call to the system that changes something."""

    CALLS = ("open", "mkdir", "write", "symlink", "replace", "unlink", "rmdir", "close")

    def __init__(self, patch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
        self.count = 0
        self._number = number
        self._after = after
        for name in self.CALLS:
            patch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count != self._number:
                return call(*args, **kwargs)
            if self._after:
                call(*args, **kwargs)
            raise KeyboardInterrupt

        return watched


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("merge", [False, True])
def test_an_interrupt_at_any_call_leaves_nothing_half(
    tmp_path: Path, after: bool, merge: bool
) -> None:
    number = 0
    while True:
        number += 1
        place = tmp_path / str(number)
        dest = place / "etc"
        place.mkdir()
        if merge:
            dest.mkdir()
            (dest / "passwd").write_bytes(b"old")
        with pytest.MonkeyPatch.context() as patch:
            watch = Interrupter(patch, number, after=after)
            try:
                extract(etc(), place, root=b"/etc", overwrite=merge)
            except KeyboardInterrupt:
                pass
            else:
                break
        assert names(place) in ([], ["etc"])
        found = seen(dest)
        if merge:
            assert found.items() <= ETC.items() | {("passwd", b"old")}
            assert "passwd" in found
        else:
            assert found in ({}, ETC)
    assert number == watch.count + 1 > 8
    assert seen(dest) == ETC


@posix
def test_the_same_as_tar_makes_of_it(tmp_path: Path) -> None:
    tar = require("tar", "tar")
    archive = tmp_path / "a.tar"
    rows = [
        *etc(),
        folder("/etc/read", 0o711, mtime=TIME),
        file("/etc/read/only", b"x" * 5000, 0o444, mtime=TIME),
        file("/etc/run", b"#!", 0o755, mtime=TIME),
        file("/etc/run me \u00e9\n", b"", 0o710, mtime=TIME),
    ]
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as made:
        for entry, content in rows:
            info = tarfile.TarInfo(entry.path.decode().lstrip("/"))
            info.mode, info.size = entry.mode, entry.size
            info.mtime = max(entry.mtime, EARLY) // 1_000_000
            info.linkname = entry.link.decode()
            if entry.type != FILE:
                info.type = tarfile.DIRTYPE if entry.type == DIR else tarfile.SYMTYPE
            made.addfile(info, io.BytesIO(b"".join(content())) if content else None)
    (tmp_path / "tar").mkdir()
    flags = ["--no-same-owner", "--no-same-permissions"]
    subprocess.run([tar, "-xf", archive, *flags], cwd=tmp_path / "tar", check=True)
    ours = extract(rows, tmp_path / "ours", root=b"/etc").path
    theirs = tmp_path / "tar" / "etc"
    assert seen(ours) == seen(theirs)
    for name in [".", *seen(ours)]:
        if not (ours / name).is_symlink():
            assert mode_of(ours / name) == mode_of(theirs / name), name
            if name != ".":
                times = [(top / name).stat().st_mtime_ns // 10**9 for top in (ours, theirs)]
                assert times[0] == times[1], name
