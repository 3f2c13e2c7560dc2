"""`didlab.verify`: what an image or archive claims, computed again."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument, NotFound, PlatformNotFound
from didlab.export import progress as progresses
from didlab.export.fetch import resuming
from didlab.model.checking import BROKEN, Checker
from didlab.model.findings import Findings
from didlab.model.manifest import Manifest
from didlab.model.measuring import Measured, measure
from didlab.model.opening import open as open_image
from didlab.model.snapshot import Snapshot
from didlab.oci import digest as digests
from didlab.oci import loaders
from didlab.oci import manifest as manifests
from didlab.oci.descriptor import Descriptor
from didlab.oci.loaders import ImageFacts
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.base import Source
from didlab.sources.cached import CachedSource
from didlab.sources.locate import locate
from didlab.sources.stored import StoredSource

if TYPE_CHECKING:
    import pandas as pd


def verify(
    what: str | os.PathLike[str] | Reference | Manifest,
    *,
    platform: str | None = None,
    progress: Any = None,
    **options: Any,
) -> pd.DataFrame:
    """Compute again what an image or archive claims, and say which loaders take it.

    Parameters
    ----------
    what : path-like, str, Reference or Manifest
        An archive or OCI layout is checked whole, with all images and names in it, and by what
        each loader demands. A reference, one image of an archive (``oci:FOLDER:NAME``,
        ``docker-archive:TAR:NAME``, ``docker-daemon:NAME``) or a Manifest: that image alone.
    platform : str, optional
        Of an index at a registry: the platform to check, or ``"all"`` for everything in it.
        Default: the Manifest's own, else the default platform.
    progress : bool or object, optional
        As for `Manifest.save`.
    **options
        For registries, as `didlab.open` takes them.

    Returns
    -------
    DataFrame
        check : category, subject : text (digest, member, name or command), loader : category
        (missing where it is not about one), passed : bool, severity : category (error: it is not
        what it says; warning: some loader refuses it, or it is odd; info), expected : text,
        actual : text, detail : text. What failed comes first. The checks ``image id`` tell the
        ID that Docker will show: with its classic store (``docker``) and with containerd's.

    Raises
    ------
    PathNotFound, NotAnImage, Unsupported, ManifestNotFound, AuthError, TransportError
        It cannot be opened at all. What is broken in it is a row.

    Notes
    -----
    Reads everything once: of an image at a registry every layer is downloaded, past the local
    store, and nothing is kept. Signatures are not looked at.
    """
    progresses.check(progress)
    if isinstance(what, Manifest):
        if options:
            raise InvalidArgument(f"{', '.join(options)}: the Manifest was opened without")
        return _image(what, platform, progress)
    if not isinstance(what, Reference):
        source = _whole(what, options)
        if source is not None:
            from didlab.model.verifying_archive import ArchiveCheck

            if platform is not None:
                raise InvalidArgument("platform= is for images; an archive is checked whole")
            found = Findings()
            ArchiveCheck(source, found).run(progress)
            return found.frame(source.location)
    asked = None if platform == "all" else platform
    return _image(open_image(what, asked, **options), platform, progress)


def _whole(what: str | os.PathLike[str], options: dict[str, Any]) -> Any:
    """Return the source of an archive that is meant as a whole."""
    from didlab.oci.local_name import LocalName
    from didlab.sources.local.daemon import DaemonSource
    from didlab.sources.local.source import LocalSource

    named = options.get("name")
    others = {key: value for key, value in options.items() if key != "name"}
    source, asked = locate(what, others, named)
    if isinstance(source, LocalSource) and not isinstance(source, DaemonSource):
        whole = isinstance(asked, LocalName) and asked.label is None
        return source if whole else None
    return None


class _At:
    """The place of an image: a source, asked for content and never for a copy of it."""

    def __init__(self, source: Source, progress: Any, made: Mapping[str, bytes]) -> None:
        self._source = source
        self._progress = progress
        #: What was made here, of an image of schema 1: nobody serves it.
        self._made = made

    def document(self, descriptor: Descriptor) -> bytes | None:
        if descriptor.digest in self._made:
            return self._made[descriptor.digest]
        try:
            raw = self._source.fetch(descriptor)
        except NotFound:
            return None
        self._progress.update(len(raw))
        return raw

    def blob(self, descriptor: Descriptor, algorithms: Collection[str]) -> Measured | None:
        pieces = resuming(self._source.open(descriptor))
        return measure(pieces, algorithms, self._progress.update, descriptor.media_type)


def _image(m: Manifest, platform: str | None, progress: Any) -> pd.DataFrame:
    found = Findings()
    snapshot = m._snapshot
    wanted = m._platform
    everything = platform == "all"
    if platform is not None and not everything:
        wanted = m[Platform.parse(platform)]._platform
    try:
        root = snapshot.root()
    except BROKEN as error:
        if isinstance(error, NotFound):
            raise
        found.failed("manifest", str(m.reference), error)
        return found.frame(str(m.reference))
    if everything and isinstance(root, ImageIndex):
        chosen = list(root.manifests)
    else:
        chosen = _chosen(snapshot, wanted, root, found)
    _run(m, root, chosen, found, progress)
    return found.frame(str(m.reference))


def _chosen(
    snapshot: Snapshot, wanted: Platform | None, root: ImageManifest | ImageIndex, found: Findings
) -> list[Descriptor]:
    """Return the image to check; broken ones are told of by whoever checks them."""
    if isinstance(root, ImageManifest) and wanted is None and snapshot.conversion is None:
        return [_describe(root)]
    try:
        child = snapshot.manifest(wanted)
    except BROKEN as error:
        if isinstance(error, PlatformNotFound):
            raise
        found.failed("reference target", root.digest, error)
        return []
    for row in snapshot.entries():
        if row.descriptor.digest == child.digest:
            return [row.descriptor]
    return [_describe(child)]


def _describe(manifest: ImageManifest | ImageIndex) -> Descriptor:
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.raw), data=manifest.raw)


def _run(
    m: Manifest,
    root: ImageManifest | ImageIndex,
    chosen: list[Descriptor],
    found: Findings,
    progress: Any,
) -> None:
    snapshot = m._snapshot
    converted = snapshot.conversion is not None
    source = snapshot.source if converted else _bare(snapshot.source)
    total = 0
    for descriptor in chosen:
        total += descriptor.size + _weight(snapshot, descriptor)
    shown = progresses.start(progress, total, f"verify {m.reference}")
    images: list[ImageFacts] = []
    try:
        made = _configs(snapshot, chosen) if converted else {}
        checker = Checker(_At(source, shown, made), found)
        _root(m, root, found, converted=converted)
        for descriptor in chosen:
            label = str(descriptor.platform or m.reference)
            images += checker.entry(descriptor, label).images
    finally:
        shown.close()
    for one in loaders.pulls(images):
        found.verdict(one)
    for image in images:
        if not image.artifact and image.image_id is not None and image.sound:
            found.check("image id", image.subject, True, loader="docker", actual=image.image_id)
    if not converted and any(not image.artifact for image in images):
        found.check("image id", str(m.reference), True, loader="containerd", actual=root.digest)


def _root(
    m: Manifest, root: ImageManifest | ImageIndex, found: Findings, *, converted: bool
) -> None:
    pin = m._snapshot.pin
    if converted:
        detail = "converted from schema 1; its signatures are not checked"
        found.check("digest", pin.digest if pin else root.digest, True, detail=detail)
        return
    asked = m._snapshot.asked.digest
    expected = asked or (pin.digest if pin is not None else root.digest)
    actual = root.digest
    if not expected.startswith("sha256:"):
        actual = digests.of(root.raw, digests.algorithm(expected))
    found.check("digest", expected, actual == expected, expected=expected, actual=actual)
    if isinstance(root, ImageIndex):
        kinds = [manifests.kind(one) for one in root.manifests]
        found.check(
            "index",
            root.digest,
            True,
            actual=f"{kinds.count('image')} images, {len(kinds)} entries",
        )


def _configs(snapshot: Snapshot, chosen: list[Descriptor]) -> dict[str, bytes]:
    documents = [manifests.parse(one.data or b"", one.media_type) for one in chosen]
    return {
        one.config.digest: snapshot.config(one).raw
        for one in documents
        if isinstance(one, ImageManifest)
    }


def _weight(snapshot: Snapshot, descriptor: Descriptor) -> int:
    """Return the bytes behind a manifest, as far as it is here already."""
    try:
        document = snapshot.document(descriptor) if descriptor.data is None else None
        if document is None:
            document = manifests.parse(descriptor.data or b"", descriptor.media_type)
    except BROKEN:
        return 0
    if isinstance(document, ImageIndex):
        return 0
    parts = {one.digest: one.size for one in (document.config, *document.layers)}
    return sum(parts.values())


def _bare(source: Source) -> Source:
    """Return a registry's own source: copies of its content prove nothing about it."""
    while isinstance(source, CachedSource) or (
        isinstance(source, StoredSource) and not source._offline
    ):
        source = source.inner
    return source
