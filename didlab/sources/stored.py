"""Content that is in the local store is not asked for again; without a network, all of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

from didlab.blobs import store as stores
from didlab.blobs import tags as remembered
from didlab.blobs.store import BlobStore
from didlab.errors import (
    BlobNotFound,
    DidlabError,
    LimitExceeded,
    LocalStoreError,
    ManifestNotFound,
    Unsupported,
)
from didlab.oci import manifest as manifests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import MANIFEST_LIMIT
from didlab.oci.reference import Reference
from didlab.sources.base import BlobReader, Source, WrapperSource, check_small
from didlab.sources.sizing import blob_size
from didlab.sources.stored_reader import StoredReader

_HINT = "look at it once with offline=False"

_log = logging.getLogger("didlab")
_told: set[str] = set()


def _tell(text: str) -> None:
    """Warn once in the life of the process."""
    if text not in _told and len(_told) < 1000:
        _told.add(text)
        _log.warning("%s", text)


class StoredSource(WrapperSource):
    """Answers from the local store what is known by its digest, and keeps what `fetch` gave.

    Tags are asked for every time; what they named is written down for ``offline``, where the
    inner source is not asked at all. Layers are read from the store when they are there; they get
    there by whoever has all of their bytes.
    """

    def __init__(self, inner: Source, offline: bool = False) -> None:
        super().__init__(inner)
        self._offline = offline

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner, self._offline)

    # --- names -------------------------------------------------------------------------------

    def resolve(self, reference: Reference) -> Descriptor:
        """Ask the inner source, and write down what a tag named; offline, what was written.

        Raises
        ------
        ManifestNotFound
            Offline, and never seen.
        """
        store = stores.default()
        if self._offline:
            return self._known(store, reference)
        descriptor = self.inner.resolve(reference)
        if store is not None:
            if descriptor.data is not None:
                _attempt(lambda: store.put(descriptor.digest, descriptor.data or b""))
            if reference.digest is None:
                name = self._name(reference)
                _attempt(lambda: remembered.remember(store.root, name, descriptor))
        return descriptor

    def _name(self, reference: Reference) -> str:
        return f"{self.location}:{reference.tag or 'latest'}"

    def _known(self, store: BlobStore | None, reference: Reference) -> Descriptor:
        if reference.digest is not None:
            raw = _read(store, reference.digest, None, MANIFEST_LIMIT)
            if raw is None:
                self._absent(ManifestNotFound, f"manifest {reference.digest}")
            kind = _media_type(raw)
            return Descriptor(kind, reference.digest, len(raw), data=raw)
        name = self._name(reference)
        note = None if store is None else remembered.recall(store.root, name)
        if note is None:
            self._absent(ManifestNotFound, f"tag {name}")
        raw = _read(store, note.descriptor.digest, note.descriptor.size, MANIFEST_LIMIT)
        if raw is None:
            self._absent(ManifestNotFound, f"manifest {note.descriptor.digest} of {name}")
        _tell(f"offline: {name} as of {note.as_of:%Y-%m-%d %H:%M} UTC")
        return replace(note.descriptor, data=raw)

    def _absent(self, error: type[DidlabError], what: str) -> NoReturn:
        if stores.default() is None:
            raise error(
                f"offline: there is no local store to find {what} in",
                hint="DIDLAB_CACHE names its folder",
            )
        raise error(f"offline: the {what} is not in the local store", hint=_HINT)

    # --- content -----------------------------------------------------------------------------

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return stored content, else fetch it and keep it.

        Raises
        ------
        BlobNotFound
            Offline, and not in the store.
        """
        if descriptor.data is not None:
            return self.inner.fetch(descriptor)
        check_small(descriptor)
        store = stores.default()
        raw = _read(store, descriptor.digest, descriptor.size, descriptor.size)
        if raw is not None:
            return raw
        if self._offline:
            manifest = media_types.is_manifest(descriptor.media_type) or media_types.is_index(
                descriptor.media_type
            )
            error = ManifestNotFound if manifest else BlobNotFound
            self._absent(error, f"content {descriptor.digest}")
        raw = self.inner.fetch(descriptor)
        if store is not None:
            _attempt(lambda: store.put(descriptor.digest, raw))
        return raw

    def blob_size(self, digest: str) -> int:
        """Return the size of a stored blob; of another one, ask the inner source.

        Raises
        ------
        BlobNotFound
            Offline, and not in the store.
        """
        store = stores.default()
        blob = None if store is None else store.open(digest)
        if blob is not None:
            with blob:
                return blob.size
        if self._offline:
            self._absent(BlobNotFound, f"blob {digest}")
        return blob_size(self.inner, digest)

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader of the stored file where there is one, else the inner one's."""
        store = stores.default()
        if store is not None and store.present(descriptor.digest, descriptor.size):
            places = () if self._offline else self.inner.open(descriptor).places
            return StoredReader(store, descriptor, lambda: self._elsewhere(descriptor), places)
        return self._elsewhere(descriptor)

    def _elsewhere(self, descriptor: Descriptor) -> BlobReader:
        if not self._offline:
            return self.inner.open(descriptor)

        def absent() -> NoReturn:
            self._absent(BlobNotFound, f"blob {descriptor.digest}")

        return StoredReader(None, descriptor, absent)

    def tags(self) -> Any:
        """Pass on; offline, refuse.

        Raises
        ------
        Unsupported
        """
        if self._offline:
            raise Unsupported(
                f"offline: {self.location} cannot be asked for its tags",
                hint="a tag that was looked at before can be opened by its name",
            )
        return self.inner.tags()

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Pass on; offline, refuse: what is attached changes, and half of it is no answer.

        Raises
        ------
        Unsupported
        """
        if self._offline:
            raise Unsupported(
                f"offline: {self.location} cannot be asked what is attached to {digest}",
                hint="ask with offline=False",
            )
        return self.inner.referrers(digest, artifact_type)


def _read(store: BlobStore | None, digest: str, size: int | None, limit: int) -> bytes | None:
    """Return small content of the store, verified; None where it is not there."""
    blob = None if store is None else store.open(digest, size)
    if blob is None:
        return None
    with blob:
        if blob.size > limit:
            return None
        try:
            raw = blob.read_at(0, blob.size)
        except OSError:
            return None
    return raw if len(raw) == blob.size else None


def _media_type(raw: bytes) -> str:
    try:
        return manifests.parse(raw).media_type
    except Unsupported:
        return media_types.SCHEMA1
    except DidlabError:
        return "application/octet-stream"  # whoever parses it says what is wrong


def _attempt(job: Callable[[], None]) -> None:
    """Keep something, if it can be: an image can be looked at although the disk is full."""
    try:
        job()
    except (LocalStoreError, LimitExceeded) as error:
        _tell(f"the local store could not keep something: {error}")
