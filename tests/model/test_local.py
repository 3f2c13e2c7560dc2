"""Images of this machine as the objects that users hold."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command
from rig.images import make_image, make_index, write_layout
from sources.test_local_suite import LAYERS, docker_members, pack

import didlab
from didlab import errors
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import LocalName, named, reference_of
from didlab.sources import locate
from didlab.sources.local import archive, backing, source

IMAGE = make_image([LAYERS[0], LAYERS[1]], Cmd=["/bin/sh"])
ARM = make_image([{"a": b"arm"}], platform="linux/arm64")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", {"1": IMAGE, "multi": make_index([IMAGE, ARM])})


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    members, _ = docker_members({"1": LAYERS, "2": LAYERS[:1]})
    (tmp_path / "docker.tar").write_bytes(pack(members))
    return tmp_path / "docker.tar"


# --- what is written where --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:dir", ("oci", "dir", None)),
        ("oci:/a/dir:1.27", ("oci", "/a/dir", "1.27")),
        ("oci-archive:a.tar:host:5000/app:1", ("oci-archive", "a.tar", "host:5000/app:1")),
        ("docker-archive:a.tar:@1", ("docker-archive", "a.tar", "@1")),
        ("docker-archive:C:\\a.tar", ("docker-archive", "C:\\a.tar", None)),
        ("docker-archive:C:/a.tar:x:1", ("docker-archive", "C:/a.tar", "x:1")),
        ("docker-daemon:app:1", ("docker-daemon", "", "app:1")),
        ("./a:b.tar", ("", "./a:b.tar", None)),
    ],
)
def test_split(text: str, expected: tuple[str, str, str | None]) -> None:
    assert locate.split(text) == expected


@pytest.mark.parametrize("text", ["oci:", "oci-archive::x", "docker-archive:a.tar:"])
def test_half_a_name(text: str) -> None:
    with pytest.raises(errors.InvalidReference):
        didlab.open(text)


def test_options_of_open(layout: Path) -> None:
    # Those for registries may come along, as in a save of many; misspelt ones may not.
    assert didlab.open(layout, name="1", username="me", password="x").digest() == IMAGE.digest
    with pytest.raises(errors.InvalidArgument, match="nmae"):
        didlab.open(layout, nmae="1")
    with pytest.raises(errors.InvalidArgument, match="local archive"):
        didlab.open("nginx", name="1")
    with pytest.raises(errors.InvalidArgument, match="already"):
        didlab.open(f"oci:{layout}:1", name="2")
    with pytest.raises(errors.InvalidArgument, match="text"):
        didlab.open(layout, name=1)  # type: ignore[arg-type]
    with pytest.raises(errors.Unsupported, match="skopeo copy"):
        didlab.open("dir:/x")
    assert didlab.open("docker://nginx") == didlab.open("nginx")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything of the file system that local sources look at."""
    seen: list[str] = []

    def watch(owner: object, name: str) -> None:
        real: Callable[..., object] = getattr(owner, name)

        def call(*arguments: object, **named: object) -> object:
            seen.append(name)
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    watch(archive, "members")
    watch(backing, "open_regular")
    watch(source.LocalSource, "view")
    return seen


def test_free_is_free(layout: Path, docker: Path, counted: list[str]) -> None:
    for what in (layout, docker, f"oci:{layout}:1", "/no/such/file.tar"):
        m = didlab.open(what)
        repr(m), bool(m), hash(m), m == m, m.reference, m.repository, m.registry
        pickle.dumps(m), m["linux/amd64"], m._facts()
        m._snapshot.source.open(Descriptor("x/y", "sha256:" + "0" * 64, 1))
    assert counted == []
    didlab.open(docker, name="@0").digest()
    assert counted


# --- identity ---------------------------------------------------------------------------------


def test_identity(layout: Path, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.parent)
    relative, absolute = didlab.open("./layout", name="1"), didlab.open(layout, name="1")
    assert relative == absolute
    assert hash(relative) == hash(absolute)
    assert relative != didlab.open(layout, name="multi")
    assert didlab.open(docker) != didlab.open(f"docker-archive:{docker}")
    before = hash(absolute)
    assert absolute.digest() == IMAGE.digest
    assert hash(absolute) == before
    assert relative == absolute
    own = didlab.open(docker, name="@0")
    before = hash(own)
    own.digest()
    assert str(own.reference) == "registry.example/lab/app:1"
    assert (hash(own), own) == (before, didlab.open(docker, name="@0"))
    # Wherever the process is by then, and with the pin.
    again = pickle.loads(pickle.dumps(relative))
    monkeypatch.chdir("/")
    assert (again == relative, again.digest()) == (True, IMAGE.digest)


def test_a_pickle_describes_the_same_bytes(docker: Path) -> None:
    m = didlab.open(docker, name="registry.example/lab/app:1")
    digest, reference = m.digest(), m.reference
    raw = pickle.dumps(m)
    archive.forget()
    again = pickle.loads(raw)
    assert again.reference == reference
    assert str(reference) == "registry.example/lab/app:1"
    assert (again.digest(), again.layers().shape) == (digest, m.layers().shape)
    assert again.read("/etc/issue") == m.read("/etc/issue")
    members, _ = docker_members({"1": LAYERS[1:]})
    docker.write_bytes(pack(members))
    changed = pickle.loads(raw)
    with pytest.raises(errors.NotFound):
        changed.digest()
    with pytest.raises(errors.FileChanged):
        m.layer(0).save(docker.parent / "layer.tar")
    assert not (docker.parent / "layer.tar").exists()


# --- names ------------------------------------------------------------------------------------


def test_the_name_that_the_archive_has(docker: Path, layout: Path) -> None:
    m = didlab.open(docker, name="@1")
    assert repr(m) == "<Manifest docker.tar:@1 · not fetched>"
    m.digest()
    assert m.reference == didlab.Reference.parse("registry.example/lab/app:2")
    assert "registry.example/lab/app:2" in m._repr_html_()
    assert m.layers().attrs["reference"] == "registry.example/lab/app:2"
    assert (m.repository, m.registry) == (None, None)

    bare = didlab.open(layout, name="1")
    bare.digest()
    assert isinstance(bare.reference, LocalName)
    assert str(bare.reference) == "layout:1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app:1", "docker.io/library/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app:1", "host:5000/app:1"),
        ("host:5000/app", None),
        ("1.27", None),
        ("app", None),
        ("app@sha256:" + "0" * 64, None),
        ("app:1@sha256:" + "0" * 64, None),
        ("A:1", None),
        ("", None),
        (None, None),
    ],
)
def test_reference_of(name: str | None, expected: str | None) -> None:
    found = reference_of(name)
    assert (None if found is None else str(found)) == expected


def test_a_label_of_control_characters_is_escaped() -> None:
    found = named(
        Descriptor("x/y", "sha256:" + "0" * 64, 1, annotations={
            "org.opencontainers.image.ref.name": "\x1b[31m"}),
        LocalName.of("/x/layout"),
    )  # fmt: skip
    assert str(found) == "layout:\\x1b[31m"


# --- everything works -------------------------------------------------------------------------


def test_one_object_model(layout: Path, tmp_path: Path) -> None:
    m = didlab.open(layout, name="multi")
    assert m.platforms(sizes=True)["platform"].tolist() == ["linux/amd64", "linux/arm64"]
    amd = m["linux/amd64"]
    assert (amd.digest(), amd.image_id()) == (IMAGE.digest, IMAGE.image_id)
    assert amd.size() == len(IMAGE.config) + sum(row["size"] for row in IMAGE.layers)
    assert list(amd.config().cmd) == ["/bin/sh"]
    assert len(amd.history()) == 2
    assert amd.changes()["change"].tolist()
    with amd.open("/etc/issue") as file:
        file.seek(100)
        assert file.read(9) == (bytes(range(256)) * 8)[100:109]
    extracted = amd.extract("/etc", tmp_path / "etc")
    assert (Path(extracted) / "issue").read_bytes() == bytes(range(256)) * 8
    assert m["linux/arm64"].read("a") == b"arm"
    rows = didlab.plan(m, platform="all")
    assert rows["kind"].value_counts()["layer"] == 3


def test_saved_again_a_bare_tag_stays_bare(layout: Path, tmp_path: Path) -> None:
    m = didlab.open(layout, name="1")
    report = m.save(tmp_path / "out")
    assert not Path(report).is_dir()
    again = didlab.open(f"oci-archive:{report.path}")
    assert again.digest() == IMAGE.digest
    assert str(again.reference) in ("out", "out:1")
    assert didlab.images(f"oci-archive:{report.path}")["name"].tolist() == ["1"]
    assert didlab.images(f"docker-archive:{report.path}")["name"].isna().tolist() == [True]
    named_file = m.save(tmp_path)
    assert named_file.path.name == "layout_1_linux_amd64.tar"


def test_several_local_images_in_one_file(docker: Path, tmp_path: Path) -> None:
    whole = [didlab.open(docker, name=f"@{number}") for number in (0, 1)]
    report = didlab.save(whole, tmp_path / "both.tar")
    table = didlab.images(report)
    assert table["name"].tolist() == ["registry.example/lab/app:1", "registry.example/lab/app:2"]
    assert table["digest"].tolist() == [m.digest() for m in whole]
    assert not didlab.plan(whole).empty
    assert didlab.endpoints(whole).empty


def test_images(layout: Path, docker: Path) -> None:
    table = didlab.images(layout)
    assert table["name"].tolist() == ["1", "multi"]
    assert table["kind"].tolist() == ["image", "index"]
    assert table["platform"].tolist() == ["linux/amd64", "linux/amd64, linux/arm64"]
    assert table["digest"][0] == IMAGE.digest
    assert table["layers"].isna().tolist() == [False, True]
    for row in didlab.images(docker).itertuples():
        m = didlab.open(docker, name=f"@{row.position}")
        assert (m.digest(), m.image_id(), m.size()) == (row.digest, row.image_id, row.size)
    with pytest.raises(errors.InvalidArgument):
        didlab.images("docker-daemon:x")
    with pytest.raises(errors.InvalidArgument, match="all of"):
        didlab.images(f"oci:{layout}:1")
    with pytest.raises(errors.PathNotFound):
        didlab.images("nginx")


def test_the_command(layout: Path, docker: Path, tmp_path: Path) -> None:
    folder = tmp_path / "command"
    folder.mkdir()
    command = Command(folder)
    done = command("images", layout, "--json")
    assert [row["name"] for row in json.loads(done.stdout)] == ["1", "multi"]
    done = command("layers", f"docker-archive:{docker}:@1", "--json")
    assert len(json.loads(done.stdout)) == 1
    about = json.loads(command("inspect", f"docker-archive:{docker}:@1", "--json").stdout)
    assert about["reference"] == "registry.example/lab/app:2"
    failed = command("layers", docker)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "holds 2 images" in failed.stderr
    assert "Traceback" not in failed.stderr
