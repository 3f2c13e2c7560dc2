"""What holds at a few paths of a merged file system, without merging it: where that is certain.

A merge costs as much as all entries of all layers, and who audits hundreds of images wants three
files of each. They can be looked up in one layer after the other as long as every path is what
it says: no entry lies behind a link, no hard link is another name of what is asked for. Whatever
else there is, is left to `merge`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count
from typing import TYPE_CHECKING, Any

from didlab.errors import DidlabError
from didlab.files.limits import DEFAULT
from didlab.files.table import DIR, FILE, HARDLINK, SYMLINK, Table
from didlab.files.whiteouts import prepare

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

__all__ = ["Sketch", "Standing", "Unsure", "sketch"]

#: Layers that a sketch remembers to go together with.
_REMEMBERED = 4096

#: An absolute path without empty parts, ``.`` and ``..``.
_PLAIN = re.compile(rb"(?:/(?!\.{0,2}(?:/|\Z))[^/]+)+", re.DOTALL)

_numbers = count()


class Unsure(Exception):
    """Only a merge tells."""


class Sketch:
    """One layer's paths, ready to be asked for.

    Paths are known by their hashes, of this process: a path that only looks like another one
    makes it unsure, never wrong, and rows are compared by their paths.

    Attributes
    ----------
    table : Table
    folders : array
        Sorted hashes of all directories on the way to entries, whiteouts and hard links' targets.
    others : array
        Sorted hashes of all that is no directory.
    gone, opaque : frozenset of bytes
        What the layer deletes, and the directories of which it hides the content.
    linked : frozenset of bytes
        The targets of hard links.
    """

    __slots__ = (
        "_clear",
        "_hashes",
        "_number",
        "_rows",
        "folders",
        "gone",
        "linked",
        "opaque",
        "others",
        "table",
    )

    def __init__(self, table: Table) -> None:
        import numpy as np

        made = prepare(table, lambda _: None)
        blob = table.paths.blob
        if made.plinks or b"/../" in blob or b"/..\0" in blob:
            raise Unsure
        self.table = table
        self.gone = frozenset(path for path, opaque in made.whiteouts if not opaque)
        self.opaque = frozenset(path for path, opaque in made.whiteouts if opaque)
        links = []
        if HARDLINK in table.types:
            links = [table.links[row] for row in _of(table, HARDLINK)]
            if any(not _PLAIN.fullmatch(link) for link in links):
                raise Unsure
        self.linked = frozenset(links)
        kept = list(compress(made.paths, made.kept))
        rows = np.flatnonzero(np.frombuffer(made.kept, np.uint8))
        hashes = _hashed(kept)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], rows[order].astype(np.int32)
        folder = np.frombuffer(table.types, np.uint8)[rows] == DIR
        self.others = np.unique(hashes[~folder])
        # An opaque directory itself is one on the way to what its layer hides.
        ends = [path for path, _ in made.whiteouts] + links
        opaque = {b"/".join((path, b"")) for path in self.opaque}
        self.folders = np.unique(_hashed(folders((*kept, *ends, *opaque))))
        self._number = next(_numbers)
        self._clear: dict[int, bool] = {}
        # What is a file first and a directory then hides what lower layers have below.
        if _common(self.folders, self.others) or _common(np.unique(hashes[folder]), self.others):
            raise Unsure

    def row(self, path: bytes) -> int:
        """Return the last row of a path, or -1."""
        at = int(self._hashes.searchsorted(hash(path), side="right")) - 1
        return self._row(path, at)

    def _row(self, path: bytes, at: int) -> int:
        wanted, paths = hash(path), self.table.paths
        while at >= 0 and self._hashes[at] == wanted:
            row = int(self._rows[at])
            if paths[row] == path:
                return row
            at -= 1
        return -1

    def having(self, paths: Sequence[bytes], hashes: Numbers) -> Iterator[bytes]:
        """Yield those of some paths that the layer has entries of; ``hashes`` are theirs."""
        ends = self._hashes.searchsorted(hashes, side="right") - 1
        hits = (ends >= 0) & (self._hashes[ends] == hashes) if len(self._hashes) else ends >= 0
        for number in hits.nonzero()[0].tolist():
            if self._row(paths[number], int(ends[number])) >= 0:
                yield paths[number]

    def clear_of(self, other: Sketch) -> bool:
        """Whether nothing here lies below what is no directory there."""
        known = self._clear.get(other._number)
        if known is None:
            if len(self._clear) >= _REMEMBERED:
                self._clear.clear()
            known = self._clear[other._number] = not _common(self.folders, other.others)
        return known


def sketch(table: Table) -> Sketch | None:
    """Return the sketch of a layer; None where only a merge tells what it does."""
    try:
        return Sketch(table)
    except (Unsure, DidlabError):
        # The merge says what is wrong with it.
        return None


class Standing:
    """The merged file system of layers, base first, asked for a few paths.

    Raises
    ------
    Unsure
        Only a merge tells.
    """

    def __init__(self, sketches: Sequence[Sketch | None]) -> None:
        self._layers: list[Sketch] = []
        for one in sketches:
            if one is None or not all(one.clear_of(lower) for lower in self._layers):
                raise Unsure
            self._layers.append(one)

    def left(self, layer: int, paths: Iterable[bytes]) -> list[bytes]:
        """Return those of a layer's files that are there in the end, sorted.

        Raises
        ------
        Unsure
            One of them is no file with content, or has another name.
        """
        own = self._layers[layer]
        there = sorted(paths)
        for path in there:
            row = own.row(path)
            if row < 0 or own.table.types[row] != FILE or not own.table.sizes[row]:
                raise Unsure
        self._check_links(there)
        for upper in self._layers[layer + 1 :]:
            if not there:
                break
            gone = set(upper.having(there, _hashed(there)))
            if upper.gone or upper.opaque or not own.clear_of(upper):
                gone.update(path for path in there if _hidden(upper, path))
            if gone:
                there = [path for path in there if path not in gone]
        return there

    def file(self, path: bytes) -> tuple[int, int] | None:
        """Return layer and row of the regular file that a path leads to; None where none is there.

        Raises
        ------
        Unsure
        """
        here, hops, stated = b"", 0, True
        todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
        found: tuple[int, int] | None = None
        while todo:
            part = todo.pop()
            if part == b"..":
                if not here:
                    return None
                if not stated:
                    raise Unsure
                here, found = here[: here.rfind(b"/")], None
                continue
            child = here + b"/" + part
            found = self._at(child)
            stated = found is not None
            if found is None:
                # A directory that nobody states, or nothing: then nothing is below it either.
                here = child
                continue
            table, row = self._layers[found[0]].table, found[1]
            kind = table.types[row]
            if kind == HARDLINK:
                raise Unsure
            if kind == SYMLINK:
                hops += 1
                if hops > DEFAULT.hops:
                    return None
                link = table.links[row]
                here, found = (b"" if link.startswith(b"/") else here), None  # its own folder
                todo += [part for part in link.split(b"/")[::-1] if part not in (b"", b".")]
            elif kind == DIR or not todo:
                here = child
            else:
                return None
        if found is None or self._layers[found[0]].table.types[found[1]] != FILE:
            return None
        return found

    def _at(self, path: bytes) -> tuple[int, int] | None:
        """Return layer and row of what states a path last, if that is there in the end."""
        for number in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[number]
            row = layer.row(path)
            if row >= 0:
                return number, row
            if _hidden(layer, path):
                return None
        return None

    def _check_links(self, paths: Sequence[bytes]) -> None:
        for layer in self._layers:
            if layer.linked and not layer.linked.isdisjoint(paths):
                raise Unsure


def folders(paths: Iterable[bytes]) -> set[bytes]:
    """Return all directories on the way to paths, but for the root.

    >>> sorted(folders([b"/a/b/c", b"/a/d", b"/e"]))
    [b'/a', b'/a/b']
    """
    found = {path[: path.rfind(b"/")] for path in paths}
    todo = list(found)
    while todo:
        path = todo.pop()
        parent = path[: path.rfind(b"/")]
        if path and parent not in found:
            found.add(parent)
            todo.append(parent)
    found.discard(b"")
    return found


def _hidden(layer: Sketch, path: bytes) -> bool:
    """Whether a layer hides what lower ones have at a path, without stating it itself."""
    if path in layer.gone or b"" in layer.opaque:
        return True
    at = path.rfind(b"/")
    while at > 0:
        folder = path[:at]
        if folder in layer.gone or folder in layer.opaque:
            return True
        row = layer.row(folder)
        if row >= 0 and layer.table.types[row] != DIR:
            return True
        at = path.rfind(b"/", 0, at)
    return False


def _of(table: Table, kind: int) -> Iterator[int]:
    at = table.types.find(kind)
    while at >= 0:
        yield at
        at = table.types.find(kind, at + 1)


def _hashed(paths: Iterable[bytes]) -> Numbers:
    import numpy as np

    return np.fromiter(map(hash, paths), np.int64)


def _common(some: Numbers, others: Numbers) -> Any:
    """Whether two sorted arrays have a number in common."""
    import numpy as np

    if not len(some) or not len(others):
        return False
    at = others.searchsorted(some)
    return bool(np.any(others[np.minimum(at, len(others) - 1)] == some))
