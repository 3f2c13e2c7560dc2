"""Layers put on top of each other: the merged file system, by the image specification's rules."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any, NoReturn, TypeVar

from didlab import errors
from didlab.files import paths as names
from didlab.files.limits import DEFAULT, Limits
from didlab.files.strings import Strings
from didlab.files.table import DIR, FILE, HARDLINK, NO_OFFSET, NO_TIME, SYMLINK, Table

__all__ = ["Overlay", "merge"]

_T = TypeVar("_T")

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
#: What aufs keeps for itself in a layer: no files of the image.
_AUFS = b".wh..wh."
#: Bytes of paths that links and unstated parents may make, none of which the layers hold: a
#: small layer could otherwise ask for terabytes.
_MADE = 256 * 1024**2
#: What following links may cost, in bytes of paths looked up.
_WORK = 4 * 1024**3


def merge(tables: Sequence[Table], limits: Limits = DEFAULT) -> Table:
    """Return the file system that layers make, the base first.

    Each path is there once, sorted by its bytes, under directories that are no links. ``layers``
    says which layer wrote it last, ``homes`` and ``origins`` where its content lies (-1 both:
    nowhere, as for parents that no layer states, and for hard links to nothing). A hard link
    has its target's attributes, as on a disk; one to a symlink or device is shown as such. It
    leads to the name that is shown as the file: the first one, where that which had the content
    was deleted or replaced. The root has a row only where a layer states it.

    Raises
    ------
    UnsafeContent
        A whiteout of no plain name; `PathEscape`, `LinkEscape`: a path or hard link that leads
        above the root.
    LinkLoop
        The parent of an entry is found through more than 40 links.
    TarInvalid
        The parent of an entry is no directory.
    LimitExceeded
        More entries than the limits allow.
    """
    overlay = Overlay(limits)
    for table in tables:
        overlay.add(table)
    rows = overlay.rows()
    paths = sorted(rows)
    numbers = list(map(rows.__getitem__, paths))
    return _files_first(overlay.table(paths, numbers), paths, overlay.contents(numbers), numbers)


def _files_first(table: Table, paths: list[bytes], contents: list[int], rows: list[int]) -> Table:
    """Let hard links lead to a name that is there, of the same content, and is shown as a file."""
    kinds = bytearray(table.types)
    if HARDLINK not in kinds or table.homes is None:
        return table
    linked = [at for at in range(len(kinds)) if kinds[at] == HARDLINK and table.homes[at] >= 0]
    wanted = {contents[at] for at in linked}
    names = {row: path for path, row in zip(paths, rows, strict=True) if row in wanted}
    links = list(table.links)
    for at in linked:
        links[at] = names.setdefault(contents[at], paths[at])
        if links[at] == paths[at]:
            kinds[at], links[at] = FILE, b""
    table.types, table.links = bytes(kinds), Strings.of(links)
    return table


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
        self._tables: list[Table] = []
        self._bases: list[int] = []
        self._types = bytearray()
        self._implied: list[int] = []  # the layer of each
        self._content: dict[int, int] = {}  # of hard links: the row that has the content
        self._targets: dict[int, bytes] = {}  # of hard links, their parents' links followed
        self._lost: set[int] = set()  # hard links to nothing
        self._plinks: dict[bytes, int] = {}
        self._made = self._work = 0
        self._begin([], b"", bytearray())

    def _begin(self, paths: list[bytes], types: bytes, kept: bytearray) -> None:
        """Forget what is about one layer."""
        self.hidden = {}
        self._paths, self._kept = paths, kept
        self._base, self._first_implied = len(self._types), len(self._implied)
        self._types += types
        self._moved: dict[int, bytes] = {}
        self._fresh: list[bytes] = []
        self._via: dict[bytes, bytes | None] = {}
        self._stated: dict[bytes, int] | None = None

    def add(self, table: Table) -> None:
        """Put one more layer on top."""
        paths, types = list(table.paths), table.types
        base = len(self._types)
        self._bases.append(base)
        self._tables.append(table)
        self._begin(paths, types, bytearray(b"\1") * len(paths))
        for target in sorted(self._prepare(table)):
            self._whiteout(target)
        self._stated = None
        self._via.clear()
        rows: Iterable[tuple[int, bytes, int]]
        rows = zip(range(base, len(self._types)), paths, types, strict=True)
        folders = self._folders
        for row, path, kind in compress(rows, self._kept) if 0 in self._kept else rows:
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
        numbers = range(self._base, len(self._types))
        for number, path in compress(zip(numbers, self._paths, strict=True), self._kept):
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
        if row < 0:
            return 0
        layer = bisect_right(self._bases, row) - 1
        return self._tables[layer].sizes[row - self._bases[layer]]

    def contents(self, rows: list[int]) -> list[int]:
        """Return for each row the one that has its content: another for hard links."""
        return [self._content.get(row, row) for row in rows] if self._content else rows

    def table(self, paths: list[bytes], rows: Iterable[int]) -> Table:
        """Return rows in columns, ``layers``, ``homes`` and ``origins`` filled."""
        own = list(rows)
        content = self.contents(own)
        tables, implied = self._tables, self._implied

        def whole(name: str, default: int) -> list[int]:
            values: list[int] = []
            for table in tables:
                values += getattr(table, name)
            return values + [default] * len(implied)

        def picked(kind: str, name: str, default: int) -> array[int]:
            return array(kind, _pick(whole(name, default), content))

        links = [link for table in tables for link in table.links] + [b""] * len(implied)
        shown = list(_pick(links, own))
        types = self._types + bytes([DIR]) * len(implied)
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
            if row in self._lost:
                homes[at] = origins[at] = -1
            elif types[real] != FILE:
                kinds[at], shown[at] = types[real], links[real]
            shown[at] = self._targets.get(row, shown[at]) if kinds[at] == HARDLINK else shown[at]
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

    # Entries that need more than a look

    def _prepare(self, table: Table) -> list[tuple[bytes, bool]]:
        """Set aside what is no ordinary entry; return the whiteouts, (path, whether opaque).

        Whiteouts speak of lower layers only, wherever they stand in their own, so that all of
        them come before the entries.
        """
        found = []
        paths, base = self._paths, self._base
        for row in _unusual(table.paths, paths):
            parts = paths[row].split(b"/")
            if b".." in parts:
                try:
                    parts = [b"", *names.lexical(parts)]
                except errors.PathEscape:
                    _refuse(errors.PathEscape, paths[row], "leads above the image's root")
                paths[row] = b"/".join(parts) or b"/"
                self._count(len(paths[row]))
            if paths[row] == b"/":
                self._kept[row] = 0
                if table.types[row] == DIR:
                    self._set_root(base + row)
                continue
            marks = [part for part in parts if part.startswith(_WHITEOUT)]
            if not marks:
                continue
            self._kept[row] = 0
            if any(mark.startswith(_AUFS) and mark != _OPAQUE for mark in marks):
                if table.types[row] == FILE:  # old images have hard links to these
                    self._plinks[paths[row]] = base + row
                continue
            if len(marks) > 1 or not parts[-1].startswith(_WHITEOUT):
                _refuse(errors.UnsafeContent, paths[row], "lies below a whiteout")
            parent, name = b"/".join(parts[:-1]), parts[-1][len(_WHITEOUT) :]
            if parts[-1] == _OPAQUE:
                found.append((parent, True))
            elif name in (b"", b".", b".."):
                _refuse(errors.UnsafeContent, paths[row], "is a whiteout of no plain name")
            else:
                found.append((parent + b"/" + name, False))
        return found

    def _whiteout(self, target: tuple[bytes, bool]) -> None:
        path, opaque = target
        parent = path if opaque else path[: path.rfind(b"/")]
        where: bytes | None = parent
        if parent not in self._folders:
            if self._stated is None:
                kept = compress(range(len(self._paths)), self._kept)
                self._stated = {self._paths[row]: row for row in kept}
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
            self._implied.append(len(self._tables) - 1)
            self._fresh.append(path)
            children[path] = -len(self._implied)
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
        target = self._text(row)
        found: int | None = None
        try:
            parts = [b"", *names.lexical(target.split(b"/"))]
        except errors.PathEscape:
            _refuse(errors.LinkEscape, path, "is a hard link that leads above the image's root")
        parent, target = b"/".join(parts[:-1]), b"/".join(parts)
        where = parent if parent in self._folders else self._followed(parent, path)
        if where is not None:
            real = where + target[len(parent) :]
            found = self.row(real)
            # The same layer may delete the name whose content it keeps under another.
            found = self.hidden.get(real) if found is None else found
            self._targets[row] = real
        found = self._plinks.get(target) if found is None else found
        if found is None or found in self._lost or found < 0 or self._types[found] == DIR:
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
                if self._types[row] != SYMLINK:
                    return None
                hops += 1
                if hops > self._limits.hops:
                    _refuse(errors.LinkLoop, entry, f"lies behind more than {hops - 1} links")
                link = self._text(row)
                here = b"" if link.startswith(b"/") else here
                todo += link.split(b"/")[::-1]
        return here

    def _text(self, row: int) -> bytes:
        layer = bisect_right(self._bases, row) - 1
        return self._tables[layer].links[row - self._bases[layer]]

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


def _pick(values: Sequence[_T], rows: list[int]) -> Sequence[_T]:
    """Return values by their numbers, as fast as Python can."""
    if len(rows) < 2:  # itemgetter would return the value itself
        return [values[row] for row in rows]
    return itemgetter(*rows)(values)  # type: ignore[no-any-return]


def _unusual(strings: Strings, paths: list[bytes]) -> list[int]:
    """Rows of the root, of whiteouts, and of paths with ``..``; and a few that only look so."""
    found = []
    blob = strings.blob
    if b"\0/\0" in blob or b"/.wh." in blob or b"/.." in blob:
        found = [
            row
            for row, path in enumerate(paths)
            if b"/.wh." in path or b"/.." in path or path == b"/"
        ]
    return found


def _refuse(kind: type[errors.DidlabError], path: bytes, why: str) -> NoReturn:
    shown = path.decode("utf-8", "backslashreplace")
    extra = {"path": shown} if issubclass(kind, errors.PathError) else {"where": shown}
    raise kind(f"the entry {shown} {why}", **extra)
