"""A repository in memory: for tests and documentation."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from didlab.errors import (
    BlobNotFound,
    DidlabError,
    InvalidArgument,
    ManifestNotFound,
    SizeMismatch,
)
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources.base import BlobReader, check_small, verify


class MemorySource:
    """Manifests, blobs and tags in dictionaries; no request, no file.

    Parameters
    ----------
    name : str
        What `location` shows.

    Examples
    --------
    >>> source = MemorySource("example")
    >>> layer = source.add(b"...", "application/vnd.oci.image.layer.v1.tar")
    >>> source.fetch(layer)
    b'...'
    """

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        #: Content by digest.
        self.blobs: dict[str, bytes] = {}
        #: What a tag names.
        self.names: dict[str, Descriptor] = {}
        self._manifests: dict[str, Descriptor] = {}

    @property
    def location(self) -> str:
        """Return ``memory:NAME``."""
        return f"memory:{self._name}"

    def add(self, content: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        """Keep content and return its descriptor; a ``tag`` makes it a manifest with a name."""
        descriptor = Descriptor(media_type, digests.of(content), len(content))
        self.blobs[descriptor.digest] = content
        if media_type.endswith("json") and _is_manifest(content, media_type):
            self._manifests[descriptor.digest] = descriptor
        if tag is not None:
            self.names[tag] = self._manifests[descriptor.digest] = descriptor
        return descriptor

    def resolve(self, reference: Reference) -> Descriptor:
        """Look the tag or digest up.

        Raises
        ------
        ManifestNotFound
            With the tags that there are.
        """
        name = reference.digest or reference.tag or "latest"
        found = self._manifests.get(name) if reference.digest else self.names.get(name)
        if found is None:
            raise ManifestNotFound(
                f"{self.location} has no manifest {name}",
                available=tuple(self.names),
                reference=str(reference),
            )
        return found

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return small content, verified.

        Raises
        ------
        BlobNotFound, LimitExceeded, SizeMismatch, DigestMismatch
        """
        check_small(descriptor)
        return verify(descriptor, self._content(descriptor), self.location)

    def _content(self, descriptor: Descriptor) -> bytes:
        try:
            return self.blobs[descriptor.digest]
        except KeyError:
            raise BlobNotFound(f"{self.location} has no {descriptor.digest}") from None

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader; what is not there shows when it is read."""
        return _Reader(self, descriptor)

    def tags(self) -> Iterator[str]:
        """Yield the tags in the order in which they were added."""
        return iter(list(self.names))

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Yield the manifests whose subject is ``digest``."""
        for descriptor in list(self._manifests.values()):
            parsed = manifests.parse(self.blobs[descriptor.digest], descriptor.media_type)
            subject = parsed.subject
            if subject is None or subject.digest != digest:
                continue
            if artifact_type is None or parsed.artifact_type == artifact_type:
                yield descriptor


class _Reader:
    """A blob that is all there already."""

    ranged = True
    places: tuple[str, ...] = ()

    def __init__(self, source: MemorySource, descriptor: Descriptor) -> None:
        self._source = source
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        return self._descriptor.size

    @property
    def served_by(self) -> str | None:
        return self._source.location

    def read_at(self, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= self.size:
            raise InvalidArgument(f"there are no bytes {start} to {stop} in {self.size}")
        content = self._source._content(self._descriptor)
        if len(content) != self.size:
            raise SizeMismatch(
                f"{self._source.location} has {len(content)} bytes of {self._descriptor.digest}, "
                f"its descriptor says {self.size}",
                expected=self.size,
                actual=len(content),
            )
        return content[start:stop]

    def stream(self, start: int = 0, stop: int | None = None, **_: Any) -> Generator[bytes]:
        data = self.read_at(start, self.size if stop is None else stop)
        if data:
            yield data

    def abort(self) -> None:
        pass


def _is_manifest(content: bytes, media_type: str) -> bool:
    try:
        manifests.parse(content, media_type)
    except DidlabError:
        return False
    return True
