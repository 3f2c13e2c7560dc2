"""dive's efficiency of an image: how much of what its layers hold is there in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from didlab import errors
from didlab.files import paths as names
from didlab.files.table import DIR, FILE, Table

_MARK = b".wh."
_DOUBLE = b".wh..wh.."
#: Bytes of parents' paths that the entries of one layer may make, and paths that whiteouts may
#: go through: a small layer could otherwise ask for hours.
_MADE = 256 * 1024**2
_WORK = 50_000_000


def efficiency(tables: Sequence[Table]) -> float:
    """Return the figure that dive (wagoodman/dive, ``filetree.Efficiency``) gives.

    For each path, over the layers in which it is a leaf: the sum of its sizes, and the least of
    them. The figure is the sum of the least ones divided by the sum of all; 1 where nothing has
    a size. A whiteout is a leaf of the path that it removes: of size 0 where that is a file, of
    the sizes of all that lies below where it is a directory. Whiteouts of nothing and opaque ones
    count for nothing; links have no size. Paths are taken as they stand: no link is followed.

    Raises
    ------
    LimitExceeded
    """
    stacked = _Stacked()
    least: dict[bytes, int] = {}
    total = 0
    for table in tables:
        entries = _entries(table)
        inner = _parents(entries)
        for (path, mark), (size, _) in entries.items():
            if path in inner and not mark:
                continue
            found = stacked.below(path) if mark else size
            if found is not None:
                total += found
                least[path] = min(found, least.get(path, found))
        stacked.add(entries, inner)
    return sum(least.values()) / total if total else 1.0


#: A path, and whether it is a whiteout of it.
_Key = tuple[bytes, bool]
#: Size, and whether it is stated to be a directory.
_Value = tuple[int, bool]


def _entries(table: Table) -> dict[_Key, _Value]:
    """Return what a layer says of each path; of one that comes twice the last entry."""
    found: dict[_Key, _Value] = {}
    for path, kind, size in zip(table.paths, table.types, table.sizes, strict=True):
        if b"/.wh." in path:
            if b"/" + _DOUBLE in path:
                # dive has made a node of the folder by then.
                folder = path[: path.index(b"/" + _DOUBLE)]
                if folder:
                    found.setdefault((folder, False), (0, False))
                continue
            parent, _, name = path.rpartition(b"/")
            if name.startswith(_MARK):
                found[parent + b"/" + name[len(_MARK) :], True] = 0, False
                continue
        if b"/.." in path:
            try:
                path = b"/" + b"/".join(names.lexical(path.split(b"/")))  # noqa: PLW2901
            except errors.PathEscape:
                continue
        if path != b"/":
            found[path, False] = (size if kind == FILE else 0), kind == DIR
    return found


def _parents(entries: Iterable[_Key]) -> set[bytes]:
    found: set[bytes] = set()
    made = 0
    for path, _ in entries:
        parent = path[: path.rfind(b"/")]
        while parent and parent not in found:
            found.add(parent)
            made += len(parent)
            parent = parent[: parent.rfind(b"/")]
        if made > _MADE:
            raise errors.LimitExceeded(
                f"{made:,} bytes of parents' paths; at most {_MADE:,}",
                what="bytes of parents' paths",
                limit=_MADE,
                seen=made,
            )
    return found


class _Stacked:
    """The layers below, one on top of the other, as dive stacks them."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Value] = {}
        self._children: dict[bytes, dict[bytes, None]] = {}
        self._work = 0

    def below(self, path: bytes) -> int | None:
        """Return the bytes that the whiteout of a path removes; None where there is nothing."""
        known = self._known.get(path)
        if known is None:
            return None
        if not known[1]:
            return 0
        return sum(self._known[one][0] for one in self._subtree(path))

    def add(self, entries: dict[_Key, _Value], inner: set[bytes]) -> None:
        """Put one more layer on top."""
        marks = [path for path, mark in entries if mark]
        # dive goes through names in their order, and ``.wh.+x`` comes after ``+x``.
        late = [path for path in marks if path[path.rfind(b"/") + 1 :] < _MARK]
        for path in set(marks).difference(late):
            self._remove(path)
        for path in inner:
            # A parent that the layer does not state is none of dive's directories.
            self._set(path, entries.get((path, False), (0, False)))
        for (path, mark), value in entries.items():
            if not mark and path not in inner:
                self._set(path, value)
        for path in late:
            self._remove(path)

    def _set(self, path: bytes, value: _Value) -> None:
        self._known[path] = value
        self._children.setdefault(path[: path.rfind(b"/")], {})[path] = None

    def _remove(self, path: bytes) -> None:
        if path not in self._known:
            return
        del self._children[path[: path.rfind(b"/")]][path]
        for one in self._subtree(path):
            del self._known[one]
            self._children.pop(one, None)

    def _subtree(self, path: bytes) -> list[bytes]:
        found, at = [path], 0
        while at < len(found):
            found += self._children.get(found[at], ())
            at += 1
        self._work += len(found)
        if self._work > _WORK:
            raise errors.LimitExceeded(
                f"whiteouts go through more than {_WORK:,} paths",
                what="paths below whiteouts",
                limit=_WORK,
                seen=self._work,
            )
        return found
