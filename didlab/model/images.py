"""`didlab.images`: what an archive or layout holds."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument, NotFound
from didlab.model.snapshot import Snapshot, config_platform
from didlab.oci import manifest as manifests
from didlab.oci.local_name import LocalName
from didlab.oci.manifest import ImageManifest
from didlab.sources.local.daemon import DaemonSource
from didlab.sources.local.source import LocalSource
from didlab.sources.locate import is_local, locate
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd


def images(path: str | os.PathLike[str]) -> pd.DataFrame:
    """List the images of a local archive or OCI layout, one row for each name.

    Parameters
    ----------
    path : path-like
        As `didlab.open` takes local ones, without a name behind; text is always a path here.

    Returns
    -------
    DataFrame
        position : int64 (place in the archive's own list: ``name="@0"`` opens it),
        name : text (as written there, missing where there is none), kind : category (image,
        index, other), platform : text (those of an index separated by commas), digest : text,
        image_id : text, layers : Int64, size : Int64 (bytes of config and layers as stored; these
        three are missing where there are several images behind the name, or it is not complete),
        format : category (oci, docker-archive: the list that was read).

    Raises
    ------
    PathNotFound, PathError
    NotAnImage, Unsupported
        It is something else, and what.
    CompressionInvalid, TarInvalid, ManifestInvalid, UnsafeContent

    Notes
    -----
    Reads the manifests and configs. Compressed layers of a docker-archive are read once each: it
    does not say their digests.
    """
    text = path if not isinstance(path, str) or is_local(path) else f".{os.sep}{path}"
    source, asked = locate(text, {})
    if not isinstance(source, LocalSource) or isinstance(source, DaemonSource):
        raise InvalidArgument("images() lists archives and layouts; docker images lists a daemon's")
    if isinstance(asked, LocalName) and asked.label is not None:
        raise InvalidArgument(f"images() lists all of {asked.file}, not {asked.label} alone")
    rows = []
    shape = source.view(fresh=True).format
    for image in source.listed():
        about = _about(source, LocalName.of(asked.name, f"@{image.position}"))
        for name in image.names or (None,):
            rows.append((image.position, name, *about, shape))
    return frames.frame("images", rows, reference=source.location)


def _about(source: LocalSource, name: LocalName) -> tuple[Any, ...]:
    """Return kind, platform, digest, image_id, layers and size."""
    snapshot = Snapshot(source, name)
    try:
        root = snapshot.root()
    except NotFound:  # a thin archive
        return "other", None, None, None, None, None
    if not isinstance(root, ImageManifest):
        named = [d.platform for d in root.manifests if manifests.kind(d) == "image"]
        shown = ", ".join(dict.fromkeys(str(platform) for platform in named if platform))
        return "index", shown or None, root.digest, None, None, None
    sizes = {layer.digest: layer.size for layer in root.layers}
    size = root.config.size + sum(sizes.values())
    if not root.is_image:
        return "other", None, root.digest, None, len(root.layers), size
    platform: str | None = None
    with contextlib.suppress(NotFound):
        platform = str(config_platform(snapshot.config(root)))
    return "image", platform, root.digest, root.config.digest, len(root.layers), size
