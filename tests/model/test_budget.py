"""What looking costs on a long line: as many requests and connections as the protocol needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig.faults import FaultServer
from rig.images import make_image, make_index

import didlab


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        children = [make_image([{"a": b"1"}], name) for name in ("linux/amd64", "linux/arm64")]
        server.add_image("lab/app", "1", make_index(children))
        server.add_image("lab/app", "2", children[0])
        yield server


def look(server: FaultServer, tag: str) -> list[str]:
    """Look at everything small of an image; return what was asked for."""
    before = len(server.requests)
    image = didlab.open(f"{server.host}/lab/app:{tag}", platform="linux/amd64")
    image.platforms()
    image.layers()
    image.config()
    image.history()
    return [request.path for request in server.requests[before:]]


def test_cold_with_a_token(server: FaultServer) -> None:
    """Challenge, token, index, manifest, config; no ``/v2/``, and one connection for all."""
    server.auth = "bearer"
    asked = look(server, "1")
    assert len(asked) == 5
    assert "/v2/" not in asked
    assert server.connections == 1
    # Known by digest: another tag of the same image costs its manifest alone.
    assert len(look(server, "2")) == 1
    assert server.connections == 1


def test_cold_without_one(server: FaultServer) -> None:
    assert len(look(server, "1")) == 3
    assert len(look(server, "1")) == 1
    assert server.connections == 1
