"""Plots about several images: ``didlab.plot.shared(["nginx:1.26", "nginx:1.27"])``.

Plots of one image are at `Manifest.plot`, those of a repository at `Repository.plot`. All need
matplotlib (``pip install "didlab[plot]"``), which is imported when something is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.oci.reference import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["shared"]

#: Images that are asked for at the same time, and that fit a picture.
_PARALLEL = 8
_MOST = 100


def shared(
    images: Iterable[str | os.PathLike[str] | Reference | Manifest],
    *,
    share: bool = False,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draw what the layers of images have in common, each with each, as a heatmap.

    A row is an image, a column the same images again, by number: where they meet stands how much
    of the row's image the column's has, too; on the diagonal all of it. The last column is what
    nobody else of them has: what one more image really costs.

    Parameters
    ----------
    images : iterable of str, path, Reference or Manifest
        What `didlab.open` takes, or what it returned; 100 at most.
    share : bool
        As a part of the row's image, not in bytes.
    ax : Axes, optional
        Where to draw; a new figure if not given.
    **options
        As `didlab.open` takes them, for images that are given by name.

    Returns
    -------
    Axes
        For a bar of its colours, ``ax.figure.colorbar(ax.collections[0])``.

    Raises
    ------
    ImportError
        Without matplotlib, before anything is asked.
    ManifestNotFound, PlatformNotFound, AuthError, TransportError

    Notes
    -----
    Costs the manifests: one or two requests for each image. Sizes are those of the layers as
    stored, which is what registries and downloads share; a layer that is in an image twice counts
    once, configs are left out.
    """
    from didlab._extras import need

    need("matplotlib", "plot", "didlab.plot.shared()")
    from didlab.views.plots import heatmap

    if isinstance(images, str | bytes | os.PathLike | Reference | Manifest):
        raise InvalidArgument("shared() compares several images", hint='shared(["a:1", "a:2"])')
    opened = [one if isinstance(one, Manifest) else open_image(one, **options) for one in images]
    if len(opened) > _MOST:
        raise InvalidArgument(f"{len(opened)} images do not fit a picture; at most {_MOST}")
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="didlab-plot")
    try:
        layers = list(pool.map(_layers, opened))
    finally:
        # Not `with`: after Ctrl+C that would wait for every image that is left.
        pool.shutdown(wait=False, cancel_futures=True)
    names = [_name(one) for one in opened]
    return heatmap.shared(list(zip(names, layers, strict=True)), share=share, ax=ax)


def _name(image: Manifest) -> str:
    platform = image._platform
    name = image.reference.familiar()
    return f"{name} {platform}" if platform is not None else name


def _layers(image: Manifest) -> dict[str, int]:
    return {layer.digest: layer.size for layer in image._image().layers}
