"""What is remarked on about names: visibly, once."""

from __future__ import annotations

import logging

import pytest

import didlab
from didlab.sources import remarks


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remarks, "_told", set())


@pytest.mark.parametrize("host", ["index.docker.io", "Registry-1.docker.io"])
def test_another_name_of_docker_hub(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "didlab"):
        for _ in range(2):
            didlab.open(f"docker://{host}/nginx")
            didlab.Registry(host)
    assert [r.getMessage() for r in caplog.records] == [f"{host} is Docker Hub: taken as docker.io"]


def test_a_name_that_others_refuse(caplog: pytest.LogCaptureFixture) -> None:
    path = "a" * 240
    with caplog.at_level(logging.WARNING, "didlab"):
        for _ in range(2):
            didlab.open(f"registry.example/{path}")
            didlab.Registry("registry.example")[path]
        didlab.open(f"registry.example/{path[:238]}")  # 255 characters
    (record,) = caplog.records
    assert "has 257 characters" in record.getMessage()


@pytest.mark.parametrize("name", ["nginx", "docker.io/nginx", "Docker.io/nginx", "ghcr.io/o/i"])
def test_nothing_to_remark(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "didlab"):
        didlab.open(name)
    assert not caplog.records
