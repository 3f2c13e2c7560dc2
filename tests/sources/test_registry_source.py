"""The suite over registries, real and played, the cache around them, and memory."""

from __future__ import annotations

import json

import pytest
from rig.faults import FaultServer, corrupt, half_close_after, hang_up, ignore_range, respond
from rig.images import all_blobs, make_artifact, make_attestation, make_image, make_index
from rig.lab import MANY, make_small
from sources.suite import Place, SourceSuite, digest_of

from didlab import errors
from didlab.oci import manifest as manifests
from didlab.oci.descriptor import Descriptor
from didlab.sources.cached import CachedSource, ContentCache
from didlab.sources.memory import MemorySource
from didlab.sources.registry import RegistrySource
from didlab.transport.options import make


@pytest.fixture(scope="session")
def built():
    layers = [{"a": bytes(range(256)) * 20, "b": b"b"}, {"c": b"c"}]
    amd, arm = make_image(layers), make_image(layers, "linux/arm64", docker=True)
    return {"one": amd, "docker": arm, "index": make_index([amd, arm, make_attestation(amd)])}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


@pytest.fixture
def server(built):
    with FaultServer() as made:
        for tag, one in built.items():
            made.add_image("lab/app", tag, one)
        yield made


def registry_source(server, repository="lab/app", **options):
    return RegistrySource(server.host, make(**options), repository)


class TestRealRegistry(SourceSuite):
    @pytest.fixture
    def place(self, lab):
        built = {str(n): make_small(n) for n in (1, 2)}
        return Place(registry_source(lab, "lab/small"), built, lab.host, "lab/small")


class TestRealRegistryWithTokens(SourceSuite):
    @pytest.fixture
    def place(self, registry_token):
        built = {str(n): make_small(n) for n in (1, 2)}
        source = registry_source(registry_token, "lab/small")
        return Place(source, built, registry_token.host, "lab/small")


class TestPlayedRegistry(SourceSuite):
    @pytest.fixture
    def place(self, server, built):
        return Place(registry_source(server), built, server.host)


class TestRegistryWithoutRanges(SourceSuite):
    @pytest.fixture
    def place(self, server, built):
        server.rule(lambda r: bool(r.range), ignore_range)
        return Place(registry_source(server), built, server.host)


class TestMirroredRegistry(SourceSuite):
    @pytest.fixture
    def place(self, server, built):
        with FaultServer("127.0.0.2") as mirror:  # empty: everything falls through
            yield Place(registry_source(server, mirrors=[mirror.url]), built, server.host)


class TestCached(SourceSuite):
    @pytest.fixture
    def place(self, server, built):
        return Place(CachedSource(registry_source(server), ContentCache()), built, server.host)


class TestMemory(SourceSuite):
    @pytest.fixture
    def place(self, built):
        source = MemorySource("lab/app")
        for tag, one in built.items():
            for digest, data in all_blobs(one).items():
                source.blobs[digest] = data
            for child in getattr(one, "children", ()):
                source.add(child.manifest, child.media_type)
            source.add(one.manifest, one.media_type, tag=tag)
        return Place(source, built)


# --- what only some do ---------------------------------------------------------------------------


def test_many_tags_of_a_real_registry(lab):
    tags = list(registry_source(lab, "lab/many").tags())
    assert sorted(tags) == [f"t{n:03}" for n in range(MANY)]  # 2.8 lists them as they come


def test_the_same_digest_everywhere(server, lab):
    # One image, by registry, cache and memory, and after a pickle.
    image = make_small(1)
    server.add_image("lab/small", "1", image)
    memory = MemorySource()
    memory.add(image.manifest, image.media_type, tag="1")
    sources = [registry_source(server, "lab/small"), registry_source(lab, "lab/small"), memory]
    sources += [CachedSource(one, ContentCache()) for one in sources]
    for source in sources:
        place = Place(source, {"1": image}, repository="lab/small")
        assert source.resolve(place.ref("1")).digest == image.digest == digest_of(image.manifest)


@pytest.mark.parametrize("name", ["tag", "digest"])
def test_lies_are_noticed(server, built, name):
    source = registry_source(server)
    place = Place(source, built, server.host)
    image = built["one"]
    server.rule(lambda r: "/v2/" in r.path, corrupt(3))
    if name == "digest":
        with pytest.raises(errors.DigestMismatch) as caught:
            source.resolve(place.ref(image.digest))
        assert caught.value.expected == image.digest
        assert caught.value.host == server.host
        with pytest.raises(errors.DigestMismatch):
            source.fetch(Descriptor(image.media_type, image.digest, len(image.manifest)))
    else:
        # A tag promises nothing: the digest is that of what came, and it does not parse.
        found = source.resolve(place.ref("one"))
        assert found.digest != image.digest
        with pytest.raises(errors.ManifestInvalid):
            manifests.parse(source.fetch(found), found.media_type)


def test_endless_small_content_stops(server, built):
    source = registry_source(server)
    image = built["one"]
    server.rule(lambda r: "/v2/" in r.path, respond(200, {}, b" " * (9 << 20)))
    with pytest.raises(errors.LimitExceeded):
        source.fetch(Descriptor(image.media_type, image.digest, len(image.manifest)))
    assert server.requests[0].sent <= 9 << 20


def test_a_stream_says_where_it_broke(server, built):
    place = Place(registry_source(server), built, server.host)
    descriptor, data = place.layer()
    server.rule(lambda r: "/blobs/" in r.path, half_close_after(100))
    got = []
    with pytest.raises(errors.Truncated) as caught:
        got.extend(place.source.open(descriptor).stream())
    assert b"".join(got) == data[:100]
    assert caught.value.received == 100


def test_the_cache_asks_once_and_tags_always(server, built):
    cache = ContentCache()
    source = CachedSource(registry_source(server), cache)
    place = Place(source, built, server.host)
    config = manifests.parse(built["one"].manifest).config
    for _ in range(3):
        source.fetch(config)
        source.resolve(place.ref("one"))
        source.fetch(Descriptor(built["one"].media_type, built["one"].digest,
                                len(built["one"].manifest)))  # fmt: skip
        list(source.tags())
    count = {part: len(server.asked(part)) for part in ("/blobs/", "/manifests/", "/tags/")}
    assert count == {"/blobs/": 1, "/manifests/": 3, "/tags/": 3}


def test_the_cache_does_not_open_other_repositories(server, built):
    cache = ContentCache()
    config = manifests.parse(built["one"].manifest).config
    CachedSource(registry_source(server), cache).fetch(config)
    server.tags["other/app"] = {}
    server.rule(lambda r: "/other/" in r.path, respond(401))
    with pytest.raises(errors.AuthError):
        CachedSource(registry_source(server, "other/app"), cache).fetch(config)


def test_the_cache_keeps_within_its_budget():
    cache = ContentCache(budget=100)
    for number in range(10):
        cache.put("here", f"d{number}", b"x" * 30)
    assert [n for n in range(10) if cache.get("here", f"d{n}")] == [7, 8, 9]
    cache.put("here", "big", b"x" * 101)
    assert cache.get("here", "big") is None
    cache.clear()
    assert cache.get("here", "d9") is None


def test_the_cache_keeps_nothing_false(server, built):
    cache = ContentCache()
    source = CachedSource(registry_source(server), cache)
    image = built["one"]
    descriptor = Descriptor(image.media_type, image.digest, len(image.manifest))
    rule = server.rule(lambda r: "/v2/" in r.path, corrupt(3))
    with pytest.raises(errors.DigestMismatch):
        source.fetch(descriptor)
    server.rules.remove(rule)
    assert source.fetch(descriptor) == image.manifest


def test_pickles_hold_no_secret(server):
    source = registry_source(server, username="alice", password="hunter22", token=None)
    import pickle

    assert b"hunter22" not in pickle.dumps(CachedSource(source))


def test_memory_knows_referrers(built):
    source = MemorySource()
    image = source.add(built["one"].manifest, built["one"].media_type, tag="one")
    subject = {"mediaType": image.media_type, "digest": image.digest, "size": image.size}
    extra = {"subject": subject, "artifactType": "application/x.sbom"}
    sbom = make_artifact(b"{}", "application/vnd.oci.empty.v1+json", [], {}, manifest_json=extra)
    added = source.add(sbom.manifest, sbom.media_type)
    assert list(source.referrers(image.digest)) == [added]
    assert list(source.referrers(image.digest, "application/x.sbom")) == [added]
    assert list(source.referrers(image.digest, "other")) == []
    with pytest.raises(errors.ManifestNotFound) as caught:
        source.resolve(Place(source, built).ref("two"))
    assert caught.value.available == ("one",)
    assert json.loads(source.fetch(added))["subject"] == subject


def test_hang_ups_of_a_registry_are_survived(server, built, monkeypatch):
    source = registry_source(server)
    place = Place(source, built, server.host)
    source.resolve(place.ref("one"))
    turns = iter(range(1000))
    server.rule(lambda r: next(turns) % 2 == 0, hang_up)
    for _ in range(3):
        assert source.resolve(place.ref("one")).digest == built["one"].digest
