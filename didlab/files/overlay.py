"""The merged view of layers while they are put on top of each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress
from typing import NoReturn

from didlab import errors
from didlab.files import paths as names
from didlab.files.limits import DEFAULT, Limits
from didlab.files.numbered import Numbered
from didlab.files.table import DIR, HARDLINK, SYMLINK, Table
from didlab.files.whiteouts import prepare, refuse

#: Bytes of paths that links and unstated parents may make, none of which the layers hold: a
#: small layer could otherwise ask for terabytes.
_MADE = 256 * 1024**2
#: What following links may cost, in bytes of paths looked up.
_WORK = 4 * 1024**3


class Overlay:
    """The merged view while layers are added to it.

    A row is known by its number in all tables together; parents that nobody states have
    negative ones. After `add`, ``hidden`` has the rows of lower layers which that layer
    replaced or deleted, by path.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.hidden: dict[bytes, int] = {}
        self._limits = limits
        # Every directory (by path, the root as b"") with the rows of its children, by path.
        self._folders: dict[bytes, dict[bytes, int]] = {b"": {}}
        self._root: int | None = None
        self._rows = Numbered()
        self._content: dict[int, int] = {}  # of hard links: the row that has the content
        self._targets: dict[int, bytes] = {}  # of hard links, their parents' links followed
        self._lost: set[int] = set()  # hard links to nothing
        self._plinks: dict[bytes, int] = {}
        self._made = self._work = 0
        self._begin(Table.of([]))

    def _begin(self, table: Table) -> None:
        """Forget what is about one layer, and take the next one's entries."""
        self.hidden = {}
        self._base, self._first_implied = len(self._rows), len(self._rows.implied)
        self._moved: dict[int, bytes] = {}
        self._fresh: list[bytes] = []
        self._via: dict[bytes, bytes | None] = {}
        self._stated: dict[bytes, int] | None = None
        self._layer = prepare(table, self._count)

    def add(self, table: Table) -> None:
        """Put one more layer on top."""
        self._begin(table)
        self._rows.add(table)
        layer, base = self._layer, self._base
        if layer.root is not None:
            self._set_root(base + layer.root)
        self._plinks.update({path: base + row for path, row in layer.plinks.items()})
        for target in sorted(layer.whiteouts):
            self._whiteout(target)
        self._stated = None
        self._via.clear()
        rows: Iterable[tuple[int, bytes, int]]
        rows = zip(range(base, len(self._rows)), layer.paths, table.types, strict=True)
        folders = self._folders
        for row, path, kind in compress(rows, layer.kept) if 0 in layer.kept else rows:
            siblings = folders.get(path[: path.rfind(b"/")])
            if siblings is None:
                siblings, path = self._place(path, row)  # noqa: PLW2901
            if path in siblings or kind == HARDLINK:
                self._restate(siblings, path, row, kind)
            else:
                siblings[path] = row
                if kind == DIR:
                    folders[path] = {}
        count = sum(map(len, folders.values()))
        if count > self._limits.entries:
            self._over("entries of a merged file system", self._limits.entries, count)

    # What the layers made

    def rows(self) -> dict[bytes, int]:
        """Return the row of every path, in no order."""
        found = {} if self._root is None else {b"/": self._root}
        for children in self._folders.values():
            found.update(children)
        return found

    def row(self, path: bytes) -> int | None:
        """Return the row that a path has now."""
        if path == b"/":
            return self._root
        return self._folders.get(path[: path.rfind(b"/")], {}).get(path)

    def written(self) -> Iterator[tuple[bytes, int]]:
        """Yield what the last layer wrote and is there: paths with their rows."""
        rows = zip(range(self._base, len(self._rows)), self._layer.paths, strict=True)
        for number, path in compress(rows, self._layer.kept):
            place = self._moved.get(number, path)
            if self.row(place) == number:
                yield place, number
        if self._root is not None and self._root >= self._base:
            yield b"/", self._root
        for index, path in enumerate(self._fresh):
            if self.row(path) == (number := -1 - self._first_implied - index):
                yield path, number

    def size(self, row: int) -> int:
        """Return the bytes of a row's content."""
        row = self._content.get(row, row)
        return 0 if row < 0 else self._rows.size(row)

    def contents(self, rows: list[int]) -> list[int]:
        """Return for each row the one that has its content: another for hard links."""
        return [self._content.get(row, row) for row in rows] if self._content else rows

    def table(self, paths: list[bytes], rows: Iterable[int]) -> Table:
        """Return rows in columns, ``layers``, ``homes`` and ``origins`` filled."""
        own = list(rows)
        return self._rows.table(paths, own, self.contents(own), self._targets, self._lost)

    # Entries that need more than a look

    def _whiteout(self, target: tuple[bytes, bool]) -> None:
        path, opaque = target
        parent = path if opaque else path[: path.rfind(b"/")]
        where: bytes | None = parent
        if parent not in self._folders:
            if self._stated is None:
                kept = compress(range(len(self._layer.paths)), self._layer.kept)
                self._stated = {self._layer.paths[row]: row for row in kept}
            where = self._followed(parent, path)
        if where is None or where not in self._folders:
            return
        if opaque:
            self._drop(where)
            self._folders[where] = {}
            return
        path = where + path[len(parent) :]
        if (row := self._folders[where].pop(path, None)) is not None:
            self.hidden[path] = row
            if path in self._folders:
                self._drop(path)

    def _set_root(self, row: int) -> None:
        if self._root is not None and self._root < self._base:
            self.hidden[b"/"] = self._root
        self._root = row

    def _place(self, path: bytes, row: int) -> tuple[dict[bytes, int], bytes]:
        """Return the children of an entry's directory, made where missing, and its real path."""
        parent = path[: path.rfind(b"/")]
        if parent not in self._via:
            self._via[parent] = self._followed(parent, path)
        where = self._via[parent]
        if where is None:
            shown = path.decode("utf-8", "backslashreplace")
            raise errors.TarInvalid(
                f"the entry {shown} lies below something that is no directory", where=shown
            )
        if where != parent:
            path = where + path[len(parent) :]
            self._count(len(path))
            if len(path) > self._limits.path:
                self._over("bytes of a path", self._limits.path, len(path))
            self._moved[row] = path
        return self._folder(where), path

    def _folder(self, path: bytes) -> dict[bytes, int]:
        """Return a directory's children; it and its parents are made where missing."""
        folders, missing = self._folders, []
        while path not in folders:
            missing.append(path)
            path = path[: path.rfind(b"/")]
        children = folders[path]
        for path in reversed(missing):
            self._count(len(path))
            self._fresh.append(path)
            children[path] = self._rows.imply()
            children = folders[path] = {}
        return children

    def _restate(self, siblings: dict[bytes, int], path: bytes, row: int, kind: int) -> None:
        """Write an entry over another, or a hard link."""
        if kind == HARDLINK:
            self._link(path, row)
        old = siblings.get(path)
        if old is not None:
            self._hide(path, old)
            if path in self._folders:
                if kind == DIR:
                    siblings[path] = row
                    return
                self._drop(path)
            self._via.clear()
        siblings[path] = row
        if kind == DIR:
            self._folders[path] = {}

    def _link(self, path: bytes, row: int) -> None:
        """Find what a hard link is another name of, as things stand now."""
        target = self._rows.link(row)
        found: int | None = None
        try:
            parts = [b"", *names.lexical(target.split(b"/"))]
        except errors.PathEscape:
            refuse(errors.LinkEscape, path, "is a hard link that leads above the image's root")
        parent, target = b"/".join(parts[:-1]), b"/".join(parts)
        where = parent if parent in self._folders else self._followed(parent, path)
        if where is not None:
            real = where + target[len(parent) :]
            found = self.row(real)
            # The same layer may delete the name whose content it keeps under another.
            found = self.hidden.get(real) if found is None else found
            self._targets[row] = real
        found = self._plinks.get(target) if found is None else found
        if found is None or found in self._lost or found < 0 or self._rows.types[found] == DIR:
            self._lost.add(row)
        else:
            self._content[row] = self._content.get(found, found)

    def _followed(self, path: bytes, entry: bytes) -> bytes | None:
        """Follow the links in a directory's path; what is missing stays as it is.

        None when it leads through something that is no directory. Links never leave the image:
        above the root is the root, as for a process inside.
        """
        todo, here, hops = path.split(b"/")[::-1], b"", 0
        while todo:
            part = todo.pop()
            self._work += len(here) + 64
            if self._work > _WORK:
                self._over("bytes looked up to follow links", _WORK, self._work)
            if part == b"..":
                here = here[: max(0, here.rfind(b"/"))]
            elif part not in (b"", b"."):
                child = here + b"/" + part
                row = None if child in self._folders else self._folders.get(here, {}).get(child)
                if row is None:
                    here = child
                    continue
                if self._stated and child in self._stated:
                    # A whiteout that is looked up before the entries: this one will be there.
                    row = self._base + self._stated[child]
                row = self._content.get(row, row)
                if self._rows.types[row] != SYMLINK:
                    return None
                hops += 1
                if hops > self._limits.hops:
                    refuse(errors.LinkLoop, entry, f"lies behind more than {hops - 1} links")
                link = self._rows.link(row)
                here = b"" if link.startswith(b"/") else here
                todo += link.split(b"/")[::-1]
        return here

    def _hide(self, path: bytes, row: int) -> None:
        """Note that a row is no longer seen, if a lower layer wrote it."""
        if row < self._base and row >= -self._first_implied:
            self.hidden[path] = row

    def _drop(self, path: bytes) -> None:
        """Remove a directory's children, and itself from the directories."""
        todo = [path]
        while todo:
            for child, row in self._folders.pop(todo.pop()).items():
                self._hide(child, row)
                if child in self._folders:
                    todo.append(child)

    def _count(self, size: int) -> None:
        self._made += size
        if self._made > _MADE:
            self._over("bytes of paths made by links and unstated parents", _MADE, self._made)

    def _over(self, what: str, limit: int, seen: int) -> NoReturn:
        message = f"{seen:,} {what}; at most {limit:,}"
        raise errors.LimitExceeded(message, what=what, limit=limit, seen=seen)
