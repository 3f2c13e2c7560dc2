"""Saving with the local store: what it holds is not fetched, what came may stay."""

from __future__ import annotations

import random

import pytest
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab.blobs.store import default


@pytest.fixture
def server():
    with FaultServer() as server:
        noise = random.Random(5)
        layers = [{"a": noise.randbytes(300_000)}, {"b": noise.randbytes(50_000)}]
        server.add_image("lab/app", "1", make_image(layers))
        server.add_image("lab/app", "2", make_image([*layers, {"c": noise.randbytes(20_000)}]))
        yield server


def layers_asked(server, image) -> list[str]:
    digests = set(image.layers()["digest"])
    return [r.path for r in server.asked("/blobs/") if r.path.rpartition("/")[2] in digests]


def test_what_was_kept_is_not_fetched_again(store, server, tmp_path):
    one = didlab.open(f"{server.host}/lab/app:1")
    first = one.save(tmp_path / "1.tar", keep=True)
    assert first.reused == 0
    two = didlab.open(f"{server.host}/lab/app:2")
    asked = len(layers_asked(server, two))
    second = two.save(tmp_path / "2.tar")
    assert len(layers_asked(server, two)) == asked + 1
    assert second.reused == first.downloaded
    assert second.downloaded == two.layer(-1).size
    # Not asked to keep it, it did not.
    assert not default().present(two.layer(-1).digest, two.layer(-1).size)


def test_the_file_is_the_same_with_and_without_the_store(store, server, tmp_path):
    image = didlab.open(f"{server.host}/lab/app:1")
    image.save(tmp_path / "fresh.tar", keep=True)
    image.save(tmp_path / "stored.tar")
    assert (tmp_path / "fresh.tar").read_bytes() == (tmp_path / "stored.tar").read_bytes()


def test_a_rotten_blob_in_the_store_is_fetched(store, server, tmp_path, caplog):
    image = didlab.open(f"{server.host}/lab/app:1")
    image.save(tmp_path / "fresh.tar", keep=True)
    path = default().get(image.layer(0).digest)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    report = image.save(tmp_path / "healed.tar", keep=True)
    assert (tmp_path / "fresh.tar").read_bytes() == (tmp_path / "healed.tar").read_bytes()
    assert report.downloaded == image.layer(0).size
    assert default().get(image.layer(0).digest).read_bytes() != bytes(data)


def test_offline_from_the_store_alone(store, server, tmp_path):
    reference = f"{server.host}/lab/app:1"
    didlab.open(reference).save(tmp_path / "fresh.tar", keep=True)
    server.stop()
    didlab.open(reference, offline=True).save(tmp_path / "offline.tar")
    assert (tmp_path / "fresh.tar").read_bytes() == (tmp_path / "offline.tar").read_bytes()


def test_a_layout_uses_and_fills_the_store(store, server, tmp_path):
    image = didlab.open(f"{server.host}/lab/app:1")
    first = image.save(tmp_path / "one", format="oci-dir", keep=True)
    second = image.save(tmp_path / "two", format="oci-dir")
    assert (first.downloaded, second.downloaded) == (first.downloaded, 0)
    assert second.reused == first.downloaded


def test_without_a_store_nothing_changes(server, tmp_path):
    assert default() is None
    image = didlab.open(f"{server.host}/lab/app:1")
    assert image.save(tmp_path / "1.tar", keep=True).reused == 0
    assert image.save(tmp_path / "2.tar").reused == 0
