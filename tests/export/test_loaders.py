"""The saved tar is taken by every loader, and stays what it was."""

from __future__ import annotations

import hashlib
import json

import pytest
from rig.loaders import skopeo, umoci

import didlab

TAGS = ["latest", "oci", "multi", "list"]


@pytest.fixture(scope="module")
def saved(lab, tmp_path_factory):
    """One tar for each kind of image: Docker and OCI types, single and index."""
    folder = tmp_path_factory.mktemp("saved")
    made = {}
    for tag in TAGS:
        manifest = didlab.open(f"{lab.host}/lab/app:{tag}", platform="linux/amd64")
        report = manifest.save(folder / f"{tag}.tar", progress=False)
        made[tag] = (manifest, report)
    return made


@pytest.mark.parametrize("tag", TAGS)
def test_docker_load_gives_the_image_that_docker_pull_gives(lab, saved, dockerd, tag):
    manifest, report = saved[tag]
    name = f"{lab.host}/lab/app:{tag}"
    dockerd.run("load", "-i", str(report))
    loaded = dockerd.inspect(name)
    dockerd.remove_all()
    dockerd.run("pull", "--platform", "linux/amd64", name)
    pulled = dockerd.inspect(name)

    assert loaded["Id"] == pulled["Id"] == manifest.image_id() == report.image_id
    assert loaded["Config"] == pulled["Config"]
    assert loaded["RootFS"] == pulled["RootFS"]
    assert loaded["RootFS"]["Layers"] == list(manifest.config().diff_ids)
    assert loaded["RepoTags"] == [name]


@pytest.mark.parametrize("tag", TAGS)
def test_podman_load(lab, saved, podman, tag):
    manifest, report = saved[tag]
    podman.run("load", "-i", str(report))
    image = podman.inspect(f"{lab.host}/lab/app:{tag}")
    assert "sha256:" + image["Id"].removeprefix("sha256:") == manifest.image_id()


@pytest.mark.parametrize("tag", TAGS)
def test_containerd_import(lab, saved, ctr, tag):
    manifest, report = saved[tag]
    ctr.load(str(report))
    assert ctr.images()[f"{lab.host}/lab/app:{tag}"] == report.digest == manifest.digest()


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_reads_both_faces(saved, tmp_path, tag, transport):
    manifest, report = saved[tag]
    skopeo("copy", f"{transport}:{report}", f"dir:{tmp_path}/copy")
    document = json.loads((tmp_path / "copy" / "manifest.json").read_bytes())
    assert document["config"]["digest"] == manifest.image_id()
    if transport == "oci-archive":
        raw = (tmp_path / "copy" / "manifest.json").read_bytes()
        assert raw == manifest.raw()


@pytest.mark.parametrize("tag", TAGS)
def test_umoci_unpacks_what_the_image_holds(saved, tmp_path, tag):
    _, report = saved[tag]
    skopeo("copy", f"oci-archive:{report}", f"oci:{tmp_path}/layout:it")
    umoci("unpack", "--rootless", "--image", f"{tmp_path}/layout:it", f"{tmp_path}/bundle")
    root = tmp_path / "bundle" / "rootfs"
    assert (root / "etc" / "debian_version").read_text().strip()


def test_an_oci_image_is_unpacked_by_umoci_without_a_detour(saved, tmp_path):
    """The tar of an OCI image is an image layout as it stands."""
    import tarfile

    _, report = saved["oci"]
    with tarfile.open(report) as tar:
        # Python has had the filter since 3.11.4; Debian's is 3.11.2.
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(tmp_path / "layout", **safely)
    umoci("unpack", "--rootless", "--image", f"{tmp_path}/layout:oci", f"{tmp_path}/bundle")
    assert (tmp_path / "bundle" / "rootfs" / "etc" / "debian_version").exists()


@pytest.mark.parametrize("tag", TAGS)
def test_every_blob_in_the_tar_is_what_its_name_says(saved, tag):
    import tarfile

    _, report = saved[tag]
    with tarfile.open(report) as tar:
        names = tar.getnames()
        assert names[:3] == ["oci-layout", "index.json", "manifest.json"]
        for name in names[3:]:
            data = tar.extractfile(name).read()
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
        index = json.load(tar.extractfile("index.json"))
        assert index["manifests"][0]["digest"] == report.digest
        assert all(":" not in name for name in names)
    assert report.path.stat().st_size == report.size
