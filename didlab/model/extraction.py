"""From a merged table to local files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from didlab.files import content as contents
from didlab.files import extract_room as room
from didlab.files import links, paths
from didlab.files.content import Content
from didlab.files.extract import extract as write
from didlab.files.table import DIR, FILE, HARDLINK, Table

if TYPE_CHECKING:
    from didlab.files.extract import Extracted

Open = Callable[[], Iterator[bytes]]


def extract(
    table: Table,
    content: Callable[[int], Content],
    path: str | bytes | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    overwrite: bool,
    devices: bool,
    owner: bool,
    portable: bool,
    gather: Callable[[Table, Iterator[int]], object] = lambda _table, _rows: None,
) -> Extracted:
    """Write what lies at and below a path; ``content`` gives that of a row of the table.

    ``gather`` is told beforehand which rows will be asked for.
    """
    wanted = paths.normalise(path)
    row = links.resolve(table, wanted)
    root = b"/" if row == links.ROOT else table.paths[row]
    gather(table, _below(table, row, root))
    return write(
        ((table.entry(one), _opener(table, one, content)) for one in _below(table, row, root)),
        Path(dest).expanduser(),
        root=root,
        name=wanted.rpartition(b"/")[2] or None,
        into=os.fspath(dest).endswith(("/", os.sep)),  # a Path does not know it any more
        needed=sum(room.needed(table, one) for one in _below(table, row, root)),
        overwrite=overwrite,
        devices=devices,
        owner=owner,
        portable=portable,
    )


def _below(table: Table, row: int, root: bytes) -> Iterator[int]:
    """Yield the rows of a path and of all that lies below it, parents first."""
    if row == links.ROOT or root == b"/":
        yield from range(len(table))
        return
    yield row
    if table.types[row] == DIR:
        prefix = root + b"/"
        names = table.paths
        at = row + 1
        # Sorted by bytes: "/etc-x" stands between "/etc" and "/etc/passwd".
        while at < len(table) and names[at] < root + b"0":
            if names[at].startswith(prefix):
                yield at
            at += 1


def _opener(table: Table, row: int, content: Callable[[int], Content]) -> Open | None:
    if table.types[row] not in (FILE, HARDLINK):
        return None
    return partial(_pieces, row, content)


def _pieces(row: int, content: Callable[[int], Content]) -> Iterator[bytes]:
    yield from contents.pieces(content(row))
