"""The port: what every place that holds images can be asked.

A descriptor (media type, digest, size) is the currency, so that size and digest travel with every
request and content is verified at this door.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol, runtime_checkable

from didlab.errors import DigestMismatch, LimitExceeded
from didlab.oci import digest as digests
from didlab.oci.config import CONFIG_LIMIT
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference

#: What `Source.fetch` takes into memory at most: an image config; manifests are smaller.
FETCH_LIMIT = CONFIG_LIMIT


class BlobReader(Protocol):
    """Bytes of one blob. Nothing read here is verified: whoever has all of them checks."""

    @property
    def size(self) -> int:
        """Length in bytes, as its descriptor says."""

    @property
    def ranged(self) -> bool | None:
        """Whether ranges are served as such; None where not yet known."""

    @property
    def served_by(self) -> str | None:
        """The place that served last, for reports."""

    def read_at(self, start: int, stop: int) -> bytes:
        """Return exactly the bytes from ``start`` to ``stop`` (half-open), or raise."""

    @property
    def places(self) -> tuple[str, ...]:
        """The places that may have it (mirrors, then the registry); empty where there is one."""

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Yield the bytes from ``start`` to ``stop``, in pieces of any size; or raise.

        ``place`` is the only one to ask. ``strict`` raises `BadRange` where the range is not
        honoured, rather than reading over what stands before it.
        """

    def abort(self) -> None:
        """End the stream under way from another thread, which is waiting for bytes."""


@runtime_checkable
class Source(Protocol):
    """A place that holds the manifests and blobs of one repository.

    All sources have all verbs; one that cannot answer raises `didlab.errors.Unsupported`.
    """

    @property
    def location(self) -> str:
        """Printable address without secrets."""

    def resolve(self, reference: Reference) -> Descriptor:
        """Return the descriptor of what a reference names now.

        Where the content came along it rides in ``data``, so that the `fetch` that follows
        costs nothing.
        """

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return small content (a manifest, a config), verified against its descriptor."""

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader over large content (a layer); no I/O yet."""

    def tags(self) -> Iterator[str]:
        """Yield the tags of the repository."""

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Yield the manifests whose subject is ``digest``."""


class WrapperSource:
    """A source around a source; subclasses change the verbs they are about."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner

    @property
    def location(self) -> str:
        """Return the inner source's address."""
        return self.inner.location

    def resolve(self, reference: Reference) -> Descriptor:
        """Pass on."""
        return self.inner.resolve(reference)

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Pass on."""
        return self.inner.fetch(descriptor)

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Pass on."""
        return self.inner.open(descriptor)

    def tags(self) -> Iterator[str]:
        """Pass on."""
        return self.inner.tags()

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Pass on."""
        return self.inner.referrers(digest, artifact_type)


def local_place(source: Source) -> str | None:
    """Return what readers call a source whose bytes are on this machine; else None."""
    while isinstance(source, WrapperSource):
        source = source.inner
    return source.location if getattr(source, "local", False) else None


def check_small(descriptor: Descriptor) -> None:
    """Refuse to take into memory what a descriptor says is large.

    Raises
    ------
    LimitExceeded
    """
    if descriptor.size > FETCH_LIMIT:
        raise LimitExceeded(
            f"{descriptor.digest} has {descriptor.size} bytes, too many for metadata",
            what="size of a manifest or config",
            limit=FETCH_LIMIT,
            seen=descriptor.size,
        )


def verify(descriptor: Descriptor, raw: bytes, where: str) -> bytes:
    """Return ``raw`` if it is what the descriptor says.

    Raises
    ------
    SizeMismatch, DigestMismatch
    """
    verifier = digests.Verifier(descriptor.digest, descriptor.size, where=where)
    verifier.update(raw)
    verifier.check()
    return raw


def mismatch(expected: str, actual: str, where: str, **fields: Any) -> DigestMismatch:
    """Return the error for content with another digest."""
    return DigestMismatch(
        f"{where} gave content with the digest {actual}, asked was {expected}",
        expected=expected,
        actual=actual,
        **fields,
    )
