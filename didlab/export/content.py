"""What goes into a saved file: images with their documents, as values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass

from didlab.oci import digest as digests
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Document:
    """A small blob whose bytes are known: a manifest, an index, a config."""

    digest: str
    media_type: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's image with its config."""

    manifest: ImageManifest
    config: bytes
    platform: Platform


@dataclass(frozen=True, slots=True)
class Content:
    """What is saved under one reference.

    Attributes
    ----------
    root : Document
        What the name stands for in the file: a manifest, or an index of what is inside.
    images : tuple of Image
        The one that Docker's older stores get comes first.
    documents : tuple of Document
        Everything small: root, manifests, configs.
    blobs : tuple of Descriptor
        Everything large: layers.
    """

    reference: Reference
    root: Document
    images: tuple[Image, ...]
    documents: tuple[Document, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Bytes of the distinct blobs and documents."""
        sizes = {blob.digest: blob.size for blob in self.blobs}
        sizes |= {document.digest: len(document.raw) for document in self.documents}
        return sum(sizes.values())


def single(image: Image, reference: Reference) -> Content:
    """Return the content for one platform: its manifest stands for itself."""
    manifest = image.manifest
    root = Document(manifest.digest, manifest.media_type, manifest.raw)
    config = Document(manifest.config.digest, manifest.config.media_type, image.config)
    return Content(reference, root, (image,), (root, config), manifest.layers)


def cut(index: ImageIndex, keep: Collection[str]) -> Document:
    """Return the index with only the entries whose digests are in ``keep``.

    With all of them it is the index itself, byte for byte; else its members stay as they are, in
    their order, and it gets another digest.
    """
    if all(descriptor.digest in keep for descriptor in index.manifests):
        return Document(index.digest, index.media_type, index.raw)
    value = json.loads(index.raw)
    value["manifests"] = [entry for entry in value["manifests"] if entry["digest"] in keep]
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Document(digests.of(raw), index.media_type, raw)


def identity(parts: Collection[bytes]) -> str:
    """Return sixteen hexadecimal digits that stand for these parts."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.hexdigest()[:16]
