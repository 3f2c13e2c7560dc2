"""Which media types of a manifest's parts its readers refuse. Pure."""

from __future__ import annotations

import json

from didlab.errors import printable
from didlab.model.findings import Findings
from didlab.oci import media_types
from didlab.oci.loaders import Odd
from didlab.oci.manifest import ImageManifest

_DOCKER = media_types.DOCKER_LAYER_TAR
_FOREIGN = media_types.DOCKER_FOREIGN_LAYER
#: What containers/image (podman, skopeo) takes in a Docker manifest: zstd is OCI's alone.
_DOCKER_LAYERS = {_DOCKER, _DOCKER + ".gzip", _FOREIGN, _FOREIGN.removesuffix(".gzip")}


def odd_types(found: Findings, manifest: ImageManifest, *, image: bool = True) -> tuple[Odd, ...]:
    """Tell of types that do not go with the manifest's; ``image``: whether didlab takes it so."""
    docker = manifest.media_type == media_types.DOCKER_MANIFEST
    odd = []
    if docker and not json.loads(manifest.raw).get("mediaType"):
        odd.append(Odd("the manifest does not tell its own type", ("podman", "skopeo")))
    if docker and image:
        alien = [one for one in manifest.layers if one.media_type not in _DOCKER_LAYERS]
        if alien:
            what = f"{printable(alien[0].media_type, 100)} in a Docker manifest"
            odd.append(Odd(what, ("podman", "skopeo")))
    if not docker and manifest.config.media_type != media_types.OCI_CONFIG:
        what = f"the config is {printable(manifest.config.media_type, 100)} in an OCI manifest"
        odd.append(Odd(what, ("podman",)))
    unknown = [one.media_type for one in manifest.layers if not _unpacked(one.media_type)]
    if image and unknown:
        what = f"a layer is {printable(unknown[0], 100)}"
        odd.append(Odd(what, ("containerd",)))
    if image:
        for one in odd:
            found.check(
                "media type", manifest.digest, False, severity="warning",
                detail=f"{one.why}: {' and '.join(one.readers)} refuse it",
            )  # fmt: skip
    return tuple(odd)


def _unpacked(media_type: str) -> bool:
    """Whether containerd 1.6 knows what to do with it."""
    if media_type == media_types.DOCKER_LAYER_ZSTD:
        return False
    return media_types.is_layer(media_type)
