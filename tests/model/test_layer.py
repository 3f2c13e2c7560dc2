"""A Layer: its bytes, streamed and saved."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.faults import FaultServer, corrupt, reset_after, respond
from rig.images import make_image
from rig.registries import Registry as LabRegistry

import didlab
from didlab import Layer
from didlab.errors import (
    BlobNotFound,
    DestinationExists,
    DidlabError,
    DigestMismatch,
    IntegrityError,
)
from didlab.sources.cached import shared

LAYERS: list[dict[str, Any]] = [{"a": b"a"}, {"b": bytes(300_000)}]
IMAGE = make_image(LAYERS, compress=False)


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        made.add_image("lab/app", "1", IMAGE)
        yield made


def layer_at(server: FaultServer, position: int = 1) -> Layer:
    return didlab.open(f"{server.host}/lab/app:1", trust_env=False).layer(position)


def test_what_is_free(lab: LabRegistry) -> None:
    m = didlab.open(f"{lab.host}/lab/app:latest", "linux/amd64")
    row = m.json()["layers"][3]
    layer = m.layer(3)
    assert (layer.digest, layer.size, layer.media_type) == (
        row["digest"], row["size"], row["mediaType"],
    )  # fmt: skip
    assert layer.position == 3
    assert layer.annotations == {}
    assert layer.urls == ()
    assert layer.manifest == m


def test_diff_id_and_command_are_known_with_the_config(server: FaultServer) -> None:
    m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
    layer = m.layer(1)
    assert layer.diff_id is None
    assert layer.created_by is None
    config = m.config()
    assert layer.diff_id == config.diff_ids[1]
    assert layer.created_by == "rig: layer 1"
    assert "rig: layer 1" in repr(layer)


def test_stream(lab: LabRegistry) -> None:
    layer = didlab.open(f"{lab.host}/lab/app:latest", "linux/amd64").layer(0)
    with lab.record() as seen:
        data = b"".join(layer.stream())
    assert len(data) == layer.size
    assert "sha256:" + hashlib.sha256(data).hexdigest() == layer.digest
    assert [entry.path for entry in seen] == [f"/v2/lab/app/blobs/{layer.digest}"]


def test_stream_goes_on_where_it_broke(server: FaultServer) -> None:
    layer = layer_at(server)
    rule = server.rule(lambda request: "/blobs/" in request.path, reset_after(100_000), 1)
    assert b"".join(layer.stream()) == IMAGE.blobs[layer.digest]
    assert rule.hits == 1
    first, second = server.asked("/blobs/")
    assert first.range == ""
    assert second.range == f"bytes=100000-{layer.size - 1}"


def test_stream_of_wrong_bytes_ends_with_an_error(server: FaultServer) -> None:
    layer = layer_at(server)
    server.rule(lambda request: "/blobs/" in request.path, corrupt(7))
    with pytest.raises(DigestMismatch) as caught:
        b"".join(layer.stream())
    assert caught.value.expected == layer.digest


@pytest.mark.parametrize("change", [-1, 1])
def test_stream_of_another_length(server: FaultServer, change: int) -> None:
    layer = layer_at(server)
    data = IMAGE.blobs[layer.digest]
    server.blobs[layer.digest] = data[:change] if change < 0 else data + b"x"
    with pytest.raises(DidlabError):
        b"".join(layer.stream())


def test_stream_of_a_blob_that_is_gone(server: FaultServer) -> None:
    layer = layer_at(server)
    del server.blobs[layer.digest]
    with pytest.raises(BlobNotFound):
        next(layer.stream())


@pytest.mark.parametrize("urls", [["https://a.example/\x1b[31m"], ["https://a.example/1", "b"]])
def test_a_foreign_layer_says_where_it_lies(
    server: FaultServer, tmp_path: Path, urls: list[str]
) -> None:
    kept, foreign = ({**row} for row in IMAGE.layers)
    foreign["urls"] = urls
    image = make_image(LAYERS, compress=False, manifest_json={"layers": [kept, foreign]})
    server.add_image("lab/app", "1", image)
    del server.blobs[foreign["digest"]]
    layer = layer_at(server)
    for call in (
        lambda: next(layer.stream()),
        lambda: layer.save(tmp_path / "layer.tar", progress=False),
        lambda: layer.manifest.save(tmp_path / "image.tar", progress=False),
    ):
        with pytest.raises(BlobNotFound, match=r"non-distributable.*foreign=True") as caught:
            call()
        assert foreign["digest"] in caught.value.message
        assert f"lies at {urls[0]}".replace("\x1b", "\\x1b") in str(caught.value)
        assert str(caught.value).isprintable()


def test_an_abandoned_stream_can_be_asked_again(server: FaultServer) -> None:
    layer = layer_at(server)
    stream = layer.stream()
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert b"".join(layer.stream()) == IMAGE.blobs[layer.digest]


def test_save(lab: LabRegistry, tmp_path: Path) -> None:
    layer = didlab.open(f"{lab.host}/lab/app:latest", "linux/amd64").layer(0)
    report = layer.save(tmp_path / "layer.tar.gz", progress=False)
    assert Path(report) == tmp_path / "layer.tar.gz"
    data = (tmp_path / "layer.tar.gz").read_bytes()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == layer.digest
    assert [path.name for path in tmp_path.iterdir()] == ["layer.tar.gz"]


def test_save_into_a_directory(lab: LabRegistry, tmp_path: Path) -> None:
    layer = didlab.open(f"{lab.host}/lab/app:latest", "linux/amd64").layer(0)
    report = layer.save(tmp_path, progress=False)
    (made,) = tmp_path.iterdir()
    assert made == Path(report)
    assert made.name.startswith("sha256_" + layer.digest.partition(":")[2])
    assert made.name.endswith(".tar.gz")


def test_a_command_that_is_not_there(server: FaultServer) -> None:
    server.add_image("lab/app", "1", make_image(LAYERS, history=[{}, {"created_by": ""}]))
    layer = layer_at(server)
    layer.manifest.config()
    assert layer.created_by is None
    assert layer.diff_id is not None


def test_save_over_another_file(server: FaultServer, tmp_path: Path) -> None:
    layer = layer_at(server)
    target = tmp_path / "layer.tar"
    target.write_bytes(b"mine")
    with pytest.raises(DestinationExists):
        layer.save(target, progress=False)
    assert target.read_bytes() == b"mine"
    assert server.asked("/blobs/") == []
    layer.save(target, overwrite=True, progress=False)
    assert target.read_bytes() == IMAGE.blobs[layer.digest]
    before = len(server.asked("/blobs/"))
    layer.save(target, progress=False)  # the same content is left as it is
    assert len(server.asked("/blobs/")) == before


@pytest.mark.parametrize("status", [404, 403, 0])
def test_a_failed_save_leaves_nothing(server: FaultServer, tmp_path: Path, status: int) -> None:
    layer = layer_at(server)
    server.rule(
        lambda request: "/blobs/" in request.path, respond(status) if status else corrupt(5)
    )
    with pytest.raises(DidlabError) as caught:
        layer.save(tmp_path / "layer.tar", progress=False)
    if not status:
        assert isinstance(caught.value, IntegrityError)
    assert not (tmp_path / "layer.tar").exists()


def test_identity(server: FaultServer) -> None:
    layer = layer_at(server)
    assert layer == layer_at(server)
    assert hash(layer) == hash(layer_at(server))
    assert layer != layer_at(server, 0)
    again = pickle.loads(pickle.dumps(layer))
    assert again == layer
    assert b"".join(again.stream()) == IMAGE.blobs[layer.digest]
