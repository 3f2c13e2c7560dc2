"""What every `Source` must do: one suite, run over each of them."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from rig.images import BuiltImage, BuiltIndex

from didlab import errors
from didlab.oci import manifest as manifests
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.reference import Reference
from didlab.sources.base import FETCH_LIMIT, Source

ABSENT = "sha256:" + "ab" * 32


@dataclass(frozen=True)
class Place:
    """A source, and the truth about what is in it: built values by tag."""

    source: Source
    built: dict[str, BuiltImage | BuiltIndex]
    registry: str = "registry.example"
    repository: str = "lab/app"
    #: All tags; ``built`` may know only some of them.
    tags: frozenset[str] | None = None

    def ref(self, name: str) -> Reference:
        mark = "@" if ":" in name else ":"
        return Reference.parse(f"{self.registry}/{self.repository}{mark}{name}")

    def image(self) -> BuiltImage:
        return next(built for built in self.built.values() if isinstance(built, BuiltImage))

    def layer(self) -> tuple[Descriptor, bytes]:
        image = self.image()
        row = image.layers[0]
        data = image.blobs[row["digest"]]
        return Descriptor(row["mediaType"], row["digest"], len(data)), data


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class SourceSuite:
    """Subclasses give a fixture ``place``."""

    def test_it_is_a_source_with_an_address(self, place):
        assert isinstance(place.source, Source)
        assert place.source.location.isprintable()
        assert place.source.location

    def test_resolve_by_tag_and_digest(self, place):
        for tag, built in place.built.items():
            by_tag = place.source.resolve(place.ref(tag))
            by_digest = place.source.resolve(place.ref(built.digest))
            for found in (by_tag, by_digest):
                assert found.digest == built.digest
                assert found.size == len(built.manifest)
                assert found.media_type == built.media_type
                assert place.source.fetch(found) == built.manifest
                assert place.source.fetch(replace(found, data=None)) == built.manifest

    @pytest.mark.parametrize("name", ["no-such-tag", ABSENT])
    def test_what_is_not_there(self, place, name):
        with pytest.raises(errors.NotFound) as caught:
            place.source.resolve(place.ref(name))
        assert isinstance(caught.value, KeyError)
        assert name in str(caught.value)

    def test_configs_and_children(self, place):
        for tag in place.built:
            found = place.source.resolve(place.ref(tag))
            parsed = manifests.parse(place.source.fetch(found), found.media_type)
            below = parsed.manifests if isinstance(parsed, ImageIndex) else (parsed.config,)
            for descriptor in below:
                raw = place.source.fetch(descriptor)
                assert digest_of(raw) == descriptor.digest
                if isinstance(parsed, ImageIndex):
                    child = manifests.parse(raw, descriptor.media_type)
                    assert isinstance(child, ImageManifest | ImageIndex)

    def test_fetch_is_verified(self, place):
        image = place.image()
        true = Descriptor(image.media_type, image.digest, len(image.manifest))
        for false in (
            replace(true, size=true.size + 1),
            replace(true, size=true.size - 1),
            replace(true, data=image.manifest + b" "),
            replace(true, data=b"x" * true.size),
        ):
            try:
                raw = place.source.fetch(false)
            except errors.IntegrityError:
                continue
            assert digest_of(raw) == true.digest
            assert len(raw) == false.size
        with pytest.raises(errors.NotFound):
            place.source.fetch(replace(true, digest=ABSENT))
        with pytest.raises(errors.LimitExceeded):
            place.source.fetch(replace(true, size=FETCH_LIMIT + 1))

    def test_open_asks_nothing_and_reading_does(self, place):
        blob = place.source.open(Descriptor("application/octet-stream", ABSENT, 10))
        assert blob.size == 10
        with pytest.raises(errors.BlobNotFound):
            blob.read_at(0, 10)
        with pytest.raises(errors.BlobNotFound):
            list(blob.stream())

    def test_stream(self, place):
        descriptor, data = place.layer()
        blob = place.source.open(descriptor)
        assert blob.size == len(data)
        for start in (0, 1, len(data) // 2, len(data) - 1, len(data)):
            assert b"".join(blob.stream(start)) == data[start:]
        assert b"".join(blob.stream(3, 50)) == data[3:50]
        assert b"".join(blob.stream(3, 3)) == b""
        assert blob.ranged in (True, False)
        assert blob.served_by
        if blob.places:
            assert b"".join(blob.stream(place=blob.places[-1])) == data

    def test_read_at(self, place):
        descriptor, data = place.layer()
        blob = place.source.open(descriptor)
        end = len(data)
        for start, stop in ((0, 1), (0, end), (5, 5), (end - 1, end), (7, 99), (end, end)):
            assert blob.read_at(start, stop) == data[start:stop]
        for start, stop in ((0, end + 1), (-1, 5), (5, 4), (end, end + 1)):
            with pytest.raises(ValueError, match="bytes"):
                blob.read_at(start, stop)

    def test_a_wrong_size_is_noticed(self, place):
        descriptor, data = place.layer()
        for size in (len(data) - 1, len(data) + 1):
            blob = place.source.open(replace(descriptor, size=size))
            with pytest.raises((errors.SizeMismatch, errors.Truncated)):
                list(blob.stream())

    def test_a_stream_may_be_left(self, place):
        descriptor, data = place.layer()
        stream = place.source.open(descriptor).stream()
        assert data.startswith(next(stream))
        stream.close()

    def test_many_readers_at_once(self, place):
        descriptor, data = place.layer()
        blob = place.source.open(descriptor)
        spans = [(n, n + 40) for n in range(0, min(len(data) - 40, 320), 20)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda s: blob.read_at(*s), spans)) == [
                data[a:b] for a, b in spans
            ]

    def test_tags(self, place):
        tags = list(place.source.tags())
        assert len(tags) == len(set(tags))
        assert set(tags) == (place.tags or set(place.built))

    def test_pickle_round_trip(self, place):
        again = pickle.loads(pickle.dumps(place.source))
        assert again.location == place.source.location
        for tag, built in place.built.items():
            assert again.resolve(place.ref(tag)).digest == built.digest
        descriptor, data = place.layer()
        assert again.open(descriptor).read_at(0, 9) == data[:9]

    def test_referrers_or_a_plain_no(self, place):
        try:
            found = list(place.source.referrers(place.image().digest))
        except errors.Unsupported:
            found = []
        assert found == []
