"""What the tests that talk HTTP share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.faults import FaultServer
from rig.images import BuiltImage, make_image

from didlab.oci.reference import Reference
from didlab.sources.registry import RegistrySource
from didlab.transport import client, credentials, endpoint, notices
from didlab.transport.options import make

Ask = Callable[..., RegistrySource]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No login, proxy, connection or token of anybody else; returns the home directory."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("DOCKER_", "REGISTRY_AUTH")):
            monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    client._clients.clear()
    endpoint._spoken.clear()
    notices._told.clear()
    credentials.forget()
    return home


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited; nobody waits."""
    seconds: list[float] = []
    monkeypatch.setattr(endpoint, "wait", seconds.append)
    monkeypatch.setattr(client, "wait", seconds.append)
    return seconds


@pytest.fixture(scope="session")
def image() -> BuiltImage:
    """The image that every `server` has as lab/app:1."""
    return make_image([{"a": os.urandom(3000)}], Cmd=["/bin/sh"])


@pytest.fixture
def server(alone: Path, image: BuiltImage) -> Iterator[FaultServer]:
    """A registry that does as it is told."""
    with FaultServer() as made:
        made.add_image("lab/app", "1", image)
        yield made


@pytest.fixture
def other(image: BuiltImage) -> Iterator[FaultServer]:
    """Another host: a store, a mirror, a canary."""
    with FaultServer("127.0.0.2") as made:
        made.add_image("lab/app", "1", image)
        yield made


def speaks_http(host: str) -> None:
    """Spare a test that is not about schemes the question whether a place speaks TLS."""
    name, _, port = host.rpartition(":")
    endpoint._spoken[name, int(port)] = "http"


@pytest.fixture
def http() -> Callable[[str], None]:
    """``http(host)``: it is known already to speak plain http."""
    return speaks_http


@pytest.fixture
def at() -> Ask:
    """``at(server, repository, **options)``: a source; ``server`` may be a host, too."""

    def ask(place: FaultServer | str, repository: str = "lab/app", **options: object):
        host = place if isinstance(place, str) else place.host
        return RegistrySource(host, make(**options), repository)  # type: ignore[arg-type]

    return ask


@pytest.fixture
def ref() -> Callable[..., Reference]:
    """``ref(source, tag_or_digest)``: the reference to resolve there."""

    def build(source: RegistrySource, name: str = "1") -> Reference:
        mark = "@" if ":" in name else ":"
        return Reference.parse(f"{source.location}{mark}{name}")

    return build
