"""Widgets without a kernel, and images to explore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.faults import FaultServer
from rig.images import make_image, symlink

import didlab
from didlab.files import kept
from didlab.widgets import recent


@pytest.fixture(autouse=True)
def _own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the developer's own recent names alone, and forget what other tests listed."""
    monkeypatch.setattr(recent, "file", lambda: tmp_path / "data" / "recent.txt")
    kept.forget()


@pytest.fixture(scope="session")
def hub() -> Iterator[didlab.demo.Sandbox]:
    with didlab.sandbox() as hub:
        yield hub


@pytest.fixture(scope="session")
def built():
    import random

    noise = random.Random(3).randbytes(300_000)
    return make_image(
        [
            {
                "etc": None,
                "etc/motd": b"hello",
                "etc/empty": b"",
                "bin": symlink("usr/bin"),
                "usr/bin/tool": b"\x7fELF\0",
                "usr/lib": None,
                "broken": symlink("/nowhere"),
                **{f"many/f{number:05}": b"x" for number in range(2300)},
            },
            {"data/noise": noise},
            {"etc/.wh.motd": b"", "etc/new": b"new"},
        ],
        Cmd=["/bin/sh"],
    )


@pytest.fixture
def server(built) -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.add_image("lab/app", "1", built)
        server.large = max(built.layers, key=lambda layer: layer["size"])["digest"]
        yield server
