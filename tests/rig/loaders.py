"""The programs that take what didlab saves: dockerd, podman, containerd, skopeo, umoci."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.processes import Service, clean_environ, missing, require, run


def skopeo(*args: str | Path) -> str:
    """Run skopeo, without asking for signatures; returns its stdout."""
    return run(require("skopeo", "skopeo"), "--insecure-policy", *args)


def umoci(*args: str | Path) -> str:
    """Run umoci; returns its stdout."""
    return run(require("umoci", "umoci"), *args)


def require_root(what: str) -> None:
    """Skip (or fail in CI) where a daemon cannot be started."""
    if sys.platform != "linux" or os.geteuid() != 0:
        missing(f"{what} needs Linux and root")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose sockets fit into the 108 bytes that Unix allows for a path."""
    folder = Path(tempfile.mkdtemp(prefix="didlab-"))
    try:
        yield folder
    finally:
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _unmount(folder: Path) -> None:
    """Undo the mounts that storage drivers leave behind, innermost first."""
    table = Path("/proc/self/mountinfo")
    if not table.exists():
        return
    points = [line.split()[4] for line in table.read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        with contextlib.suppress(Exception):
            run("umount", "-l", point)


class Docker:
    """A dockerd of its own, asked by the docker CLI; loopback registries may be plain."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.containerd = folder / "exec" / "containerd" / "containerd.sock"
        self._docker = require("docker", "docker.io")
        config = folder / "daemon.json"  # or else it reads the machine's
        config.write_text("{}")
        self._environ = {**clean_environ("DOCKER_"), "DOCKER_CONFIG": str(folder / "cli")}
        argv = [
            require("dockerd", "docker.io"),
            "--config-file", str(config),
            "--data-root", str(folder / "data"),
            "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "pid"),
            "--host", self.host,
            "--storage-driver=vfs",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
        ]  # fmt: skip
        self.service = Service("dockerd", argv, folder=folder, ready=self._ready, quits=20)
        self.service.start()

    def _ready(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            self.run("version", "--format", "{{.Server.Version}}")
        except Exception:
            return False
        return True

    def run(self, *args: str | Path) -> str:
        """``docker.run("load", "-i", path)``."""
        return run(self._docker, "-H", self.host, *args, environ=self._environ)

    def inspect(self, name: str) -> dict[str, Any]:
        """``docker image inspect``."""
        found: dict[str, Any] = json.loads(self.run("image", "inspect", name))[0]
        return found

    def remove_all(self) -> None:
        """Forget all images."""
        names = set(self.run("image", "ls", "-aq", "--no-trunc").split())
        if names:
            self.run("image", "rm", "-f", *names)


class Podman:
    """podman with storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._podman = require("podman", "podman")
        self._options = [
            "--root", str(folder / "root"),
            "--runroot", str(folder / "runroot"),
            "--tmpdir", str(folder / "tmp"),
            "--storage-driver", "vfs",
            "--cgroup-manager", "cgroupfs",
            "--events-backend", "none",
        ]  # fmt: skip
        registries = folder / "registries.conf"
        registries.write_text(
            'unqualified-search-registries = ["docker.io"]\n'
            '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
        )
        logins = folder / "auth.json"
        logins.write_text("{}")
        self._environ = {
            **clean_environ("CONTAINERS_"),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "REGISTRY_AUTH_FILE": str(logins),
        }

    def run(self, *args: str | Path) -> str:
        """``podman.run("load", "-i", path)``; pulls need ``--tls-verify=false``."""
        return run(self._podman, *self._options, *args, environ=self._environ)

    def inspect(self, name: str) -> dict[str, Any]:
        """``podman image inspect``."""
        found: dict[str, Any] = json.loads(self.run("image", "inspect", name))[0]
        return found

    def remove_all(self) -> None:
        """Forget all images."""
        self.run("image", "rm", "--all", "--force")


class Containerd:
    """A containerd of its own, asked by ctr."""

    def __init__(self, folder: Path) -> None:
        self._ctr = require("ctr", "containerd")
        self.socket = folder / "c.sock"
        config = folder / "config.toml"
        # CRI wants a CNI set-up, and its start is slow.
        config.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.socket}"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{folder}/opt"\n'
        )
        argv = [require("containerd", "containerd"), "--config", str(config)]
        self.service = Service("containerd", argv, folder=folder, ready=self._ready)
        self.service.start()

    def _ready(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            self.run("version")
        except Exception:
            return False
        return True

    def run(self, *args: str | Path) -> str:
        """``ctr.run("images", "import", "--snapshotter", "native", path)``."""
        return run(self._ctr, "--address", self.socket, *args)

    def load(self, path: Path, *options: str) -> None:
        """``ctr images import`` with the snapshotter that works on every file system."""
        self.run("images", "import", "--snapshotter", "native", *options, path)

    def images(self) -> dict[str, str]:
        """Digest by name."""
        rows = [line.split() for line in self.run("images", "list").splitlines()[1:]]
        return {row[0]: next(word for word in row if word.startswith("sha256:")) for row in rows}

    def remove_all(self) -> None:
        """Forget all images."""
        for name in self.images():
            self.run("images", "rm", "--sync", name)


@pytest.fixture(scope="session")
def _dockerd() -> Iterator[Docker]:
    require_root("dockerd")
    with short_folder() as folder:
        docker = Docker(folder)
        try:
            yield docker
        finally:
            docker.service.stop()


@pytest.fixture
def dockerd(_dockerd: Docker) -> Docker:
    """A dockerd without images."""
    _dockerd.remove_all()
    return _dockerd


@pytest.fixture(scope="session")
def _podman() -> Iterator[Podman]:
    require_root("podman with storage of its own")
    with short_folder() as folder:
        yield Podman(folder)


@pytest.fixture
def podman(_podman: Podman) -> Podman:
    """A podman without images."""
    _podman.remove_all()
    return _podman


@pytest.fixture(scope="session")
def _containerd() -> Iterator[Containerd]:
    require_root("containerd")
    with short_folder() as folder:
        ctr = Containerd(folder)
        try:
            yield ctr
        finally:
            ctr.service.stop()


@pytest.fixture
def ctr(_containerd: Containerd) -> Containerd:
    """A containerd without images."""
    _containerd.remove_all()
    return _containerd
