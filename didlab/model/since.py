"""What the other side has: the layers that a thin tar leaves out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from didlab.errors import InvalidArgument, printable
from didlab.export.content import Content
from didlab.export.outputs import Since
from didlab.model.daemon import Docker
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.oci.local_name import LocalName
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.local.daemon import DaemonSource
from didlab.sources.local.source import LocalSource
from didlab.sources.locate import is_local

#: What ``since=`` takes.
What = str | os.PathLike[str] | Reference | Manifest
#: The daemon's whole list.
DAEMON = "docker-daemon:"


def resolve(since: What, contents: Sequence[Content], near: Manifest) -> Since:
    """Return what ``since`` says that the other side has.

    A name at the registry of ``near`` is asked for in the same way as that.
    """
    if since == DAEMON:
        return Since("the Docker daemon", Docker().chains())
    chains: set[tuple[str, ...]] = set()
    for manifest in opened(since, near):
        for content in contents:
            for image in content.images:
                chains.add(_chain(manifest, image.platform))
    name = since.reference if isinstance(since, Manifest) else since
    return Since(printable(os.fspath(name) if isinstance(name, os.PathLike) else name), chains)


def _chain(manifest: Manifest, platform: Platform) -> tuple[str, ...]:
    snapshot, own = manifest._snapshot, manifest._platform
    index = own is None and snapshot.entries()
    return snapshot.config(snapshot.manifest(platform if index else own)).diff_ids


def opened(
    since: What, near: Manifest | None = None, options: Mapping[str, Any] | None = None
) -> list[Manifest]:
    """Return the images that a user means: of a local file or folder all that are inside."""
    options = options or {}
    if isinstance(since, Manifest):
        return [since]
    if not isinstance(since, str | os.PathLike | Reference):
        raise InvalidArgument(
            "layers are looked for in a reference, a file or an image, not in an object of type "
            f"{type(since).__name__}"
        )
    if isinstance(since, Reference) or not is_local(since):
        reference = since if isinstance(since, Reference) else Reference.parse(os.fspath(since))
        registry = near.registry if near is not None else None
        if registry is not None and registry.name == reference.registry:
            return [registry[reference.repository][reference.tag or reference.digest or "latest"]]
        return [open_image(since, **options)]
    manifest = open_image(since)
    source, asked = manifest._snapshot.source, manifest._snapshot.asked
    if isinstance(source, DaemonSource):
        return [manifest]
    if isinstance(source, LocalSource) and isinstance(asked, LocalName) and asked.label is None:
        # Whatever is inside was loaded with it.
        return [open_image(since, name=f"@{one.position}") for one in source.listed()]
    return [manifest]
