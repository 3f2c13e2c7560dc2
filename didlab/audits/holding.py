"""Which of the files that looks know of are there in the end, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.files.picking import wants
from didlab.files.standing import Unsure
from didlab.files.table import FILE, HARDLINK, Table

if TYPE_CHECKING:
    from didlab.files.looks import Look
    from didlab.model.inside import Layers


class Held(NamedTuple):
    """A file of the merged file system that a look knows of.

    Attributes
    ----------
    path : bytes
        Where it is there.
    layer : int
        Position of the layer that has its content.
    key : bytes
        Its path in that layer, by which the facts are known; another one where a folder on the
        way is a link.
    """

    path: bytes
    layer: int
    key: bytes


def holding(layers: Layers, look: Look, told: Sequence[Mapping[bytes, Any]]) -> Iterator[Held]:
    """Yield the files that hold, layer by layer; ``told`` are a look's facts, as `Layers.learn`.

    Notes
    -----
    Costs no request after `Layers.learn`.
    """
    quick = _quick(layers, told)
    if quick is not None:
        yield from quick
        return
    import numpy as np

    merged = layers.merged().table
    if merged.homes is None or merged.origins is None:
        raise AssertionError("a merged table says where content lies")
    homes = np.frombuffer(merged.homes, np.int32)
    origins = np.frombuffer(merged.origins, np.int32)
    for layer, facts in enumerate(told):
        if not facts:
            continue
        keys = _rows(layers.index(layer).table, facts)
        rows = np.flatnonzero((homes == layer) & np.isin(origins, list(keys)))
        for row in rows.tolist():
            path, known = merged.paths[row], keys[merged.origins[row]]
            if path in known:
                yield Held(path, layer, path)
            # Another name of a file that is known by its other ones; or the folder is elsewhere.
            elif wants(look, path, merged.sizes[row]):
                yield Held(path, layer, known[0])


def _quick(layers: Layers, told: Sequence[Mapping[bytes, Any]]) -> list[Held] | None:
    """Return them without a merge; None where only that tells."""
    standing = layers.standing()
    if standing is None:
        return None
    try:
        return [
            Held(path, layer, path)
            for layer, facts in enumerate(told)
            if facts
            for path in standing.left(layer, facts)
        ]
    except Unsure:
        return None


def _rows(table: Table, facts: Mapping[bytes, Any]) -> dict[int, list[bytes]]:
    """Return under which paths facts are known of a layer's rows that have content."""
    last = {path: row for row, path in enumerate(table.paths) if path in facts}
    files = {}
    if any(table.types[row] == HARDLINK for row in last.values()):
        files = {path: row for row, path in enumerate(table.paths) if table.types[row] == FILE}
    found: dict[int, list[bytes]] = {}
    for path, row in last.items():
        target = row
        for _ in range(40):
            if target < 0 or table.types[target] != HARDLINK:
                break
            target = files.get(table.links[target], table.find(table.links[target]))
        if target >= 0:
            found.setdefault(target, []).append(path)
    return found
