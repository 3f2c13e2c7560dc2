"""Layers put on top of each other: the merged file system, by the image specification's rules."""

from __future__ import annotations

from collections.abc import Sequence

from didlab.files.limits import DEFAULT, Limits
from didlab.files.overlay import Overlay
from didlab.files.strings import Strings
from didlab.files.table import FILE, HARDLINK, Table

__all__ = ["merge"]


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
