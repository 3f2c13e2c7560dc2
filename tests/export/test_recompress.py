"""Layers written anew: another digest for the manifest, never another image ID."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time

import pytest
from rig.actions import half_close_after, respond
from rig.faults import FaultServer
from rig.images import OCI_LAYER, gzipped, make_attestation, make_image, make_index, sha256
from rig.loaders import skopeo

import didlab
from didlab import errors
from didlab.export import recode
from didlab.oci import media_types

LAYERS = [
    {"etc/os-release": b"ID=lab\n"},
    {"data/text": b"hello\n" * 200_000},
    {"data/noise": os.urandom(300_000)},
]


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


def manifest_in(found: dict[str, bytes], digest: str) -> dict:
    return json.loads(found[f"blobs/sha256/{digest[7:]}"])


def by_tool(kind: str, data: bytes) -> bytes:
    if kind == "none":
        return data
    return subprocess.run([kind, "-dc"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("docker", [False, True])
def test_layers_are_what_their_types_say(server, tmp_path, kind, docker):
    began = "none" if kind == "gzip" else "gzip"
    built = make_image(LAYERS, docker=docker, compress=began == "gzip", Cmd=["/bin/sh"])
    server.add_image("lab/app", "it", built)
    image = didlab.open(f"{server.host}/lab/app:it")
    report = image.save(tmp_path / "app.tar", compression=kind)
    assert report.image_id == built.image_id
    assert report.digest != built.digest
    found = members(report)
    for name, data in found.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    manifest = manifest_in(found, report.digest)
    assert found[f"blobs/sha256/{built.image_id[7:]}"] == built.config
    for layer, diff_id in zip(manifest["layers"], image.config().diff_ids, strict=True):
        data = found[f"blobs/sha256/{layer['digest'][7:]}"]
        assert len(data) == layer["size"]
        assert media_types.compression(layer["mediaType"]) == {"none": ""}.get(kind, kind)
        assert sha256(by_tool(kind, data)) == diff_id
    # Docker's manifest has no type for zstd: such an image becomes OCI's.
    expected = media_types.DOCKER_MANIFEST if docker and kind != "zstd" else OCI
    assert manifest["mediaType"] == expected
    (note,) = report.notes
    assert built.digest in note
    opened = didlab.open(report)
    assert (opened.digest(), opened.image_id()) == (report.digest, built.image_id)
    assert opened.read("/etc/os-release") == b"ID=lab\n"


OCI = media_types.OCI_MANIFEST


def test_loaders_agree_on_the_image_id(server, tmp_path, dockerd, podman, ctr):
    for tag in ("docker", "oci"):
        built = make_image(LAYERS[:2], docker=tag == "docker", Cmd=["/bin/sh"])
        server.add_image("lab/app", tag, built)
        name = f"{server.host}/lab/app:{tag}"
        image = didlab.open(name)
        for kind in ("none", "zstd"):
            report = image.save(tmp_path / f"{tag}-{kind}.tar", compression=kind, progress=False)
            podman.run("load", "-i", str(report))
            assert podman.inspect(name)["Id"] == image.image_id().removeprefix("sha256:")
            ctr.load(report.path)
            assert ctr.images()[name] == report.digest != image.digest()
            skopeo("copy", f"oci-archive:{report}", f"dir:{tmp_path}/{tag}-{kind}")
            if kind == "none":  # zstd from version 23 on
                dockerd.run("load", "-i", str(report))
                assert dockerd.inspect(name)["Id"] == image.image_id()
            podman.remove_all()
            ctr.remove_all()


def test_a_zstd_image_gets_into_an_old_daemon(server, tmp_path, dockerd):
    zstd = make_image(LAYERS, compress=pack_zstd, layer_type=OCI_LAYER + "+zstd", Cmd=["/bin/sh"])
    server.add_image("lab/app", "zstd", zstd)
    image = didlab.open(f"{server.host}/lab/app:zstd")
    with pytest.raises(Exception, match=r"(?s)docker.*load"):
        dockerd.run("load", "-i", str(image.save(tmp_path / "as-it-is.tar")))
    report = image.save(tmp_path / "gzip.tar", compression="gzip")
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(f"{server.host}/lab/app:zstd")["Id"] == zstd.image_id


def pack_zstd(tar: bytes) -> bytes:
    return subprocess.run(["zstd", "-c"], input=tar, capture_output=True, check=True).stdout


def test_what_is_compressed_so_already_stays(server, image, tmp_path):
    plain = image.save(tmp_path / "keep.tar")
    report = image.save(tmp_path / "gzip.tar", compression="gzip")
    assert report.path.read_bytes() == plain.path.read_bytes()
    assert (report.digest, report.notes) == (image.digest(), ())


def test_equal_input_equal_output_whatever_the_number_of_threads(image, tmp_path, monkeypatch):
    first = image.save(tmp_path / "one.tar", compression="zstd")
    monkeypatch.setattr(recode, "TOGETHER", 1)
    second = image.save(tmp_path / "two.tar", compression="zstd")
    assert first.path.read_bytes() == second.path.read_bytes()


def test_an_index_names_the_new_manifests(server, tmp_path):
    arm = make_image(LAYERS, "linux/arm64", Cmd=["/bin/sh"])
    attestation = make_attestation(server.image)
    about = {
        "vnd.docker.reference.digest": server.image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    rows = [server.image.descriptor(), arm.descriptor(), attestation.descriptor(annotations=about)]
    index = make_index([server.image, arm, attestation], descriptors=rows)
    server.add_image("lab/app", "all", index)
    image = didlab.open(f"{server.host}/lab/app:all")
    report = image.save(tmp_path / "all.tar", platform="all", compression="none")
    found = members(report)
    rows = manifest_in(found, report.digest)["manifests"]
    assert [f"blobs/sha256/{row['digest'][7:]}" in found for row in rows] == [True] * 3
    assert rows[2]["digest"] == attestation.digest
    assert rows[2]["annotations"]["vnd.docker.reference.digest"] == rows[0]["digest"]
    assert rows[0]["digest"] != server.image.digest
    for row, built in zip(rows, (server.image, arm), strict=False):
        assert row["size"] == len(found[f"blobs/sha256/{row['digest'][7:]}"])
        assert manifest_in(found, row["digest"])["config"]["digest"] == built.image_id
    again = didlab.open(report, "linux/arm64")
    assert again.image_id() == arm.image_id


def test_into_a_layout(image, tmp_path):
    report = image.save(tmp_path / "layout", format="oci-dir", compression="zstd")
    found = didlab.open(tmp_path / "layout")
    assert (found.digest(), found.image_id()) == (report.digest, image.image_id())
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("how", [{"format": "docker"}, {"compression": "none"}])
def test_the_same_again_costs_no_blob_request(server, image, tmp_path, how):
    first = image.save(tmp_path / "app.tar", **how)
    asked = len(server.asked("/blobs/"))
    again = image.save(tmp_path / "app.tar", **how)
    assert len(server.asked("/blobs/")) == asked
    assert (again.downloaded, again.image_id) == (0, first.image_id)
    assert again.size == first.size


@pytest.mark.parametrize("how", [{"format": "docker"}, {"compression": "zstd"}])
def test_another_file_is_refused_before_the_download(server, image, tmp_path, how):
    (tmp_path / "app.tar").write_bytes(b"mine")
    image.config()
    asked = len(server.asked("/blobs/"))
    with pytest.raises(errors.DestinationExists):
        image.save(tmp_path / "app.tar", **how)
    assert len(server.asked("/blobs/")) == asked
    assert (tmp_path / "app.tar").read_bytes() == b"mine"
    image.save(tmp_path / "app.tar", overwrite=True, **how)
    assert didlab.open(tmp_path / "app.tar").image_id() == image.image_id()


def test_a_layer_that_is_not_what_the_config_promises(server, tmp_path):
    built = make_image(LAYERS)
    liar = make_image(
        LAYERS,
        config_json={
            "rootfs": {"type": "layers", "diff_ids": [sha256(b"")] + [sha256(b"x")] * 2},
        },
    )
    assert liar.layers == built.layers
    server.add_image("lab/app", "liar", liar)
    image = didlab.open(f"{server.host}/lab/app:liar")
    with pytest.raises(errors.DigestMismatch, match="promises"):
        image.save(tmp_path / "app.tar", format="docker")
    assert not (tmp_path / "app.tar").exists()


def test_what_came_is_there_for_the_next_try(server, tmp_path):
    """The layers are fetched by the engine: a broken link costs only the rest."""
    noise = os.urandom(3_000_000)
    built = make_image([{"noise": noise}])
    server.add_image("lab/app", "big", built)
    image = didlab.open(f"{server.host}/lab/app:big")
    blob = f"/blobs/{built.layers[0]['digest']}"
    server.rule(lambda r: r.path.endswith(blob), half_close_after(1_500_000), times=1)
    server.rule(lambda r: r.path.endswith(blob), respond(404))
    with pytest.raises(errors.BlobNotFound):
        image.save(tmp_path / "app.tar", format="docker", workers=1)
    assert not (tmp_path / "app.tar").exists()
    server.rules.clear()
    report = image.save(tmp_path / "app.tar", format="docker")
    assert report.reused > 1_000_000
    assert report.image_id == built.image_id


def test_a_program_that_is_killed_while_it_compresses_leaves_no_target(lab, tmp_path):
    script = (
        "import sys, os, didlab; from didlab.export import recode\n"
        "real = recode.recode\n"
        "recode.recode = lambda *a, **k: os._exit(9)\n"
        "didlab.open(sys.argv[1]).save(sys.argv[2], compression='zstd', progress=False)"
    )
    name, target = f"{lab.host}/lab/app:oci", tmp_path / "app.tar"
    done = subprocess.run([sys.executable, "-c", script, name, target], check=False)
    assert done.returncode == 9
    assert not target.exists()
    report = didlab.open(name).save(target, compression="zstd", progress=False)
    assert report.downloaded == 0  # everything had come before
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_it_compresses(image, tmp_path, monkeypatch):
    real = recode.recode
    begun = threading.Event()

    more = gzipped(os.urandom(1000))

    def slow(job, pieces, wanted, out, look):
        begun.set()
        return real(job, endless(pieces), wanted, out, look)

    def endless(pieces):
        yield from pieces
        while True:
            time.sleep(0.01)  # no more members than are allowed, within this test's time
            yield more

    monkeypatch.setattr(recode, "recode", slow)
    interrupter = threading.Thread(target=lambda: begun.wait(200) and interrupt())
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        image.save(tmp_path / "app.tar", compression="zstd", progress=False)
    interrupter.join()
    assert not (tmp_path / "app.tar").exists()
    assert not [t for t in threading.enumerate() if t.name.startswith("didlab-recode")]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
