"""From manifests to what a save writes: which platforms, which documents, which blobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from didlab.errors import InvalidArgument, PlatformNotFound, Unsupported
from didlab.export import content as contents_
from didlab.export import outputs, stream
from didlab.export.content import Content, Document, Image
from didlab.export.names import archive_name
from didlab.export.outputs import Form, check_thin
from didlab.export.report import SaveReport
from didlab.export.running import Manner
from didlab.export.staging import SourceOf
from didlab.model import destination
from didlab.model import since as bases
from didlab.model.converted import noted
from didlab.model.manifest import Manifest, about_one_already
from didlab.model.snapshot import Entry, Snapshot, config_platform
from didlab.oci import config as configs
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import Platform, default_platform, select
from didlab.oci.reference import Reference
from didlab.sources.base import Source
from didlab.sources.foreign import following

#: What ``platform=`` takes: one, several, ``"all"``, or None for each image's own.
Platforms = str | Platform | Sequence[str | Platform] | None


class SupportsWrite(Protocol):
    """A binary file object, as far as a save needs it."""

    def write(self, data: bytes, /) -> Any:
        """Take bytes."""


#: A path, or a binary file object.
Target = str | os.PathLike[str] | SupportsWrite


def save(
    manifests: Sequence[Manifest],
    path: Target,
    *,
    format: str = "archive",  # noqa: A002
    compression: str | None = None,
    since: bases.What | None = None,
    platform: Platforms = None,
    foreign: bool = False,
    manner: Manner,
) -> SaveReport:
    """Save images together, what they share once. See `didlab.save`."""
    form = Form(format, compression)
    report = _save(manifests, path, form, since, platform, manner, foreign=foreign)
    return noted(report, [manifest._snapshot.conversion for manifest in manifests])


def _save(
    manifests: Sequence[Manifest],
    path: Target,
    form: Form,
    since: bases.What | None,
    platform: Platforms,
    manner: Manner,
    *,
    foreign: bool,
) -> SaveReport:
    format, compression = form.format, form.compression  # noqa: A001
    check_thin(format, compression, thin=since is not None)
    sink: stream.Write | None = None
    if stream.is_stream(path):
        if format == "oci-dir":
            raise InvalidArgument("a layout is a folder, it does not fit into a stream")
        sink = stream.writer(path)
    else:
        destination.given(path)  # type: ignore[arg-type] # no path is refused before a request
    contents, source_of = gathered(manifests, platform, manner, foreign=foreign)
    if since is not None:
        with manner.waiting():
            form = replace(form, since=bases.resolve(since, contents, manifests[0]))
    if sink is not None:
        return outputs.write(contents, source_of, sink, form, manner)
    assert isinstance(path, str | os.PathLike)
    target = _target(path, format, contents)
    return outputs.save(contents, source_of, target, form, manner)


def gathered(
    manifests: Sequence[Manifest], platform: Platforms, manner: Manner, *, foreign: bool = False
) -> tuple[list[Content], SourceOf]:
    """Return what images consist of, and where each blob is; ``foreign`` as `didlab.open`."""
    with manner.waiting():
        found = [gather(manifest, platform) for manifest in manifests]
    _check_names(found)
    sources: dict[str, Source] = {}
    for manifest, content in zip(manifests, found, strict=True):
        source = following(manifest._snapshot.source, foreign)
        for blob in content.blobs:
            sources.setdefault(blob.digest, source)
    return found, sources.__getitem__


def gather(manifest: Manifest, platform: Platforms) -> Content:
    """Return what a save of one manifest writes: documents fetched, layers as descriptors.

    Raises
    ------
    PlatformNotFound, NotAnImage, ManifestInvalid, TransportError
    """
    snapshot, own = manifest._snapshot, manifest._platform
    names: list[Any] = []
    several = platform == "all"
    if isinstance(platform, list | tuple | set | frozenset):
        several, names = True, list(platform)
        if not names:
            raise InvalidArgument(
                "no platform was named", hint='platform="all" takes every one of them'
            )
    if own is not None and several:
        if platform == "all" or {_parsed(name).normalized() for name in names} != {
            own.normalized()
        }:
            more = platform if platform == "all" else ", ".join(str(name) for name in names)
            raise about_one_already(manifest.reference, own, more)
        return gather(manifest, None)
    root = snapshot.root() if several else None
    if several and isinstance(root, ImageIndex):
        wanted = None if platform == "all" else [_parsed(name) for name in names]
        return _several(snapshot, root, wanted)
    if several and platform != "all":
        chosen = [manifest[_parsed(name)] for name in names]
        if len(chosen) != 1:
            raise PlatformNotFound(
                f"{manifest.reference} is a single image, not {len(chosen)} platforms",
                reference=str(manifest.reference),
            )
        return gather(chosen[0], None)
    if not several and platform is not None:
        manifest = manifest[_parsed(platform)]
    image = _image(snapshot, snapshot.manifest(manifest._platform))
    return contents_.single(image, manifest.reference)


def _parsed(name: Any) -> Platform:
    return name if isinstance(name, Platform) else Platform.parse(name)


def _image(snapshot: Snapshot, manifest: ImageManifest) -> Image:
    config = snapshot.config(manifest)
    configs.check_layer_count(config, len(manifest.layers))
    return Image(manifest, config.raw, config_platform(config))


def _several(snapshot: Snapshot, root: ImageIndex, wanted: list[Platform] | None) -> Content:
    """Return an index with several, or all, of its platforms, and what belongs to them."""
    entries = snapshot.entries()
    if wanted is None:
        keep = {entry.descriptor.digest for entry in entries}
    else:
        keep = _chosen(snapshot, entries, wanted)
    index = contents_.cut(root, keep)
    documents = [index]
    images: list[Image] = []
    blobs: list[Descriptor] = []
    for entry in entries:
        if entry.descriptor.digest not in keep:
            continue
        child = snapshot.document(entry.descriptor)
        documents.append(Document(child.digest, child.media_type, child.raw))
        if isinstance(child, ImageManifest):
            raw = snapshot.source.fetch(child.config)
            documents.append(Document(child.config.digest, child.config.media_type, raw))
            blobs += child.layers
            if entry.kind == "image" and child.is_image:
                images.append(_image(snapshot, child))
    if not images:
        raise PlatformNotFound(
            f"{snapshot.reference} holds no image", reference=str(snapshot.reference)
        )
    at = select(default_platform(), [image.platform for image in images])
    if at is not None:
        images.insert(0, images.pop(at))
    return Content(snapshot.reference, index, tuple(images), tuple(documents), tuple(blobs))


def _chosen(snapshot: Snapshot, entries: list[Entry], wanted: list[Platform]) -> set[str]:
    """Return the digests of the wanted platforms, of what is attached to them, and of the way."""
    images = [entry for entry in entries if entry.kind == "image"]
    keep: set[str] = set()
    for platform in wanted:
        at = select(platform, [entry.platform for entry in images])
        if at is None:
            raise snapshot.missing(platform, entries)
        keep.add(images[at].descriptor.digest)
    for entry in entries:
        about = entry.descriptor.annotations.get("vnd.docker.reference.digest")
        if about in keep:
            keep.add(entry.descriptor.digest)
    if any(entry.kind == "index" for entry in entries):
        # A nested index is kept whole or not at all: cutting it would change its digest, too.
        raise Unsupported(
            f"{snapshot.reference} has indexes inside its index; some of its platforms cannot be "
            "taken by themselves together",
            hint='save one platform, or platform="all"',
        )
    return keep


def _check_names(gathered: Iterable[Content]) -> None:
    seen: dict[str, str] = {}
    for content in gathered:
        name = str(content.reference)
        if seen.setdefault(name, content.root.digest) != content.root.digest:
            raise InvalidArgument(f"{name} stands for two images in one file")


def _target(path: str | os.PathLike[str], format: str, gathered: Sequence[Content]) -> Path:  # noqa: A002
    if format == "oci-dir":
        return destination.given(path)

    def named(folder: Path) -> str:
        if len(gathered) > 1:
            raise InvalidArgument(
                "several images want the name of a file", hint=f"{folder / 'bundle.tar'}"
            )
        return _file_name(gathered[0].reference, gathered[0])

    return destination.file(path, named)


def _file_name(reference: Reference, content: Content) -> str:
    platform = content.images[0].platform if len(content.images) == 1 else None
    return archive_name(reference, platform)
