"""Rows of several tables under one number: those of the first, of the next, and so on.

Directories that no table states have negative numbers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set
from operator import itemgetter
from typing import Any, TypeVar

from didlab.files.strings import Strings
from didlab.files.table import DIR, FILE, HARDLINK, NO_OFFSET, NO_TIME, Table

_T = TypeVar("_T")


class Numbered:
    """The rows of layers, the base first; their types are at hand."""

    def __init__(self) -> None:
        self.types = bytearray()
        self.implied: list[int] = []  # the layer of each that is not stated: row -1, row -2 …
        self._tables: list[Table] = []
        self._bases: list[int] = []

    def __len__(self) -> int:
        return len(self.types)

    def add(self, table: Table) -> None:
        """Give the rows of one more layer the next numbers."""
        self._bases.append(len(self.types))
        self._tables.append(table)
        self.types += table.types

    def imply(self) -> int:
        """Return the number of a directory that the last layer has, and does not state."""
        self.implied.append(len(self._tables) - 1)
        return -len(self.implied)

    def link(self, row: int) -> bytes:
        """Return the link of a row."""
        table, at = self._place(row)
        return table.links[at]

    def size(self, row: int) -> int:
        """Return the bytes of a row."""
        table, at = self._place(row)
        return table.sizes[at]

    def _place(self, row: int) -> tuple[Table, int]:
        layer = bisect_right(self._bases, row) - 1
        return self._tables[layer], row - self._bases[layer]

    def table(
        self,
        paths: list[bytes],
        own: list[int],
        content: list[int],
        targets: Mapping[int, bytes],
        lost: Set[int],
    ) -> Table:
        """Return rows in columns, ``layers``, ``homes`` and ``origins`` filled.

        Parameters
        ----------
        paths : list of bytes
            Where they are.
        own, content : list of int
            The rows, and those that have their content: others for hard links.
        targets : mapping
            What hard links lead to, by row.
        lost : set
            Hard links to nothing.
        """
        tables, implied = self._tables, self.implied

        def whole(name: str, default: int) -> list[int]:
            values: list[int] = []
            for table in tables:
                values += getattr(table, name)
            return values + [default] * len(implied)

        def picked(kind: str, name: str, default: int) -> array[int]:
            return array(kind, _pick(whole(name, default), content))

        links = [link for table in tables for link in table.links] + [b""] * len(implied)
        shown = list(_pick(links, own))
        types = self.types + bytes([DIR]) * len(implied)
        kinds = bytearray(_pick(types, own))
        layers = [number for number, table in enumerate(tables) for _ in range(len(table))]
        nowhere = [-1] * len(implied)
        homes = array("i", _pick(layers + nowhere, content))
        numbers = [row for table in tables for row in range(len(table))] + nowhere
        origins = array("i", _pick(numbers, content))
        layers += reversed(implied)  # row -1 is the first of them
        at = kinds.find(HARDLINK)
        while at >= 0:
            row, real = own[at], content[at]
            if row in lost:
                homes[at] = origins[at] = -1
            elif types[real] != FILE:
                kinds[at], shown[at] = types[real], links[real]
            shown[at] = targets.get(row, shown[at]) if kinds[at] == HARDLINK else shown[at]
            at = kinds.find(HARDLINK, at + 1)
        return Table(
            Strings.of(paths),
            bytes(kinds),
            picked("H", "modes", 0o755),
            picked("q", "uids", 0),
            picked("q", "gids", 0),
            picked("q", "sizes", 0),
            picked("q", "mtimes", NO_TIME),
            Strings.of(shown),
            picked("q", "offsets", NO_OFFSET),
            self._extras(content),
            array("i", _pick(layers, own)),
            homes,
            origins,
        )

    def _extras(self, content: list[int]) -> dict[int, dict[str, Any]]:
        found = {
            base + row: extra
            for base, table in zip(self._bases, self._tables, strict=True)
            for row, extra in table.extras.items()
        }
        if not found:
            return found
        return {at: found[row] for at, row in enumerate(content) if row in found}


def _pick(values: Sequence[_T], rows: list[int]) -> Sequence[_T]:
    """Return values by their numbers, as fast as Python can."""
    if len(rows) < 2:  # itemgetter would return the value itself
        return [values[row] for row in rows]
    return itemgetter(*rows)(values)  # type: ignore[no-any-return]
