"""Two merged file systems compared, column by column; no content is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from didlab.files.table import DIR, FILE, HARDLINK, NO_TIME, SYMLINK, Table

#: What may differ, by its bit, in the order that it is told in.
PARTS = ("type", "content", "mode", "owner", "link", "xattrs", "device", "mtime")
TYPE, CONTENT, MODE, OWNER, LINK, XATTRS, DEVICE, MTIME = (1 << bit for bit in range(len(PARTS)))

#: What is known of two files' content. `ASSUMED`: not known, but of the same size and time.
SAME, DIFFERENT, UNKNOWN, ASSUMED, NONE = range(5)

#: Builds that mean no time set the beginning of 1970, or of 1980 where zip files are made: an
#: equal time tells nothing then. Nor does the latest one of a layer: reproducible builds set
#: all that they made to one time, and two others never end at the same moment.
_TELLING = 320_000_000 * 1_000_000
_SECOND = 1_000_000


@dataclass(slots=True)
class Compared:
    """What two merged tables have, by path.

    Attributes
    ----------
    before, after : Table
    added, removed : array of int
        Rows of ``after``, and of ``before``, that the other one lacks.
    left, right : array of int
        Rows of the paths that both have, and that do not come from the same place.
    bits : array of int
        What differs of these.
    content : array of int
        What is known of their content.
    """

    before: Table
    after: Table
    added: Any
    removed: Any
    left: Any
    right: Any
    bits: Any
    content: Any

    def settle(self, at: Any, known: Any) -> None:
        """Note what came out about the content of some pairs: `SAME`, `DIFFERENT`, `UNKNOWN`."""
        self.content[at] = known
        self.bits[at[known == DIFFERENT]] |= CONTENT


def compare(
    before: Table, after: Table, places_before: Sequence[str], places_after: Sequence[str]
) -> Compared:
    """Compare what is at each path.

    Parameters
    ----------
    places_before, places_after : sequence of str
        For each layer what identifies its rows: equal rows of equal layers are the same file.
    """
    import numpy as np

    position = dict(zip(before.paths, range(len(before)), strict=True))
    at = np.fromiter(map(position.get, after.paths, repeat(-1)), np.int64, len(after))
    right = np.flatnonzero(at >= 0)
    left = at[right]
    lone = np.ones(len(before), bool)
    lone[left] = False
    same = _same_place(before, after, left, right, places_before, places_after)
    left, right = left[~same], right[~same]
    bits, content = _differences(before, after, left, right)
    return Compared(
        before, after, np.flatnonzero(at < 0), np.flatnonzero(lone), left, right, bits, content
    )


def column(table: Table, name: str, dtype: str) -> Any:
    """Return a column as NumPy's array."""
    import numpy as np

    values = getattr(table, name)
    return np.frombuffer(values, dtype) if len(table) else np.empty(0, dtype)


def kinds(table: Table) -> Any:
    """Return the types: a hard link is a file like its other names."""
    import numpy as np

    found = column(table, "types", "uint8")
    return np.where(found == HARDLINK, FILE, found)


def _same_place(
    before: Table,
    after: Table,
    left: Any,
    right: Any,
    places_before: Sequence[str],
    places_after: Sequence[str],
) -> Any:
    import numpy as np

    numbers: dict[str, int] = {}

    def places(table: Table, rows: Any, names: Sequence[str], nowhere: int) -> Any:
        known = [numbers.setdefault(name, len(numbers)) for name in names]
        # A home of -1 is nowhere: the last of these.
        return np.array([*known, nowhere])[column(table, "homes", "int32")[rows]]

    same = places(before, left, places_before, -1) == places(after, right, places_after, -2)
    rows = column(before, "origins", "int32")[left] == column(after, "origins", "int32")[right]
    return same & rows


def _differences(before: Table, after: Table, left: Any, right: Any) -> tuple[Any, Any]:
    import numpy as np

    def both(name: str, dtype: str) -> tuple[Any, Any]:
        return column(before, name, dtype)[left], column(after, name, dtype)[right]

    bits = np.zeros(len(left), np.uint16)
    types, other = kinds(before)[left], kinds(after)[right]
    bits[types != other] |= TYPE
    alike = types == other
    one, two = both("modes", "uint16")
    bits[(one != two) & (types != SYMLINK) & alike] |= MODE
    for name in ("uids", "gids"):
        one, two = both(name, "int64")
        bits[one != two] |= OWNER
    one, two = both("mtimes", "int64")
    # Some tars have whole seconds only.
    whole = (one % _SECOND == 0) | (two % _SECOND == 0)
    times = (one == two) | (whole & (one // _SECOND == two // _SECOND))
    bits[~times & (one != NO_TIME) & (two != NO_TIME)] |= MTIME
    telling = times & (two >= _TELLING) & (one < _latest(before)[left])
    telling &= two < _latest(after)[right]

    content = np.full(len(left), NONE, np.int8)
    files = alike & (types == FILE)
    one, two = both("sizes", "int64")
    content[files] = UNKNOWN
    content[files & telling] = ASSUMED
    content[files & (one == two) & (one == 0)] = SAME
    content[files & (one != two)] = DIFFERENT
    bits[content == DIFFERENT] |= CONTENT

    for pair in np.flatnonzero(alike & (types == SYMLINK)).tolist():
        if before.links[left[pair]] != after.links[right[pair]]:
            bits[pair] |= LINK
    if before.extras or after.extras:
        for pair in _with_extras(before, after, left, right):
            old = before.extras.get(int(left[pair]), {})
            new = after.extras.get(int(right[pair]), {})
            if (old.get("xattrs") or {}) != (new.get("xattrs") or {}):
                bits[pair] |= XATTRS
            if alike[pair] and types[pair] not in (FILE, DIR, SYMLINK):
                bits[pair] |= DEVICE if old.get("device") != new.get("device") else 0
    return bits, content


def _latest(table: Table) -> Any:
    """Return for each row the latest time of a file of its layer."""
    import numpy as np

    homes, times = column(table, "homes", "int32"), column(table, "mtimes", "int64")
    files = np.flatnonzero((kinds(table) == FILE) & (homes >= 0))
    latest = np.full(int(homes.max(initial=-1)) + 2, NO_TIME)
    np.maximum.at(latest, homes[files], times[files])
    return latest[homes]


def _with_extras(before: Table, after: Table, left: Any, right: Any) -> list[int]:
    import numpy as np

    of_left = np.isin(left, list(before.extras))
    of_right = np.isin(right, list(after.extras))
    found: list[int] = np.flatnonzero(of_left | of_right).tolist()
    return found
