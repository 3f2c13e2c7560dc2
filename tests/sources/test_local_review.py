"""Archives that list the same again and again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rig.images import make_image, make_tar
from sources.test_local_suite import docker_members, pack

import didlab
from didlab.sources.local import docker
from didlab.sources.local.source import LocalSource

TAR = make_tar({"etc": None, "etc/motd": b"hello"})
IMAGE = make_image([TAR])


@pytest.fixture
def many(tmp_path: Path) -> Path:
    members, _ = docker_members({"1": [TAR]})
    (item,) = json.loads(members["manifest.json"])
    items = [{**item, "RepoTags": [f"lab/\x1b[31m{n}" * 200]} for n in range(300)]
    members["manifest.json"] = json.dumps(items).encode()
    path = tmp_path / "many.tar"
    path.write_bytes(pack(members))
    return path


def test_each_image_is_listed_once(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each question: 20,000 images took hours."""
    made = 0
    real = docker.Listed

    def counted(*args: object) -> object:
        nonlocal made
        made += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(docker, "Listed", counted)
    assert len(didlab.images(many)) == 300
    assert made == 300


def test_what_an_error_lists_is_bounded_and_printable(many: Path) -> None:
    with pytest.raises(didlab.errors.InvalidArgument, match="holds 300 images") as several:
        didlab.open(many).digest()
    with pytest.raises(didlab.errors.ManifestNotFound) as absent:
        didlab.open(many, name="lab/other:1").digest()
    for error in (several.value, absent.value):
        assert len(error.available) == 20  # type: ignore[attr-defined]
        assert all(len(name) <= 1300 for name in error.available)  # type: ignore[attr-defined]
        assert "\x1b" not in "".join(error.available) + str(error)  # type: ignore[attr-defined]


def test_the_position_is_that_in_the_list(many: Path) -> None:
    assert [one.position for one in LocalSource(str(many)).listed()] == list(range(300))
    assert didlab.open(many, name="@299").read("/etc/motd") == b"hello"
