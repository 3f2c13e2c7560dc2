"""Looking inside, second look: what two layers share, threads, forks, interrupts, whole layers."""

from __future__ import annotations

import logging
import multiprocessing
import random
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import Exchange, FaultServer, Request, error_body, respond, stall
from rig.images import (
    OCI_CONFIG,
    OCI_MANIFEST,
    BuiltImage,
    dump,
    hardlink,
    make_artifact,
    make_image,
    make_tar,
    sha256,
    symlink,
)
from rig.tocs import Tabled, chunked, entry, estargz, zstd_module

import didlab
from didlab import Manifest
from didlab.blobs.ingest import Ingest
from didlab.blobs.store import BlobStore
from didlab.errors import (
    CompressionInvalid,
    DidlabError,
    DigestMismatch,
    DiskFull,
    LinkLoop,
    PathNotFound,
    TarInvalid,
)
from didlab.files import blocks, kept, wellknown
from didlab.model import inside
from didlab.sources.cached import shared

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, image: BuiltImage) -> Manifest:
    server.add_image("lab/app", "1", image)
    return didlab.open(f"{server.host}/lab/app:1", trust_env=False)


def asked(server: FaultServer, image: BuiltImage) -> list[Request]:
    digests = {layer["digest"] for layer in image.layers}
    return [one for one in server.requests if one.path.rpartition("/")[2] in digests]


# --- which layer's content it is -------------------------------------------------------------


def test_what_came_along_is_of_the_layer_that_holds(server: FaultServer) -> None:
    """The upper layer is known, so that only the lower one's file came with the listing."""
    m = opened(server, make_image([{"conf": b"old"}, {"conf": b"new!"}]))
    m.layer(1).files()
    assert m.read("/conf") == b"new!"
    assert m.layer(0).read("/conf") == b"old"


def test_a_large_file_over_a_small_one(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "_ALONG", 3)
    m = opened(server, make_image([{"conf": b"old"}, {"conf": b"new!"}]))
    assert m.read("/conf") == b"new!"


def test_the_last_entry_of_a_path_holds_when_there_is_no_room_for_it(server: FaultServer) -> None:
    """What rides along has a budget: the first entry was within it, the last one was not."""
    full = bytes(wellknown.EACH)
    rest = wellknown.TOGETHER - 3 * len(full) - len(b"good") - 2
    filler = [(f"filler/{number}", b"") for number in range(3000)]
    tar = make_tar(
        [
            ("etc/passwd", b"good"),
            *filler,
            *[(f"var/lib/dpkg/status.d/{number}", full) for number in range(3)],
            ("var/lib/dpkg/status.d/last", full[:rest]),
            ("etc/passwd", b"evil"),
            *filler,
        ]
    )
    m = opened(server, make_image([tar]))
    assert len(m.files("/etc/passwd")) == 1
    assert m.read("/etc/passwd") == b"evil"
    assert m.layer(0).read("/etc/passwd") == b"evil"


# --- tables of contents ----------------------------------------------------------------------

FILES = [entry("etc/", type=tarfile.DIRTYPE, mode=0o755), entry("etc/a", b"a" * 3000)]
SECRET = entry("etc/secret", b"s" * 3000)
BUILDERS = pytest.mark.parametrize("build", [estargz, chunked])
Build = Callable[..., Tabled]


def with_table(made: Tabled, *, vouched: bool = True) -> BuiltImage:
    """An image of one layer; without its annotations the layer is an ordinary one."""
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": sha256(made.blob),
        "size": len(made.blob),
        **({"annotations": made.annotations} if vouched else {}),
    }
    config = dump(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(made.tar)]},
        }
    )
    blobs = {sha256(made.blob): made.blob}
    return make_artifact(config, OCI_CONFIG, [layer], blobs, media_type=OCI_MANIFEST)


@BUILDERS
def test_a_table_serves_only_images_that_vouch_for_it(
    server: FaultServer, store: BlobStore, build: Build
) -> None:
    """Somebody's manifest may vouch for a table that hides what the layer holds."""

    def hide(table: dict[str, Any]) -> None:
        table["entries"] = [one for one in table["entries"] if one["name"] != "etc/secret"]

    made = build([*FILES, SECRET], edit=hide)
    m = opened(server, with_table(made))
    assert list(m.files("/etc/*")["path"]) == ["/etc/a"]
    for _ in range(2):
        plain = opened(server, with_table(made, vouched=False))
        assert list(plain.files("/etc/*")["path"]) == ["/etc/a", "/etc/secret"]
        assert plain.read("/etc/secret") == SECRET[1]
        kept.forget()


@BUILDERS
def test_table_and_pass_agree(server: FaultServer, build: Build) -> None:
    made = build([*FILES, SECRET])
    m = opened(server, with_table(made))
    listed = m.files("/etc/**")
    assert list(m.files("/*")["path"]) == ["/etc"], "the format's own files are none of the image"
    assert kept.index(sha256(made.blob), len(made.blob)) is None, "read whole"
    kept.forget()
    passed = opened(server, with_table(made, vouched=False)).files("/etc/**")
    pd.testing.assert_frame_equal(listed, passed)


@BUILDERS
def test_a_lie_about_content_is_caught_when_it_is_read(server: FaultServer, build: Build) -> None:
    def lie(table: dict[str, Any]) -> None:
        for one in table["entries"]:
            if one["name"] == "etc/a":
                one["digest"] = sha256(b"b" * 3000)
                one["chunkDigest"] = one["digest"]

    m = opened(server, with_table(build([*FILES, SECRET], edit=lie)))
    with pytest.raises(DigestMismatch):
        m.read("/etc/a")
    assert m.read("/etc/secret") == SECRET[1]


# --- one layer by itself ---------------------------------------------------------------------

LINKED = make_image(
    [
        {
            "usr": None,
            "usr/lib": None,
            "usr/lib/x": b"hello",
            "usr/lib/y": symlink("x"),
            "lib": symlink("usr/lib"),
            "deep": symlink("lib/y"),
            "up": symlink("lib/../x"),
            "usr/x": b"beside",
            "circle": symlink("circle"),
        },
        {"hard": hardlink("usr/lib/x"), "soft": symlink("/lib/x")},
    ]
)


@pytest.mark.parametrize(
    ("path", "content"),
    [("/lib/x", b"hello"), ("lib/y", b"hello"), ("/deep", b"hello")],
)
def test_a_layer_follows_linked_folders(server: FaultServer, path: str, content: bytes) -> None:
    assert opened(server, LINKED).layer(0).read(path) == content


@pytest.mark.parametrize("path", ["/hard", "/soft"])
def test_a_link_to_another_layer_is_told_as_that(server: FaultServer, path: str) -> None:
    m = opened(server, LINKED)
    with pytest.raises(PathNotFound, match=f"{path} .* is a link to .*/lib/x, which this layer"):
        m.layer(1).read(path)
    assert m.read(path) == b"hello"
    with pytest.raises(LinkLoop):
        m.layer(0).read("/circle/x")
    with pytest.raises(PathNotFound, match="has no file /lib/z"):
        m.layer(0).read("/lib/z")


@pytest.mark.parametrize(
    ("layer", "compress", "error"),
    [
        (b"no tar" * 100, True, TarInvalid),
        (b"<html>", False, CompressionInvalid),
    ],
)
def test_which_layer_is_broken_is_told(
    server: FaultServer, layer: bytes, compress: bool, error: type[Exception]
) -> None:
    image = make_image([{"a": b"fine"}, layer], compress=compress)
    with pytest.raises(error, match=image.layers[1]["digest"]) as caught:
        opened(server, image).files()
    assert type(caught.value) is error


# --- threads ---------------------------------------------------------------------------------


def slow(layers: int = 2) -> BuiltImage:
    raw = random.Random(2).randbytes(400_000)
    return make_image([{f"f{number}": raw, "n": b"%d" % number} for number in range(layers)])


def test_a_layer_is_read_once_by_many_threads(server: FaultServer) -> None:
    image = slow(3)
    m = opened(server, image)
    m.layers()
    begin = threading.Barrier(8)

    def look(number: int) -> int:
        begin.wait()
        other = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
        if number % 2:
            return len(other.layer(number % 3).files()) and len(other.files())
        return len(other.files())

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(8))) == {4}
    assert len(asked(server, image)) == 3


def test_what_one_thread_gives_up_another_takes_over(server: FaultServer) -> None:
    image = slow(1)
    m = opened(server, image)
    m.layers()
    digest = image.layers[0]["digest"]
    begun, go = threading.Event(), threading.Event()

    def refused(exchange: Exchange) -> None:
        begun.set()
        go.wait(10)
        respond(404, body=error_body("BLOB_UNKNOWN"))(exchange)

    server.rule(lambda request: request.path.endswith(digest), refused, times=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(m.files)
        assert begun.wait(10)
        second = pool.submit(lambda: len(m.files()))
        time.sleep(0.1)  # it waits for the first one by now, or will find nobody to wait for
        go.set()
        with pytest.raises(DidlabError):
            first.result(10)
        assert second.result(10) == 2


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="needs fork: not on Windows"
)
def test_a_fork_while_another_thread_looks(server: FaultServer) -> None:
    """The child has none of the threads that hold locks, nor those that list for it."""
    image = slow(1)
    m = opened(server, image)
    m.layers()
    held = [kept._indexes._lock, kept._merged._lock, blocks._decoded._lock]
    for lock in held:
        lock.acquire()
    try:
        child = multiprocessing.get_context("fork").Process(target=_listed, args=(m,))
        child.start()
    finally:
        for lock in held:
            lock.release()
    child.join(20)
    alive = child.is_alive()
    if alive:
        child.kill()
        child.join()
    assert not alive, "the child waits for a lock"
    assert child.exitcode == 0


def _listed(m: Manifest) -> None:
    assert len(m.files()) == 2
    assert m.read("/n") == b"0"


# --- interrupts ------------------------------------------------------------------------------


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_nothing_behind(server: FaultServer, store: BlobStore) -> None:
    image = slow(3)
    m = opened(server, image)
    m.layers()
    server.rule(lambda request: "/blobs/" in request.path, stall(30), times=3)
    before = set(threading.enumerate())

    threading.Timer(0.3, _interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        m.files(keep=True)
    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left if thread.name.startswith("didlab")]
    assert not [
        path for path in (store.root).rglob("*") if path.is_file() and "ingest" in str(path)
    ]
    assert kept.merged([layer["digest"] for layer in image.layers]) is None
    server.rules.clear()
    assert len(m.files()) == 4


@pytest.mark.parametrize("refused", ["write", "commit"])
def test_a_full_disk_keeps_nobody_from_looking(
    server: FaultServer,
    store: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: str,
) -> None:
    image = slow(1)
    m = opened(server, image)
    m.config()  # the store takes small things, too

    def full(*_: object) -> None:
        raise DiskFull("no room", path="somewhere")

    monkeypatch.setattr(Ingest, refused, full)
    assert len(m.files(keep=True)) == 2
    told = [record.getMessage() for record in caplog.records]
    assert told.count(f"{image.layers[0]['digest']} is not kept: no room") == 1
    assert not store.present(image.layers[0]["digest"], image.layers[0]["size"])
    assert not list((store.root).rglob("*ingest*/*"))


def _interrupt() -> None:
    import _thread

    _thread.interrupt_main()


# --- layers without a place to begin at -------------------------------------------------------


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> BuiltImage:
    """One zstd frame that is too large to stay in memory; as if it were, to be quick."""
    monkeypatch.setattr(inside, "_LARGE", 1000)
    monkeypatch.setattr(inside, "_told", set())
    raw = random.Random(3).randbytes(40_000)
    files: dict[str, Any] = {f"d/{number}": raw[number * 500 :] for number in range(20)}
    files["d/hard"] = hardlink("d/3")
    files["other"] = b"not wanted" * 1000
    return make_image([files], compress=zstd_module().compress, layer_type=ZSTD)


@pytest.mark.parametrize("layer", [False, True])
def test_extracting_reads_such_a_layer_once(
    server: FaultServer, whole: BuiltImage, tmp_path: Path, *, layer: bool
) -> None:
    m = opened(server, whole)
    m.files()
    known = len(asked(server, whole))
    made = (m.layer(0) if layer else m).extract("/d", tmp_path / "d")
    assert made.files == 21
    assert len(asked(server, whole)) == known + 1
    raw = random.Random(3).randbytes(40_000)
    for number in range(20):
        assert (tmp_path / "d" / str(number)).read_bytes() == raw[number * 500 :]
    assert (tmp_path / "d" / "hard").read_bytes() == raw[1500:]


@pytest.mark.parametrize("layer", [None, 0])
def test_a_file_system_reads_such_a_layer_once_for_many_files(
    server: FaultServer, whole: BuiltImage, tmp_path: Path, layer: int | None
) -> None:
    fs = didlab.ImageFileSystem(opened(server, whole), layer=layer)
    names = fs.find("/d")
    known = len(asked(server, whole))
    raw = random.Random(3).randbytes(40_000)
    got = fs.cat_ranges([f"/d/{number}" for number in range(20)], 5, 10)
    assert got == [raw[number * 500 + 5 : number * 500 + 10] for number in range(20)]
    assert len(asked(server, whole)) == known + 1
    fs.get("/d", str(tmp_path / "got"), recursive=True)
    assert len(asked(server, whole)) == known + 2
    assert len(list((tmp_path / "got").iterdir())) == len(names) == 21
    assert (tmp_path / "got" / "hard").read_bytes() == raw[1500:]


def test_such_a_layer_is_told_of_once(
    server: FaultServer, whole: BuiltImage, caplog: pytest.LogCaptureFixture
) -> None:
    m = opened(server, whole)
    m.files()
    with caplog.at_level(logging.WARNING, logger="didlab"):
        assert m.read("/other") == m.layer(0).read("/other") == b"not wanted" * 1000
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "no place to begin at" in told[0]
    assert "keep=True" in told[0]


def test_such_a_layer_in_the_store_is_no_news(
    server: FaultServer, whole: BuiltImage, store: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    m = opened(server, whole)
    m.files(keep=True)
    with caplog.at_level(logging.WARNING, logger="didlab"):
        assert m.read("/other") == b"not wanted" * 1000
    assert not caplog.records
    assert len(asked(server, whole)) == 1


def test_keep_brings_what_was_listed_before(server: FaultServer, store: BlobStore) -> None:
    image = make_image([{"a": b"a"}, {"b": random.Random(1).randbytes(100_000)}])
    m = opened(server, image)
    m.files()
    assert not any(store.present(layer["digest"], layer["size"]) for layer in image.layers)
    m.files(keep=True)
    assert all(store.present(layer["digest"], layer["size"]) for layer in image.layers)
    before = len(asked(server, image))
    m.files(keep=True)
    assert len(asked(server, image)) == before == 4
