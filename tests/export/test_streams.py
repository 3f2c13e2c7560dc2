"""Saving into a file object, a pipe, stdout, and straight into a daemon."""

from __future__ import annotations

import io
import os
import random
import signal
import socket as socket_module
import subprocess
import sys
import tarfile
import threading
import time

import pytest
from command import Command
from rig.actions import corrupt, half_close_after, respond
from rig.faults import FaultServer
from rig.images import OCI_LAYER, make_image
from rig.loaders import short_folder
from rig.processes import require

import didlab
from didlab import errors

LAYERS = [
    {"etc/os-release": b"ID=lab\n"},
    {"data/noise": random.Random(1).randbytes(900_000)},
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


@pytest.fixture
def command(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


class Sink:
    """Has ``write`` and nothing else; takes ``part`` bytes at a time."""

    def __init__(self, part: int = 1 << 30) -> None:
        self.data = bytearray()
        self.part = part
        self.largest = 0

    def write(self, data) -> int:
        self.largest = max(self.largest, len(data))
        took = bytes(data[: self.part])
        self.data += took
        return len(took)


def is_loadable(data: bytes) -> bool:
    """Whether GNU tar takes it for complete, and every blob is there."""
    done = subprocess.run(
        [require("tar", "tar"), "-t"], input=data, capture_output=True, check=False
    )
    return done.returncode == 0 and data.endswith(bytes(1024))


@pytest.mark.parametrize("part", [1 << 30, 1000])
@pytest.mark.parametrize("form", ["archive", "docker", "oci-archive"])
def test_a_stream_gets_the_same_bytes_as_a_file(image, tmp_path, form, part):
    sink = Sink(part)
    report = image.save(sink, format=form, progress=False)
    saved = image.save(tmp_path / "app.tar", format=form)
    assert bytes(sink.data) == saved.path.read_bytes()
    assert (report.path, report.size) == (None, len(sink.data))
    assert (report.image_id, report.digest) == (saved.image_id, saved.digest)
    assert report.downloaded == saved.downloaded > 0
    assert sink.largest <= 2 * 1024 * 1024
    with pytest.raises(TypeError, match="stream"):
        os.fspath(report)
    assert "stream" in repr(report)


def test_recompressed_into_a_stream(image, tmp_path):
    sink = io.BytesIO()
    image.save(sink, compression="zstd", progress=False)
    saved = image.save(tmp_path / "app.tar", compression="zstd")
    assert sink.getvalue() == saved.path.read_bytes()


def test_text_streams_and_layouts_are_refused_before_any_request(server, image):
    for sink in (io.StringIO(), sys.__stdout__):
        with pytest.raises(errors.InvalidArgument, match="bytes"):
            image.save(sink)
    with pytest.raises(errors.InvalidArgument, match="folder"):
        image.save(io.BytesIO(), format="oci-dir")
    assert not server.requests


def test_a_broken_link_is_mended(server, image, tmp_path):
    whole = image.save(tmp_path / "app.tar").path.read_bytes()
    server.rule(lambda r: "/blobs/" in r.path, half_close_after(300_000), times=2)
    sink = Sink()
    image.save(sink, progress=False)
    assert bytes(sink.data) == whole


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("how", ["corrupt", "gone"])
def test_after_a_failure_nobody_takes_it_for_an_archive(server, image, tmp_path, which, how):
    whole = image.save(tmp_path / "app.tar").path.read_bytes()
    assert is_loadable(whole)
    layer = server.image.layers[which]
    action = corrupt(layer["size"] - 1) if how == "corrupt" else respond(404)
    server.rule(lambda r: r.path.endswith(layer["digest"]), action)
    sink = Sink()
    with pytest.raises((errors.DigestMismatch, errors.BlobNotFound)):
        image.save(sink, progress=False)
    assert not is_loadable(bytes(sink.data))
    assert whole.startswith(bytes(sink.data))  # not a wrong byte went out as the last of a blob
    blob = server.blobs[layer["digest"]]
    assert blob not in bytes(sink.data)


def test_a_stream_that_takes_no_more(image):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(errors.WriteFailed, match="No space") as caught:
        image.save(Full(), progress=False)
    assert isinstance(caught.value.__cause__, OSError)


def test_memory_is_bounded_and_the_store_is_used(server, image, store, tmp_path):
    image.save(tmp_path / "app.tar", keep=True)
    asked = len(server.asked("/blobs/"))
    sink = Sink()
    report = image.save(sink, progress=False)
    assert len(server.asked("/blobs/")) == asked
    assert (report.downloaded, report.reused) == (0, sum(x["size"] for x in server.image.layers))


# --- stdout --------------------------------------------------------------------------------------


def test_stdout(server, image, command, tmp_path):
    name = f"{server.host}/lab/app:1"
    target = command.folder / "piped.tar"
    with target.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "didlab", "save", name, "-o", "-"],
            stdout=file,
            stderr=subprocess.PIPE,
        )
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert target.read_bytes() == image.save(tmp_path / "app.tar").path.read_bytes()


def test_a_pipe_into_docker_load(server, image, command, dockerd):
    name = f"{server.host}/lab/app:1"
    save = command.start("save", name, "-o", "-", "--format", "docker")
    docker = [dockerd._docker, "-H", dockerd.host, "load"]
    done = subprocess.run(docker, stdin=save.stdout, capture_output=True, check=True)
    save.stdout.close()
    with save.stderr:
        assert (save.wait(30), save.stderr.read()) == (0, b"")
    assert name in done.stdout.decode()
    assert dockerd.inspect(name)["Id"] == image.image_id()


def test_stdout_refuses_what_cannot_be_meant(server, command):
    name = f"{server.host}/lab/app:1"
    for more in (["--format", "oci-dir"], ["--json"]):
        done = command("save", name, "-o", "-", *more)
        assert (done.returncode, done.stdout) == (2, "")
    with command.terminal("save", name, "-o", "-") as terminal:
        terminal.expect("a terminal takes no tar")
        assert terminal.finish()[0] == 2
    assert not server.requests


def test_a_reader_that_goes_away(server, command):
    noise = random.Random(3).randbytes(3_000_000)
    server.add_image("lab/app", "big", make_image([{"noise": noise}]))
    process = command.start("save", f"{server.host}/lab/app:big", "-o", "-")
    process.stdout.read(1000)
    process.stdout.close()
    with process.stderr:
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_a_failure_goes_to_stderr_in_one_line(server, command):
    server.rule(lambda r: "/blobs/" in r.path and r.method == "GET", corrupt(3))
    process = command.start("save", f"{server.host}/lab/app:1", "-o", "-")
    out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count(b"\n") == 1
    assert not is_loadable(out)


# --- load ----------------------------------------------------------------------------------------


@pytest.fixture
def socket(dockerd, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", dockerd.host)
    return dockerd


def test_load(server, image, socket):
    report = image.load()
    name = f"{server.host}/lab/app:1"
    assert socket.inspect(name)["Id"] == image.image_id() == report.image_id
    assert report.messages == (f"Loaded image: {name}",)
    assert report.downloaded == sum(layer["size"] for layer in server.image.layers)
    assert report.daemon in socket.run("version")
    assert name in repr(report)


def test_load_fetches_only_what_the_daemon_lacks(server, image, socket):
    image.load()
    more = make_image([*LAYERS, {"new": b"new"}], Cmd=["/bin/sh"])
    server.add_image("lab/app", "2", more)
    asked = len(server.asked("/blobs/"))
    report = didlab.open(f"{server.host}/lab/app:2").load()
    assert report.downloaded == more.layers[-1]["size"]
    assert len(server.asked("/blobs/")) - asked == 2  # the config and one layer
    assert socket.inspect(f"{server.host}/lab/app:2")["Id"] == more.image_id


def test_load_of_zstd_into_an_old_daemon(server, socket):
    def pack(tar: bytes) -> bytes:
        return subprocess.run(
            [require("zstd", "zstd"), "-c"], input=tar, capture_output=True, check=True
        ).stdout

    built = make_image(LAYERS[:1], compress=pack, layer_type=OCI_LAYER + "+zstd")
    server.add_image("lab/app", "zstd", built)
    report = didlab.open(f"{server.host}/lab/app:zstd").load()
    assert socket.inspect(f"{server.host}/lab/app:zstd")["Id"] == built.image_id == report.image_id


def test_load_of_a_digest_and_of_a_local_tar(server, image, socket, tmp_path):
    saved = image.save(tmp_path / "app.tar")
    by_digest = didlab.open(f"{server.host}/lab/app@{image.digest()}").load()
    assert by_digest.image_id == image.image_id()
    assert didlab.open(saved).load().messages == (f"Loaded image: {server.host}/lab/app:1",)


def test_a_broken_layer_leaves_nothing_in_the_daemon(server, image, socket):
    layer = server.image.layers[1]
    server.rule(lambda r: r.path.endswith(layer["digest"]), corrupt(layer["size"] - 1))
    with pytest.raises(errors.DigestMismatch):
        image.load()
    time.sleep(0.3)
    assert socket.run("image", "ls", "-q") == ""


def test_what_the_daemon_says_no_to_is_told(server, socket):
    windows = make_image(LAYERS[:1], "windows/amd64")
    server.add_image("lab/app", "win", windows)
    with pytest.raises((errors.ServerError, errors.ProtocolError), match="windows"):
        didlab.open(f"{server.host}/lab/app:win", "windows/amd64").load()


def test_a_daemon_that_refuses_before_it_has_read_everything(server, image, monkeypatch):
    noise = random.Random(4).randbytes(8_000_000)
    server.add_image("lab/app", "big", make_image([{"noise": noise}]))
    answer = b'{"message":"no room in \\u001b[31mhere"}'
    head = b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: %d\r\n\r\n" % len(answer)
    answers = {
        b"/version": b'{"Version":"20.10.24"}',
        b"/info": b'{"DriverStatus":null}',
        b"/images/json": b"[]",
    }

    def serve(listener: socket_module.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(65536).split()[1]
                if asked in answers:
                    body = answers[asked]
                    ok = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                    connection.sendall(ok + body)
                else:
                    connection.sendall(head + answer)

    with short_folder() as folder, socket_module.socket(socket_module.AF_UNIX) as listener:
        listener.bind(str(folder / "d.sock"))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/d.sock")
        with pytest.raises(errors.ServerError, match="no room") as caught:
            didlab.open(f"{server.host}/lab/app:big").load()
        listener.shutdown(socket_module.SHUT_RDWR)
        thread.join(10)
    assert "\x1b" not in str(caught.value)
    assert caught.value.status == 507


def test_no_daemon(image, monkeypatch):
    with short_folder() as folder:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/none.sock")
        with pytest.raises(errors.ConnectFailed, match="no Docker daemon"):
            image.load()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(errors.Unsupported):
        image.load()


def test_didlab_load(server, socket, command):
    name = f"{server.host}/lab/app:1"
    done = command("load", name, DOCKER_HOST=socket.host)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Loaded image: {name}\n", "")
    done = command("load", name, DOCKER_HOST="unix:///nowhere.sock")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_it_streams(server, image):
    server.rule(lambda r: r.path.endswith(server.image.layers[1]["digest"]), half_close_after(10))
    sink = Sink()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises((KeyboardInterrupt, errors.Truncated)) as caught:
        image.save(sink, progress=False)
        time.sleep(5)
    assert not is_loadable(bytes(sink.data))
    if caught.type is not KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)


def test_tarfile_reads_it_without_seeking(image):
    sink = io.BytesIO()
    image.save(sink, progress=False)
    sink.seek(0)
    with tarfile.open(fileobj=sink, mode="r|") as tar:
        assert tar.next().name == "oci-layout"
