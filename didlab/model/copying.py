"""From a manifest to what a copy writes: which documents, which blobs, and where they go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument, LimitExceeded, Unsupported
from didlab.export.content import Document
from didlab.export.push_content import Content, Held, Read
from didlab.export.running import Manner
from didlab.model.converted import MARK
from didlab.model.manifest import Manifest, about_one_already
from didlab.model.opening import open as open_image
from didlab.model.snapshot import MAX_DEPTH, MAX_NODES
from didlab.oci import media_types
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.reference import Reference, valid_tag
from didlab.sources.base import FETCH_LIMIT
from didlab.sources.locate import is_local
from didlab.transport import effective
from didlab.transport.client import connect
from didlab.transport.uploads import Target

if TYPE_CHECKING:
    from didlab.export.push_report import CopyReport
    from didlab.export.report import SaveReport
    from didlab.model.saving import Platforms


def copy(
    src: str | os.PathLike[str] | Reference | Manifest,
    dst: str | os.PathLike[str] | Reference,
    *,
    platform: Platforms = None,
    overwrite: bool = False,
    progress: Any = None,
    workers: int | None = None,
    wait: float = 20.0,
    source: Mapping[str, Any] | None = None,
    **options: Any,
) -> CopyReport | SaveReport:
    """Copy an image from anywhere to a registry, or into an OCI image layout.

    Parameters
    ----------
    src : str, path, Reference or Manifest
        Whatever `didlab.open` takes.
    dst : str, path or Reference
        A name at a registry: ``harbor.example/library/nginx:1.27``; or ``oci:DIR[:TAG]``, or a
        ``.tar``: then it is saved there.
    platform : str, list of str, optional
        As for `Manifest.copy_to`; saved tars and layouts hold the same.
    overwrite : bool
        For files, as for `Manifest.save`. A tag at a registry always moves.
    progress, workers, wait
        As for `Manifest.save`.
    source : mapping, optional
        Options for opening ``src``, as `didlab.open` takes them; left out, ``options`` where
        both are at one registry, else none.
    **options
        Options for the registry that is copied to. No login among them goes to another one.

    Returns
    -------
    CopyReport or SaveReport

    Raises
    ------
    As `Manifest.copy_to` and `Manifest.save`.
    """
    manner = Manner(overwrite=overwrite, progress=progress, workers=workers, wait=wait)
    if isinstance(src, Manifest):
        if source is not None:
            raise InvalidArgument("source= is for opening src, which is a manifest already")
        manifest = src
    else:
        if source is None:
            # Of one registry, one login: what is given for the one holds for the other.
            source = options if at_one_registry(src, dst) else {}
        manifest = open_image(src, **source)
    if isinstance(dst, Reference) or (isinstance(dst, str) and not is_local(dst)):
        return copy_to(manifest, dst, platform=platform, options=options, manner=manner)
    if options:
        raise InvalidArgument(f"{next(iter(options))}= is for a registry, {dst} is none")
    return _save(manifest, os.fspath(dst), platform, manner)


def copy_to(
    manifest: Manifest,
    dst: str | Reference,
    *,
    platform: Platforms = None,
    options: Mapping[str, Any],
    manner: Manner,
) -> CopyReport:
    """Copy to a registry. See `Manifest.copy_to`."""
    from didlab.export.push import Job, push

    reference = _reference(dst)
    repository = manifest.repository
    same = repository is not None and repository.registry.name == reference.registry
    if same and not options:
        assert repository is not None
        made = repository._inner.options  # as the source: its login, its certificates
    else:
        made = effective.resolve(reference.registry, options)
    with manner.waiting():
        documents, blobs, notes = _gather(manifest, platform)
    root = documents[-1]
    if reference.digest not in (None, root.digest):
        raise InvalidArgument(
            f"{reference} names another digest than what is copied, {root.digest}",
            reference=str(reference),
        )
    name = reference.tag or root.digest
    job = Job(tuple(blobs), tuple(documents), name, str(reference), tuple(notes))
    target = Target(
        connect(reference.registry, replace(made, mirrors=())),
        reference.repository,
        repository.name if same and repository is not None else None,
    )
    try:
        return push(target, job, manner)
    finally:
        conversion = manifest._snapshot.conversion
        if conversion is not None:
            conversion.saved()


def _reference(dst: object) -> Reference:
    if isinstance(dst, Reference):
        return dst
    if not isinstance(dst, str) or is_local(dst):
        raise InvalidArgument(
            f"copy_to() copies to a registry, not to {dst!r}",
            hint="save(path) writes files, save(path, format='oci-dir') a layout",
        )
    return Reference.parse(dst.removeprefix("docker://"))


def at_one_registry(src: object, dst: object) -> bool:
    """Whether both name images of one registry, by their looks alone."""
    names = []
    for what in (src, dst):
        if isinstance(what, str) and not is_local(what):
            names.append(Reference.parse(what.removeprefix("docker://")).registry)
        elif isinstance(what, Reference):
            names.append(what.registry)
    return len(names) == 2 and names[0] == names[1]


# --- what there is to copy -----------------------------------------------------------------------


def _gather(
    manifest: Manifest, platform: Platforms
) -> tuple[list[Document], list[Content], list[str]]:
    """Return manifests (children first, the root last), distinct blobs, and what is left out."""
    if isinstance(platform, list | tuple | set | frozenset):
        return _chosen(manifest, platform)
    if platform is not None and platform != "all":
        manifest = manifest[platform]  # type: ignore[index]
    elif platform == "all" and manifest._platform is not None:
        raise about_one_already(manifest.reference, manifest._platform, platform)
    documents: dict[str, Document] = {}
    blobs: dict[str, Content] = {}
    notes: list[str] = []
    root = manifest._document()
    if media_types.is_schema1(root.media_type):
        root = manifest._snapshot.manifest(manifest._platform)
        notes.append(f"{MARK}, and so with another digest")
    for document in _walk(manifest, root, set()):
        documents[document.digest] = Document(document.digest, document.media_type, document.raw)
        if isinstance(document, ImageManifest):
            for one in (document.config, *document.layers):
                _add(manifest, one, blobs, notes)
    return list(documents.values()), list(blobs.values()), notes


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


def _chosen(manifest: Manifest, platform: Any) -> tuple[list[Document], list[Content], list[str]]:
    """Return some platforms of an index, which is cut, and so has another digest."""
    from didlab.model import saving

    content = saving.gather(manifest, list(platform))
    blobs: dict[str, Content] = {}
    notes: list[str] = []
    children: dict[str, Document] = {}
    for document in content.documents:
        known = media_types.is_known_manifest(document.media_type)
        if known and document.digest != content.root.digest:
            children[document.digest] = document
        elif not known:
            one = Descriptor(document.media_type, document.digest, len(document.raw))
            blobs[document.digest] = Held(one, partial(_raw, document))
    for blob in content.blobs:
        _add(manifest, blob, blobs, notes)
    return [*children.values(), content.root], list(blobs.values()), notes


def _raw(document: Document) -> bytes:
    return document.raw


def _add(
    manifest: Manifest, descriptor: Descriptor, blobs: dict[str, Content], notes: list[str]
) -> None:
    if descriptor.digest in blobs:
        return
    if media_types.is_nondistributable(descriptor.media_type) and descriptor.urls:
        notes.append(f"{descriptor.digest} left out: it is not to be distributed")
        return
    conversion = manifest._snapshot.conversion
    source = manifest._snapshot.source if conversion is None else conversion.source
    if conversion is not None and media_types.is_config(descriptor.media_type):
        blobs[descriptor.digest] = Held(descriptor, lambda: conversion.config().raw)
    elif media_types.is_config(descriptor.media_type) and descriptor.size <= FETCH_LIMIT:
        # Often here already, since somebody looked at it.
        blobs[descriptor.digest] = Held(descriptor, partial(source.fetch, descriptor))
    else:
        blobs[descriptor.digest] = Read(descriptor, lambda: source.open(descriptor))


# --- to files ------------------------------------------------------------------------------------


def _save(manifest: Manifest, dst: str, platform: Platforms, manner: Manner) -> SaveReport:
    from didlab.export.layout import save_layout
    from didlab.model import destination, saving

    if platform is None and manifest._platform is None:
        platform = "all"  # as a copy to a registry: what the name stands for, digest included
    if not dst.startswith("oci:"):
        if not dst.endswith(".tar"):
            raise Unsupported(
                f"{dst} cannot be copied to",
                hint="write registry/repository:tag, oci:DIR[:TAG], or the name of a .tar",
            )
        return saving.save([manifest], dst, platform=platform, manner=manner)
    folder, tag = _layout(dst.removeprefix("oci:"))
    target = destination.given(folder)
    with manner.waiting():
        content = saving.gather(manifest, platform)
    if tag is not None:
        content = replace(content, reference=content.reference.with_tag(tag))
    source = manifest._snapshot.source
    return save_layout([content], lambda _: source, target, manner)


def _layout(text: str) -> tuple[str, str | None]:
    r"""Split ``DIR[:TAG]``; the colon of a drive is none.

    >>> _layout("out:1.27"), _layout("C:\\out"), _layout("out")
    (('out', '1.27'), ('C:\\out', None), ('out', None))
    """
    folder, colon, tag = text.rpartition(":")
    if not colon or not folder or not valid_tag(tag):
        return text, None
    return folder, tag
