"""The Docker daemon's socket when it is not there, not ours, or breaks off."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.loaders import short_folder
from sources.test_local_suite import LAYERS, docker_members, pack

import didlab
from didlab import errors
from didlab.sources.local import daemon

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets here")

MEMBERS, BUILT = docker_members({"1": LAYERS})
ARCHIVE = pack(MEMBERS)
NAME = "registry.example/lab/app:1"

Answer = Callable[[str], tuple[int, bytes]]


class FakeDaemon:
    """Answers on a Unix socket; counts what it was asked; ``cut`` ends a body early."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.cut: int | None = None
        self.identity = BUILT["1"].image_id
        self.status = 200
        self.raw: bytes | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                path = connection.recv(65536).split(b" ")[1].decode()
                self.asked.append(path)
                if self.raw is not None:
                    connection.sendall(self.raw)
                    continue
                body = self._body(path)
                head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body[: self.cut])

    def _body(self, path: str) -> bytes:
        if self.status != 200:
            return b'{"message":"out of \\u001b[31mmemory"}'
        if path.endswith("/get"):
            return ARCHIVE
        if path == "/images/json":
            return json.dumps([{"RepoTags": [NAME]}, {"RepoTags": None}]).encode()
        return json.dumps({"Id": self.identity}).encode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    with short_folder() as folder:
        made = FakeDaemon(folder / "d.sock")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/d.sock")
        yield made
        made.close()


def test_asked_once_and_kept_in_a_file_without_a_name(
    fake: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    m = didlab.open(f"docker-daemon:{NAME}")
    assert fake.asked == []
    assert m.digest() == BUILT["1"].digest
    assert m.files()["path"].tolist()
    m.save(tmp_path / "a.tar")
    assert fake.asked == [f"/images/{NAME}/json", f"/images/{NAME}/get"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert str(m.reference) == NAME

    # Asked anew: the same image is not fetched again.
    assert m.refresh().digest() == BUILT["1"].digest
    assert [path for path in fake.asked if path.endswith("/get")] == [f"/images/{NAME}/get"]
    fake.identity = "sha256:other"
    assert m.refresh().digest() == BUILT["1"].digest
    assert len([path for path in fake.asked if path.endswith("/get")]) == 2

    again = pickle.loads(pickle.dumps(m))
    assert again == m
    assert again.read("/etc/issue") == m.read("/etc/issue")


def test_names_are_quoted(fake: FakeDaemon) -> None:
    fake.status = 404
    with pytest.raises(errors.ManifestNotFound):
        didlab.open("docker-daemon:a b?c=d#e\r\nX: y").digest()
    assert fake.asked[0] == "/images/a%20b%3Fc%3Dd%23e%0D%0AX:%20y/json"


@pytest.mark.parametrize(
    ("status", "raw", "cut", "error"),
    [
        (500, None, None, errors.ServerError),
        (403, None, None, errors.ProtocolError),
        (200, None, 20, errors.Truncated),
        (200, b"SSH-2.0-OpenSSH\r\n", None, errors.ProtocolError),
        (200, b"", None, errors.DidlabError),
    ],
)
def test_a_daemon_that_fails(
    fake: FakeDaemon, status: int, raw: bytes | None, cut: int | None, error: type[Exception]
) -> None:
    fake.status, fake.raw, fake.cut = status, raw, cut
    with pytest.raises(error) as caught:
        didlab.open("docker-daemon:app").digest()
    assert "\x1b" not in str(caught.value)
    # The next try is a fresh one.
    fake.status, fake.raw, fake.cut = 200, None, None
    assert didlab.open("docker-daemon:app").digest() == BUILT["1"].digest


def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(errors.ConnectFailed, match="DOCKER_HOST"):
        didlab.open("docker-daemon:app").digest()
    monkeypatch.delenv("DOCKER_HOST")
    assert daemon.socket_path() == daemon.DEFAULT_SOCKET
    for host in ("tcp://127.0.0.1:2375", "ssh://me@host", "npipe:////./pipe/x", "unix:"):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(errors.Unsupported, match="docker save") as caught:
            didlab.open("docker-daemon:app").digest()
        assert "me@host" not in str(caught.value)


def test_a_socket_that_is_not_ours() -> None:
    denied = daemon._no_connection("/x", PermissionError(13, os.strerror(13)))
    assert isinstance(denied, errors.AuthDenied)
    assert isinstance(denied, PermissionError)
    assert "group docker" in str(denied)


def test_a_name_is_needed() -> None:
    with pytest.raises(errors.InvalidReference, match="needs the name"):
        didlab.open("docker-daemon:")
