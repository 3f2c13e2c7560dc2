"""A source in memory whose every verb can be made to raise, and that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from rig.images import BuiltImage, BuiltIndex, all_blobs, sha256

from didlab.errors import ManifestNotFound, Unsupported
from didlab.model.manifest import Manifest
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources.base import BlobReader

#: Verbs that any source here was asked, copies made by pickle included.
ASKED: list[str] = []


class Exploded(AssertionError):
    """Something that is free asked the source."""


class MemorySource:
    """The five verbs over images made by the rig.

    ``exploding`` makes every verb raise; ``slow`` lets each take its time, so that threads meet.
    """

    location = "boom.example/lab/app"

    def __init__(self, **tags: BuiltImage | BuiltIndex) -> None:
        self.names: dict[str, tuple[str, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.exploding = False
        self.slow = 0.0
        self.failures: list[Exception] = []
        self.asked: list[str] = []
        self._lock = threading.Lock()
        for tag, built in tags.items():
            self.put(tag.lstrip("_"), built)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def put(self, tag: str, built: BuiltImage | BuiltIndex) -> None:
        """Serve an image under a tag from now on."""
        self.names[tag] = (built.digest, built.media_type)
        self.names[built.digest] = (built.digest, built.media_type)
        self.blobs.update(all_blobs(built))

    def _count(self, verb: str) -> None:
        with self._lock:
            self.asked.append(verb)
            ASKED.append(verb)
            failure = self.failures.pop(0) if self.failures else None
        if self.exploding:
            raise Exploded(verb)
        if self.slow:
            time.sleep(self.slow)
        if failure is not None:
            raise failure

    def resolve(self, reference: Reference) -> Descriptor:
        self._count("resolve")
        name = reference.digest or reference.tag or "latest"
        if name not in self.names:
            raise ManifestNotFound(f"there is no {reference}", reference=str(reference))
        digest, media_type = self.names[name]
        raw = self.blobs[digest]
        return Descriptor(media_type, digest, len(raw), data=raw)

    def fetch(self, descriptor: Descriptor) -> bytes:
        if descriptor.data is not None:
            return descriptor.data
        self._count("fetch")
        raw = self.blobs[descriptor.digest]
        assert sha256(raw) == descriptor.digest
        return raw

    def open(self, descriptor: Descriptor) -> BlobReader:
        self._count("open")
        raise Unsupported("no readers here")

    def tags(self) -> Iterator[str]:
        self._count("tags")
        return iter([name for name in self.names if ":" not in name])

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        self._count("referrers")
        return iter(())

    def manifest(self, tag: str, platform: str | None = None) -> Manifest:
        """Return the Manifest that `didlab.open` would make over this source."""
        made = Manifest(self, Reference.parse(f"{self.location}:{tag}"))
        return made if platform is None else made[platform]
