"""Saving: what is written, what is not, and what is left after a failure."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from rig.actions import corrupt, half_close_after, hang_up, ignore_range, reset_after, stall
from rig.faults import FaultServer
from rig.images import make_image
from rig.loaders import require_root
from rig.processes import run

import didlab
from didlab import errors
from didlab.export.running import Manner

LAYERS = [
    {"etc/os-release": b"ID=lab\n"},
    {"data/noise": random.Random(1).randbytes(700_000)},
    {"data/more": random.Random(2).randbytes(20_000)},
]


@pytest.fixture
def server():
    with FaultServer() as server:
        server.image = make_image(LAYERS, Cmd=["/bin/sh"])
        server.add_image("lab/app", "1", server.image)
        yield server


@pytest.fixture
def image(server):
    return didlab.open(f"{server.host}/lab/app:1")


def sha256(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def largest(image) -> str:
    frame = image.layers()
    return str(frame.loc[frame["size"].idxmax(), "digest"])


def names(folder: Path) -> list[str]:
    """What a person sees there: partial files are hidden, and say by their names what they are."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.endswith(".part"))


# --- the report and the name ---------------------------------------------------------------------


def test_the_report_says_what_was_done(image, tmp_path):
    report = image.save(tmp_path / "app.tar")
    assert report.path == tmp_path / "app.tar"
    assert report.digest == image.digest()
    assert report.image_id == image.image_id()
    assert report.platform == "linux/amd64"
    assert report.size == report.path.stat().st_size
    assert report.downloaded == report.bytes_downloaded == image.layers()["size"].sum()
    assert report.reused == 0
    assert report.seconds > 0
    assert os.fspath(report) == str(report) == str(tmp_path / "app.tar")
    assert Path(report).read_bytes()[:10] == b"oci-layout"
    assert pickle.loads(pickle.dumps(report)) == report


def test_a_directory_names_the_file(image, tmp_path):
    assert image.save(tmp_path).path.name == "lab_app_1_linux_amd64.tar"


def test_a_digest_names_the_file_too(server, image, tmp_path):
    by_digest = didlab.open(f"{server.host}/lab/app@{image.digest()}")
    report = by_digest.save(tmp_path)
    assert report.path.name == f"lab_app_{image.digest()[7:19]}_linux_amd64.tar"
    assert b'"RepoTags":[]' in report.path.read_bytes()


def test_the_mode_follows_the_umask(image, tmp_path):
    before = os.umask(0o027)
    try:
        report = image.save(tmp_path / "app.tar")
    finally:
        os.umask(before)
    assert report.path.stat().st_mode & 0o777 == 0o640


# --- equal files ---------------------------------------------------------------------------------


def test_equal_images_give_equal_files_whatever_the_circumstances(lab, tmp_path):
    script = (
        "import os, sys, didlab; os.umask(int(sys.argv[4], 8)); "
        "didlab.open(sys.argv[1], platform='linux/amd64')"
        ".save(sys.argv[2], workers=int(sys.argv[3]), progress=False)"
    )
    circumstances = [
        ("1", "0o022", {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        ("4", "0o077", {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}),
        ("16", "0o000", {"TZ": "America/Caracas", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "3"}),
    ]
    for number, (workers, umask, environ) in enumerate(circumstances):
        target = tmp_path / f"{number}.tar"
        subprocess.run(
            [sys.executable, "-c", script, f"{lab.host}/lab/app:multi", target, workers, umask],
            check=True,
            env={**os.environ, **environ},
        )
    assert len({sha256(tmp_path / f"{number}.tar") for number in range(3)}) == 1


# --- what is there already -----------------------------------------------------------------------


def test_the_same_again_costs_no_blob_request(server, image, tmp_path):
    first = image.save(tmp_path / "app.tar")
    inode = first.path.stat().st_ino
    asked = len(server.asked("/blobs/"))
    again = image.save(tmp_path / "app.tar")
    assert len(server.asked("/blobs/")) == asked
    assert (again.downloaded, again.reused) == (0, first.downloaded)
    assert again.path.stat().st_ino == inode


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "other"])
def test_another_file_is_not_replaced_unasked(image, tmp_path, damage):
    target = tmp_path / "app.tar"
    image.save(target)
    whole = target.read_bytes()
    changed = {
        "flip": whole[:-3000] + bytes([whole[-3000] ^ 1]) + whole[-2999:],
        "cut": whole[:-1],
        "longer": whole + b"\0",
        "other": b"precious",
    }[damage]
    target.write_bytes(changed)
    with pytest.raises(errors.DestinationExists) as caught:
        image.save(target)
    assert isinstance(caught.value, FileExistsError)
    assert target.read_bytes() == changed
    image.save(target, overwrite=True)
    assert target.read_bytes() == whole
    assert names(tmp_path) == ["app.tar"]


def test_a_link_is_replaced_not_followed(image, tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "app.tar").symlink_to(tmp_path / "precious")
    with pytest.raises(errors.DestinationExists):
        image.save(tmp_path / "app.tar")
    image.save(tmp_path / "app.tar", overwrite=True)
    assert not (tmp_path / "app.tar").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_link_to_the_same_content_will_do(server, image, tmp_path):
    image.save(tmp_path / "real.tar")
    (tmp_path / "app.tar").symlink_to(tmp_path / "real.tar")
    assert image.save(tmp_path / "app.tar").downloaded == 0
    assert (tmp_path / "app.tar").is_symlink()


def test_a_folder_that_is_missing_or_closed(image, tmp_path):
    with pytest.raises(errors.WriteFailed, match="does not exist"):
        image.save(tmp_path / "no" / "app.tar")
    with pytest.raises(errors.InvalidArgument):
        image.save(f"{tmp_path}/no/")


# --- faults on the way ---------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 1000, 100_000])
@pytest.mark.parametrize("how", [reset_after, half_close_after], ids=["reset", "end"])
def test_a_broken_download_goes_on_where_it_broke(server, image, tmp_path, how, cut):
    digest = largest(image)
    size = int(image.layers().set_index("digest")["size"][digest])
    assert size > 100_000
    server.rule(lambda request: digest in request.path, how(cut), times=1)
    image.save(tmp_path / "app.tar", workers=1)
    first, second = server.asked(digest)
    # What a reset leaves unread in the kernel is lost; everything else is kept.
    assert second.range or cut == 0 or how is reset_after
    if second.range:
        assert second.range == f"bytes={size - second.sent}-{size - 1}"
        assert first.sent + second.sent <= size + 64 * 1024
    assert names(tmp_path) == ["app.tar"]


def test_a_place_without_ranges_starts_again(server, image, tmp_path):
    digest = largest(image)
    server.rule(lambda request: digest in request.path, half_close_after(100_000), times=1)
    server.rule(lambda request: digest in request.path, ignore_range)
    image.save(tmp_path / "app.tar")
    assert [request.status for request in server.asked(digest)] == [200, 200]


def test_a_place_that_always_breaks_is_given_up_with_a_typed_error(server, image, tmp_path):
    digest = largest(image)
    server.rule(lambda request: digest in request.path, half_close_after(10))
    with pytest.raises(errors.Truncated) as caught:
        image.save(tmp_path / "app.tar")
    assert caught.value.retryable
    assert names(tmp_path) == []


def test_progress_starts_the_count_of_failures_anew(server, image, tmp_path):
    digest = largest(image)
    server.rule(lambda request: digest in request.path, half_close_after(70_000))
    image.save(tmp_path / "app.tar")
    assert len(server.asked(digest)) > 7


def test_bad_bytes_are_fetched_once_more(server, image, tmp_path):
    digest = largest(image)
    server.rule(lambda request: digest in request.path, corrupt(5000), times=1)
    report = image.save(tmp_path / "app.tar")
    assert len(server.asked(digest)) == 2
    assert report.downloaded == image.layers()["size"].sum()


def test_bad_bytes_twice_are_an_error(server, image, tmp_path):
    digest = largest(image)
    server.rule(lambda request: digest in request.path, corrupt(5000))
    with pytest.raises(errors.DigestMismatch) as caught:
        image.save(tmp_path / "app.tar")
    assert caught.value.expected == digest
    assert names(tmp_path) == []


def test_a_missing_blob(server, image, tmp_path):
    digest = largest(image)
    del server.blobs[digest]
    with pytest.raises(errors.BlobNotFound):
        image.save(tmp_path / "app.tar")
    assert names(tmp_path) == []


def test_the_registry_goes_away_in_the_middle(server, image, tmp_path):
    image.config()
    server.rule(lambda request: True, hang_up)
    with pytest.raises(errors.TransportError):
        image.save(tmp_path / "app.tar")
    assert names(tmp_path) == []


def test_a_config_that_does_not_fit_its_manifest_is_refused(server, tmp_path):
    built = make_image(LAYERS, config_json={"rootfs": {"type": "layers", "diff_ids": []}})
    server.add_image("lab/odd", "1", built)
    with pytest.raises(errors.ManifestInvalid):
        didlab.open(f"{server.host}/lab/odd:1").save(tmp_path / "odd.tar")
    assert names(tmp_path) == []


# --- the local side ------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_leaves_nothing(lab, tmp_path):
    script = (
        "import resource, signal, sys, didlab\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    didlab.open(sys.argv[1], platform='linux/amd64').save(sys.argv[2])\n"
        "except didlab.errors.DiskFull as error:\n"
        "    print('full', error.needed)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    done = subprocess.run(
        [sys.executable, "-c", script, f"{lab.host}/lab/app:multi", tmp_path / "app.tar"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("full 9")
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with 400 kB."""
    require_root("a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder)
    yield folder
    run("umount", folder)


def test_a_small_disk(server, image, small_disk):
    """Found before anything is fetched; and what is there already stays."""
    (small_disk / "precious").write_bytes(b"x" * 1000)
    image.config()
    asked = len(server.requests)
    with pytest.raises(errors.DiskFull) as caught:
        image.save(small_disk / "app.tar")
    assert caught.value.needed > caught.value.available
    assert len(server.requests) == asked
    assert [path.name for path in small_disk.iterdir()] == ["precious"]


def test_a_disk_that_fills_up_on_the_way(server, image, small_disk):
    """Room was there at the start, as on disks that do not reserve; then somebody took it."""
    layer = image.layer(-1)
    assert layer.size < 30_000

    def fill(exchange) -> None:
        (small_disk / "other").write_bytes(bytes(405_000))
        exchange.finish()

    server.rule(lambda request: layer.digest in request.path, fill, times=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(os, "posix_fallocate")
        with pytest.raises(errors.DiskFull):
            layer.save(small_disk / "layer.tar.gz")
    assert not (small_disk / "layer.tar.gz").exists()
    (small_disk / "other").unlink()
    assert layer.save(small_disk / "layer.tar.gz").size == layer.size


def test_too_little_room_is_found_before_the_download(server, image, tmp_path, monkeypatch):
    image.config()
    asked = len(server.requests)
    monkeypatch.setattr(
        "shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000, "total": 1, "used": 1})()
    )
    with pytest.raises(errors.DiskFull) as caught:
        image.save(tmp_path / "app.tar")
    assert caught.value.available == 1000
    assert caught.value.needed > 1000
    assert len(server.requests) == asked


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_each_refusal_of_the_system_is_typed(image, tmp_path, monkeypatch, code):
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    expected = errors.DiskFull if code == errno.ENOSPC else errors.WriteFailed
    with pytest.raises(expected):
        image.save(tmp_path / "app.tar")
    assert names(tmp_path) == []


def test_without_what_only_posix_has(server, image, tmp_path, monkeypatch):
    """As on Windows: no pwrite, no fallocate, no folder to sync; the file is the same."""
    expected = sha256(image.save(tmp_path / "posix.tar"))
    for name in (
        "pwrite",
        "pwritev",
        "pread",
        "posix_fallocate",
        "O_DIRECTORY",
        "O_NOFOLLOW",
        "O_CLOEXEC",
        "sendfile",
        "copy_file_range",
        "fork",
        "getuid",
        "register_at_fork",
    ):
        monkeypatch.delattr(os, name, raising=False)
    assert sha256(image.save(tmp_path / "portable.tar", workers=4)) == expected


def test_file_names_are_legal_everywhere(image, tmp_path):
    forbidden = set('<>:"/\\|?*') | {chr(code) for code in range(32)}
    image.save(tmp_path)
    layer = image.layer(0).save(tmp_path)
    for name in names(tmp_path):
        assert not forbidden & set(name)
        assert not name.endswith((".", " "))
    assert layer.path.name == f"sha256_{image.layer(0).digest[7:]}.tar.gz"


# --- layers --------------------------------------------------------------------------------------


def test_a_layer_is_saved_as_stored(server, image, tmp_path):
    layer = image.layer(-1)
    report = layer.save(tmp_path / "layer.tar.gz")
    assert "sha256:" + sha256(report) == layer.digest == report.digest
    assert b"".join(layer.stream()) == Path(report).read_bytes()
    asked = len(server.requests)
    assert layer.save(tmp_path / "layer.tar.gz").downloaded == 0
    assert len(server.requests) == asked


def test_a_stream_mends_a_break_and_refuses_bad_bytes(server, image):
    digest = largest(image)
    layer = image.layer(digest)
    whole = b"".join(layer.stream())
    server.rule(lambda request: digest in request.path, half_close_after(50_000), times=1)
    assert b"".join(layer.stream()) == whole
    server.rule(lambda request: digest in request.path, corrupt(5))
    with pytest.raises(errors.DigestMismatch):
        list(layer.stream())


# --- progress ------------------------------------------------------------------------------------


class Bar:
    def __init__(self) -> None:
        self.total = None
        self.n = 0
        self.closed = 0
        self.threads: set[int] = set()

    def update(self, n: int) -> None:
        self.n += n
        self.threads.add(threading.get_ident())

    def close(self) -> None:
        self.closed += 1


def test_a_progress_object_counts_every_byte_once(server, image, tmp_path):
    digest = largest(image)
    server.rule(lambda request: digest in request.path, corrupt(5000), times=1)
    bar = Bar()
    image.save(tmp_path / "app.tar", progress=bar)
    assert bar.n == bar.total == image.layers()["size"].sum()
    assert bar.closed == 1
    assert bar.threads == {threading.get_ident()}


def test_a_progress_object_that_fails_stops_nothing(image, tmp_path, caplog):
    class Broken:
        def update(self, n: int) -> None:
            raise RuntimeError("no")

    image.save(tmp_path / "app.tar", progress=Broken())
    assert len(caplog.records) == 1


def test_a_bar_is_drawn_when_asked_for_and_not_in_a_log(image, tmp_path, capfd):
    image.save(tmp_path / "quiet.tar")
    assert capfd.readouterr().err == ""
    image.save(tmp_path / "loud.tar", progress=True)
    assert "loud.tar: 100%" in capfd.readouterr().err


@pytest.mark.parametrize("wrong", [0, 65, -1, True, "4", 2.0, np.bool_(True), np.float64(2)])
def test_nonsense_workers(image, tmp_path, wrong):
    with pytest.raises(errors.InvalidArgument, match="whole number from 1 to 64"):
        image.save(tmp_path / "app.tar", workers=wrong)


def test_whole_numbers_of_numpy_are_workers(image, tmp_path):
    assert type(Manner(workers=np.int64(2)).workers) is int
    assert Manner(workers=np.int64(2)).lanes == (2, 2)
    assert image.save(tmp_path / "app.tar", workers=np.int64(2)).path.exists()


def test_several_blobs_at_a_time(server, tmp_path):
    built = make_image([{f"f{number}": os.urandom(50_000)} for number in range(8)])
    server.add_image("lab/wide", "1", built)
    meeting = threading.Barrier(4, timeout=20)

    def meet(exchange) -> None:
        # Passes only when four requests are under way at the same time.
        meeting.wait()
        exchange.finish()

    digests = [layer["digest"] for layer in __import__("json").loads(built.manifest)["layers"]]
    server.rule(lambda request: any(digest in request.path for digest in digests), meet, times=4)
    didlab.open(f"{server.host}/lab/wide:1").save(tmp_path / "wide.tar")
    assert not meeting.broken


# --- interrupt -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupt_leaves_nothing_and_returns_at_once(server, image, tmp_path):
    script = (
        "import sys, threading, time, didlab\n"
        "m = didlab.open(sys.argv[1]); m.config()\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    m.save(sys.argv[2])\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    began = threading.Event()

    def hold(exchange) -> None:
        began.set()
        stall(60, after=1000)(exchange)

    digest = largest(image)
    server.rule(lambda request: digest in request.path, hold)
    child = subprocess.Popen(
        [sys.executable, "-c", script, f"{server.host}/lab/app:1", tmp_path / "app.tar"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "ready\n"
        assert began.wait(20)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        assert names(tmp_path) == []
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
