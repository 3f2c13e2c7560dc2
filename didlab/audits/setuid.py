"""Files that give whoever runs them more rights: setuid, setgid, capabilities."""

from __future__ import annotations

import base64
import binascii
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from didlab.audits.capabilities import capabilities
from didlab.files import paths as names
from didlab.files.table import FILE, HARDLINK, Table
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers

_ATTRIBUTE = "security.capability"


def frame(layers: Layers, reference: str) -> pd.DataFrame:
    """Return the table ``setuid``. Raises as `Layers.merged`."""
    table = layers.merged().table
    made = [row for at in _candidates(table) for row in _rows(table, at)]
    return frames.frame("setuid", made, reference=reference)


def _candidates(table: Table) -> list[int]:
    import numpy as np

    special = np.flatnonzero(np.frombuffer(table.modes, np.uint16) & (stat.S_ISUID | stat.S_ISGID))
    having = {row for row, extra in table.extras.items() if _ATTRIBUTE in _xattrs(extra)}
    # Folders that hand on their group are none.
    return [
        row for row in sorted({*special.tolist(), *having}) if table.types[row] in (FILE, HARDLINK)
    ]


def _rows(table: Table, at: int) -> Iterator[tuple[Any, ...]]:
    mode = table.modes[at]
    told = _capabilities(table, at)
    kinds = [
        *(["setuid"] if mode & stat.S_ISUID else []),
        *(["setgid"] if mode & stat.S_ISGID else []),
        *(["capability"] if told else []),
    ]
    layer = table.layers[at] if table.layers is not None else 0
    for kind in kinds:
        yield (
            *(names.shown(table.paths[at]), kind, stat.filemode(stat.S_IFREG | mode)),
            *(table.uids[at], table.gids[at], table.sizes[at], told, layer),
        )


def _capabilities(table: Table, at: int) -> str | None:
    value = _xattrs(table.extras.get(at)).get(_ATTRIBUTE)
    if value is None:
        return None
    try:
        return capabilities(base64.b64decode(value, validate=True)) or "unreadable"
    except (binascii.Error, ValueError, TypeError):
        return "unreadable"


def _xattrs(extra: Any) -> dict[str, Any]:
    found = (extra or {}).get("xattrs")
    return found if isinstance(found, dict) else {}
