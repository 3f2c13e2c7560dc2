"""A path of one layer, as that layer has it: to the entry, and to its content."""

from __future__ import annotations

from didlab.errors import LinkLoop, NotAFolder, PathNotFound
from didlab.files import links, merge, paths
from didlab.files.content import Bytes, Content
from didlab.files.index import LayerIndex
from didlab.files.limits import DEFAULT
from didlab.files.table import FILE, HARDLINK, SYMLINK, Table
from didlab.model.inside import Layers, check_file, unescaped

_HINT = "a layer holds only what its step wrote; the image's read() sees all layers"


def of_path(layers: Layers, position: int, index: LayerIndex, wanted: bytes, where: str) -> Content:
    """Return the content of a path of one layer, links followed inside it."""
    table = index.table
    path, row = wanted, table.find(wanted)
    if row < 0 and (plain := unescaped(wanted)) is not None:
        path, row = plain, table.find(plain)
    if row < 0:
        row = _by_folders(table, path)
    hops = 0
    while row >= 0 and table.types[row] in (HARDLINK, SYMLINK):
        hops += 1
        if hops > DEFAULT.hops:
            shown = paths.shown(wanted)
            raise LinkLoop(f"the links from {shown} in {where} lead in a circle", path=shown)
        path = table.links[row]
        if table.types[row] == SYMLINK and not path.startswith(b"/"):
            path = table.paths[row].rpartition(b"/")[0] + b"/" + path
        path = b"/" + b"/".join(paths.lexical(path.split(b"/")))
        row = table.find(path)
        if row < 0:
            row = _by_folders(table, path)
    if row < 0:
        shown = paths.shown(wanted)
        raise PathNotFound(
            f"{shown} in {where} is a link to {paths.shown(path)}, which this layer does not have"
            if hops
            else f"{where} has no file {shown}",
            path=shown,
            hint=_HINT,
        )
    check_file(table.paths[row], table.types[row], where)
    known = layers.came(index, table.paths[row])
    if known is not None and len(known) == table.sizes[row] and table.types[row] == FILE:
        return Bytes(known)
    return layers.content(position, index, table.entry(row), row)


def _by_folders(table: Table, path: bytes) -> int:
    """Return the row that a path leads to through linked folders, or -1."""
    if SYMLINK not in table.types:
        return -1
    alone = merge.merge([table])
    try:
        row = links.resolve(alone, path, follow_last=False)
    except (PathNotFound, NotAFolder):
        return -1
    return -1 if row == links.ROOT else table.find(alone.paths[row])
