"""Every format is taken by the loaders it is for, and opened again by didlab."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from rig.faults import FaultServer
from rig.images import make_image, make_index
from rig.loaders import skopeo, umoci
from rig.processes import CommandFailed, require

import didlab
from didlab import errors

LAYERS = [{"etc/os-release": b"ID=lab\n"}, {"data/text": b"hello\n" * 9000}, {"srv": None}]


@pytest.fixture
def server():
    with FaultServer() as server:
        server.image = make_image(LAYERS, Cmd=["/bin/sh"])
        server.add_image("lab/app", "1", server.image)
        yield server


@pytest.fixture
def image(server):
    return didlab.open(f"{server.host}/lab/app:1")


def members(path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


# --- docker --------------------------------------------------------------------------------------


def test_a_docker_archive_is_what_old_daemons_wrote(server, image, tmp_path):
    report = image.save(tmp_path / "app.tar", format="docker")
    found = members(report)
    (item,) = json.loads(found["manifest.json"])
    hexadecimal = image.image_id()[7:]
    assert item["Config"] == f"{hexadecimal}.json"
    assert item["RepoTags"] == [f"{server.host}/lab/app:1"]
    assert found[item["Config"]] == image.config().raw
    assert "sha256:" + hashlib.sha256(found[item["Config"]]).hexdigest() == report.image_id
    diff_ids = list(image.config().diff_ids)
    assert item["Layers"] == [f"{diff_id[7:]}/layer.tar" for diff_id in diff_ids]
    for path, diff_id in zip(item["Layers"], diff_ids, strict=True):
        assert "sha256:" + hashlib.sha256(found[path]).hexdigest() == diff_id
    assert json.loads(found["repositories"]) == {f"{server.host}/lab/app": {"1": diff_ids[-1][7:]}}
    assert set(found) == {"manifest.json", "repositories", item["Config"], *item["Layers"]}
    assert report.digest is None  # it has no manifest
    assert report.size == report.path.stat().st_size


@pytest.mark.parametrize("docker", [False, True])
def test_everybody_loads_a_docker_archive(server, tmp_path, dockerd, podman, ctr, docker):
    server.add_image("lab/app", "it", make_image(LAYERS, docker=docker, Cmd=["/bin/sh"]))
    name = f"{server.host}/lab/app:it"
    image = didlab.open(name)
    report = image.save(tmp_path / "app.tar", format="docker", progress=False)
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(name)["Id"] == image.image_id()
    podman.run("load", "-i", str(report))
    assert podman.inspect(name)["Id"] == image.image_id().removeprefix("sha256:")
    ctr.load(report.path)
    assert name in ctr.images()
    skopeo("copy", f"docker-archive:{report}", f"oci:{tmp_path}/layout:it")
    umoci("unpack", "--rootless", "--image", f"{tmp_path}/layout:it", f"{tmp_path}/bundle")
    assert (tmp_path / "bundle" / "rootfs" / "etc" / "os-release").read_text() == "ID=lab\n"


def test_several_images_share_layers_in_a_docker_archive(lab, tmp_path, dockerd):
    images = [didlab.open(f"{lab.host}/lab/small:{tag}") for tag in (1, 2)]
    report = didlab.save(images, tmp_path / "both.tar", format="docker")
    names = list(members(report))
    assert len(names) == len(set(names))
    dockerd.run("load", "-i", str(report))
    for image in images:
        assert dockerd.inspect(str(image.reference))["Id"] == image.image_id()


def test_a_docker_archive_has_one_platform(server, tmp_path):
    index = make_index([server.image, make_image(LAYERS, "linux/arm64")])
    server.add_image("lab/app", "both", index)
    both = didlab.open(f"{server.host}/lab/app:both")
    with pytest.raises(errors.InvalidArgument, match="one platform"):
        both.save(tmp_path / "both.tar", format="docker", platform="all")
    assert list(tmp_path.iterdir()) == []


# --- oci-archive ---------------------------------------------------------------------------------


def test_an_oci_archive_has_no_docker_face(server, image, tmp_path, dockerd, podman, ctr):
    name = f"{server.host}/lab/app:1"
    report = image.save(tmp_path / "app.tar", format="oci-archive", progress=False)
    assert "manifest.json" not in members(report)
    assert skopeo("inspect", "--raw", f"oci-archive:{report}").encode() == image.raw()
    with pytest.raises(CommandFailed):
        dockerd.run("load", "-i", str(report))
    podman.run("load", "-i", str(report))
    assert podman.inspect(name)["Id"] == image.image_id().removeprefix("sha256:")
    ctr.load(report.path)
    assert ctr.images()[name] == image.digest() == report.digest


# --- compressed as a whole -----------------------------------------------------------------------


@pytest.mark.parametrize("form", ["archive", "docker", "oci-archive"])
@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst"])
def test_a_name_compresses_the_file_as_a_whole(image, tmp_path, form, suffix):
    plain = image.save(tmp_path / "app.tar", format=form)
    report = image.save(tmp_path / f"app{suffix}", format=form)
    raw = report.path.read_bytes()
    if suffix == ".tar.zst":
        raw = subprocess.run(
            [require("zstd", "zstd"), "-dc", report.path], capture_output=True, check=True
        ).stdout
    else:
        assert raw[3:8] == bytes(5)  # neither a name nor a time
        raw = gzip.decompress(raw)
    assert raw == plain.path.read_bytes()
    assert report.size == report.path.stat().st_size
    again = image.save(tmp_path / f"again{suffix}", format=form)
    assert again.path.read_bytes() == report.path.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_the_same_again_is_recognised_and_another_is_not_replaced(server, image, tmp_path, suffix):
    target = tmp_path / f"app{suffix}"
    first = image.save(target)
    asked = len(server.asked("/blobs/"))
    again = image.save(target)
    assert (again.downloaded, again.reused) == (0, first.downloaded)
    server.add_image("lab/app", "2", make_image(LAYERS[:2]))
    other = didlab.open(f"{server.host}/lab/app:2")
    with pytest.raises(errors.DestinationExists):
        other.save(target)
    before = target.read_bytes()
    # The config of the other was fetched, no layer.
    assert len([one for one in server.asked("/blobs/")[asked:] if one.method == "GET"]) <= 1
    other.save(target, overwrite=True)
    assert target.read_bytes() != before


def test_who_takes_it_compressed_as_a_whole(server, image, tmp_path, dockerd, podman, ctr):
    name = f"{server.host}/lab/app:1"
    report = image.save(tmp_path / "app.tar.gz", progress=False)
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(name)["Id"] == image.image_id()
    podman.run("load", "-i", str(report))
    assert podman.inspect(name)["Id"] == image.image_id().removeprefix("sha256:")
    with pytest.raises(CommandFailed):  # containerd unpacks it by hand
        ctr.load(report.path)
    assert skopeo("inspect", "--raw", f"oci-archive:{report}").encode() == image.raw()


#: What the table in docs/how-to/formats.md says.
WHOLE = {
    ("archive", ".tar.gz"): {"dockerd", "podman", "oci-archive"},
    ("docker", ".tar.gz"): {"dockerd"},
    ("oci-archive", ".tar.gz"): {"podman", "oci-archive"},
    ("archive", ".tar.zst"): {"podman", "oci-archive", "docker-archive"},
    ("docker", ".tar.zst"): {"podman", "docker-archive"},
}


@pytest.mark.parametrize(("form", "suffix"), WHOLE)
def test_who_takes_which_form_compressed_as_a_whole(
    image, tmp_path, dockerd, podman, ctr, form, suffix
):
    path = image.save(tmp_path / f"app{suffix}", format=form, progress=False).path
    loaders = {
        "dockerd": lambda: dockerd.run("load", "-i", str(path)),
        "podman": lambda: podman.run("load", "-i", str(path)),
        "ctr": lambda: ctr.load(path),
        "oci-archive": lambda: skopeo("inspect", "--raw", f"oci-archive:{path}"),
        "docker-archive": lambda: skopeo("inspect", "--raw", f"docker-archive:{path}"),
    }
    taken = set()
    for name, load in loaders.items():
        with contextlib.suppress(CommandFailed):
            load()
            taken.add(name)
    assert taken == WHOLE[form, suffix]


# --- opened again --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.zst"])
@pytest.mark.parametrize("form", ["archive", "oci-archive", "docker"])
def test_didlab_opens_what_it_saved(image, tmp_path, name, form):
    report = image.save(tmp_path / name, format=form)
    found = didlab.open(report)
    assert found.image_id() == image.image_id()
    assert list(found.config().diff_ids) == list(image.config().diff_ids)
    assert found.read("/etc/os-release") == b"ID=lab\n"
    if form != "docker":
        assert found.digest() == image.digest() == report.digest


def test_a_second_hand_save_is_the_same_file(image, tmp_path):
    first = image.save(tmp_path / "first.tar")
    assert didlab.open(first).save(tmp_path / "second.tar").path.read_bytes() == (
        first.path.read_bytes()
    )
    docker = image.save(tmp_path / "docker.tar", format="docker")
    again = didlab.open(docker).save(tmp_path / "again.tar", format="docker")
    assert again.path.read_bytes() == docker.path.read_bytes()


def test_what_there_is_not_is_named(image, tmp_path):
    with pytest.raises(errors.Unsupported, match="squashfs"):
        image.save(tmp_path / "x.tar", format="squashfs")
    with pytest.raises(errors.InvalidArgument, match="xz"):
        image.save(tmp_path / "x.tar", compression="xz")
    with pytest.raises(errors.InvalidArgument, match="not compressed"):
        image.save(tmp_path / "x.tar", format="docker", compression="zstd")
    assert list(Path(tmp_path).iterdir()) == []
