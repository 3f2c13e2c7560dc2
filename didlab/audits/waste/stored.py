"""Content that layers store and nobody sees in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from didlab.files.limits import DEFAULT, Limits
from didlab.files.overlay import Overlay
from didlab.files.table import FILE, Table

#: Why content is not seen, by the number that `Waste` holds.
KINDS = ("overwritten", "metadata", "deleted", "hidden")
OVERWRITTEN, METADATA, DELETED, HIDDEN = range(4)


class Waste(NamedTuple):
    """One file's content that a layer stores for nothing.

    Attributes
    ----------
    path : bytes
        Where it was.
    kind : int
        Index in `KINDS`. `METADATA`: by a file of the same size and time, so that probably only
        its owner or permissions changed. `HIDDEN`: it never was to be seen.
    size : int
        Bytes that are stored.
    layer, by_layer : int
        Position of the layer that stores it, and of the one that took away its last name.
    """

    path: bytes
    kind: int
    size: int
    layer: int
    by_layer: int


def wasted(tables: Sequence[Table], limits: Limits = DEFAULT) -> list[Waste]:
    """Return the content that no path of the merged file system leads to, the base first.

    Content with several names (hard links) is wasted only when all of them are gone. A layer
    that has a path twice wastes the first of them itself.

    Raises
    ------
    As `didlab.files.merge.merge`.
    """
    overlay = Overlay(limits)
    taken: dict[int, tuple[bytes, int, int]] = {}  # by the row of the content: path, kind, layer
    bases = []
    base = 0
    for layer, table in enumerate(tables):
        bases.append(base)
        overlay.add(table)
        hidden = list(overlay.hidden.items())
        contents = overlay.contents([row for _, row in hidden])
        for (path, row), content in zip(hidden, contents, strict=True):
            if content < 0:
                continue
            now = overlay.row(path)
            shown, kind = path, DELETED
            if now is not None:
                kind = OVERWRITTEN
                if now >= base and _alike(table, now - base, tables, bases, content):
                    kind = METADATA
            if row != content and content in taken:
                shown = taken[content][0]  # its own name, which went before
            taken[content] = shown, kind, layer
        base += len(table)
    rows = overlay.rows()
    seen = set(overlay.contents(list(rows.values())))
    found = []
    for layer, (table, start) in enumerate(zip(tables, bases, strict=True)):
        last: dict[bytes, int] = {}
        for row, (kind_of, size) in enumerate(zip(table.types, table.sizes, strict=True)):
            if kind_of != FILE or not size or start + row in seen:
                continue
            known = taken.get(start + row)
            if known is None:
                last = last or dict(zip(table.paths, range(len(table)), strict=True))
                path = table.paths[row]
                known = path, OVERWRITTEN if last[path] > row else HIDDEN, layer
            path, why, by = known
            found.append(Waste(path, why, stored(table, row), layer, by))
    return found


def stored(table: Table, row: int) -> int:
    """Return the bytes of content that a tar has of a file: of a sparse one without its holes."""
    extra = table.extras.get(row)
    return table.sizes[row] if not extra else int(extra.get("stored", table.sizes[row]))


def _alike(
    table: Table, row: int, tables: Sequence[Table], bases: Sequence[int], content: int
) -> bool:
    """Whether a row of the last layer is a file of the same size and time as content below."""
    below = max(at for at, base in enumerate(bases) if base <= content)
    old, other = tables[below], content - bases[below]
    return (
        table.types[row] == FILE
        and table.sizes[row] == old.sizes[other]
        and table.mtimes[row] == old.mtimes[other]
    )
