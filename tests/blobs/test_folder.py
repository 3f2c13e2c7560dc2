"""Where the store lies, whom it trusts, and how it makes room."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path

import pytest

import didlab
from didlab.blobs import folder, trimming
from didlab.blobs import store as stores
from didlab.blobs.store import BlobStore
from didlab.errors import InvalidArgument, WriteFailed
from didlab.oci import digest as digests

POSIX = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX")


def put(store: BlobStore, data: bytes, age: float = 0.0) -> Path:
    store.put(digests.of(data), data)
    path = store.get(digests.of(data))
    assert path is not None
    then = time.time() - age
    os.utime(path, (then, then))
    return path


# --- where ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "0"])
def test_switched_off(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DIDLAB_CACHE", text)
    assert stores.default() is None
    assert repr(didlab.cache_info()) == "<CacheInfo: no local store>"
    assert didlab.clear_cache() == 0


def test_a_folder_of_ones_own_choice(tmp_path: Path) -> None:
    assert folder.chosen({"DIDLAB_CACHE": str(tmp_path)}) == (tmp_path, folder.DEFAULT_LIMIT)


@pytest.mark.parametrize("text", ["cache", "./cache", "../cache", " "])
def test_a_relative_folder_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DIDLAB_CACHE", text)
    with pytest.raises(InvalidArgument, match="DIDLAB_CACHE"):
        didlab.cache_info()


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", folder.DEFAULT_LIMIT),
        ("1000", 1000),
        ("20GB", 20 * 10**9),
        (" 5 mb ", 5 * 10**6),
        ("1TB", 10**12),
    ],
)
def test_limits(tmp_path: Path, text: str, limit: int) -> None:
    found = folder.chosen({"DIDLAB_CACHE": str(tmp_path), "DIDLAB_CACHE_LIMIT": text})
    assert found == (tmp_path, limit)


@pytest.mark.parametrize("text", ["much", "-1", "1.5GB", "5 XB", "٣", "1e9"])
def test_limits_that_are_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidArgument, match="DIDLAB_CACHE_LIMIT"):
        folder.chosen({"DIDLAB_CACHE": str(tmp_path), "DIDLAB_CACHE_LIMIT": text})


def test_no_room_at_all_is_no_store(tmp_path: Path) -> None:
    assert folder.chosen({"DIDLAB_CACHE": str(tmp_path), "DIDLAB_CACHE_LIMIT": "0"}) is None


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="XDG")
def test_the_usual_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    usual = (tmp_path / ".cache" / "didlab", folder.DEFAULT_LIMIT)
    assert folder.chosen({}) == usual
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert folder.chosen({"XDG_CACHE_HOME": "relative"}) == usual
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    given = {"XDG_CACHE_HOME": str(tmp_path / "x")}
    assert folder.chosen(given) == (tmp_path / "x" / "didlab", folder.DEFAULT_LIMIT)


# --- whom it trusts ------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_may_look(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = BlobStore(tmp_path / "a" / "cache")
        put(store, b"data")
    finally:
        os.umask(before)
    for path in [store.root, *(store.root / "v1").rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")


@POSIX
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: int,
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(WriteFailed, match="other users"):
        BlobStore(root)
    assert list(root.iterdir()) == []
    monkeypatch.setenv("DIDLAB_CACHE", str(root))
    with caplog.at_level(logging.WARNING, "didlab"):
        assert stores.default() is stores.default() is None
    assert len(caplog.records) == 1
    assert didlab.cache_info().path is None


@POSIX
@pytest.mark.parametrize("part", ["", "v1", "v1/blobs"])
def test_a_folder_inside_that_others_may_write_to(tmp_path: Path, part: str) -> None:
    root = tmp_path / "cache"
    BlobStore(root)
    (root / part).chmod(0o777)
    with pytest.raises(WriteFailed, match="other users"):
        BlobStore(root)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_somebody_elses_folder(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    with pytest.raises(WriteFailed, match="another user"):
        BlobStore(root)
    link = tmp_path / "link"
    link.symlink_to(root)
    with pytest.raises(WriteFailed, match="another user"):
        BlobStore(link)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(WriteFailed):
        BlobStore(tmp_path / "cache")


def test_what_others_put_there_stays(store: BlobStore) -> None:
    strangers = [
        store.root / "readme.txt",
        store.root / "v2" / "blobs" / "x",
        store.root / "v1" / "blobs" / "sha256" / "notes",
        store.root / "v1" / "blobs" / "sha256" / ("0" * 63),
        store.root / "v1" / "ingest" / "mine.tmp",
        store.root / "v1" / "tags" / "x.json",
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (0, 0))
    put(store, b"data", 1000)
    trimming.trim(store.root, 1)
    assert didlab.cache_info().blobs == 0
    assert didlab.clear_cache() == 0
    assert all(path.exists() for path in strangers)


# --- how much ------------------------------------------------------------------------------------


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "cache", 1000)
    paths = [put(store, bytes([n]) * 200, 1000 - n) for n in range(5)]
    assert store.get(digests.of(bytes([0]) * 200)) == paths[0]  # used just now
    put(store, b"x" * 200)
    # 1,200 bytes; 900 may stay, and the first was touched by reading it.
    assert [path.exists() for path in paths] == [True, False, False, True, True]
    assert sum(one.size for one in trimming.blobs(store.root)) <= 1000


def test_use_is_noted_and_does_not_look_like_a_change(store: BlobStore) -> None:
    path = put(store, b"data", 5000)
    before = path.stat()
    assert store.get(digests.of(b"data")) == path
    after = path.stat()
    assert after.st_atime > before.st_atime + 4000
    assert after.st_mtime_ns == before.st_mtime_ns


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "cache", 1000)
    paths = [put(store, bytes([n]) * 300, 30) for n in range(5)]
    assert all(path.exists() for path in paths)
    for path in paths:
        os.utime(path, (0, 0))
    trimming.trim(store.root, store.limit)
    assert sum(path.exists() for path in paths) == 3


def test_two_that_make_room_at_once_remove_no_more_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path / "cache", 10_000)
    paths = [put(store, bytes([n]) * 300, 1000 - n) for n in range(5)]
    real = trimming.blobs

    def listed(root: Path) -> list[trimming.Kept]:
        found = list(real(root))
        monkeypatch.setattr(trimming, "blobs", real)
        trimming.trim(root, 1000)  # the other one, meanwhile
        return found

    monkeypatch.setattr(trimming, "blobs", listed)
    trimming.trim(store.root, 1000)
    assert [path.exists() for path in paths] == [False, False, True, True, True]


def test_what_is_used_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(tmp_path / "cache", 10_000)
    paths = [put(store, bytes([n]) * 300, 1000 - n) for n in range(5)]
    real = trimming.blobs

    def listed(root: Path) -> list[trimming.Kept]:
        found = list(real(root))
        store.get(digests.of(bytes([0]) * 300))
        return found

    monkeypatch.setattr(trimming, "blobs", listed)
    trimming.trim(store.root, 1000)
    assert [path.exists() for path in paths] == [True, False, False, True, True]


def test_a_clock_that_was_wrong(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "cache", 10_000)
    path = put(store, b"x" * 300, -1_000_000)
    trimming.trim(store.root, 100)
    assert path.exists()
    assert path.stat().st_mtime <= time.time()
    os.utime(path, (0, 0))
    trimming.trim(store.root, 100)
    assert not path.exists()


def test_what_the_dead_left_is_swept(store: BlobStore) -> None:
    old, young = (store.begin("sha256:" + "0" * 64, 10) for _ in range(2))
    for one in (old, young):
        one.write(b"12345")
    os.utime(old._path, (0, 0))
    assert didlab.cache_info().partial_bytes == 10
    put(store, b"data")  # the first commit looks around
    assert not old._path.exists()
    assert young._path.exists()
    assert didlab.cache_info().partial_bytes == 5
    for one in (old, young):
        one.abandon()


def test_open_blobs_outlive_clearing(store: BlobStore) -> None:
    put(store, b"data")
    blob = store.open(digests.of(b"data"))
    assert blob is not None
    with blob:
        freed = didlab.clear_cache()
        assert blob.read_at(1, 3) == b"at"
    if os.name == "posix":
        assert freed == 4
        assert didlab.cache_info().blobs == 0


def test_cache_info(store: BlobStore) -> None:
    info = didlab.cache_info()
    assert (info.path, info.blobs, info.bytes, info.limit) == (store.root, 0, 0, 10_000_000_000)
    put(store, b"x" * 1500)
    info = didlab.cache_info()
    assert (info.blobs, info.bytes, info.partial_bytes) == (1, 1500, 0)
    assert repr(info) == f"<CacheInfo {store.root} · 1 blob · 1.5 kB of 10.0 GB>"
    with pytest.raises(AttributeError):
        info.blobs = 2  # type: ignore[misc]
    assert didlab.clear_cache() == 1500
    assert didlab.cache_info().blobs == 0
