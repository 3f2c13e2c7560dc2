"""What one layer did to those below it, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from didlab.files.changes import CHANGES, changes
from didlab.files.table import DIR, Table
from didlab.model.listing import shown

#: Rows that are shown.
SHOWN = 500


class Changed(NamedTuple):
    """A layer's changes.

    Attributes
    ----------
    counts : dict
        How many paths were added, replaced, deleted.
    rows : list of (str, str, int, int)
        Change, path, bytes afterwards, bytes before (-1: was not there); `SHOWN` at most.
    more : int
        How many were left out.
    """

    counts: dict[str, int]
    rows: list[tuple[str, str, int, int]]
    more: int


def changed(tables: Sequence[Table], layer: int) -> Changed:
    """Return what the last of these layers did; folders that were only stated again left out."""
    found = changes(tables)
    table = found.table
    assert table.layers is not None
    own = [row for row, number in enumerate(table.layers) if number == layer]
    counts = dict.fromkeys(CHANGES, 0)
    kept = []
    for row in own:
        kind = CHANGES[found.kinds[row]]
        if kind == "replaced" and table.types[row] == DIR:
            continue
        counts[kind] += 1
        kept.append(row)
    kept.sort(key=lambda row: -max(table.sizes[row], found.before[row]))
    rows = [
        (
            CHANGES[found.kinds[row]],
            shown(table.paths[row]) + ("/" if table.types[row] == DIR else ""),
            table.sizes[row],
            found.before[row],
        )
        for row in kept[:SHOWN]
    ]
    return Changed(counts, rows, len(kept) - len(rows))
