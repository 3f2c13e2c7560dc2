"""A path of one layer, as that layer has it: to the entry, and to its content."""

from __future__ import annotations

from didlab.errors import LinkLoop, PathNotFound
from didlab.files import paths
from didlab.files.content import Bytes, Content
from didlab.files.index import LayerIndex
from didlab.files.limits import DEFAULT
from didlab.files.table import FILE, HARDLINK, SYMLINK
from didlab.model.inside import Layers, check_file, unescaped


def of_path(layers: Layers, position: int, index: LayerIndex, wanted: bytes, where: str) -> Content:
    """Return the content of a path of one layer, links followed inside it."""
    table = index.table
    row = table.find(wanted)
    if row < 0 and (plain := unescaped(wanted)) is not None:
        row = table.find(plain)
    hops = 0
    while row >= 0 and table.types[row] in (HARDLINK, SYMLINK):
        hops += 1
        if hops > DEFAULT.hops:
            shown = paths.shown(wanted)
            raise LinkLoop(f"the links from {shown} in {where} lead in a circle", path=shown)
        target = table.links[row]
        if table.types[row] == SYMLINK and not target.startswith(b"/"):
            target = table.paths[row].rpartition(b"/")[0] + b"/" + target
        row = table.find(b"/" + b"/".join(paths.lexical(target.split(b"/"))))
    if row < 0:
        shown = paths.shown(wanted)
        raise PathNotFound(
            f"{where} has no file {shown}",
            path=shown,
            hint="a layer holds only what its step wrote; the image's read() sees all layers",
        )
    check_file(table.paths[row], table.types[row], where)
    known = index.captured.get(table.paths[row], layers.captured.get(table.paths[row]))
    if known is not None and len(known) == table.sizes[row] and table.types[row] == FILE:
        return Bytes(known)
    return layers.content(position, index, table.entry(row), row)
