"""The files of a listed layer that looks want, and their contents on the way to the looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from didlab.files.looking import Encoded, Looking, View
from didlab.files.looks import Look
from didlab.files.picking import linked, picked
from didlab.files.table import Table


class Wanted(NamedTuple):
    """A file, by its row; ``names`` say which look wants it under which path."""

    row: int
    names: tuple[tuple[Look, bytes], ...]


def wanted(table: Table, looks: Sequence[Look]) -> list[Wanted]:
    """Return the files of a layer that looks want, by the order of their contents.

    Of a path that comes twice, the last one only; a file that is wanted under the name of a hard
    link, too.
    """
    found: dict[int, list[tuple[Look, int]]] = {}
    for look in looks:
        for row in picked(look, table):
            found.setdefault(row, []).append((look, row))
        for row, target in linked(look, table):
            found.setdefault(target, []).append((look, row))
    paths = {table.paths[row] for pairs in found.values() for _, row in pairs}
    last: dict[bytes, int] = {}
    if paths:
        last = {path: row for row, path in enumerate(table.paths) if path in paths}
    rows = []
    for row, pairs in found.items():
        named = [(look, table.paths[name], name) for look, name in pairs]
        kept = tuple((look, path) for look, path, name in named if last[path] == name)
        if kept:
            rows.append(Wanted(row, kept))
    return sorted(rows, key=lambda one: table.offsets[one.row])


def stretch(table: Table, row: int) -> tuple[int, int]:
    """Return where a file's content lies in the uncompressed layer."""
    begin = table.offsets[row]
    return begin, begin + int(table.extras.get(row, {}).get("stored", table.sizes[row]))


class Reel:
    """Gives contents to looks, file by file, as an uncompressed layer comes by, or parts of it."""

    def __init__(self, table: Table, files: Sequence[Wanted], looks: Sequence[Look]) -> None:
        self.looking = Looking(looks)
        self._table = table
        self._files = files
        self._number = 0
        self._view: View | None = None
        self._open = False

    def begin(self, file: Wanted) -> View | None:
        """Return what takes a file's content; None where its look passes it over."""
        table, row = self._table, file.row
        extra = table.extras.get(row, {})
        return self.looking.view_of(
            file.names, table.offsets[row], table.sizes[row], extra.get("sparse")
        )

    def feed(self, position: int, content: bytes) -> None:
        """Take what lies at a position; nothing is left out within a file."""
        after = position + len(content)
        while self._number < len(self._files):
            file = self._files[self._number]
            begin, end = stretch(self._table, file.row)
            if begin >= after and end > begin:
                return
            if not self._open:
                self._open, self._view = True, self.begin(file)
            if self._view is not None:
                self._view.feed(content[max(0, begin - position) : max(0, end - position)])
            if end > after:
                return
            if self._view is not None:
                self._view.finish()
            self._open, self._view = False, None
            self._number += 1

    @property
    def over(self) -> bool:
        """Whether all files came."""
        return self._number == len(self._files)

    def told(self) -> dict[str, dict[bytes, Encoded]]:
        """Return what the looks learned, by their names and the files' paths."""
        return self.looking.told()
