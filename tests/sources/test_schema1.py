"""Schema 1 at a registry, through every call: what it costs, and that Docker sees the same."""

from __future__ import annotations

import json
import pickle
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.faults import (
    FaultServer,
    change,
    corrupt,
    hang_up,
    ignore_range,
    redirect,
    reset_after,
    respond,
    until_close,
    with_headers,
)
from rig.images import make_image, sha256
from rig.loaders import Docker, Podman, skopeo
from rig.registries import Registry
from rig.schema1 import EMPTY, SIGNED, OldImage, make_old, push_old, serve_old

import didlab
from didlab import errors
from didlab.files import kept
from didlab.model.converted import MARK
from didlab.model.manifest import Manifest
from didlab.oci import media_types, schema1
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources import chain, sizing
from didlab.sources import schema1 as keeping
from didlab.sources.memory import MemorySource
from didlab.sources.registry import RegistrySource
from didlab.transport.options import make

BASE: dict[str, Any] = {"etc/base": b"base\n", "gone": b"x", "big": bytes(range(256)) * 400}
TOP: dict[str, Any] = {".wh.gone": b"", "etc/top": b"top\n"}
OLD = make_old(
    [BASE, None, TOP],
    {
        "docker_version": "1.9.1",
        "config": {"Env": ["A=1"], "Cmd": ["/bin/<top>"], "Labels": {"a": "b"}},
        "author": "Somebody",
    },
)
LAYERS = list(schema1.parse(OLD.payload).layers)


@pytest.fixture(autouse=True)
def _forget():
    kept.forget()
    yield
    kept.forget()


@pytest.fixture
def server():
    with FaultServer() as made:
        yield made


@pytest.fixture
def old(server) -> Manifest:
    return didlab.open(serve_old(server, "lab/old", "1", OLD))


def asked(server: FaultServer, since: int = 0) -> list[tuple[str, str]]:
    """Method, and kind or layer's number, of each request."""
    found = []
    for request in server.requests[since:]:
        kind, _, name = request.path.rpartition("/")
        what = str(LAYERS.index(name)) if name in LAYERS else kind.rpartition("/")[2]
        found.append((request.method, what))
    return found


# --- what the registry says ---------------------------------------------------------------------


def test_the_registry_takes_our_signature_and_has_our_digest(registry: Registry):
    """It verifies what is pushed, stores the payload, and signs anew for every answer."""
    name = push_old(registry.host, "schema1/signed", "1", OLD)
    first, second = didlab.open(name), didlab.open(name)
    assert first.digest() == second.digest() == OLD.digest
    assert first.raw() != second.raw()
    assert first.json()["signatures"]
    for one in (first, second):
        assert schema1.payload(one.raw()) == OLD.payload
    by_digest = didlab.open(f"{name.rpartition(':')[0]}@{OLD.digest}")
    assert by_digest.digest() == OLD.digest
    assert by_digest.media_type() == media_types.SCHEMA1_SIGNED
    assert by_digest.image_id() == first.image_id()


def test_the_source_hands_on_what_the_digest_is_of(server):
    serve_old(server, "lab/old", "1", OLD)
    source = RegistrySource(server.host, make(), "lab/old")
    for name in (":1", f"@{OLD.digest}"):
        found = source.resolve(Reference.parse(f"{server.host}/lab/old{name}"))
        assert (found.digest, found.size) == (OLD.digest, len(OLD.payload))
        assert found.media_type == media_types.SCHEMA1
        assert source.fetch(found) == OLD.payload
        bare = Descriptor(found.media_type, found.digest, found.size)
        assert source.fetch(bare) == OLD.payload
        assert "/manifests/" in server.requests[-1].path


@pytest.mark.parametrize("kind", ["application/json", "text/plain", SIGNED, ""])
def test_whatever_type_is_told(server, old, kind):
    server.rule(lambda r: "/manifests/" in r.path, with_headers(Content_Type=kind))
    assert old.digest() == OLD.digest
    assert len(old.layers()) == 2


def test_another_payload_is_not_taken(server):
    other = make_old([{"x": b"x"}])
    serve_old(server, "lab/old", "1", OLD)
    server.blobs[OLD.digest] = other.raw
    m = didlab.open(f"{server.host}/lab/old@{OLD.digest}")
    with pytest.raises(errors.DigestMismatch):
        m.digest()


def test_a_type_that_lies_is_refused(server, old):
    kind = media_types.OCI_MANIFEST
    server.rule(lambda r: "/manifests/" in r.path, with_headers(Content_Type=kind))
    with pytest.raises((errors.Unsupported, errors.TypeConfusion)):
        old.digest()


def test_a_mirror_with_nonsense_is_passed_over(server):
    name = serve_old(server, "lab/old", "1", OLD)
    with FaultServer() as mirror:
        wrong = {"Content-Type": SIGNED}
        mirror.rule(lambda r: "/manifests/" in r.path, respond(200, wrong, b'{"fsLayers": []}'))
        m = didlab.open(name, mirrors=[mirror.url])
        assert m.digest() == OLD.digest
        assert mirror.asked("/manifests/")


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"schemaVersion": 1}', make_old([{"a": b"a"}], '{"id": "x"}').payload],
)
def test_what_is_wrong_names_the_image(server, body):
    server.tags["lab/old"] = {}
    server.rule(lambda r: "/manifests/" in r.path, respond(200, {"Content-Type": SIGNED}, body))
    with pytest.raises(errors.ManifestInvalid, match="lab/old:1"):
        didlab.open(f"{server.host}/lab/old:1").layers()


# --- sizes --------------------------------------------------------------------------------------


def test_sizes_are_asked_by_head_each_once(server, old):
    old.digest()
    before = len(server.requests)
    frame = old.layers()
    assert frame["size"].tolist() == [len(OLD.blobs[digest]) for digest in LAYERS]
    assert sorted(asked(server, before)) == [("HEAD", "0"), ("HEAD", "1")]
    old.layers(), old.history(), old.size(), old.layer(0), list(old.iter_layers())
    assert len(server.requests) == before + 2


ELSEWHERE = "/signed-for-get-only"


@pytest.mark.parametrize(
    "answer",
    [
        respond(405),
        respond(501),
        respond(404),
        respond(403),
        until_close,
        with_headers(Content_Encoding="gzip"),
        redirect(ELSEWHERE),
    ],
    ids=["405", "501", "404", "403", "no-length", "encoded", "redirect"],
)
def test_where_head_says_nothing_the_first_byte_tells(server, old, answer):
    server.rule(lambda r: r.method == "HEAD" and "/blobs/" in r.path, answer)
    server.rule(lambda r: r.path == ELSEWHERE, respond(403))
    assert old.layers()["size"].tolist() == [len(OLD.blobs[digest]) for digest in LAYERS]
    gets = server.asked("/blobs/", "GET")
    assert {r.range for r in gets} == {"bytes=0-0"}
    assert len(gets) == 2


def test_where_ranges_are_not_served_either(server, old):
    server.rule(lambda r: r.method == "HEAD" and "/blobs/" in r.path, respond(405))
    server.rule(lambda r: "/blobs/" in r.path, ignore_range)
    assert old.layers()["size"].tolist() == [len(OLD.blobs[digest]) for digest in LAYERS]


def test_an_empty_blob_has_no_first_byte(server):
    digest = server.add_blob("lab/old", b"")
    source = RegistrySource(server.host, make(), "lab/old")
    assert source.blob_size(digest) == 0
    server.rule(lambda r: r.method == "HEAD", respond(405))
    assert source.blob_size(digest) == 0


def test_a_missing_layer_says_so(server, old):
    del server.blobs[LAYERS[1]]
    with pytest.raises(errors.BlobNotFound, match=LAYERS[1]):
        old.layers()
    assert old.digest() == OLD.digest  # that is no reason not to look at the rest
    assert old.platforms()["platform"].tolist() == ["linux/amd64"]


def test_a_size_that_lies_is_noticed(server, old):
    server.rule(lambda r: r.method == "HEAD" and "/blobs/" in r.path, respond(200, {}, b"x" * 7))
    assert old.layers()["size"].tolist() == [7, 7]
    with pytest.raises((errors.SizeMismatch, errors.Truncated)):
        old.image_id()


def test_a_source_that_cannot_tell():
    with pytest.raises(errors.Unsupported, match="memory:x"):
        sizing.blob_size(MemorySource("x"), LAYERS[0])


def test_the_well_known_blob_is_not_asked_for(server):
    assert sha256(EMPTY) == sizing.EMPTY_LAYER
    image = make_old([{"a": b"a"}, None], steps={1: {"throwaway": False}})
    m = didlab.open(serve_old(server, "lab/old", "1", image))
    assert m.layers()["size"].tolist()[1] == len(EMPTY) == 32
    assert len(server.asked("/blobs/")) == 1
    m.image_id()
    assert not server.asked(sizing.EMPTY_LAYER)


def test_sizes_are_asked_several_at_a_time(server):
    image = make_old([{f"f{n}": b"%d" % n} for n in range(9)])
    m = didlab.open(serve_old(server, "lab/old", "1", image))
    together = threading.Barrier(sizing.TOGETHER)

    def meet(answer, _):
        together.wait(10)
        return answer

    server.rule(lambda r: r.method == "HEAD", change(meet), sizing.TOGETHER)
    assert len(m.layers()) == 9
    assert len(server.asked("/blobs/")) == 9


# --- without reading layers ---------------------------------------------------------------------


def test_what_needs_no_layer(server, old):
    assert old.platforms()["platform"].tolist() == ["linux/amd64"]
    assert old.platforms()["digest"].tolist() == [OLD.digest]
    assert asked(server) == [("GET", "manifests")] * 2  # schema 2 alone is asked for once more
    frame = old.layers()
    assert frame["digest"].tolist() == LAYERS
    assert frame["diff_id"].isna().all()
    assert frame["created_by"].tolist() == [f"/bin/sh -c step {n} <&>" for n in (0, 2)]
    history = old.history()
    assert history["empty_layer"].tolist() == [False, True, False]
    assert history["layer"].astype(object).where(history["layer"].notna(), None).tolist() == [
        0, None, 1,
    ]  # fmt: skip
    assert history["author"].tolist()[2] == "Somebody"
    assert old.platforms(sizes=True)["layers"].tolist() == [2]
    assert not [r for r in server.asked("/blobs/") if r.method == "GET"]


def test_the_size_is_that_of_what_is_downloaded(old):
    assert old.size() == sum(len(OLD.blobs[digest]) for digest in LAYERS) + len(old.config().raw)


def test_platforms(old):
    assert old.platform("linux/amd64").digest() == OLD.digest
    assert old["linux/amd64"].image_id() == old.image_id()
    with pytest.raises(errors.PlatformNotFound) as caught:
        old.platform("linux/arm64")
    assert caught.value.available == ("linux/amd64",)
    with pytest.raises(errors.PlatformNotFound):
        old["linux/arm64"].digest()


def test_where_nothing_says_the_platform(server):
    image = make_old([{"a": b"a"}], {"os": None, "architecture": None}, architecture="arm64")
    m = didlab.open(serve_old(server, "lab/old", "1", image))
    assert m.platforms()["platform"].tolist() == ["linux/arm64"]
    assert "os" not in m.config()


def test_tags_with_details(server):
    serve_old(server, "lab/old", "1", OLD)
    server.add_image("lab/old", "2", make_image([{"a": b"a"}]))
    frame = didlab.Registry(server.host)["lab/old"].tags(details=True)
    assert frame.attrs["errors"] == {}
    row = frame.set_index("tag").loc["1"]
    assert (row["digest"], row["platforms"]) == (OLD.digest, "linux/amd64")
    assert row["created"].year == 2015
    assert row["size"] > 0


# --- with layers read ---------------------------------------------------------------------------


def test_one_pass_serves_everything(server, old, tmp_path):
    config = old.config()
    assert Counter(asked(server))[("GET", "0")] == Counter(asked(server))[("GET", "1")] == 1
    before = len(server.requests)
    assert config.image_id == old.image_id() == sha256(config.raw)
    assert old.layers()["diff_id"].tolist() == list(config.diff_ids)
    assert [layer.diff_id for layer in old.iter_layers()] == list(config.diff_ids)
    assert config.env == {"A": "1"}
    assert config.labels == {"a": "b"}
    assert old["linux/amd64"].config() == config
    assert old.files()["path"].tolist() == ["/big", "/etc", "/etc/base", "/etc/top"]
    assert old.read("/etc/top") == b"top\n"
    report = old.save(tmp_path / "old.tar")
    assert asked(server, before) == []  # nothing is fetched twice
    assert report.image_id == config.image_id
    assert report.downloaded == sum(len(OLD.blobs[digest]) for digest in LAYERS)
    assert report.notes[-1].endswith(f"was {MARK}; its digest there is {OLD.digest}")


def test_saving_fetches_each_layer_once(server, old, tmp_path):
    report = old.save(tmp_path / "old.tar")
    assert Counter(asked(server)) == {
        ("GET", "manifests"): 2, ("HEAD", "0"): 1, ("HEAD", "1"): 1, ("GET", "0"): 1,
        ("GET", "1"): 1,
    }  # fmt: skip
    again = old.save(tmp_path / "old.tar")
    assert (again.image_id, again.downloaded) == (report.image_id, 0)


def test_after_files_the_image_id_costs_nothing(server, old):
    paths = old.files()["path"].tolist()
    assert "/etc/top" in paths
    assert "/gone" not in paths
    before = len(server.requests)
    assert old.image_id() == sha256(old.config().raw)
    assert asked(server, before) == []
    assert old.layers()["diff_id"].notna().all()


def test_with_the_local_store(server, store, tmp_path):
    name = serve_old(server, "lab/old", "1", OLD)
    first = didlab.open(name)
    report = first.save(tmp_path / "a.tar")
    total = sum(len(OLD.blobs[digest]) for digest in LAYERS)
    assert (report.downloaded, report.reused) == (total, 0)
    assert all(store.present(digest, len(OLD.blobs[digest])) for digest in LAYERS)
    kept.forget()
    before = len(server.requests)
    second = didlab.open(name)
    assert second.image_id() == first.image_id()
    report = second.save(tmp_path / "b.tar")
    assert asked(server, before) == [("GET", "manifests")] * 2  # the tag, nothing else
    assert (report.downloaded, report.reused) == (0, total)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_offline(server, store, tmp_path):
    name = serve_old(server, "lab/old", "1", OLD)
    first = didlab.open(name)
    first.save(tmp_path / "a.tar")
    kept.forget()
    server.stop()
    for asked_for in (name, f"{name.rpartition(':')[0]}@{OLD.digest}"):
        m = didlab.open(asked_for, offline=True)
        assert m.digest() == OLD.digest
        assert m.raw() == OLD.payload  # what is kept by its digest
        assert m.image_id() == first.image_id()
        assert m.layers()["size"].tolist() == [len(OLD.blobs[digest]) for digest in LAYERS]


def test_offline_without_its_layers(server, store):
    name = serve_old(server, "lab/old", "1", OLD)
    didlab.open(name).digest()
    m = didlab.open(name, offline=True)
    assert m.platforms()["platform"].tolist() == ["linux/amd64"]
    with pytest.raises(errors.BlobNotFound, match="offline"):
        m.layers()


def test_a_damaged_layer_is_not_converted(server, old):
    server.rule(lambda r: r.path.endswith(LAYERS[0]) and r.method == "GET", corrupt(30))
    with pytest.raises(errors.DigestMismatch):
        old.image_id()
    server.rules.clear()
    assert old.image_id() == sha256(old.config().raw)


@pytest.mark.parametrize("fault", [reset_after(300), hang_up], ids=["reset", "hang-up"])
def test_broken_lines_are_mended(server, old, tmp_path, fault):
    whole = lambda r: r.path.endswith(LAYERS[0]) and r.method == "GET"  # noqa: E731
    server.rule(whole, fault, 2)
    report = old.save(tmp_path / "old.tar")
    assert report.image_id == old.image_id()
    skopeo("inspect", f"docker-archive:{tmp_path / 'old.tar'}")


def test_many_threads_one_pass(server, old):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: old.image_id(), range(8)))) == 1
    assert Counter(asked(server)) == {
        ("GET", "manifests"): 2, ("HEAD", "0"): 1, ("HEAD", "1"): 1, ("GET", "0"): 1,
        ("GET", "1"): 1,
    }  # fmt: skip


def test_plain_and_odd_layers(server):
    """The type of the layer is told by its bytes."""
    from rig.images import make_tar

    plain = make_tar({"plain": b"x"})
    image = make_old([{"a": b"a"}, {"b": b"b"}])
    body = json.loads(image.payload)
    body["fsLayers"][0]["blobSum"] = sha256(plain)
    mixed = OldImage(json.dumps(body).encode(), {**image.blobs, sha256(plain): plain}, image.ids)
    m = didlab.open(serve_old(server, "lab/old", "1", mixed))
    assert m.config().diff_ids[1] == sha256(plain)
    whole = m._snapshot.manifest(None)
    assert [layer.media_type for layer in whole.layers] == [
        media_types.DOCKER_LAYER, media_types.DOCKER_LAYER_TAR,
    ]  # fmt: skip


# --- how it looks, and travels ------------------------------------------------------------------


def test_it_is_marked_and_looking_is_free(server, old):
    assert MARK not in repr(old)
    old.digest()
    assert MARK in repr(old)
    old.layers()
    server.stop()
    assert "2 layers" in repr(old)
    page = old._repr_html_()
    assert MARK in page
    assert "linux/amd64" in page
    assert "&lt;top&gt;" in page
    assert old._facts().get("image_id") is None


def test_the_card_reads_no_layer(server, old):
    page = old._repr_html_()
    assert MARK in page
    assert "2 layers" in page
    assert not [r for r in server.asked("/blobs/") if r.method == "GET"]


def test_a_copy_by_pickle_describes_the_same_bytes(server, old):
    raw = old.raw()
    image_id = old.image_id()
    travelled = pickle.loads(pickle.dumps(old))
    before = len(server.requests)
    assert travelled == old
    assert travelled.raw() == raw
    assert travelled.digest() == OLD.digest
    assert asked(server, before) == []
    assert travelled.image_id() == image_id
    fresh = pickle.loads(pickle.dumps(didlab.open(str(old.reference))))
    assert fresh.refresh().image_id() == image_id
    assert fresh.repository == old.repository
    assert fresh.registry == old.registry


# --- the temporary folder -----------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(made))
    return made


def files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if path.name != "CACHEDIR.TAG"]


def test_layers_are_kept_until_they_are_saved(server, old, folder, tmp_path):
    old.image_id()
    assert sorted(path.stat().st_size for path in files(folder)) == sorted(
        len(OLD.blobs[digest]) for digest in LAYERS
    )
    old.save(tmp_path / "old.tar")
    assert list(folder.iterdir()) == []


def test_they_go_with_the_object(server, folder):
    import gc

    m = didlab.open(serve_old(server, "lab/old", "1", OLD))
    m.image_id()
    assert files(folder)
    del m
    gc.collect()
    assert list(folder.iterdir()) == []


def test_keeping_source(folder):
    inner = MemorySource("inner")
    content = bytes(range(256)) * 100
    descriptor = inner.add(content, "application/octet-stream")
    source = keeping.KeepingSource(inner)
    assert source.open(descriptor).read_at(3, 9) == content[3:9]
    assert b"".join(source.open(descriptor).stream(5)) == content[5:]
    assert files(folder) == []  # parts are not kept
    reader = source.open(descriptor)
    assert (reader.size, reader.ranged, reader.places) == (len(content), True, ())
    assert b"".join(reader.stream()) == content
    inner.blobs.clear()
    reader = source.open(descriptor)
    assert b"".join(reader.stream(7, 20)) == content[7:20]
    assert reader.read_at(0, len(content)) == content
    assert reader.served_by == "memory:inner"
    assert pickle.loads(pickle.dumps(source)).location == "memory:inner"
    assert not isinstance(pickle.loads(pickle.dumps(source)), keeping.KeepingSource)
    source.drop()
    assert files(folder) == []
    with pytest.raises(errors.BlobNotFound):
        source.open(descriptor).read_at(0, 1)


def test_what_is_wrong_or_does_not_fit_is_not_kept(folder, monkeypatch):
    inner = MemorySource("inner")
    content = bytes(1000)
    descriptor = inner.add(content, "application/octet-stream")
    inner.blobs[descriptor.digest] = b"x" * 1000
    source = keeping.KeepingSource(inner)
    assert b"".join(source.open(descriptor).stream()) == b"x" * 1000
    assert files(folder) == []
    monkeypatch.setattr(keeping, "_LIMIT", 10)
    inner.blobs[descriptor.digest] = content
    small = keeping.KeepingSource(inner)
    assert b"".join(small.open(descriptor).stream()) == content
    assert files(folder) == []


def test_a_stream_that_is_left_leaves_nothing(folder):
    inner = MemorySource("inner")
    descriptor = inner.add(bytes(1000), "application/octet-stream")
    source = keeping.KeepingSource(inner)
    reader = source.open(Descriptor("x", descriptor.digest, 1000))
    reader._keep(0, b"12345")
    assert files(folder)
    reader._keep(9, b"12345")  # not where it ended: left alone
    del reader
    assert files(folder) == []


def test_a_place_that_begins_again_is_kept_all_the_same(folder):
    inner = MemorySource("inner")
    content = bytes(range(250)) * 4
    descriptor = inner.add(content, "application/octet-stream")
    source = keeping.KeepingSource(inner)
    reader = source.open(descriptor)
    reader._keep(0, content[:300])
    reader._keep(600, content[600:])  # ahead: what is between is missing
    reader._keep(0, content[:200])
    assert b"".join(reader.stream()) == content
    inner.blobs.clear()
    assert b"".join(source.open(descriptor).stream()) == content


# --- against Docker and podman ------------------------------------------------------------------


def test_docker_and_podman_see_the_same_image(
    registry: Registry, dockerd: Docker, podman: Podman, tmp_path
):
    name = push_old(registry.host, "schema1/real", "1", OLD)
    m = didlab.open(name)
    image_id = m.image_id()
    dockerd.run("pull", "-q", name)
    assert dockerd.inspect(name)["Id"] == image_id
    dockerd.remove_all()
    m.save(tmp_path / "real.tar")
    dockerd.run("load", "-i", tmp_path / "real.tar")
    found = dockerd.inspect(name)
    assert found["Id"] == image_id
    assert found["RootFS"]["Layers"] == list(m.config().diff_ids)
    podman.run("load", "-i", tmp_path / "real.tar")
    assert f"sha256:{podman.inspect(name)['Id']}" == image_id
    for transport in ("docker-archive", "oci-archive"):
        shown = json.loads(skopeo("inspect", f"{transport}:{tmp_path / 'real.tar'}"))
        assert shown["Layers"]
    m.save(tmp_path / "layout", format="oci-dir")
    raw = skopeo("inspect", "--config", "--raw", f"oci:{tmp_path / 'layout'}")
    assert sha256(raw.encode()) == image_id


def test_what_skopeo_pushed_is_what_docker_pulls(lab: Registry, dockerd: Docker):
    name = f"{lab.host}/lab/old:1"
    m = didlab.open(name)
    assert m.image_id() == _pulled(dockerd, name)
    assert m.layers()["digest"].tolist() == (
        didlab.open(f"{lab.host}/lab/small:1").layers()["digest"].tolist()
    )


def test_real_packages_with_whiteouts(lab: Registry, dockerd: Docker, tmp_path):
    """lab/app, 11 layers of real files: skopeo pushes it as schema 1, Docker pulls it."""
    name = f"{lab.host}/schema1/app:1"
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    source = f"docker://{lab.host}/lab/app:latest"
    skopeo("copy", "-q", "--format", "v2s1", *plain, source, f"docker://{name}")
    m, same = didlab.open(name), didlab.open(f"{lab.host}/lab/app:latest")
    assert m.image_id() == _pulled(dockerd, name)
    assert set(m.config().diff_ids) >= set(same.config().diff_ids)
    ours, theirs = m.files(), same.files()
    assert ours["path"].tolist() == theirs["path"].tolist()
    assert ours["size"].tolist() == theirs["size"].tolist()


def _pulled(dockerd: Docker, name: str) -> str:
    dockerd.run("pull", "-q", name)
    return str(dockerd.inspect(name)["Id"])


def test_the_chain_of_sources_can_tell_sizes(server):
    serve_old(server, "lab/old", "1", OLD)
    source = chain.registry(server.host, make(), "lab/old")
    assert sizing.blob_size(source, LAYERS[0]) == len(OLD.blobs[LAYERS[0]])
