"""Where a save may write: what is no path is refused with a typed error, before any request."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab import Manifest
from didlab.errors import DidlabError, InvalidArgument, WriteFailed
from didlab.sources.cached import shared
from model.sources import MemorySource

IMAGE = make_image([{"a": b"a"}])

Save = Callable[[Manifest, Any], Any]
SAVES: dict[str, Save] = {
    "image": lambda m, path: m.save(path, progress=False),
    "layout": lambda m, path: m.save(path, format="oci-dir", progress=False),
    "several": lambda m, path: didlab.save([m], path, progress=False),
    "layer": lambda m, path: m.layer(0).save(path, progress=False),
}


@pytest.fixture(params=list(SAVES))
def save(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    shared.clear()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return SAVES[request.param]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("a\0b/", "NUL"),
        (b"a.tar", "bytes"),
        (5, "int"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_path(save: Save, path: Any, why: str) -> None:
    source = MemorySource(latest=IMAGE)
    m = source.manifest("latest")
    m.layer(0)
    before = list(source.asked)
    with pytest.raises(InvalidArgument, match=why) as caught:
        save(m, path)
    assert str(caught.value).isprintable()
    assert source.asked == before
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other names")
def test_half_a_character(save: Save) -> None:
    with pytest.raises(InvalidArgument, match="half a character"):
        save(MemorySource(latest=IMAGE).manifest("latest"), "a\ud800.tar")


@pytest.mark.parametrize("path", ["a" * 300, "a" * 300 + "/b.tar"])
def test_names_that_are_too_long(save: Save, path: str) -> None:
    with pytest.raises(WriteFailed) as caught:
        save(MemorySource(latest=IMAGE).manifest("latest"), path)
    assert caught.value.path is not None
    assert list(Path().iterdir()) == []


def test_a_folder_that_is_not_there(save: Save, request: pytest.FixtureRequest) -> None:
    if "layout" in request.node.name:
        pytest.skip("a layout is a folder, and is made")
    with pytest.raises(InvalidArgument, match="none/ does not exist"):
        save(MemorySource(latest=IMAGE).manifest("latest"), "none/")


@pytest.mark.parametrize("kind", [str, Path])
def test_the_home_folder(
    save: Save, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        report = save(didlab.open(f"{server.host}/lab/app:1", trust_env=False), kind("~/x.tar"))
    assert report.path == home / "x.tar"
    assert report.path.exists()
    assert list(Path().iterdir()) == []


def test_a_home_folder_that_nobody_has(save: Save) -> None:
    with pytest.raises(DidlabError):
        save(MemorySource(latest=IMAGE).manifest("latest"), "~no-such-user-at-all/x.tar")
    assert list(Path().iterdir()) == []
