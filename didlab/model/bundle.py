"""Several images at once: saving, and what it would take."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from didlab.blobs import store
from didlab.errors import InvalidArgument
from didlab.export.report import SaveReport
from didlab.export.running import Manner
from didlab.model import saving
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.model.registry import Registry
from didlab.model.saving import Platforms, Target
from didlab.model.since import What as Since
from didlab.oci.digest import is_digest
from didlab.oci.reference import Reference
from didlab.sources.foreign import follows
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.export.content import Content

#: What names images: one or several references or manifests.
One = str | os.PathLike[str] | Reference | Manifest
What = One | Iterable[One]


def save(
    what: What,
    path: Target,
    *,
    format: str = "archive",  # noqa: A002
    compression: str | None = None,
    since: Since | None = None,
    platform: Platforms = None,
    overwrite: bool = False,
    progress: Any = None,
    workers: int | None = None,
    wait: float = 20.0,
    keep: bool = False,
    foreign: bool = False,
    **options: Any,
) -> SaveReport:
    """Save several images into one file; layers that they share are fetched and stored once.

    Parameters
    ----------
    what : reference or Manifest, or several
        The images. Every loader takes the archive as a docker-archive; as an OCI archive those
        do that know several images, where all manifests are OCI's.
    path : path-like or binary file object
        The file; for ``format="oci-dir"`` the folder. Otherwise as for `Manifest.save`.
    format, compression, since
        As for `Manifest.save`.
    platform : str, list of str, optional
        As for `Manifest.save`.
    overwrite, progress, workers, wait, keep, foreign
        As for `Manifest.save`.
    **options
        As `didlab.open` takes them.

    Returns
    -------
    SaveReport
        ``images`` tells the digests and IDs of each.

    Raises
    ------
    InvalidArgument
        No image, or one name for two images.
    DestinationExists, PlatformNotFound, TransportError, DiskFull

    Notes
    -----
    Downloads the bytes of the distinct blobs; `plan` tells them beforehand.
    """
    manner = Manner(overwrite=overwrite, progress=progress, workers=workers, wait=wait, keep=keep)
    manifests = opened(what, options)
    return saving.save(
        manifests,
        path,
        format=format,
        compression=compression,
        since=since,
        platform=platform,
        foreign=foreign,
        manner=manner,
    )


def plan(what: What, *, platform: Platforms = None, **options: Any) -> pd.DataFrame:
    """List what a save would write, one row for each distinct blob; nothing large is fetched.

    Parameters
    ----------
    what, platform, **options
        As for `didlab.save`.

    Returns
    -------
    DataFrame
        digest : text, kind : category (index, manifest, config, layer), media_type : category,
        size : int64 (bytes), stored : bool (whether the local store has it),
        images : text (the references that need it, separated by commas).
        ``frame.loc[~frame["stored"], "size"].sum()`` is what a save would download at most.

    Notes
    -----
    Costs the manifests and configs of the images.
    """
    manifests = opened(what, options)
    rows: dict[str, tuple[str, str, int, list[str]]] = {}
    for manifest in manifests:
        content = saving.gather(manifest, platform)
        for digest, kind, media_type, size in _parts(content):
            names = rows.setdefault(digest, (kind, media_type, size, []))[3]
            name = content.reference.familiar()
            if name not in names:
                names.append(name)
    known = store.default()
    return frames.frame(
        "plan",
        [
            (
                digest,
                kind,
                media_type,
                size,
                known is not None and known.present(digest, size),
                ", ".join(names),
            )
            for digest, (kind, media_type, size, names) in rows.items()
        ],
    )


def endpoints(what: What, **options: Any) -> pd.DataFrame:
    """List every host that a save of these images contacts: for a firewall's rules.

    Asks for the manifests and configs, and where one layer of each image lies (registries send
    elsewhere for layers), without fetching it; with ``foreign=True`` also of each layer that has
    ``urls``.

    Returns
    -------
    DataFrame
        host : text (with its port where that is unusual), scheme : category, role : category
        (registry, mirror, token server, content), registry : category (on whose behalf).
    """
    manifests = opened(what, options)
    rows: dict[tuple[str, str, str, str], None] = {}
    for manifest in manifests:
        registry = manifest.registry
        if not isinstance(registry, Registry):
            continue
        source = manifest._snapshot.source
        layers = list(manifest.iter_layers())
        elsewhere = [layer for layer in layers if layer.urls] if follows(source) else []
        for layer in dict.fromkeys([*layers[-1:], *elsewhere]):
            reader = source.open(layer._descriptor)
            if layer.size:
                reader.read_at(0, 1)
        for row in registry._contacted():
            rows.setdefault(row)
    return frames.frame("endpoints", list(rows))


def opened(what: What, options: dict[str, Any]) -> list[Manifest]:
    """Return the manifests that a user names, each once."""
    if isinstance(what, str | Reference | Manifest | os.PathLike):
        what = [what]
    manifests = [
        item if isinstance(item, Manifest) else open_image(item, **options) for item in what
    ]
    if not manifests:
        raise InvalidArgument("no image was named")
    return list(dict.fromkeys(manifests))


def _parts(content: Content) -> Iterable[tuple[str, str, str, int]]:
    manifests = {image.manifest.digest for image in content.images}
    configs = {image.manifest.config.digest for image in content.images}
    for document in content.documents:
        assert is_digest(document.digest)
        kind = "manifest"
        if document.digest in configs or "config" in document.media_type:
            kind = "config"
        elif document.digest == content.root.digest and document.digest not in manifests:
            kind = "index"
        yield document.digest, kind, document.media_type, len(document.raw)
    for blob in content.blobs:
        yield blob.digest, "layer", blob.media_type, blob.size
