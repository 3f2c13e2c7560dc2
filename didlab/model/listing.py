"""Tables of entries to DataFrames: column by column, for many thousand rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from didlab.files.changes import CHANGES, DELETED, Changes
from didlab.files.strings import Strings
from didlab.files.table import TYPES, Table
from didlab.views import frames
from didlab.views.frames import Codes

if TYPE_CHECKING:
    import pandas as pd

#: The first letter that ls shows, by the number of the type.
_LETTERS = "-dl-cbp"
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"


def layer_frame(
    table: Table, position: int, rows: Sequence[int] | None, reference: str
) -> pd.DataFrame:
    """Return a layer's entries as stored; ``rows`` are the ones wanted, None for all."""
    import numpy as np

    columns = _columns(table, rows)
    columns["layer"] = np.full(len(columns["size"]), position)
    columns["whiteout"] = _whiteouts(columns["path"])
    return frames.columns_frame("files", columns, also="files+layer", reference=reference)


def merged_frame(table: Table, rows: Sequence[int] | None, reference: str) -> pd.DataFrame:
    """Return the entries of a merged file system."""
    columns = _columns(table, rows)
    columns["layer"] = _taken(table.layers, "int32", rows)
    return frames.columns_frame("files", columns, reference=reference)


def changes_frame(found: Changes, commands: Sequence[str | None], reference: str) -> pd.DataFrame:
    """Return what each layer did to each path; ``commands`` made the layers."""
    import numpy as np
    import pandas as pd

    table = found.table
    columns = _columns(table, None)
    kinds = np.frombuffer(found.kinds, dtype="uint8").astype("int8")
    gone = kinds == DELETED
    layer = _taken(table.layers, "int32", None)

    def unless(absent: Any, values: Any) -> Any:
        return pd.arrays.IntegerArray(np.asarray(values, dtype="int64"), np.asarray(absent))

    before = _taken(found.before, "int64", None)
    steps = sorted({command for command in commands if command})
    numbers = np.array([steps.index(one) if one else -1 for one in commands], dtype="int32")
    data = {
        "path": columns["path"],
        "change": Codes(kinds, CHANGES),
        "type": columns["type"],
        "size": unless(gone, columns["size"]),
        "size_before": unless(before < 0, before),
        "mode": unless(gone, columns["mode"]),
        "permissions": columns["permissions"],
        "uid": unless(gone, columns["uid"]),
        "gid": unless(gone, columns["gid"]),
        "mtime": columns["mtime"],
        "linkname": columns["linkname"],
        "layer": layer,
        "created_by": Codes(numbers[layer] if len(layer) else numbers[:0], steps),
    }
    return frames.columns_frame("changes", data, reference=reference)


def _columns(table: Table, rows: Sequence[int] | None) -> dict[str, Any]:
    import numpy as np

    types = np.frombuffer(table.types, dtype="uint8").astype("int8")
    if rows is not None:
        types = types[np.asarray(rows, dtype="int64")]
    modes = _taken(table.modes, "uint16", rows)
    return {
        "path": texts(table.paths, rows),
        "type": Codes(types, TYPES),
        "size": _taken(table.sizes, "int64", rows),
        "mode": modes,
        "permissions": permissions(types, modes),
        "uid": _taken(table.uids, "int64", rows),
        "gid": _taken(table.gids, "int64", rows),
        "mtime": _taken(table.mtimes, "int64", rows),
        "linkname": [link or None for link in texts(table.links, rows)],
    }


def _taken(values: Any, dtype: str, rows: Sequence[int] | None) -> Any:
    import numpy as np

    column = np.frombuffer(values, dtype=dtype) if len(values) else np.empty(0, dtype)
    return column if rows is None else column[np.asarray(rows, dtype="int64")]


def texts(strings: Strings, rows: Sequence[int] | None) -> list[str]:
    """Return byte strings as DataFrames hold them: what is no UTF-8 shown as escapes."""
    if rows is not None:
        return [shown(strings[row]) for row in rows]
    if not len(strings):
        return []
    if strings.plain:
        # All at once: a hundred times faster than one by one.
        return strings.blob[1:-1].decode("utf-8", "backslashreplace").split("\0")
    return [shown(value) for value in strings]


def shown(path: bytes) -> str:
    r"""Return a path as DataFrames and trees show it; `Manifest.read` takes it back.

    >>> print(shown(b"/caf\xe9"))
    /caf\xe9
    """
    return path.decode("utf-8", "backslashreplace")


def permissions(types: Any, modes: Any) -> Codes:
    """Return what ls shows of each type and mode; each combination is made once."""
    import numpy as np

    keys = types.astype("int32") * 0o10000 + modes
    found, numbers = np.unique(keys, return_inverse=True)
    texts_ = [ls(int(key) // 0o10000, int(key) % 0o10000) for key in found]
    # A file and a hardlink look alike.
    categories = sorted(set(texts_))
    at = np.array([categories.index(text) for text in texts_], dtype="int32")
    return Codes(at[numbers] if len(found) else numbers, categories)


def ls(kind: int, mode: int) -> str:
    """Return type and mode as ``ls -l`` shows them.

    >>> ls(0, 0o4755), ls(1, 0o1777)
    ('-rwsr-xr-x', 'drwxrwxrwt')
    """
    out = [_LETTERS[kind]]
    for shift, special, letters in ((6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")):
        bits = mode >> shift & 7
        out.append("r" if bits & 4 else "-")
        out.append("w" if bits & 2 else "-")
        execute = bits & 1
        if mode & special:
            out.append(letters[0] if execute else letters[1])
        else:
            out.append("x" if execute else "-")
    return "".join(out)


def _whiteouts(paths: Sequence[str]) -> Codes:
    import numpy as np

    numbers = np.full(len(paths), -1, dtype="int8")
    mark, opaque = _WHITEOUT.decode(), _OPAQUE.decode()
    for row, path in enumerate(paths):
        if mark in path:
            name = path.rpartition("/")[2]
            if name == opaque:
                numbers[row] = 1
            elif name.startswith(mark) and not name.startswith(mark + mark):
                numbers[row] = 0
    return Codes(numbers, ("file", "opaque"))
