"""The local store around a registry: nothing twice, nothing wrong, and without a network."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rig.faults import FaultServer, corrupt
from rig.images import make_attestation, make_image, make_index
from sources.suite import ABSENT, Place, SourceSuite

import didlab
from didlab import errors
from didlab.blobs import copying, folder
from didlab.blobs import store as stores
from didlab.blobs import tags as remembered
from didlab.oci import digest as digests
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import MANIFEST_LIMIT
from didlab.sources import cached, chain, stored
from didlab.sources.base import WrapperSource
from didlab.sources.memory import MemorySource
from didlab.sources.registry import RegistrySource
from didlab.sources.stored import StoredSource
from didlab.transport.options import make


@pytest.fixture(scope="session")
def built():
    layers = [{"a": bytes(range(256)) * 20, "b": b"b"}, {"c": b"c"}]
    amd, arm = make_image(layers), make_image(layers, "linux/arm64", docker=True)
    return {"one": amd, "docker": arm, "index": make_index([amd, arm, make_attestation(amd)])}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("DOCKER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    monkeypatch.setattr(stored, "_told", set())


@pytest.fixture
def server(built, store):
    with FaultServer() as made:
        for tag, one in built.items():
            made.add_image("lab/app", tag, one)
        yield made


def around(server, repository="lab/app", *, offline=False, **options):
    return StoredSource(RegistrySource(server.host, make(**options), repository), offline)


def fill(place):
    """Keep all blobs of a place's images, as whoever saves them may."""
    store = stores.default()
    for one in place.built.values():
        for image in getattr(one, "children", (one,)):
            for digest, data in image.blobs.items():
                store.put(digest, data)


class TestStored(SourceSuite):
    @pytest.fixture
    def place(self, server, built):
        return Place(around(server), built, server.host)


class TestStoredAndWarm(SourceSuite):
    @pytest.fixture
    def place(self, server, built):
        place = Place(around(server), built, server.host)
        fill(place)
        for tag in built:
            place.source.fetch(replace(place.source.resolve(place.ref(tag)), data=None))
        return place


class TestStoredInMemory(SourceSuite):
    @pytest.fixture
    def place(self, built, store):
        source = MemorySource("lab/app")
        for tag, one in built.items():
            for child in getattr(one, "children", (one,)):
                source.blobs.update(child.blobs)
                source.add(child.manifest, child.media_type)
            source.add(one.manifest, one.media_type, tag=tag)
        return Place(StoredSource(source), built)


def config_of(image):
    raw = next(data for data in image.blobs.values() if b'"rootfs"' in data)
    return Descriptor("application/vnd.oci.image.config.v1+json", digests.of(raw), len(raw)), raw


# --- nothing twice ---------------------------------------------------------------------------


def test_known_digests_are_not_asked_for_again(server, built):
    place = Place(around(server), built, server.host)
    config, raw = config_of(built["one"])
    found = place.source.resolve(place.ref("one"))
    assert place.source.fetch(config) == raw
    before = len(server.requests)
    for repository in ("lab/app", "lab/other"):  # shared by all repositories
        source = around(server, repository)
        assert source.fetch(config) == raw
        assert source.fetch(replace(found, data=None)) == built["one"].manifest
    assert len(server.requests) == before
    # A tag is asked for every time.
    assert place.source.resolve(place.ref("one")) == found
    assert len(server.requests) > before


def test_a_digest_is_still_asked_for_by_name(server, built):
    # Whoever may not read it any more gets it from nowhere.
    place = Place(around(server), built, server.host)
    place.source.resolve(place.ref("one"))
    before = len(server.requests)
    place.source.resolve(place.ref(built["one"].digest))
    assert len(server.requests) == before + 1


def test_stored_layers_are_read_from_the_disk(server, built):
    place = Place(around(server), built, server.host)
    descriptor, data = place.layer()
    assert place.source.open(descriptor).served_by is None
    fill(place)
    before = len(server.requests)
    blob = place.source.open(descriptor)
    assert b"".join(blob.stream()) == data
    assert blob.read_at(3, 9) == data[3:9]
    assert (blob.ranged, blob.served_by) == (True, "the local store")
    assert blob.places == (server.host,)
    assert len(server.requests) == before


def test_lies_are_not_kept(server, built, store):
    source = around(server)
    config, raw = config_of(built["one"])
    rule = server.rule(lambda r: "/blobs/" in r.path, corrupt(3))
    with pytest.raises(errors.DigestMismatch):
        source.fetch(config)
    assert store.get(config.digest) is None
    rule.left = 0
    assert source.fetch(config) == raw
    assert store.get(config.digest) is not None


def test_layers_are_no_metadata(server, built, store, monkeypatch):
    fill(Place(None, built))
    monkeypatch.setattr(stored, "check_small", lambda _: None)
    big = Descriptor("application/x", digests.of(b"x" * (MANIFEST_LIMIT + 1)), MANIFEST_LIMIT + 1)
    store.put(big.digest, b"x" * big.size)
    with pytest.raises(errors.ManifestNotFound):
        around(server, offline=True).resolve(Place(None, {}, server.host).ref(big.digest))


# --- rot -------------------------------------------------------------------------------------


def test_rotten_metadata_is_fetched_again(server, built, store):
    source = around(server)
    config, raw = config_of(built["one"])
    source.fetch(config)
    for at in range(0, len(raw), 17):
        path = folder.blob_path(store.root, config.digest)
        bad = bytearray(raw)
        bad[at] ^= 4
        path.write_bytes(bad)
        store._verified.clear()
        assert source.fetch(config) == raw
        assert path.read_bytes() == raw


def test_a_rotten_layer_comes_from_the_registry(server, built, store):
    place = Place(around(server), built, server.host)
    fill(place)
    descriptor, data = place.layer()
    path = folder.blob_path(store.root, descriptor.digest)
    path.write_bytes(b"x" * len(data))
    store._verified.clear()
    blob = place.source.open(descriptor)
    assert b"".join(blob.stream()) == data
    assert blob.served_by == server.host
    assert not path.exists()


def test_a_layer_that_goes_while_it_is_read(server, built, store, monkeypatch):
    monkeypatch.setattr(copying, "CHUNK", 50)
    place = Place(around(server), built, server.host)
    fill(place)
    descriptor, data = place.layer()
    path = folder.blob_path(store.root, descriptor.digest)
    blob = place.source.open(descriptor)
    stream = blob.stream(5)
    got = next(stream)
    os.truncate(path, 60)
    assert got + b"".join(stream) == data[5:]
    (request,) = server.asked("/blobs/")
    assert request.range == f"bytes=60-{len(data) - 1}"
    # Removed between opening and reading.
    store.put(descriptor.digest, data)
    blob = place.source.open(descriptor)
    didlab.clear_cache()
    assert blob.read_at(0, len(data)) == data


def test_a_full_disk_stops_nobody(server, built, store, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying, "write_at", full)
    place = Place(around(server), built, server.host)
    config, raw = config_of(built["one"])
    assert place.source.resolve(place.ref("one")).digest == built["one"].digest
    assert place.source.fetch(config) == raw
    assert any("local store" in record.getMessage() for record in caplog.records)


# --- offline ---------------------------------------------------------------------------------


def test_offline_after_an_online_look(server, built, caplog):
    online = Place(around(server), built, server.host)
    config, raw = config_of(built["one"])
    for tag in built:
        online.source.resolve(online.ref(tag))
    online.source.fetch(config)
    fill(online)
    before = len(server.requests)
    place = Place(around(server, offline=True), built, server.host)
    for tag, one in built.items():
        for name in (tag, one.digest):
            found = place.source.resolve(place.ref(name))
            assert (found.digest, found.media_type) == (one.digest, one.media_type)
            assert place.source.fetch(found) == one.manifest
            assert place.source.fetch(replace(found, data=None)) == one.manifest
    assert place.source.fetch(config) == raw
    descriptor, data = place.layer()
    assert place.source.open(descriptor).read_at(0, len(data)) == data
    assert len(server.requests) == before
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(built)
    assert all(f"as of {datetime.now(UTC):%Y-%m-}" in text for text in told)


def test_offline_what_was_never_seen(server, built):
    place = Place(around(server, offline=True), built, server.host)
    descriptor, _ = place.layer()
    manifest = Descriptor("application/vnd.oci.image.manifest.v1+json", ABSENT, 10)
    blob = place.source.open(descriptor)
    assert (blob.size, blob.places) == (descriptor.size, ())
    for ask, error in (
        (lambda: place.source.resolve(place.ref("one")), errors.ManifestNotFound),
        (lambda: place.source.resolve(place.ref(ABSENT)), errors.ManifestNotFound),
        (lambda: place.source.fetch(manifest), errors.ManifestNotFound),
        (lambda: place.source.fetch(config_of(built["one"])[0]), errors.BlobNotFound),
        (lambda: blob.read_at(0, 1), errors.BlobNotFound),
        (lambda: list(blob.stream()), errors.BlobNotFound),
        (lambda: place.source.tags(), errors.Unsupported),
        (lambda: place.source.referrers(ABSENT), errors.Unsupported),
    ):
        with pytest.raises(error) as caught:
            ask()
        if error is not errors.Unsupported:
            assert "offline" in str(caught.value)
    assert server.requests == []


def test_offline_without_a_store(server, built, monkeypatch):
    monkeypatch.setenv("DIDLAB_CACHE", "0")
    place = Place(around(server, offline=True), built, server.host)
    with pytest.raises(errors.ManifestNotFound, match="no local store"):
        place.source.resolve(place.ref("one"))
    with pytest.raises(errors.BlobNotFound, match="no local store"):
        place.source.fetch(config_of(built["one"])[0])


def test_offline_a_tag_whose_manifest_is_gone(server, built):
    place = Place(around(server), built, server.host)
    place.source.resolve(place.ref("one"))
    store = stores.default()
    store.discard(built["one"].digest)
    with pytest.raises(errors.ManifestNotFound, match=built["one"].digest):
        around(server, offline=True).resolve(place.ref("one"))


def test_a_moved_tag_is_remembered_as_it_was_last(server, built):
    place = Place(around(server), built, server.host)
    place.source.resolve(place.ref("one"))
    server.add_image("lab/app", "one", built["docker"])
    offline = around(server, offline=True)
    assert offline.resolve(place.ref("one")).digest == built["one"].digest
    place.source.resolve(place.ref("one"))
    assert offline.resolve(place.ref("one")).digest == built["docker"].digest


def test_the_wire_sends_nothing_offline(server, built):
    # Whatever the sources above it do.
    source = RegistrySource(server.host, make(offline=True), "lab/app")
    place = Place(source, built, server.host)
    descriptor, _ = place.layer()
    for ask in (
        lambda: source.resolve(place.ref("one")),
        lambda: source.open(descriptor).read_at(0, 5),
        lambda: list(source.tags()),
        lambda: didlab.Registry(server.host, offline=True).repositories(),
        lambda: didlab.Registry(server.host, offline=True).rate_limit(),
    ):
        with pytest.raises(errors.Unsupported, match="offline"):
            ask()
    assert server.requests == []
    assert server.connections == 0


# --- remembered tags -------------------------------------------------------------------------


def test_notes_of_tags(store):
    descriptor = Descriptor("application/x", ABSENT, 7)
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert remembered.recall(store.root, "r/a:1") is None
    remembered.remember(store.root, "r/a:1", descriptor, then)
    assert remembered.recall(store.root, "r/a:1") == remembered.Remembered(descriptor, then)
    assert remembered.recall(store.root, "r/a:2") is None
    (path,) = (store.root / "v1" / "tags").iterdir()
    good = path.read_bytes()
    for bad in (
        b"",
        b"{",
        b"[]",
        good[:-1],
        good.replace(b"r/a:1", b"r/a:2"),
        good.replace(b"sha256:", b"sha257:"),
        good.replace(b": 7", b": -7"),
        good.replace(b": 7", b": true"),
        good.replace(b"2026", b"year"),
        good.replace(b'"asOf"', b'"when"'),
        good.replace(b'"digest"', b'"other"'),
        good + b" " * 20_000,
    ):
        assert bad != good
        path.write_bytes(bad)
        assert remembered.recall(store.root, "r/a:1") is None
    remembered.remember(store.root, "r/a:1", descriptor, then)
    assert path.read_bytes() == good
    assert list((store.root / "v1" / "ingest").iterdir()) == []


# --- through the front door ------------------------------------------------------------------


def layers_of(source):
    while isinstance(source, WrapperSource):
        yield type(source)
        source = source.inner
    yield type(source)


def test_every_way_in_has_the_store(server):
    expected = [cached.CachedSource, StoredSource, RegistrySource]
    opened = didlab.open(f"{server.host}/lab/app:one", offline=True)
    indexed = didlab.Registry(server.host, offline=True)["lab/app"]["one"]
    for m in (opened, indexed, pickle.loads(pickle.dumps(opened)), indexed.repository["one"]):
        source = m._snapshot.source
        assert list(layers_of(source)) == expected
        assert source.inner._offline is True
        assert source.inner.inner.options.offline is True
    assert chain.registry("r.example", make(), "a").inner._offline is False


def test_offline_all_the_way(server, built, monkeypatch):
    name = f"{server.host}/lab/app:index"
    online = didlab.open(name, trust_env=False)
    platforms, config = online.platforms(), online.config()
    server.stop()
    cached.shared.clear()
    m = didlab.open(name, offline=True)
    assert m.platforms().equals(platforms)
    assert m.config().raw == config.raw
    assert m.digest() == built["index"].digest
    with pytest.raises(errors.NotFound, match="offline"):
        m["linux/arm64"].config()
    with pytest.raises(errors.NotFound, match="offline"):
        b"".join(m.layer(0).stream())
