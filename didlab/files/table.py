"""The entries of a layer, or of a merged file system, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from didlab.files.strings import Strings

#: Names of the types, by the number that a table holds.
TYPES = ("file", "dir", "symlink", "hardlink", "char", "block", "fifo")
FILE, DIR, SYMLINK, HARDLINK, CHAR, BLOCK, FIFO = range(7)

_MERGED = ("layers", "homes", "origins")
#: The time of entries that have none.
NO_TIME = -(2**63)
#: The offset of entries without content.
NO_OFFSET = -1


class Entry(NamedTuple):
    """One row.

    Attributes
    ----------
    path : bytes
        Absolute, as stored but for the slashes: ``b"/etc/passwd"``, the root is ``b"/"``. Never
        empty, no slash at the end, no ``.`` and no empty component; ``..`` stays.
    type : int
        Index in `TYPES`.
    mode : int
        Permission bits with setuid, setgid and sticky.
    size : int
        Bytes of the content as read (of a sparse file with its holes); 0 but for files, and for
        hard links of a merged table.
    mtime : int
        Microseconds since 1970 in UTC, or `NO_TIME`.
    link : bytes
        Where a symlink leads, as stored; the absolute path that a hardlink is another name of.
    offset : int
        Where the content begins in the uncompressed tar, or `NO_OFFSET`.
    extra : dict or None
        What few entries have; values that JSON can hold only:
        ``xattrs`` {name: base64}, ``device`` [major, minor], ``sparse`` [[offset, length], …]
        with ``stored`` (bytes in the tar), ``chunks`` (a table of contents' own pieces),
        ``raw`` {field: text} where a value was clamped to be shown.
    """

    path: bytes
    type: int
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = NO_TIME
    link: bytes = b""
    offset: int = NO_OFFSET
    extra: dict[str, Any] | None = None


class Table:
    """Entries in columns, one row each; immutable by convention.

    A layer's table has the archive's order, duplicates and whiteouts included. A merged one has
    each path once, sorted, with ``layers`` (position of the layer that wrote the entry) and
    ``origins`` (row in that layer's table which holds the content: a hard link's target may lie
    in another layer, named by ``homes``).
    """

    __slots__ = (
        "extras",
        "gids",
        "homes",
        "layers",
        "links",
        "modes",
        "mtimes",
        "offsets",
        "origins",
        "paths",
        "sizes",
        "types",
        "uids",
    )

    def __init__(
        self,
        paths: Strings,
        types: bytes,
        modes: array[int],
        uids: array[int],
        gids: array[int],
        sizes: array[int],
        mtimes: array[int],
        links: Strings,
        offsets: array[int],
        extras: dict[int, dict[str, Any]] | None = None,
        layers: array[int] | None = None,
        homes: array[int] | None = None,
        origins: array[int] | None = None,
    ) -> None:
        self.paths = paths
        self.types = types
        self.modes = modes  # "H"
        self.uids = uids  # "q", as are all that follow
        self.gids = gids
        self.sizes = sizes
        self.mtimes = mtimes
        self.links = links
        self.offsets = offsets
        self.extras = extras or {}
        self.layers = layers  # "i", as are the next two
        self.homes = homes
        self.origins = origins

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Table:
        """Make a layer's table of entries."""
        rows = entries if isinstance(entries, list) else list(entries)
        columns: Sequence[Any] = list(zip(*rows, strict=True)) or [()] * len(Entry._fields)
        paths, types, modes, uids, gids, sizes, mtimes, links, offsets, extras = columns
        return cls(
            Strings.of(paths),
            bytes(types),
            array("H", modes),
            array("q", uids),
            array("q", gids),
            array("q", sizes),
            array("q", mtimes),
            Strings.of(links),
            array("q", offsets),
            {row: extra for row, extra in enumerate(extras) if extra},
        )

    @classmethod
    def joined(cls, parts: Sequence[Table]) -> Table:
        """Put tables together, in order: all of layers, or all merged ones."""
        if len(parts) == 1:
            return parts[0]
        extras: dict[int, dict[str, Any]] = {}
        before = 0
        for part in parts:
            extras.update({before + row: extra for row, extra in part.extras.items()})
            before += len(part)

        def whole(kind: str, name: str) -> array[int]:
            return array(kind, b"".join(getattr(part, name).tobytes() for part in parts))

        return cls(
            Strings.joined(part.paths for part in parts),
            b"".join(part.types for part in parts),
            whole("H", "modes"),
            whole("q", "uids"),
            whole("q", "gids"),
            whole("q", "sizes"),
            whole("q", "mtimes"),
            Strings.joined(part.links for part in parts),
            whole("q", "offsets"),
            extras,
            *(whole("i", name) for name in _MERGED if parts and parts[0].layers is not None),
        )

    def part(self, start: int, stop: int) -> Table:
        """Return some rows, from one to another, as a table."""

        def some(values: array[int] | None) -> Any:
            return None if values is None else values[start:stop]

        return Table(
            self.paths.part(start, stop),
            self.types[start:stop],
            self.modes[start:stop],
            self.uids[start:stop],
            self.gids[start:stop],
            self.sizes[start:stop],
            self.mtimes[start:stop],
            self.links.part(start, stop),
            self.offsets[start:stop],
            {row - start: extra for row, extra in self.extras.items() if start <= row < stop},
            some(self.layers),
            some(self.homes),
            some(self.origins),
        )

    def __len__(self) -> int:
        return len(self.types)

    def entry(self, row: int) -> Entry:
        """Return one row."""
        return Entry(
            self.paths[row],
            self.types[row],
            self.modes[row],
            self.uids[row],
            self.gids[row],
            self.sizes[row],
            self.mtimes[row],
            self.links[row] if self.types[row] in (SYMLINK, HARDLINK) else b"",
            self.offsets[row],
            self.extras.get(row),
        )

    def __iter__(self) -> Iterator[Entry]:
        extras = self.extras
        rows = zip(
            self.paths,
            self.types,
            self.modes,
            self.uids,
            self.gids,
            self.sizes,
            self.mtimes,
            self.links,
            self.offsets,
            strict=True,
        )
        for row, values in enumerate(rows):
            yield Entry._make((*values, extras.get(row)))

    def find(self, path: bytes) -> int:
        """Return the row of a path (the last one, which holds), or -1."""
        return self.paths.last(path)
