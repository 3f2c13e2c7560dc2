"""The images of one archive or layout, as a source."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from didlab.errors import (
    BadRange,
    BlobNotFound,
    DidlabError,
    IntegrityError,
    InvalidArgument,
    MalformedContent,
    ManifestNotFound,
    NotFound,
    SizeMismatch,
    printable,
)
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import LocalName
from didlab.oci.manifest import MANIFEST_LIMIT, ImageIndex
from didlab.oci.reference import Reference
from didlab.sources.base import BlobReader, check_small, verify
from didlab.sources.local import agreement, archive
from didlab.sources.local import members as inside
from didlab.sources.local import view as views
from didlab.sources.local.members import Member, Members
from didlab.sources.local.view import Listed, View

#: Entries of an index whose manifests are looked at for what refers to what.
_ENTRIES = 200

_log = logging.getLogger("didlab")


class LocalSource:
    """Manifests and blobs in a file or folder of this machine; nothing is opened until asked.

    Parameters
    ----------
    path : str
        Absolute.
    transport : str
        ``oci``, ``oci-archive`` or ``docker-archive`` say by which rule it is read; empty: by
        its ``index.json`` where it has one, else by its ``manifest.json``.
    """

    #: What it gives comes over no network.
    local = True

    def __init__(self, path: str, transport: str = "") -> None:
        self._path = path
        self._transport = transport
        self._lock = threading.RLock()
        self._view: View | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, self._transport)

    @property
    def location(self) -> str:
        """Return the path, behind the transport where one was named."""
        shown = printable(self._path, 4096)
        return f"{self._transport}:{shown}" if self._transport else shown

    # --- the archive -------------------------------------------------------------------------

    def _members(self) -> Members:
        return archive.members(self._path)

    def view(self, *, fresh: bool = False) -> View:
        """Return what is there; with ``fresh`` looked at anew where the file changed."""
        with self._lock:
            if self._view is None or (fresh and not self._view.members.current()):
                self._view = views.of(self._members(), self._transport)
            return self._view

    def listed(self) -> list[Listed]:
        """Return the images that there are."""
        return list(self.view(fresh=True).listed())

    # --- the port ----------------------------------------------------------------------------

    def resolve(self, reference: Reference) -> Descriptor:
        """Look an image up by name, tag, digest or position; the file is looked at anew.

        Raises
        ------
        ManifestNotFound, InvalidArgument
            With the names that there are.
        PathNotFound, NotAnImage, Unsupported, TarInvalid, CompressionInvalid, UnsafeContent
        """
        seen = self.view(fresh=True)
        found = self._chosen(seen, reference)
        raw = self.fetch(found)
        if seen.format == "oci" and not self._transport:
            odd = agreement.disagreement(seen, found, raw)
            if odd is not None:
                _log.warning("%s", odd)
        if media_types.is_known_manifest(found.media_type):
            return replace(found, data=raw)
        return replace(found, media_type=manifests.parse(raw).media_type, data=raw)

    def _chosen(self, seen: View, reference: Reference) -> Descriptor:
        if isinstance(reference, LocalName):
            label = reference.label
            if label is not None and digests.is_digest(label.removeprefix("@")):
                return self._by_digest(seen, label.removeprefix("@"))
            return views.choose(seen, label, self.location)
        if reference.digest is not None:
            return self._by_digest(seen, reference.digest)
        try:
            return views.choose(seen, str(reference), self.location)
        except ManifestNotFound:
            return views.choose(seen, reference.tag or "latest", self.location)

    def _by_digest(self, seen: View, digest: str) -> Descriptor:
        raw = seen.document(digest)
        for image in seen.listed() if raw is not None or seen.format == "oci" else ():
            with contextlib.suppress(MalformedContent, IntegrityError, NotFound):
                found = image.describe(image.names[0] if image.names else None)
                if found.digest == digest:
                    return found
        if raw is None:
            member = seen.find(digest)
            if member is None or member.size > MANIFEST_LIMIT:
                raise views.absent(seen.listed(), digest, self.location)
            raw = inside.read(seen.members, member, MANIFEST_LIMIT)
        return Descriptor(manifests.parse(raw).media_type, digest, len(raw))

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or config, verified.

        Raises
        ------
        ManifestNotFound, BlobNotFound, LimitExceeded, SizeMismatch, DigestMismatch, FileChanged
        """
        if descriptor.data is not None:
            return verify(descriptor, descriptor.data, "the descriptor's data")
        check_small(descriptor)
        seen = self.view()
        raw = seen.document(descriptor.digest)
        if raw is None:
            member = self._sized(seen, descriptor)
            raw = b"".join(seen.members.pieces(member, 0, member.size))
        return verify(descriptor, raw, self.location)

    def _sized(self, seen: View, descriptor: Descriptor) -> Member:
        member = seen.find(descriptor.digest)
        if member is None:
            manifest = media_types.is_known_manifest(descriptor.media_type)
            raise (ManifestNotFound if manifest else BlobNotFound)(
                f"{self.location} does not hold {descriptor.digest}",
                hint="an archive may hold only some platforms of an index"
                if manifest
                else "a thin or partial archive: what is missing has to be added first",
            )
        if member.size != descriptor.size:
            raise SizeMismatch(
                f"{self.location} has {member.size} bytes of {descriptor.digest}, its descriptor "
                f"says {descriptor.size}",
                expected=descriptor.size,
                actual=member.size,
            )
        return member

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader of a blob; nothing is opened until it is read."""

        def found() -> tuple[Members, Member]:
            seen = self.view()
            return seen.members, self._sized(seen, descriptor)

        return LocalBlob(descriptor.size, self.location, found)

    def tags(self) -> Iterator[str]:
        """Yield what names the images here."""
        return iter(dict.fromkeys(views.available(self.listed())))

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Yield the manifests of the archive's own index whose subject is ``digest``."""
        seen = self.view()
        if seen.format != "oci":
            return
        for image in list(seen.listed())[:_ENTRIES]:
            found = image.describe(None)
            try:
                parsed = manifests.parse(self.fetch(found), found.media_type)
            except DidlabError as error:
                _log.warning("%s: %s is left out: %s", self.location, found.digest, error)
                continue
            if parsed.subject is None or parsed.subject.digest != digest:
                continue
            kind = parsed.artifact_type
            if kind is None and not isinstance(parsed, ImageIndex):
                kind = parsed.config.media_type
            if artifact_type is None or kind == artifact_type:
                yield replace(found, artifact_type=kind)


class LocalBlob:
    """A blob inside a file. Each read opens it anew: no descriptor is held by what lives long."""

    def __init__(
        self, size: int, location: str, found: Callable[[], tuple[Members, Member]]
    ) -> None:
        self._size = size
        self._location = location
        self._found = found
        #: Whether it can be read from the middle; None until it was opened.
        self.ranged: bool | None = None
        #: The archive: what is learned of it is learned of no other place.
        self.places: tuple[str, ...] = (location,)

    @property
    def size(self) -> int:
        """Length in bytes, as its descriptor says."""
        return self._size

    @property
    def served_by(self) -> str | None:
        """The archive."""
        return self._location

    def read_at(self, start: int, stop: int) -> bytes:
        """Return exactly the bytes from ``start`` to ``stop`` (half-open)."""
        if not 0 <= start <= stop <= self._size:
            raise InvalidArgument(f"there are no bytes {start} to {stop} in {self._size}")
        return b"".join(self.stream(start, stop))

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Yield the bytes from ``start`` to ``stop``."""
        stop = self._size if stop is None else min(stop, self._size)
        members, member = self._found()
        self.ranged = members.ranged
        if strict and start and not members.ranged:
            raise BadRange(
                f"{self._location} is compressed in one piece: it is read from its start"
            )
        # A stretch of a save may have been shared out to its end before anybody asks for it.
        if start < stop:
            yield from members.pieces(member, start, stop)

    def abort(self) -> None:
        """Do nothing: a local read waits for nobody."""
