"""The folders of a merged table: who lies in which, found once for all clicks that follow."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from didlab.files import links
from didlab.files.table import DIR, FILE, SYMLINK, TYPES, Table
from didlab.model.listing import ls, shown

#: The row of the root, whether or not a layer states it.
ROOT = links.ROOT


class Folders:
    """Children and sizes of every folder of a merged table (sorted, each path once).

    Made in one pass, a second for a million entries; a folder is listed in the time that its
    own entries take.

    Attributes
    ----------
    table : Table
        What it was made of.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._children: dict[bytes, array[int]] = {}
        #: Bytes below each folder; hard links count once.
        self._below: dict[bytes, int] = {}
        children, below = self._children, self._below
        sizes, types = table.sizes, table.types
        row = len(table)
        # Backwards: what lies in a folder comes after it, so its sum is whole when it is met.
        for path in reversed(list(table.paths)):
            row -= 1
            if path == b"/":
                continue
            folder = path.rpartition(b"/")[0] or b"/"
            rows = children.get(folder)
            if rows is None:
                rows = children[folder] = array("q")
            rows.append(row)
            kind = types[row]
            size = below.get(path, 0) if kind == DIR else sizes[row] if kind == FILE else 0
            if size:
                below[folder] = below.get(folder, 0) + size
        for rows in children.values():
            rows.reverse()

    def __len__(self) -> int:
        return len(self.table)

    def path(self, row: int) -> bytes:
        """Return the path of a row."""
        return b"/" if row == ROOT else self.table.paths[row]

    def row(self, path: bytes) -> int | None:
        """Return the row of a path, `ROOT` for the root, None where there is none."""
        if path == b"/":
            return ROOT
        row = links.find(self.table, path)
        return row if row >= 0 else None

    def is_folder(self, row: int) -> bool:
        """Whether a row is a folder."""
        return row == ROOT or self.table.types[row] == DIR

    def children(self, path: bytes) -> Sequence[int]:
        """Return the rows of a folder, by name."""
        return self._children.get(path, ())

    def size(self, row: int) -> int:
        """Return the bytes of a file, or of all files below a folder."""
        if self.is_folder(row):
            return self._below.get(self.path(row), 0)
        return self.table.sizes[row]

    def name(self, row: int) -> bytes:
        """Return the last part of a path."""
        return self.path(row).rpartition(b"/")[2] or b"/"

    def named(self, path: bytes, part: str) -> Sequence[int]:
        """Return the rows of a folder whose names hold a text, in either case."""
        rows = self.children(path)
        wanted = part.strip().lower()
        if not wanted:
            return rows
        return [row for row in rows if wanted in shown(self.name(row)).lower()]

    def facts(self, row: int) -> dict[str, str]:
        """Return what there is to say of an entry, as text not yet escaped."""
        if row == ROOT:
            return {"path": "/", "type": "dir"}
        entry = self.table.entry(row)
        found = {
            "path": shown(entry.path),
            "type": TYPES[entry.type],
            "permissions": ls(entry.type, entry.mode),
            "owner": f"{entry.uid}:{entry.gid}",
        }
        if entry.type == DIR:
            found["entries"] = f"{len(self.children(entry.path)):,}"
        if entry.link:
            found["leads to"] = shown(entry.link)
        if self.table.layers is not None and self.table.layers[row] >= 0:
            found["layer"] = str(self.table.layers[row])
        return found

    def target(self, row: int) -> int | None:
        """Return the row that a symlink leads to; the row itself of others, None for nowhere."""
        from didlab.errors import DidlabError

        if row == ROOT or self.table.types[row] != SYMLINK:
            return row
        try:
            return links.resolve(self.table, self.table.paths[row])
        except DidlabError:
            return None
