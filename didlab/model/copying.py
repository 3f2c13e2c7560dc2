"""From a manifest to what a copy writes: which documents, which blobs, and where they go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument, Unsupported
from didlab.export.running import Manner
from didlab.model import copyingattached
from didlab.model.copycontent import Found, gather
from didlab.model.copyingattached import Attachments
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.oci.reference import Reference, valid_tag
from didlab.sources.foreign import following
from didlab.sources.locate import is_local
from didlab.sources.registry import RegistrySource
from didlab.transport import checks, effective
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
    foreign: bool = False,
    attached: bool = False,
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
    foreign, attached
        As for `Manifest.copy_to`; files get ``foreign``, and attached only what is in the index.
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
        return copy_to(
            manifest, dst, platform=platform, foreign=foreign, attached=attached,
            options=options, manner=manner,
        )  # fmt: skip
    if checks.flag(attached, "attached"):
        raise InvalidArgument(
            f"attached= is for a registry, {dst} is none",
            hint="what is in the index itself is saved with platform='all'",
        )
    if options:
        raise InvalidArgument(f"{next(iter(options))}= is for a registry, {dst} is none")
    return _save(manifest, os.fspath(dst), platform, manner, foreign=foreign)


def copy_to(
    manifest: Manifest,
    dst: str | Reference,
    *,
    platform: Platforms = None,
    foreign: bool = False,
    attached: bool = False,
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
    source = following(manifest._snapshot.source, foreign)
    along = Attachments()
    found = Found(manifest, source)
    with manner.waiting():
        root = gather(found, platform)
        if checks.flag(attached, "attached"):
            along = copyingattached.gather(manifest, found.subjects(), found.take, found.notes)
    if reference.digest not in (None, root.digest):
        raise InvalidArgument(
            f"{reference} names another digest than what is copied, {root.digest}",
            reference=str(reference),
        )
    name = reference.tag or root.digest
    job = Job(
        tuple(found.blobs.values()), found.ordered(root), name, str(reference), tuple(found.notes)
    )
    made = replace(made, mirrors=())
    target = Target(
        connect(reference.registry, made),
        reference.repository,
        repository.name if same and repository is not None else None,
    )
    try:
        report = push(target, job, manner)
        there = RegistrySource(reference.registry, made, reference.repository)
        with manner.waiting():
            for tag, document in copyingattached.listed(there, reference, along):
                target.put_manifest(tag, document.raw, document.media_type, document.digest)
        return report
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


# --- to files ------------------------------------------------------------------------------------


def _save(
    manifest: Manifest, dst: str, platform: Platforms, manner: Manner, *, foreign: bool
) -> SaveReport:
    from didlab.export.layout import save_layout
    from didlab.model import destination, saving

    if platform is None and manifest._platform is None:
        platform = "all"  # as a copy to a registry: what the name stands for, digest included
    if not dst.startswith("oci:"):
        if not dst.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst")):
            raise Unsupported(
                f"{dst} cannot be copied to",
                hint="write registry/repository:tag, oci:DIR[:TAG], or the name of a .tar",
            )
        return saving.save([manifest], dst, platform=platform, foreign=foreign, manner=manner)
    folder, tag = _layout(dst.removeprefix("oci:"))
    target = destination.given(folder)
    with manner.waiting():
        content = saving.gather(manifest, platform)
    if tag is not None:
        content = replace(content, reference=content.reference.with_tag(tag))
    source = following(manifest._snapshot.source, foreign)
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
