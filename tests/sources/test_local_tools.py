"""What docker, podman, skopeo, umoci and ctr write is read; digests and IDs are those they show."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rig.images import BuiltImage, hardlink, make_image, make_index, symlink, write_layout
from rig.loaders import Containerd, Docker, Podman, skopeo, umoci
from rig.processes import require

import didlab
from didlab.sources.local.daemon import DaemonSource

NAME = "registry.example/lab/app:1"
FILES: list[dict[str, Any]] = [
    {"etc": None, "etc/motd": b"hello" * 999, "bin": None, "bin/sh": b"\x7fELF" * 40},
    {"etc/.wh.motd": b"", "bin/ash": hardlink("bin/sh"), "bin/link": symlink("sh")},
    {"etc/issue": "Grüße <&>".encode()},
]
IMAGE = make_image(FILES, Cmd=["/bin/sh"], Env=["TEXT=<é&>"])
#: The same layer twice: docker save writes a link for the second.
TWICE = make_image([FILES[0], FILES[1], FILES[0]], Cmd=["/bin/ash"])
ARM = make_image(FILES[:1], platform="linux/arm64")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    tags = {"1": IMAGE, "2": TWICE, "arm": ARM}
    write_layout(folder / "layout", {**tags, "multi": make_index([IMAGE, ARM])})
    return folder


def saved(source: Path, tag: str, path: Path, name: str = NAME) -> Path:
    """The image in the archive that skopeo makes."""
    skopeo("copy", f"oci:{source}/layout:{tag}", f"docker-archive:{path}:{name}")
    return path


def check(m: didlab.Manifest, built: BuiltImage) -> None:
    """The object says what was built, whatever form it lies in."""
    assert m.image_id() == built.image_id
    assert dict(m.config()) == json.loads(built.config)
    files = m.files().set_index("path")
    assert m.layers()["diff_id"].tolist() == list(m._config().diff_ids)
    assert m.read("/bin/sh") == b"\x7fELF" * 40
    if built is IMAGE:
        assert "/etc/motd" not in files.index
        assert m.read("/etc/issue").decode() == "Grüße <&>"
        assert m.read("/bin/link") == m.read("/bin/ash")


def test_docker_save(source: Path, dockerd: Docker, tmp_path: Path) -> None:
    for tag, image in (("1", IMAGE), ("2", TWICE)):
        dockerd.run("load", "-i", saved(source, tag, tmp_path / f"{tag}.tar", f"lab/app:{tag}"))
        assert dockerd.inspect(f"lab/app:{tag}")["Id"] == image.image_id
    dockerd.run("tag", "lab/app:1", "other:x")
    dockerd.run("save", "-o", tmp_path / "one.tar", "lab/app:1")
    m = didlab.open(tmp_path / "one.tar")
    check(m, IMAGE)
    assert str(m.reference) == "docker.io/lab/app:1"
    assert m.platforms()["platform"].tolist() == ["linux/amd64"]

    both = tmp_path / "both.tar"
    dockerd.run("save", "-o", both, "lab/app:1", "lab/app:2", "other:x")
    with pytest.raises(didlab.errors.InvalidArgument, match="2 images"):
        didlab.open(both).digest()
    check(didlab.open(both, name="lab/app:1"), IMAGE)
    check(didlab.open(f"docker-archive:{both}:docker.io/lab/app:2"), TWICE)
    assert str(didlab.open(f"docker-archive:{both}:other:x").image_id()) == IMAGE.image_id
    table = didlab.images(both)
    assert set(table["name"]) == {"lab/app:1", "lab/app:2", "other:x"}
    assert table.set_index("name")["image_id"].to_dict() == {
        "lab/app:1": IMAGE.image_id,
        "other:x": IMAGE.image_id,
        "lab/app:2": TWICE.image_id,
    }

    dockerd.run("save", "-o", tmp_path / "id.tar", IMAGE.image_id)
    nameless = didlab.open(tmp_path / "id.tar")
    check(nameless, IMAGE)
    assert str(nameless.reference) == "id.tar"

    for tool, suffix in (("gzip", "gz"), ("zstd", "zst")):
        subprocess.run([require(tool, tool), "-qk", both], check=True)
        packed = didlab.open(f"{both}.{suffix}", name="lab/app:2")
        check(packed, TWICE)
        assert packed.digest() == didlab.open(both, name="lab/app:2").digest()


def test_the_docker_daemon(
    source: Path, dockerd: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", dockerd.host)
    dockerd.run("load", "-i", saved(source, "1", tmp_path / "a.tar", "lab/app:1"))
    m = didlab.open("docker-daemon:lab/app:1")
    check(m, IMAGE)
    assert m.reference == didlab.Reference.parse("lab/app:1")
    assert m.registry is None
    assert didlab.open(f"docker-daemon:{IMAGE.image_id}").image_id() == IMAGE.image_id
    with pytest.raises(didlab.errors.ManifestNotFound, match="lab/ap:1") as caught:
        didlab.open("docker-daemon:lab/ap:1").digest()
    assert caught.value.available == ("lab/app:1",)
    # A name that leads elsewhere now: a new object sees it, this one does not.
    dockerd.run("load", "-i", saved(source, "2", tmp_path / "b.tar", "lab/app:1"))
    assert m.image_id() == IMAGE.image_id
    assert m.refresh().image_id() == TWICE.image_id
    assert isinstance(m._snapshot.source, DaemonSource)


def test_podman_save(source: Path, podman: Podman, tmp_path: Path) -> None:
    podman.run("load", "-i", saved(source, "1", tmp_path / "a.tar"))
    for kind in ("docker-archive", "oci-archive"):
        path = tmp_path / f"{kind}.tar"
        podman.run("save", "--format", kind, "-o", path, NAME)
        m = didlab.open(path)
        assert m.read("/etc/issue").decode() == "Grüße <&>"
        assert str(m.reference) == NAME
        # podman makes another config for OCI; its digest is the ID after a load.
        podman.remove_all()
        podman.run("load", "-i", path)
        assert "sha256:" + podman.inspect(NAME)["Id"] == m.image_id()
        assert (m.image_id() == IMAGE.image_id) == (kind == "docker-archive")


def test_skopeo(source: Path, tmp_path: Path) -> None:
    layout = source / "layout"
    m = didlab.open(f"oci:{layout}:1")
    expected = m.digest()
    skopeo("copy", f"oci:{layout}:1", f"oci-archive:{tmp_path}/a.tar:lab/app:9")
    skopeo("copy", f"oci:{layout}:1", f"oci:{tmp_path}/copy:bare")
    for what in (f"oci-archive:{tmp_path}/a.tar", f"oci:{tmp_path}/copy:bare", tmp_path / "a.tar"):
        other = didlab.open(what)
        assert other.digest() == expected
        assert other.files().equals(m.files())
    assert str(didlab.open(tmp_path / "a.tar").platform("linux/amd64").reference) in (
        "docker.io/lab/app:9"
    )
    archived = didlab.open(f"docker-archive:{saved(source, '1', tmp_path / 'd.tar')}")
    assert archived.image_id() == m.image_id()
    assert archived.files().equals(m.files())
    arm = didlab.open(f"oci:{layout}:multi")["linux/arm64"]
    assert arm.image_id() == ARM.image_id


def test_umoci(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:a")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "hello").write_bytes(b"from umoci")
    umoci("insert", "--rootless", "--image", f"{layout}:a", tmp_path / "tree", "/srv")
    umoci("config", "--image", f"{layout}:a", "--tag", "b", "--config.user", "1000")
    assert set(didlab.images(layout)["name"]) == {"a", "b"}
    assert didlab.open(layout, name="a").read("/srv/hello") == b"from umoci"
    assert didlab.open(f"oci:{layout}:b").config().user == "1000"


def test_the_digest_is_containerds(source: Path, ctr: Containerd, tmp_path: Path) -> None:
    """A docker-archive has no manifest; the one made here is the one that containerd makes."""
    path = saved(source, "1", tmp_path / "a.tar")
    ctr.load(path, "--all-platforms")
    assert ctr.images()[NAME] == didlab.open(path).digest()


def test_saved_by_didlab(source: Path, dockerd: Docker, tmp_path: Path) -> None:
    """Round trip: equal digests, and saving again gives the same bytes."""
    layout = f"oci:{source}/layout:multi"
    first = didlab.open(layout).save(tmp_path / "all.tar", platform="all")
    again = didlab.open(first.path)
    assert again.digest() == first.digest
    assert again["linux/arm64"].image_id() == ARM.image_id
    second = again.save(tmp_path / "again.tar", platform="all")
    assert Path(second).read_bytes() == Path(first).read_bytes()

    plain = didlab.open(saved(source, "1", tmp_path / "docker.tar"))
    made = plain.save(tmp_path / "made.tar")
    reopened = didlab.open(tmp_path / "made.tar")
    assert reopened.digest() == plain.digest() == made.digest
    assert str(reopened.reference) == NAME
    dockerd.run("load", "-i", tmp_path / "made.tar")
    assert dockerd.inspect(NAME)["Id"] == IMAGE.image_id
    report = reopened.save(tmp_path / "out", format="oci-dir")
    assert didlab.open(f"oci:{report.path}:{NAME}").digest() == made.digest
