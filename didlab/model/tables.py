"""The rows of a manifest's tables, from what its snapshot holds or fetches."""

from __future__ import annotations

from typing import Any

from didlab.model.snapshot import Snapshot, config_platform
from didlab.oci import config as configs
from didlab.oci.config import HistoryEntry, ImageConfig
from didlab.oci.manifest import ImageManifest
from didlab.oci.platform import Platform

Row = tuple[Any, ...]


def platforms(snapshot: Snapshot, *, sizes: bool) -> list[Row]:
    """Return a row for each entry of the index, or the one of a single image.

    With ``sizes`` number of layers and their bytes stand at the end: one request for each image.
    """
    root = snapshot.root()
    if isinstance(root, ImageManifest):
        platform = Platform("unknown", "unknown")
        if root.is_image:
            platform = config_platform(snapshot.config(root))
        kind = "image" if root.is_image else "other"
        row = (*_platform(platform), kind, root.digest, len(root.raw))
        return [(*row, *_sizes(snapshot.outline(None))) if sizes else row]
    rows: list[Row] = []
    for entry in snapshot.entries():
        descriptor = entry.descriptor
        row = (*_platform(entry.platform), entry.kind, descriptor.digest, descriptor.size)
        if sizes:
            child = snapshot.document(descriptor) if entry.kind == "image" else None
            row += _sizes(child) if isinstance(child, ImageManifest) else (None, None)
        rows.append(row)
    return rows


def layers(snapshot: Snapshot, image: ImageManifest) -> list[Row]:
    """Return a row for each layer, lined up with the history where there is one.

    Raises
    ------
    ManifestInvalid
        The config names another number of layers than the manifest.
    """
    diff_ids = snapshot.diff_ids(image)
    steps: list[HistoryEntry | None] = [None] * len(image.layers)
    if image.is_image:
        steps = steps_of_layers(snapshot.config(image), len(image.layers))
    return [
        (
            position,
            layer.digest,
            diff_id,
            layer.media_type,
            layer.size,
            step.created if step else None,
            (step.created_by or None) if step else None,
            (step.comment or None) if step else None,
        )
        for position, (layer, diff_id, step) in enumerate(
            zip(image.layers, diff_ids, steps, strict=True)
        )
    ]


def history(snapshot: Snapshot, image: ImageManifest) -> list[Row]:
    """Return a row for each step of the history, with the layer that it made."""
    config = snapshot.config(image)
    rows: list[Row] = []
    aligned = configs.align(config.history, len(image.layers))
    for position, (step, at) in enumerate(zip(config.history, aligned, strict=True)):
        layer = image.layers[at] if at is not None else None
        rows.append(
            (
                position,
                step.created,
                step.created_by or None,
                step.comment or None,
                step.author or None,
                step.empty_layer,
                at,
                layer.digest if layer else None,
                layer.size if layer else None,
            )
        )
    return rows


def steps_of_layers(config: ImageConfig, count: int) -> list[HistoryEntry | None]:
    """Return for each layer the step of the history that made it, where that can be told."""
    found: list[HistoryEntry | None] = [None] * count
    for step, at in zip(config.history, configs.align(config.history, count), strict=True):
        if at is not None:
            found[at] = step
    return found


def _platform(platform: Platform) -> Row:
    unknown = platform.os == "unknown"
    return (
        str(platform),
        platform.os or None,
        platform.architecture or None,
        None if unknown else platform.variant or None,
        platform.os_version or None,
    )


def _sizes(image: ImageManifest) -> tuple[int, int]:
    return len(image.layers), sum(layer.size for layer in image.layers)
