"""Straight into the local Docker daemon: no tar on the disk, only the layers that it lacks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from didlab.errors import InvalidArgument, NotFound, ProtocolError, ServerError
from didlab.export import outputs
from didlab.export.content import Content
from didlab.export.loaded import LoadedImage, LoadReport
from didlab.export.outputs import Form, Since
from didlab.export.report import SaveReport
from didlab.export.running import Manner
from didlab.export.staging import SourceOf
from didlab.model import saving
from didlab.model.daemon import Docker
from didlab.model.manifest import Manifest
from didlab.model.saving import Platforms
from didlab.oci import media_types

#: The first daemon that reads layers in zstd.
_ZSTD_SINCE = (23, 0)


def load(
    manifests: Sequence[Manifest], *, platform: Platforms = None, manner: Manner
) -> LoadReport:
    """Load images into the daemon. See `didlab.Manifest.load`."""
    began = time.monotonic()
    docker = Docker()
    version, numbers = docker.version()
    contents, source_of = saving.gathered(manifests, platform, manner)
    for content in contents:
        if len(content.images) > 1:
            raise InvalidArgument(
                f"{content.reference}: a daemon has one platform for a name, not "
                f"{len(content.images)}",
                hint="give platform=",
            )
    form = Form()
    if docker.is_classic():
        zstd = numbers < _ZSTD_SINCE and any(_is_zstd(content) for content in contents)
        since = Since("the daemon", docker.chains())
        form = Form("docker", since=since) if zstd else Form(since=since)
    saved, messages = _hand_over(docker, contents, source_of, form, manner)
    shown = tuple(
        LoadedImage(
            str(content.reference),
            _shown(docker, content),
            str(content.images[0].platform),
        )
        for content in contents
    )
    return LoadReport(
        images=shown,
        messages=messages,
        daemon=version,
        size=saved.size,
        downloaded=saved.downloaded,
        reused=saved.reused,
        seconds=time.monotonic() - began,
        served=saved.served,
        # That a tar is thin is news for whoever keeps it; here it is the point.
        notes=tuple(note for note in saved.notes if not note.startswith("thin:")),
    )


def _hand_over(
    docker: Docker,
    contents: Sequence[Content],
    source_of: SourceOf,
    form: Form,
    manner: Manner,
) -> tuple[SaveReport, tuple[str, ...]]:
    def once(form: Form) -> tuple[SaveReport, tuple[str, ...]]:
        return docker.load(lambda sink: outputs.write(contents, source_of, sink, form, manner))

    try:
        return once(form)
    except (ServerError, ProtocolError):
        if form.since is None or not any(form.since.chains):
            raise
    # An image that went meanwhile took layers along: then everything is sent.
    return once(replace(form, since=None))


def _is_zstd(content: Content) -> bool:
    layers = content.images[0].manifest.layers
    return any(media_types.compression(layer.media_type) == "zstd" for layer in layers)


def _shown(docker: Docker, content: Content) -> str:
    """Return the ID that the daemon shows: of the config, or, in containerd's store, another."""
    manifest = content.images[0].manifest
    name = str(content.reference) if content.reference.tag else manifest.config.digest
    try:
        return docker.image_id(name) or manifest.config.digest
    except NotFound:
        return manifest.config.digest
