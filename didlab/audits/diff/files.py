"""Which files differ between two images, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from didlab.audits.contents import digests
from didlab.audits.diff import comparing
from didlab.audits.diff.comparing import (
    ASSUMED,
    DIFFERENT,
    MTIME,
    NONE,
    PARTS,
    SAME,
    UNKNOWN,
    Compared,
    column,
)
from didlab.audits.diff.side import Side
from didlab.files.table import TYPES, Table
from didlab.model import listing
from didlab.views import frames
from didlab.views.frames import Codes

if TYPE_CHECKING:
    import pandas as pd

#: Names of the changes, by the number that the table gets.
CHANGES = ("added", "removed", "changed", "maybe")
_ADDED, _REMOVED, _CHANGED, _MAYBE = range(4)
_CONTENTS = ("same", "different", "unknown")


def compared(before: Side, after: Side, *, content: bool) -> Compared:
    """Return what differs; ``content``: read what cannot be told otherwise."""
    found = comparing.compare(before.merged.table, after.merged.table, before.places, after.places)
    _contents(found, before, after, read=content)
    return found


def _contents(found: Compared, before: Side, after: Side, *, read: bool) -> None:
    """Settle by their digests whether files of the same size are the same."""
    import numpy as np

    at = np.flatnonzero((found.content == UNKNOWN) | (found.content == ASSUMED))
    if not len(at):
        return
    right = digests(after.layers, after.merged, found.right[at].tolist(), read=read)
    if not read and not any(right):
        return
    left = digests(before.layers, before.merged, found.left[at].tolist(), read=read)
    told = np.array(
        [
            UNKNOWN if one is None or two is None else SAME if one == two else DIFFERENT
            for one, two in zip(left, right, strict=True)
        ],
        np.int8,
    )
    settled = told != UNKNOWN
    found.settle(at[settled], told[settled])


def frame(found: Compared, *, times: bool, before: str, after: str) -> pd.DataFrame:
    """Return the table ``diff_files``, sorted by path."""
    import numpy as np

    bits = found.bits if times else found.bits & ~np.uint16(MTIME)
    shown = np.flatnonzero((bits != 0) | (found.content == UNKNOWN))
    left = np.concatenate([np.full(len(found.added), -1), found.removed, found.left[shown]])
    right = np.concatenate([found.added, np.full(len(found.removed), -1), found.right[shown]])
    ends = len(found.added) + len(found.removed)
    fresh, old = found.after.paths, found.before.paths
    paths = [
        fresh[new] if new >= 0 else old[row]
        for row, new in zip(left.tolist(), right.tolist(), strict=True)
    ]
    order = np.array(sorted(range(len(paths)), key=paths.__getitem__), np.int64)

    change = np.full(len(left), _CHANGED, np.int8)
    change[: len(found.added)] = _ADDED
    change[len(found.added) : ends] = _REMOVED
    change[ends:][(bits[shown] & ~np.uint16(MTIME)) == 0] = _MAYBE
    change[ends:][(bits[shown] == MTIME) & (found.content[shown] != UNKNOWN)] = _CHANGED
    parts = np.zeros(len(left), np.int64)
    parts[ends:] = bits[shown]
    content = np.full(len(left), -1, np.int8)
    content[ends:] = found.content[shown]
    content[content == ASSUMED] = UNKNOWN
    content[content == NONE] = -1

    left, right = left[order], right[order]
    types = _taken(found.before, "types", "uint8", left, 0).astype("int8")
    new = _taken(found.after, "types", "uint8", right, 0).astype("int8")
    data = {
        "path": [listing.shown(paths[row]) for row in order],
        "change": Codes(change[order], CHANGES),
        "changed": _parts(parts[order]),
        "content": Codes(content[order], _CONTENTS),
        "type": Codes(np.where(right >= 0, new, types), TYPES),
        "size_before": _unless(left, _taken(found.before, "sizes", "int64", left, 0)),
        "size_after": _unless(right, _taken(found.after, "sizes", "int64", right, 0)),
        "permissions_before": _permissions(found.before, left),
        "permissions_after": _permissions(found.after, right),
        "owner_before": _owners(found.before, left),
        "owner_after": _owners(found.after, right),
        "layer_before": _unless(left, _taken(found.before, "layers", "int32", left, 0)),
        "layer_after": _unless(right, _taken(found.after, "layers", "int32", right, 0)),
    }
    made = frames.columns_frame("diff_files", data, reference=after)
    made.attrs["before"] = before
    made.attrs["unverified"] = int(((found.content == UNKNOWN) | (found.content == ASSUMED)).sum())
    return made


def _taken(table: Table, name: str, dtype: str, rows: Any, missing: int) -> Any:
    """Return values of rows, ``missing`` for row -1."""
    import numpy as np

    values = column(table, name, dtype)
    if not len(values):
        return np.full(len(rows), missing, dtype)
    return np.where(rows >= 0, values[rows], np.array(missing, dtype))


def _unless(rows: Any, values: Any) -> Any:
    import numpy as np
    import pandas as pd

    return pd.arrays.IntegerArray(np.asarray(values, "int64"), np.asarray(rows < 0))


def _parts(bits: Any) -> Codes:
    import numpy as np

    found, numbers = np.unique(bits, return_inverse=True)
    names = [
        ", ".join(name for bit, name in enumerate(PARTS) if value >> bit & 1)
        for value in found.tolist()
    ]
    # Where nothing is known to differ the cell is missing.
    nothing = np.array([not name for name in names], bool)
    kept = [name for name in names if name]
    at = np.where(nothing, -1, np.cumsum(~nothing) - 1)
    return Codes(at[numbers] if len(found) else numbers.astype("int8"), kept)


def _permissions(table: Table, rows: Any) -> Codes:
    import numpy as np

    types = _taken(table, "types", "uint8", rows, 0).astype("int8")
    made = listing.permissions(types, _taken(table, "modes", "uint16", rows, 0))
    return Codes(np.where(rows >= 0, made.numbers, -1), made.categories)


def _owners(table: Table, rows: Any) -> Codes:
    import numpy as np

    pairs = np.stack([_taken(table, name, "int64", rows, 0) for name in ("uids", "gids")])
    found, numbers = np.unique(pairs, axis=1, return_inverse=True)
    names = [f"{uid}:{gid}" for uid, gid in found.T.tolist()]
    return Codes(np.where(rows >= 0, numbers.reshape(-1), -1), names)
