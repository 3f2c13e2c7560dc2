"""Loaders of the rig take an archive that skopeo made."""

from __future__ import annotations

import json

import pytest

from rig.images import make_image, push_image
from rig.loaders import skopeo, umoci
from rig.processes import CommandFailed


@pytest.fixture
def archive(registry, tmp_path):
    """(path, image): a docker-archive of a small image."""
    image = make_image([{"hello": b"hello\n"}], docker=True, Cmd=["/hello"])
    push_image(registry.host, "lab/loaders", "1", image)
    path = tmp_path / "small.tar"
    source = f"docker://{registry.host}/lab/loaders:1"
    skopeo("copy", "-q", "--src-tls-verify=false", source, f"docker-archive:{path}:lab/x:1")
    return path, image


def test_dockerd(dockerd, archive, registry):
    path, image = archive
    assert "lab/x:1" in dockerd.run("load", "-i", path)
    assert dockerd.inspect("lab/x:1")["Id"] == image.image_id
    dockerd.remove_all()
    assert dockerd.run("image", "ls", "-q") == ""
    dockerd.run("pull", "-q", f"{registry.host}/lab/loaders:1")
    assert dockerd.inspect(f"{registry.host}/lab/loaders:1")["Id"] == image.image_id
    with pytest.raises(CommandFailed, match="No such image"):
        dockerd.inspect("lab/x:1")


def test_podman(podman, archive):
    path, image = archive
    podman.run("load", "-i", path)
    assert "sha256:" + podman.inspect("docker.io/lab/x:1")["Id"] == image.image_id


def test_ctr(ctr, archive):
    path, image = archive
    ctr.load(path)
    digest = ctr.images()["docker.io/lab/x:1"]
    manifest = json.loads(ctr.run("content", "get", digest))
    assert manifest["config"]["digest"] == image.image_id


def test_skopeo_and_umoci(archive, tmp_path):
    path, _ = archive
    layout = f"{tmp_path}/layout:1"
    skopeo("copy", "-q", f"docker-archive:{path}", f"oci:{layout}")
    umoci("unpack", "--rootless", "--image", layout, tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/hello").read_bytes() == b"hello\n"
    with pytest.raises(CommandFailed, match="ended with 1"):
        skopeo("inspect", f"oci:{layout}-none")
