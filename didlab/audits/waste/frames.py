"""The tables of what an image carries for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from didlab.audits.contents import digests
from didlab.audits.waste import caches as _caches
from didlab.audits.waste.efficiency import efficiency
from didlab.audits.waste.stored import KINDS, wasted
from didlab.errors import InvalidArgument
from didlab.files import paths as names
from didlab.files.table import FILE
from didlab.model import listing
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers


def waste(layers: Layers, reference: str) -> pd.DataFrame:
    """Return the table ``waste``, the largest first."""
    tables = [index.table for index in layers.indexes()]
    found = sorted(wasted(tables), key=lambda one: (-one.size, one.path, one.layer))
    commands = layers.commands()
    rows = [
        (
            listing.shown(one.path),
            KINDS[one.kind],
            one.size,
            one.layer,
            one.by_layer,
            commands[one.by_layer],
        )
        for one in found
    ]
    made = frames.frame("waste", rows, reference=reference)
    made.attrs["wasted"] = sum(one.size for one in found)
    made.attrs["efficiency"] = efficiency(tables)
    return made


def score(layers: Layers) -> float:
    """Return dive's efficiency."""
    return efficiency([index.table for index in layers.indexes()])


def duplicates(layers: Layers, reference: str, pattern: str | None, least: int) -> pd.DataFrame:
    """Return the table ``duplicates``, what wastes most first."""
    import numpy as np

    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise InvalidArgument("min_size is a whole number of bytes, at least 1")
    merged = layers.merged()
    table = merged.table
    chosen = np.arange(len(table))
    if pattern is not None:
        chosen = np.array(names.select(table, pattern), np.int64)
    types = np.frombuffer(table.types, np.uint8)[chosen]
    sizes = np.frombuffer(table.sizes, np.int64)[chosen] if len(table) else chosen
    large = (types == FILE) & (sizes >= least)
    chosen, sizes = chosen[large], sizes[large]
    _, numbers, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    rows = chosen[counts[numbers] > 1].tolist() if len(chosen) else []
    groups: dict[str, list[int]] = {}
    for row, digest in zip(rows, digests(layers, merged, rows, read=True), strict=True):
        if digest is not None:
            groups.setdefault(digest, []).append(row)
    several = [(digest, copies) for digest, copies in groups.items() if len(copies) > 1]
    several.sort(key=lambda one: (-table.sizes[one[1][0]] * (len(one[1]) - 1), one[0]))
    made = [
        (
            f"sha256:{digest}",
            listing.shown(table.paths[row]),
            table.sizes[row],
            len(copies),
            table.sizes[row] if at else 0,
            table.homes[row] if table.homes is not None else -1,
        )
        for digest, copies in several
        for at, row in enumerate(copies)
    ]
    return frames.frame("duplicates", made, reference=reference)


def caches(layers: Layers, reference: str) -> pd.DataFrame:
    """Return the table ``caches``, the largest first."""
    commands = layers.commands()
    rows = [
        (
            one.kind,
            listing.shown(one.path),
            one.files,
            one.size,
            one.layer,
            commands[one.layer] if one.layer >= 0 else None,
        )
        for one in _caches.left(layers.merged().table)
    ]
    return frames.frame("caches", rows, reference=reference)
