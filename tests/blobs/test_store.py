"""The local store: what goes in comes out, or nothing does."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from didlab.blobs import copying, folder, ingest
from didlab.blobs import store as stores
from didlab.blobs.store import BlobStore
from didlab.errors import (
    DigestMismatch,
    DiskFull,
    InvalidArgument,
    LimitExceeded,
    SizeMismatch,
    WriteFailed,
)
from didlab.oci import digest as digests

DATA = bytes(range(256)) * 5 + b"end"
DIGEST = digests.of(DATA)
OTHER = b"something else"


def fresh(store: BlobStore) -> BlobStore:
    """The same store, as another process meets it."""
    return BlobStore(store.root, store.limit)


def files(store: BlobStore, part: str) -> list[Path]:
    return sorted(path for path in (store.root / "v1" / part).rglob("*") if path.is_file())


def content(store: BlobStore, digest: str, size: int | None = None) -> bytes | None:
    blob = store.open(digest, size)
    if blob is None:
        return None
    with blob:
        return blob.read_at(0, blob.size)


# --- in and out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", DATA, os.urandom(3_000_000)], ids=len)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_goes_in_comes_out(store: BlobStore, data: bytes, algorithm: str) -> None:
    digest = digests.of(data, algorithm)
    assert store.get(digest, len(data)) is None
    assert not store.present(digest, len(data))
    with store.begin(digest, len(data)) as begun:
        for at in range(0, len(data), 1_000_000):
            begun.write(data[at : at + 1_000_000])
        path = begun.commit()
    assert path == store.root / "v1" / "blobs" / algorithm / digest.partition(":")[2]
    assert path.read_bytes() == data
    for one in (store, fresh(store)):
        assert one.present(digest, len(data))
        assert one.get(digest, len(data)) == one.get(digest) == path
        assert content(one, digest, len(data)) == data
    assert files(store, "ingest") == []


def test_put_keeps_small_content_once(store: BlobStore) -> None:
    store.put(DIGEST, DATA)
    path = store.get(DIGEST, len(DATA))
    assert path is not None
    number = path.stat().st_ino
    store.put(DIGEST, DATA)
    assert path.stat().st_ino == number
    with pytest.raises(DigestMismatch):
        store.put(DIGEST, DATA[::-1])
    assert content(store, DIGEST) == DATA


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([DATA[:-1]], SizeMismatch),
        ([DATA, b"x"], SizeMismatch),
        ([DATA[:-1], b"x"], DigestMismatch),
        ([], SizeMismatch),
    ],
)
def test_other_content_leaves_nothing(
    store: BlobStore, pieces: list[bytes], error: type[Exception]
) -> None:
    def take() -> None:
        with store.begin(DIGEST, len(DATA)) as begun:
            for piece in pieces:
                begun.write(piece)
            begun.commit()

    with pytest.raises(error):
        take()
    assert store.get(DIGEST, len(DATA)) is None
    assert files(store, "") == []


def test_what_is_abandoned_leaves_nothing(store: BlobStore) -> None:
    with store.begin(DIGEST, len(DATA)) as begun:
        begun.write(DATA)
        assert begun.received == len(DATA)
        assert len(files(store, "ingest")) == 1
    assert files(store, "") == []
    with pytest.raises(WriteFailed):
        begun.write(b"")
    with pytest.raises(WriteFailed):
        begun.commit()


@pytest.mark.parametrize("name", ["sha256:../../x", "../x", "sha256:" + "A" * 64, "", "md5:" + "0"])
def test_only_digests_become_names(store: BlobStore, name: str) -> None:
    for ask in (store.get, store.open, lambda d: store.begin(d, 1), lambda d: store.put(d, b"")):
        with pytest.raises(InvalidArgument):
            ask(name)


def test_another_size_is_the_askers_mistake(store: BlobStore) -> None:
    # A manifest may lie about sizes; a good blob is not removed for that.
    store.put(DIGEST, DATA)
    for one in (store, fresh(store)):
        assert one.get(DIGEST, len(DATA) + 1) is None
        assert not one.present(DIGEST, len(DATA) - 1)
        assert content(one, DIGEST, len(DATA)) == DATA


def test_larger_than_the_store(tmp_path: Path) -> None:
    small = BlobStore(tmp_path / "small", 100)
    with pytest.raises(LimitExceeded) as caught:
        small.begin(DIGEST, 101)
    assert (caught.value.limit, caught.value.seen) == (100, 101)


# --- rot -----------------------------------------------------------------------------------------


def test_flipped_bits_are_found_and_healed(
    store: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(DIGEST, DATA)
    for at in range(0, len(DATA), 23):
        path = store.get(DIGEST, len(DATA))
        assert path is not None
        bad = bytearray(DATA)
        bad[at] ^= 1 << at % 8
        path.write_bytes(bad)
        caplog.clear()
        other = fresh(store)
        assert other.get(DIGEST, len(DATA)) is None
        assert not path.exists()
        assert other.get(DIGEST, len(DATA)) is None
        (record,) = caplog.records
        assert DIGEST in record.getMessage()
        store.put(DIGEST, DATA)
        assert content(store, DIGEST) == DATA


@pytest.mark.parametrize("bad", [b"", DATA[:-1], DATA + b"x", b"x" * len(DATA)], ids=len)
def test_cut_grown_and_swapped_files_are_found(store: BlobStore, bad: bytes) -> None:
    store.put(DIGEST, DATA)
    path = store.get(DIGEST)
    assert path is not None
    path.write_bytes(bad)
    assert content(fresh(store), DIGEST, len(DATA)) is None
    assert not path.exists()


def test_a_changed_file_is_hashed_again_in_the_same_process(store: BlobStore) -> None:
    store.put(DIGEST, DATA)
    path = store.get(DIGEST)
    assert path is not None
    path.write_bytes(b"x" * len(DATA))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # clocks may be coarse
    assert store.get(DIGEST) is None


def test_hashed_once_for_many_threads(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(DIGEST, DATA)
    made: list[str] = []

    class Counting(stores.Verifier):
        def __init__(self, digest: str, size: int | None = None) -> None:
            made.append(digest)
            super().__init__(digest, size)

    monkeypatch.setattr(stores, "Verifier", Counting)
    other = fresh(store)
    start = threading.Barrier(8)

    def ask(_: int) -> bytes | None:
        start.wait()
        return content(other, DIGEST)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [DATA] * 8
    assert made == [DIGEST]


def test_a_link_is_not_followed(store: BlobStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(DATA)
    path = folder.blob_path(store.root, DIGEST)
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")
    assert not store.present(DIGEST, len(DATA))
    assert store.get(DIGEST, len(DATA)) is None
    store.put(DIGEST, DATA)
    assert not path.is_symlink()
    assert target.read_bytes() == DATA


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_does_not_hang(store: BlobStore) -> None:
    path = folder.blob_path(store.root, DIGEST)
    os.mkfifo(path)
    assert store.get(DIGEST, len(DATA)) is None
    store.put(DIGEST, DATA)
    assert content(store, DIGEST) == DATA


def test_a_folder_in_the_way_is_told(store: BlobStore) -> None:
    path = folder.blob_path(store.root, DIGEST)
    path.mkdir()
    (path / "x").touch()
    assert store.get(DIGEST, len(DATA)) is None
    with pytest.raises(WriteFailed):
        store.put(DIGEST, DATA)
    assert files(store, "ingest") == []


def test_a_disk_that_cannot_be_read(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(DIGEST, DATA)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "read_at", broken)
        assert fresh(store).get(DIGEST) is None
    assert not store.present(DIGEST, len(DATA))


def test_a_store_that_was_removed_comes_back(store: BlobStore) -> None:
    import shutil

    store.put(DIGEST, DATA)
    shutil.rmtree(store.root)
    assert store.get(DIGEST) is None
    store.put(DIGEST, DATA)
    assert content(store, DIGEST) == DATA
    begun = store.begin(digests.of(OTHER), len(OTHER))
    begun.write(OTHER)
    shutil.rmtree(store.root / "v1" / "blobs")
    begun.commit()
    assert content(store, digests.of(OTHER)) == OTHER


# --- writing fails -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["write_at", "open_file"])
@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, DiskFull), (errno.EFBIG, DiskFull), (errno.EROFS, WriteFailed)],
)
def test_a_full_disk(
    store: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    number: int,
    error: type[Exception],
) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(copying, where, full)
        with pytest.raises(error):
            store.put(DIGEST, DATA)
    assert files(store, "") == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_flush_or_rename_fails(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    begun = store.begin(DIGEST, len(DATA))
    begun.write(DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os if call == "fsync" else Path, call, full)
        with pytest.raises(DiskFull):
            begun.commit()
    assert files(store, "") == []


def test_an_open_target_on_windows(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(DIGEST, DATA)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "in use")

    begun = store.begin(DIGEST, len(DATA))
    begun.write(DATA)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        begun.commit()
    assert files(store, "ingest") == []
    assert content(fresh(store), DIGEST) == DATA


def test_a_blob_is_flushed_before_it_is_named(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_fsync, real_replace, real_sync = os.fsync, Path.replace, folder.sync

    def fsync(descriptor: int) -> None:
        done.append("fsync")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return real_replace(self, target)

    def sync(path: Path) -> None:
        done.append(f"folder {path.name}")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", real_fsync)
            real_sync(path)

    begun = store.begin(DIGEST, len(DATA))
    begun.write(DATA)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(ingest.folder, "sync", sync)
    begun.commit()
    assert done == ["fsync", "rename", "folder sha256"]


# --- copies between files ------------------------------------------------------------------------


def no_kernel(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(os, "copy_file_range", raising=False)


def other_disk(patch: pytest.MonkeyPatch) -> None:
    def copy(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    patch.setattr(os, "copy_file_range", copy, raising=False)


def says_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "copy_file_range", lambda *_: 0, raising=False)


def breaks_off(patch: pytest.MonkeyPatch) -> None:
    def copy(source: int, target: int, count: int, at: int, to: int) -> int:
        if at % 1000 >= 700:
            raise OSError(errno.EIO, "Input/output error")
        data = copying.read_at(source, min(count, 700), at)
        copying.write_at(target, data, to)
        return len(data)

    patch.setattr(os, "copy_file_range", copy, raising=False)


def windows(patch: pytest.MonkeyPatch) -> None:
    for name in ("copy_file_range", "pread", "pwrite"):
        patch.delattr(os, name, raising=False)


WAYS = [lambda _: None, no_kernel, other_disk, says_nothing, breaks_off, windows]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_copied_into_and_out_of_files(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way
) -> None:
    way(monkeypatch)
    source = tmp_path / "source"
    source.write_bytes(b"before" + DATA + b"after")
    store.put_file(DIGEST, len(DATA), source, 6)
    assert content(fresh(store), DIGEST) == DATA
    target = tmp_path / "target"
    target.write_bytes(b"-" * 2000)
    with target.open("r+b") as file:
        assert store.copy_into(DIGEST, len(DATA), file.fileno(), 100)
        assert not store.copy_into(digests.of(OTHER), len(OTHER), file.fileno(), 0)
    assert target.read_bytes() == b"-" * 100 + DATA + b"-" * (1900 - len(DATA))


@pytest.mark.parametrize("kernel", [True, False])
def test_copied_into_a_writer(store: BlobStore, tmp_path: Path, kernel: bool) -> None:
    store.put(DIGEST, DATA)
    target = tmp_path / "target"

    class Writer:
        def write_at(self, offset: int, data: bytes) -> None:
            copying.write_at(file.fileno(), data, offset)

    class Kernel(Writer):
        def fileno(self) -> int:
            return file.fileno()

    with target.open("w+b") as file:
        assert store.copy_into(DIGEST, len(DATA), Kernel() if kernel else Writer(), 7)
    assert target.read_bytes() == bytes(7) + DATA


def test_a_stretch_that_is_something_else(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    with pytest.raises(SizeMismatch):
        store.put_file(DIGEST, len(DATA), source, 1)
    with pytest.raises(DigestMismatch):
        store.put_file(digests.of(OTHER), len(OTHER), source)
    with pytest.raises(FileNotFoundError):
        store.put_file(DIGEST, len(DATA), tmp_path / "absent")
    assert files(store, "") == []


def test_a_refusal_to_write_is_raised(store: BlobStore) -> None:
    store.put(DIGEST, DATA)

    class Full:
        def write_at(self, offset: int, data: bytes) -> None:
            raise DiskFull("full")

    with pytest.raises(DiskFull):
        store.copy_into(DIGEST, len(DATA), Full(), 0)
    assert content(store, DIGEST) == DATA


def test_a_blob_cut_while_it_is_copied(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_kernel(monkeypatch)
    store.put(DIGEST, DATA)
    real = store.open

    def cut(digest: str, size: int | None = None):
        blob = real(digest, size)
        os.truncate(folder.blob_path(store.root, digest), 10)
        return blob

    monkeypatch.setattr(store, "open", cut)
    with (tmp_path / "target").open("w+b") as file:
        assert not store.copy_into(DIGEST, len(DATA), file.fileno(), 0)
    assert not store.present(DIGEST, 10)


def test_large_blobs_pass_in_stretches(store: BlobStore, tmp_path: Path) -> None:
    size = copying.STRETCH * 2 + 5
    source = tmp_path / "source"
    block = os.urandom(1 << 20)
    with source.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.write(block[:5])
    with source.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    store.put_file(digest, size, source)
    with (tmp_path / "target").open("w+b") as out:
        assert store.copy_into(digest, size, out.fileno(), 0)
        out.seek(0)
        assert "sha256:" + hashlib.file_digest(out, "sha256").hexdigest() == digest
