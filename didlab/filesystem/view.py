"""What a file system shows: a merged table, and where the content of its rows is."""

from __future__ import annotations

import contextlib
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from didlab import errors
from didlab.files import links, merge, paths
from didlab.files.content import Bytes, Content
from didlab.files.limits import DEFAULT
from didlab.files.table import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, NO_TIME, SYMLINK, Table
from didlab.files.wellknown import Capture
from didlab.model.indexing import Manner
from didlab.model.inside import Layers, check_file, unescaped
from didlab.model.manifest import Manifest

#: Bits that `os.stat` has in its modes besides those of a table.
_FORMATS = {
    FILE: stat.S_IFREG,
    HARDLINK: stat.S_IFREG,
    DIR: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    CHAR: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}
#: What fsspec calls them.
TYPES = {FILE: "file", HARDLINK: "file", DIR: "directory"} | dict.fromkeys(
    (SYMLINK, CHAR, BLOCK, FIFO), "other"
)
#: What is wrong with a path, in contrast to the image or the way to it.
NO_SUCH = (errors.PathNotFound, errors.PathError, errors.PathEscape, errors.LinkEscape)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class View:
    """A file system: its table, and where the content of its rows is."""

    table: Table
    #: The content's own digest: the same files have the same one.
    digest: str
    content: Callable[[int], Content]
    #: Told before the content of many rows is asked for; told of none when that is over.
    gather: Callable[[Iterable[int]], None]
    #: The layer that all is of; None where the table says.
    layer: int | None = None
    _leads: dict[int, int | None] = field(default_factory=dict)

    def row(self, path: bytes, *, follow: bool = True) -> int:
        """Return the row that a path leads to; `links.ROOT` for a root nobody states."""
        try:
            return links.resolve(self.table, path, follow_last=follow)
        except errors.PathNotFound:
            # What a DataFrame shows of a name that is no UTF-8.
            plain = unescaped(path)
            if plain is None:
                raise
            return links.resolve(self.table, plain, follow_last=follow)

    @contextlib.contextmanager
    def gathering(self, rows: Iterable[int]) -> Iterator[None]:
        """Have layers that no range can be read of read once for these rows, not for each."""
        self.gather(row for row in rows if row != links.ROOT)
        try:
            yield
        finally:
            self.gather(())

    def path(self, row: int) -> bytes:
        """Return the path of a row."""
        return b"/" if row == links.ROOT else self.table.paths[row]

    def type(self, row: int) -> int:
        """Return the type of a row; that of a hard link to nothing is no file's."""
        table = self.table
        if row == links.ROOT:
            return DIR
        kind = table.types[row]
        return SYMLINK if kind == HARDLINK and _lost(table, row) else kind

    def leads(self, row: int) -> int | None:
        """Return where a symlink leads in the end, None for nowhere; remembered."""
        if row not in self._leads:
            self._leads[row] = _led(self.table, row)
        return self._leads[row]

    def below(self, path: bytes) -> range:
        """Return the rows below a folder."""
        prefix = path.rstrip(b"/")
        names = self.table.paths
        start = bisect_left(names, prefix + b"/")
        if start < len(names) and names[start] == b"/":
            start += 1
        return range(start, bisect_left(names, prefix + b"0", start))

    def info(self, name: str, row: int, *, listed: bool = False) -> dict[str, Any]:
        """Describe a row, a symlink by what it leads to.

        ``listed``: a link to a folder is no folder, so that nobody walks it.
        """
        link = row if row != links.ROOT and self.table.types[row] == SYMLINK else None
        target = None if link is None else self.leads(row)
        table, shown = self.table, row if target is None else target
        kind = self.type(shown)
        found: dict[str, Any] = {"name": name, "size": 0, "type": TYPES[kind]}
        if listed and link is not None and kind == DIR:
            found["type"] = "other"
        if shown == links.ROOT:
            found |= {"mode": stat.S_IFDIR | 0o755, "uid": 0, "gid": 0, "mtime": None}
            found |= {"layer": self.layer}
        else:
            time = table.mtimes[shown]
            layer = table.layers[shown] if table.layers is not None else None
            found["size"] = table.sizes[shown]
            found["mode"] = _FORMATS[table.types[shown]] | table.modes[shown]
            found["uid"], found["gid"] = table.uids[shown], table.gids[shown]
            found["mtime"] = None if time == NO_TIME else time / 1_000_000
            found["layer"] = layer if self.layer is None else self.layer
        found["islink"] = link is not None
        if link is not None:
            found["destination"] = paths.shown(table.links[link])
        return found

    def walk(self, name: str, maxdepth: int | None, withdirs: bool) -> Iterator[tuple[str, int]]:
        """Yield what lies below a folder, or a file itself: names with their rows."""
        wanted = paths.normalise(name)
        try:
            row = self.row(wanted)
        except NO_SUCH:
            return
        if self.type(row) != DIR:
            yield name, self.row(wanted, follow=False)
            return
        if withdirs:
            yield name, row
        folder = self.path(row).rstrip(b"/")
        names, types, prefix = self.table.paths, self.table.types, name.rstrip("/")
        for row in self.below(folder):
            if withdirs or types[row] != DIR:
                rest = names[row][len(folder) :]
                if maxdepth is None or rest.count(b"/") <= maxdepth:
                    yield prefix + paths.shown(rest), row

    def modified(self, row: int) -> datetime | None:
        """Return when a row was written; None where no layer says."""
        time = NO_TIME if row == links.ROOT else self.table.mtimes[row]
        try:
            return None if time == NO_TIME else _EPOCH + timedelta(microseconds=time)
        except OverflowError:
            return None


def of_image(manifest: Manifest, manner: Manner, capture: Capture) -> View:
    """Return the merged file system of an image."""
    layers = Layers(manifest, manner)
    found = layers.merged(capture)
    digest = manifest._image().digest
    return View(
        found.table,
        digest,
        lambda row: layers.merged_content(row, found),
        lambda rows: layers.gather(found.table, rows),
    )


def of_layer(manifest: Manifest, which: int | str, manner: Manner, capture: Capture) -> View:
    """Return what one layer has."""
    layers = Layers(manifest, manner)
    layer = manifest.layer(which)
    position = layer.position
    index = layers.index(position, capture)
    table = merge.merge([index.table])

    def content(row: int) -> Content:
        path = b"/" if row == links.ROOT else table.paths[row]
        where = f"layer {layer.digest}"
        check_file(path, DIR if row == links.ROOT else table.types[row], where)
        if table.types[row] == HARDLINK and _lost(table, row):
            target = paths.shown(table.links[row])
            raise errors.PathNotFound(
                f"{paths.shown(path)} in {where} is a hard link to {target}, which is in "
                "another layer",
                path=paths.shown(path),
            )
        origin = table.origins[row] if table.origins is not None else -1
        # Captured by the name that the layer has it under, the last of that name.
        stored = index.table.paths[origin]
        known = layers.came(index, stored)
        if known is not None and index.table.find(stored) == origin:
            return Bytes(known)
        return layers.content(position, index, table.entry(row), origin)

    def gather(rows: Iterable[int]) -> None:
        layers.gather(table, rows, position)

    return View(table, layer.digest, content, gather, position)


def _lost(table: Table, row: int) -> bool:
    """Whether a row of a merged table has its content nowhere."""
    return table.homes is None or table.homes[row] < 0


def _led(table: Table, row: int) -> int | None:
    """Return the row that a symlink of a merged table leads to, None for nowhere.

    As `links.resolve`, without an error that would have to look for near misses first: an image
    has hundreds of links to nothing.
    """
    here, todo, hops = table.paths[row].rpartition(b"/")[0], [b""], 0
    found = row
    while True:
        if table.types[found] == SYMLINK:
            hops += 1
            if hops > DEFAULT.hops:
                return None
            link = table.links[found]
            here = b"" if link.startswith(b"/") else here
            todo += link.split(b"/")[::-1]
        elif table.types[found] != DIR:
            return found if not set(todo) - {b"", b"."} else None
        else:
            here = table.paths[found].rstrip(b"/")
        while todo and todo[-1] in (b"", b".", b".."):
            if todo.pop() == b"..":
                if not here:
                    return None
                here = here.rpartition(b"/")[0]
        if not todo:
            return links.find(table, here or b"/")
        found = links.find(table, here + b"/" + todo.pop())
        if found < 0:
            return None
