"""Thin tars: what they leave out, who takes them, and how they become whole."""

from __future__ import annotations

import json
import random
import tarfile

import pytest
from command import Command
from hypothesis import given
from hypothesis import strategies as st
from rig.faults import FaultServer
from rig.images import make_image
from rig.loaders import skopeo
from rig.processes import CommandFailed

import didlab
from didlab import errors
from didlab.export import thin

BASE = [
    {"etc/os-release": b"ID=lab\n"},
    {"data/noise": random.Random(1).randbytes(400_000)},
]
NEW = {"data/new": random.Random(2).randbytes(9_000)}


@pytest.fixture
def server():
    with FaultServer() as server:
        server.add_image("lab/app", "1", make_image(BASE, Cmd=["/bin/sh"]))
        server.image = make_image([*BASE, NEW], Cmd=["/bin/sh"])
        server.add_image("lab/app", "2", server.image)
        yield server


@pytest.fixture
def base(server):
    return didlab.open(f"{server.host}/lab/app:1")


@pytest.fixture
def image(server):
    return didlab.open(f"{server.host}/lab/app:2")


def names(path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_what_is_left_out_and_said(server, base, image, tmp_path):
    report = image.save(tmp_path / "thin.tar", since=f"{server.host}/lab/app:1")
    layers = server.image.layers
    assert report.downloaded == layers[-1]["size"]
    blobs = [name for name in names(report) if name.startswith("blobs/")]
    assert f"blobs/sha256/{layers[-1]['digest'][7:]}" in blobs
    assert not any(f"blobs/sha256/{layer['digest'][7:]}" in blobs for layer in layers[:-1])
    with tarfile.open(report) as tar:
        says = json.load(tar.extractfile("didlab-needs.json"))
    assert [layer["digest"] for layer in says["layers"]] == [one["digest"] for one in layers[:-1]]
    assert [layer["diffId"] for layer in says["layers"]] == list(base.config().diff_ids)
    assert [layer["size"] for layer in says["layers"]] == [one["size"] for one in layers[:-1]]
    assert says["images"] == [f"{server.host}/lab/app:2"]
    assert says["since"] == f"{server.host}/lab/app:1"
    (note,) = report.notes
    assert "2 layers are left out" in note


@pytest.mark.parametrize("form", ["archive", "docker"])
def test_docker_takes_it_where_it_has_the_base_and_nowhere_else(
    base, image, tmp_path, dockerd, podman, form
):
    first = base.save(tmp_path / "1.tar")
    report = image.save(tmp_path / "thin.tar", since=first, format=form)
    with pytest.raises(CommandFailed, match="no such file"):
        dockerd.run("load", "-i", str(report))
    dockerd.run("load", "-i", str(first))
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(str(image.reference))["Id"] == image.image_id()
    with pytest.raises(CommandFailed):
        podman.run("load", "-i", str(report))
    podman.run("load", "-i", str(first))
    if form == "docker":
        with pytest.raises(CommandFailed):
            podman.run("load", "-i", str(report))
    else:  # as an OCI archive, podman takes blobs that it has had before
        podman.run("load", "-i", str(report))
        podman.remove_all()
    whole = didlab.complete(report, first, tmp_path / "whole.tar")
    podman.run("load", "-i", str(whole))
    found = podman.inspect(str(image.reference))
    assert found["Id"] == image.image_id().removeprefix("sha256:")
    skopeo("copy", f"docker-archive:{whole}", f"dir:{tmp_path}/copy")


@pytest.mark.parametrize("form", ["archive", "docker"])
@pytest.mark.parametrize("kind", ["reference", "tar", "layout", "manifest", "tar.gz"])
def test_complete_gives_the_file_that_was_never_thin(server, base, image, tmp_path, form, kind):
    what = {
        "reference": lambda: f"{server.host}/lab/app:1",
        "tar": lambda: base.save(tmp_path / "1.tar"),
        "tar.gz": lambda: base.save(tmp_path / "1.tar.gz"),
        "layout": lambda: base.save(tmp_path / "layout", format="oci-dir").path,
        "manifest": lambda: base,
    }[kind]()
    report = image.save(tmp_path / "thin.tar", since=what, format=form)
    whole = image.save(tmp_path / "expected.tar", format=form)
    made = didlab.complete(report, what, tmp_path / "whole.tar")
    assert made.path.read_bytes() == whole.path.read_bytes()
    assert made.size == whole.size
    again = didlab.complete(report, what, tmp_path / "whole.tar")
    assert again.downloaded == 0
    # Compressed as a whole, on either side.
    packed = image.save(tmp_path / "thin.tar.zst", since=what, format=form)
    didlab.complete(packed, what, tmp_path / "again.tar.gz")
    assert didlab.open(tmp_path / "again.tar.gz").image_id() == image.image_id()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_since_what_docker_save_wrote(base, image, tmp_path, dockerd):
    dockerd.run("load", "-i", str(base.save(tmp_path / "1.tar")))
    dockerd.run("save", "-o", str(tmp_path / "saved.tar"), str(base.reference))
    report = image.save(tmp_path / "thin.tar", since=tmp_path / "saved.tar", format="docker")
    whole = image.save(tmp_path / "expected.tar", format="docker")
    made = didlab.complete(report, tmp_path / "saved.tar", tmp_path / "whole.tar")
    assert made.path.read_bytes() == whole.path.read_bytes()
    # It has the tars, but not the registry's gzip of them.
    other = image.save(tmp_path / "other.tar", since=tmp_path / "saved.tar")
    with pytest.raises(errors.BlobNotFound, match="does not have the layer"):
        didlab.complete(other, tmp_path / "saved.tar", tmp_path / "no.tar")
    assert not (tmp_path / "no.tar").exists()


def test_since_what_the_daemon_has(server, base, image, tmp_path, dockerd, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", dockerd.host)
    dockerd.run("load", "-i", str(base.save(tmp_path / "1.tar")))
    report = image.save(tmp_path / "thin.tar", since="docker-daemon:")
    assert report.downloaded == server.image.layers[-1]["size"]
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(str(image.reference))["Id"] == image.image_id()


def test_the_same_layers_in_another_order_are_not_left_out(server, image, tmp_path, dockerd):
    """The chain counts: a daemon does not find a layer by its digest alone."""
    server.add_image("lab/app", "swapped", make_image([BASE[1], BASE[0]]))
    swapped = didlab.open(f"{server.host}/lab/app:swapped").save(tmp_path / "s.tar")
    report = image.save(tmp_path / "thin.tar", since=swapped)
    assert report.downloaded == sum(layer["size"] for layer in server.image.layers)
    dockerd.run("load", "-i", str(report))
    whole = image.save(tmp_path / "whole.tar")
    made = didlab.complete(report, swapped, tmp_path / "made.tar")
    assert made.path.read_bytes() == whole.path.read_bytes()


def test_a_bundle_since_an_image(server, base, image, tmp_path, dockerd):
    """A layer that one of them has elsewhere in its chain stays."""
    server.add_image("lab/app", "odd", make_image([NEW, BASE[1]]))
    odd = didlab.open(f"{server.host}/lab/app:odd")
    first = base.save(tmp_path / "1.tar")
    report = didlab.save([image, odd], tmp_path / "thin.tar", since=first)
    missing = server.image.layers[0]["digest"]
    assert f"blobs/sha256/{missing[7:]}" not in names(report)
    assert f"blobs/sha256/{server.image.layers[1]['digest'][7:]}" in names(report)
    dockerd.run("load", "-i", str(first))
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(str(odd.reference))["Id"] == odd.image_id()


def test_what_cannot_be_thin(base, image, tmp_path):
    for how in ({"format": "oci-dir"}, {"format": "oci-archive"}, {"compression": "zstd"}):
        with pytest.raises(errors.InvalidArgument, match="since="):
            image.save(tmp_path / "x", since=base, **how)
    with pytest.raises(errors.InvalidArgument, match="not thin"):
        didlab.complete(base.save(tmp_path / "1.tar"), base, tmp_path / "x.tar")
    with pytest.raises(errors.InvalidArgument):
        image.save(tmp_path / "x", since=3)


def test_the_base_is_verified(server, base, image, tmp_path):
    first = base.save(tmp_path / "1.tar")
    report = image.save(tmp_path / "thin.tar", since=first)
    data = bytearray(first.path.read_bytes())
    data[-200_000] ^= 1
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(errors.DigestMismatch):
        didlab.complete(report, tmp_path / "bad.tar", tmp_path / "whole.tar")
    assert not (tmp_path / "whole.tar").exists()


def test_the_thin_tar_is_verified(server, base, image, tmp_path):
    report = image.save(tmp_path / "thin.tar", since=base)
    data = bytearray(report.path.read_bytes())
    for at in (len(data) - 5000, data.rfind(b'"architecture"') + 3):
        broken = bytearray(data)
        broken[at] ^= 1
        (tmp_path / "bad.tar").write_bytes(broken)
        with pytest.raises((errors.DigestMismatch, errors.MalformedContent)):
            didlab.complete(tmp_path / "bad.tar", base, tmp_path / "whole.tar")
        assert not (tmp_path / "whole.tar").exists()


DIGEST = "sha256:" + "1" * 64
GOOD = {
    "didlabNeeds": 1,
    "images": ["app:2"],
    "since": "app:1",
    "layers": [{"path": "blobs/sha256/" + "1" * 64, "digest": DIGEST, "diffId": DIGEST, "size": 3}],
    "documents": ["oci-layout", "index.json"],
    "order": ["blobs/sha256/" + "1" * 64],
}


def test_needs_are_read_strictly():
    thin.parse(json.dumps(GOOD).encode())
    layer = GOOD["layers"][0]
    for change in (
        {"didlabNeeds": 2},
        {"layers": [{**layer, "size": -1}]},
        {"layers": [{**layer, "size": True}]},
        {"layers": [{**layer, "diffId": "x"}]},
        {"layers": [{**layer, "digest": "sha256:" + "2" * 64}]},
        {"layers": [{**layer, "path": "../etc/passwd"}]},
        {"documents": ["/etc/passwd"]},
        {"documents": ["index.json", "index.json"]},
        {"order": []},
        {"order": ["blobs/sha256/../x"]},
        {"layers": None},
    ):
        with pytest.raises(errors.MalformedContent):
            thin.parse(json.dumps({**GOOD, **change}).encode())
    for raw in (b"", b"[]", b"null", b"{}", b"\xff"):
        with pytest.raises(errors.MalformedContent):
            thin.parse(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(GOOD)), json_values)
def test_needs_of_any_shape_are_read_or_refused(key, value):
    raw = json.dumps({**GOOD, key: value}).encode()
    try:
        needs, whole = thin.parse(raw)
    except errors.MalformedContent:
        return
    assert {layer.path for layer in needs.layers} <= set(whole.layers)


def test_the_command_line(server, base, image, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    command = Command(folder)
    first, second = (f"{server.host}/lab/app:{tag}" for tag in (1, 2))
    assert command("save", first, "-o", "1.tar").returncode == 0
    done = command("save", second, "--since", "1.tar", "-o", "2.tar")
    assert (done.returncode, done.stdout) == (0, "2.tar\n")
    assert "2 layers are left out" in done.stderr
    done = command("complete", "2.tar", "--from", "1.tar", "-o", "whole.tar")
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole.tar\n", "")
    expected = image.save(tmp_path / "expected.tar").path.read_bytes()
    assert (folder / "whole.tar").read_bytes() == expected
    done = command("complete", "1.tar", "--from", "1.tar", "-o", "no.tar")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
