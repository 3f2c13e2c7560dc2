"""What a copy writes: documents, the distinct blobs below them, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from didlab.errors import LimitExceeded, Unsupported
from didlab.export.content import Document
from didlab.export.push_content import Content, Held, Read
from didlab.model.converted import MARK
from didlab.model.manifest import Manifest, about_one_already
from didlab.model.snapshot import MAX_DEPTH, MAX_NODES
from didlab.oci import manifest as manifests
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.sources.base import FETCH_LIMIT, Source
from didlab.sources.foreign import follows

if TYPE_CHECKING:
    from didlab.model.saving import Platforms


class Found:
    """What is copied: documents, those that a document lists before it, and distinct blobs."""

    def __init__(self, manifest: Manifest, source: Source) -> None:
        self.manifest = manifest
        self.foreign = follows(source)
        self._source = source
        self.documents: dict[str, Document] = {}
        self.blobs: dict[str, Content] = {}
        self.notes: list[str] = []
        # BuildKit's attestations: nothing is attached to these.
        self._attestations: set[str] = set()

    def take(self, top: ImageManifest | ImageIndex) -> None:
        """Add a document, and all that hangs below it."""
        if top.digest in self.documents:
            return
        for document in _walk(self.manifest, top, set(self.documents)):
            self.keep(Document(document.digest, document.media_type, document.raw))
            if isinstance(document, ImageManifest):
                for one in (document.config, *document.layers):
                    self.add(one)
            else:
                self._note_attestations(document)

    def keep(self, document: Document) -> None:
        """Add a manifest or index by itself."""
        self.documents.setdefault(document.digest, document)

    def _note_attestations(self, index: ImageIndex) -> None:
        entries = index.manifests
        self._attestations |= {e.digest for e in entries if manifests.kind(e) == "attestation"}

    def subjects(self) -> list[str]:
        """Return the digests of what something may be attached to, the root's first."""
        index = self.manifest._snapshot.known_root
        if isinstance(index, ImageIndex):
            self._note_attestations(index)
        return [name for name in reversed(self.documents) if name not in self._attestations]

    def ordered(self, root: Document) -> tuple[Document, ...]:
        """Return the documents, the root last: the name that it gets is for what is complete."""
        rest = [one for one in self.documents.values() if one.digest != root.digest]
        return (*rest, root)

    def add(self, descriptor: Descriptor) -> None:
        """Add a blob."""
        if descriptor.digest in self.blobs:
            return
        elsewhere = media_types.is_nondistributable(descriptor.media_type) and descriptor.urls
        if elsewhere and not self.foreign:
            self.notes.append(
                f"{descriptor.digest} left out: it is not to be distributed; foreign=True "
                "(--foreign) takes it"
            )
            return
        conversion = self.manifest._snapshot.conversion
        source = self._source if conversion is None else conversion.source
        if conversion is not None and media_types.is_config(descriptor.media_type):
            made: Content = Held(descriptor, lambda: conversion.config().raw)
        elif media_types.is_config(descriptor.media_type) and descriptor.size <= FETCH_LIMIT:
            # Often here already, since somebody looked at it.
            made = Held(descriptor, partial(source.fetch, descriptor))
        else:
            made = Read(descriptor, lambda: source.open(descriptor))
        self.blobs[descriptor.digest] = made


def gather(found: Found, platform: Platforms) -> Document:
    """Gather what is copied; return the root."""
    manifest = found.manifest
    if isinstance(platform, list | tuple | set | frozenset):
        return _chosen(found, platform)
    if platform is not None and platform != "all":
        manifest = manifest[platform]  # type: ignore[index]
    elif platform == "all" and manifest._platform is not None:
        raise about_one_already(manifest.reference, manifest._platform, platform)
    root = manifest._document()
    if media_types.is_schema1(root.media_type):
        root = manifest._snapshot.manifest(manifest._platform)
        found.notes.append(f"{MARK}, and so with another digest")
    found.take(root)
    return found.documents[root.digest]


def _walk(
    manifest: Manifest, document: ImageManifest | ImageIndex, seen: set[str], depth: int = 0
) -> Iterator[ImageManifest | ImageIndex]:
    """Yield each document once, after those that it lists.

    Raises
    ------
    LimitExceeded
    Unsupported
        It lists something that is no manifest.
    """
    seen.add(document.digest)
    for entry in document.manifests if isinstance(document, ImageIndex) else ():
        if entry.digest in seen:
            continue
        if not media_types.is_known_manifest(entry.media_type):
            raise Unsupported(
                f"{manifest.reference} lists {entry.media_type}, which cannot be copied",
                hint='choose platforms: platform=["linux/amd64"]',
            )
        if depth >= MAX_DEPTH or len(seen) >= MAX_NODES:
            raise LimitExceeded(
                f"{manifest.reference} has more indexes inside each other than can be copied",
                what="manifests below an index",
                limit=MAX_NODES,
                seen=len(seen),
            )
        yield from _walk(manifest, manifest._snapshot.document(entry), seen, depth + 1)
    yield document


def _chosen(found: Found, platform: Any) -> Document:
    """Gather some platforms of an index, which is cut, and so has another digest."""
    from didlab.model import saving

    content = saving.gather(found.manifest, list(platform))
    for document in content.documents:
        known = media_types.is_known_manifest(document.media_type)
        if known and document.digest != content.root.digest:
            found.keep(document)
        elif not known:
            one = Descriptor(document.media_type, document.digest, len(document.raw))
            found.blobs[document.digest] = Held(one, partial(_raw, document))
    for blob in content.blobs:
        found.add(blob)
    if content.root.digest == found.manifest.digest():
        found.keep(content.root)
    return content.root


def _raw(document: Document) -> bytes:
    return document.raw
