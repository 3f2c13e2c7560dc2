"""What every layer did to the merged file system: added, replaced, deleted."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from didlab.files.limits import DEFAULT, Limits
from didlab.files.overlay import Overlay
from didlab.files.table import Table

__all__ = ["ADDED", "CHANGES", "DELETED", "REPLACED", "Changes", "changes"]

#: Names of the changes, by the number that `Changes` holds.
CHANGES = ("added", "replaced", "deleted")
ADDED, REPLACED, DELETED = range(3)


class Changes(NamedTuple):
    """One row for each path that a layer changed, by layer, then by path.

    Attributes
    ----------
    table : Table
        The paths with what is there afterwards; of a deleted one with what was there, but for
        its size, which is 0 now. ``layers`` is the layer that made the change, ``homes`` and
        ``origins`` say where the content lies (of a deleted path: lay).
    kinds : bytes
        Index in `CHANGES`.
    rows : array of int
        Row in the layer's own table; -1 for what it does not state (deletions, parents).
    before : array of int
        Bytes of the content that the layers below had there, or -1 where they had nothing.
    """

    table: Table
    kinds: bytes
    rows: array[int]
    before: array[int]


def changes(tables: Sequence[Table], limits: Limits = DEFAULT) -> Changes:
    """Return what each layer did, the base first.

    A path counts once for each layer, by what it was below and is afterwards: a directory
    stated again is replaced, a file deleted and made again in one layer too. What goes with a
    deleted directory, or with one that became a file, is deleted path by path.
    """
    overlay = Overlay(limits)
    paths: list[bytes] = []
    numbers: list[int] = []
    kinds = bytearray()
    layers, rows, before = array("i"), array("i"), array("q")
    base = 0
    for layer, table in enumerate(tables):
        overlay.add(table)
        hidden = overlay.hidden
        found: list[tuple[bytes, int, int]] = []
        for path, number in overlay.written():
            found.append((path, number, REPLACED if path in hidden else ADDED))
        for path, number in hidden.items():
            if overlay.row(path) is None:
                found.append((path, number, DELETED))
        found.sort()
        for path, number, kind in found:
            paths.append(path)
            numbers.append(number)
            kinds.append(kind)
            rows.append(number - base if kind != DELETED and number >= 0 else -1)
            before.append(-1 if kind == ADDED else overlay.size(hidden[path]))
        layers.extend(array("i", [layer]) * len(found))
        base += len(table)
    result = overlay.table(paths, numbers)
    result.layers = layers
    for row, kind in enumerate(kinds):
        if kind == DELETED:
            result.sizes[row] = 0
    return Changes(result, bytes(kinds), rows, before)
