"""Which two images are meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from didlab.audits.diff.difference import Diff
from didlab.errors import InvalidArgument
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.oci.reference import Reference
from didlab.sources.locate import is_local

if TYPE_CHECKING:
    from didlab.oci.platform import Platform

#: What names an image: a reference, a path, a Manifest.
What = str | os.PathLike[str] | Reference | Manifest


def diff(before: What, after: What, platform: str | Platform | None = None, **options: Any) -> Diff:
    """Compare two images: tags, platforms, registries, local tars, in any combination.

    Nothing is asked of anybody until one of the result's methods is called.

    Parameters
    ----------
    before, after : reference, path or Manifest
        As `didlab.open` takes them; ``m["linux/arm64"]`` for one platform's.
    platform : str, optional
        Of both; else each one's own, else the default one.
    **options
        As `didlab.open` takes them, for those that are no Manifest yet.

    Returns
    -------
    Diff
        files, packages, config, layers, sizes, text.

    Raises
    ------
    InvalidReference, InvalidArgument

    Examples
    --------
    >>> diff("nginx:1.26", "nginx:1.27")
    <Diff nginx:1.26 → nginx:1.27 · not fetched>
    """
    one, two = (_opened(what, options) for what in (before, after))
    return Diff(*(image if platform is None else image[platform] for image in (one, two)))


def between(before: Manifest, other: What) -> Diff:
    """Return how an image differs from another, which is named as `Manifest.diff` takes it."""
    registry = before.registry
    if isinstance(other, str | Reference) and registry is not None and not _local(other):
        reference = other if isinstance(other, Reference) else Reference.parse(other)
        if reference.registry == registry.name:
            # Asked for in the same way: logins, mirrors, proxies.
            tag = reference.digest or reference.tag or "latest"
            other = registry[reference.repository][tag]
    after = _opened(other, {})
    if before._platform is not None and after._platform is None:
        after = after[before._platform]
    return Diff(before, after)


def _local(what: str | Reference) -> bool:
    return isinstance(what, str) and is_local(what)


def _opened(what: What, options: dict[str, Any]) -> Manifest:
    if isinstance(what, Manifest):
        return what
    if not isinstance(what, str | os.PathLike | Reference):
        raise InvalidArgument(
            "images are compared by reference, path or Manifest, not by an object of type "
            f"{type(what).__name__}"
        )
    return open_image(what, **options)
