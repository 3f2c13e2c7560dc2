"""What is known of a difference without any request: for the repr and the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from didlab.audits.diff import documents, files, packages, sizes
from didlab.audits.diff.documents import Stored
from didlab.audits.ecosystems.look import PackagesLook
from didlab.files import kept, toc
from didlab.files.table import FILE
from didlab.model import tables

if TYPE_CHECKING:
    from didlab.audits.diff.side import Side
    from didlab.files.table import Table
    from didlab.model.manifest import Manifest
    from didlab.oci.config import ImageConfig

#: Entries of both images together that a card compares.
_ENTRIES = 400_000


def facts(before: Manifest, after: Manifest, names: tuple[str, str]) -> dict[str, Any]:
    """Return what the manifests and configs tell that are in memory.

    ``before``, ``after`` (names); where known ``sizes`` (bytes of each one's layers),
    ``layers`` (count by status), ``config`` (rows).
    """
    found: dict[str, Any] = {"before": names[0], "after": names[1]}
    one, two = _image(before), _image(after)
    if one is None or two is None:
        return found
    (old, old_config), (new, new_config) = one, two
    found["sizes"] = [_stored(old), _stored(new)]
    found["layers"] = Counter(row[0] for row in documents.layer_rows(old, new))
    found["grown"] = sizes.rows(sizes.layers(old), sizes.layers(new))
    found["config"] = documents.config_rows(old_config, new_config)
    return found


def _stored(layers: Sequence[Stored]) -> int:
    """Return the bytes of distinct layers."""
    return sum({one.digest: one.size for one in layers}.values())


def _image(image: Manifest) -> tuple[list[Stored], ImageConfig] | None:
    snapshot = image._snapshot
    known = snapshot.known_manifest(image._platform)
    config = snapshot.known_config(known) if known is not None else None
    if known is None or config is None:
        return None
    steps = tables.steps_of_layers(config, len(known.layers))
    stored = [
        Stored(layer.digest, diff_id, layer.size, (step.created_by or None) if step else None)
        for layer, diff_id, step in zip(known.layers, config.diff_ids, steps, strict=True)
    ]
    return stored, config


def inside(before: Side, after: Side) -> dict[str, Any]:
    """Return what can be told of the files and packages of images that are listed already.

    ``unpacked`` (bytes of the files of each), ``files`` (count by change), ``folders`` (rows),
    ``packages`` (rows).
    """
    found: dict[str, Any] = {}
    if not before.known() or not after.known():
        return found
    if before.merged.rows + after.merged.rows > _ENTRIES:
        return found
    found["unpacked"] = [_bytes(side.merged.table) for side in (before, after)]
    compared = files.compared(before, after, content=False)
    frame = files.frame(compared, times=False, before="", after="")
    found["files"] = Counter(frame["change"])
    found["folders"] = sizes.rows(
        *(sizes.folders(side.merged.table, 2) for side in (before, after))
    )
    if _told(before) and _told(after):
        from didlab.audits.packages import installed

        found["packages"] = packages.rows(
            *(installed(side.layers) for side in (before, after)),
            across=before.machine != after.machine,
        )
    return found


def _bytes(table: Table) -> int:
    return sum(size for kind, size in zip(table.types, table.sizes, strict=True) if kind == FILE)


def _told(side: Side) -> bool:
    """Whether packages can be told without reading any layer."""
    name = PackagesLook.name
    layers = [one.descriptor for one in side.layers._wanted]
    return all(
        kept.facts(one.digest, one.size, name, toc.vouched(one)) is not None for one in layers
    )
