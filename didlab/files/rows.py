"""Tables to bytes and back, some thousand rows at a time.

Whoever asks for one path of a large file system unpacks the rows around it, not all of them.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator

from didlab.errors import MalformedContent
from didlab.files import columns
from didlab.files.strings import Strings
from didlab.files.table import Table

#: Rows that are packed together.
TOGETHER = 4096

_COLUMNS = (
    ("modes", "H"),
    ("uids", "q"),
    ("gids", "q"),
    ("sizes", "q"),
    ("mtimes", "q"),
    ("offsets", "q"),
)
_MERGED = (("layers", "i"), ("homes", "i"), ("origins", "i"))


def groups(table: Table) -> Iterator[Table]:
    """Yield the rows of a table in parts."""
    for start in range(0, len(table), TOGETHER):
        yield table.part(start, min(len(table), start + TOGETHER))


def pack(part: Table) -> bytes:
    """Return some rows as bytes: each column with its length before it."""
    named = [*_COLUMNS, *(_MERGED if part.layers is not None else ())]
    fields = [
        part.paths.blob,
        columns.dump(part.paths.lengths),
        part.types,
        part.links.blob,
        columns.dump(part.links.lengths),
        json.dumps(list(part.extras.items())).encode() if part.extras else b"",
        *(columns.dump(getattr(part, name)) for name, _ in named),
    ]
    return b"".join(b"".join((len(field).to_bytes(4, "little"), field)) for field in fields)


def unpack(raw: bytes) -> Table:
    """Return the rows that `pack` gave.

    Raises
    ------
    ValueError
        These are none.
    """
    fields = _fields(raw)
    paths, path_lengths, types, links, link_lengths, extras = (next(fields) for _ in range(6))
    rest = list(fields)

    def column(kind: str, field: bytes) -> array[int]:
        made = columns.load(kind, field)
        if len(made) != len(types):
            raise MalformedContent("a column of a stored index is cut")
        return made

    if len(rest) not in (len(_COLUMNS), len(_COLUMNS) + len(_MERGED)):
        raise MalformedContent("a stored index lacks columns")
    modes, uids, gids, sizes, mtimes, offsets = (
        column(kind, field) for (_, kind), field in zip(_COLUMNS, rest, strict=False)
    )
    merged = [column("i", field) for field in rest[len(_COLUMNS) :]]
    return Table(
        Strings(paths, column("I", path_lengths)),
        types,
        modes,
        uids,
        gids,
        sizes,
        mtimes,
        Strings(links, column("I", link_lengths)),
        offsets,
        dict(json.loads(extras)) if extras else None,
        *merged,
    )


def _fields(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw):
            raise MalformedContent("a stored index is cut")
        yield raw[at + 4 : end]
        at = end


class Grouped:
    """A table that is packed in groups; unpacked as far as it is asked for.

    Parameters
    ----------
    count : int
        How many groups there are.
    load : callable
        Gives the packed bytes of one.
    firsts : list of bytes
        The first path of each group, where the table is sorted.
    """

    def __init__(
        self, count: int, load: Callable[[int], bytes], firsts: list[bytes] | None = None
    ) -> None:
        self._count = count
        self._load = load
        self._firsts = firsts

    def whole(self) -> Table:
        """Return all rows."""
        if not self._count:
            return Table.of([])
        return Table.joined([unpack(self._load(number)) for number in range(self._count)])

    def around(self, path: bytes) -> Table | None:
        """Return the group of a sorted table that has a path, if any has it."""
        if not self._firsts:
            return None
        number = bisect_right(self._firsts, path) - 1
        return None if number < 0 else unpack(self._load(number))
