"""Where two images' sizes differ: by folder, by layer, by package."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from didlab.audits.diff.documents import Stored
from didlab.errors import PathError, PathNotFound, UnsafeContent
from didlab.files.table import FILE, Table
from didlab.views.text import short

if TYPE_CHECKING:
    from didlab.model.inside import Layers

Sizes = Mapping[str, int]


def rows(before: Sizes, after: Sizes) -> list[tuple[str, int, int, int]]:
    """Return the rows of ``diff_sizes``: what differs, the largest difference first."""
    made = [
        (name, before.get(name, 0), after.get(name, 0), after.get(name, 0) - before.get(name, 0))
        for name in before.keys() | after.keys()
    ]
    changed = [row for row in made if row[3]]
    return sorted(changed, key=lambda row: (-abs(row[3]), row[0]))


def folders(table: Table, depth: int) -> dict[str, int]:
    """Return the bytes of the files in each folder of a merged file system.

    Each file counts once, in its folder at ``depth``, or in its own where that is less deep: so
    that folders add up to the whole. Hard links count at their first name.
    """
    import numpy as np

    types = np.frombuffer(table.types, np.uint8)
    sizes = np.frombuffer(table.sizes, np.int64) if len(table) else np.empty(0, np.int64)
    found: dict[bytes, int] = defaultdict(int)
    files = np.flatnonzero((types == FILE) & (sizes > 0)).tolist()
    paths = list(table.paths)
    for row in files:
        parts = paths[row].split(b"/", depth + 1)
        found[b"/".join(parts[: min(depth + 1, len(parts) - 1)])] += table.sizes[row]
    return {
        (name or b"/").decode("utf-8", "backslashreplace"): size for name, size in found.items()
    }


def layers(stored: Iterable[Stored]) -> dict[str, int]:
    """Return the bytes of layers as stored, by the command that made them."""
    found: dict[str, int] = defaultdict(int)
    for one in stored:
        found[one.created_by or f"layer {short(one.digest)}"] += one.size
    return found


# --- packages -----------------------------------------------------------------------------------

_DPKG = b"/var/lib/dpkg/status"
_APK = (b"/lib/apk/db/installed", b"/usr/lib/apk/db/installed")
#: Larger databases are not read for this.
_DATABASE = 64 * 1024 * 1024
#: States of dpkg's packages whose files are not there.
_GONE = (b"", b"not-installed", b"config-files", b"half-installed")


def packages(inside: Layers) -> dict[str, int]:
    """Return the bytes of packages as dpkg's and apk's databases tell, by name.

    Costs nothing once the image is listed: these databases come along.
    """
    merged = inside.merged()
    found: dict[str, int] = defaultdict(int)
    for path in (_DPKG, *_APK):
        try:
            content = inside.at(path, merged)
        except (PathNotFound, PathError, UnsafeContent):
            continue
        if content.size > _DATABASE:
            continue
        raw = content.read_at(0, content.size)
        told = _dpkg(raw) if path == _DPKG else _apk(raw)
        for name, size in told:
            found[name] += size
    return found


def _fields(raw: bytes) -> Iterator[dict[bytes, bytes]]:
    for paragraph in raw.split(b"\n\n"):
        fields: dict[bytes, bytes] = {}
        for line in paragraph.split(b"\n"):
            name, colon, value = line.partition(b":")
            if colon and not name.startswith((b" ", b"\t")):
                fields.setdefault(name, value.strip())
        yield fields


def _dpkg(raw: bytes) -> Iterator[tuple[str, int]]:
    for fields in _fields(raw):
        there = fields.get(b"Status", b"").split(b" ")[-1:]
        if there and there[0] not in _GONE:
            yield from _sized(fields.get(b"Package"), fields.get(b"Installed-Size"), 1024)


def _apk(raw: bytes) -> Iterator[tuple[str, int]]:
    for fields in _fields(raw):
        yield from _sized(fields.get(b"P"), fields.get(b"I"), 1)


def _sized(name: bytes | None, size: bytes | None, unit: int) -> Iterator[tuple[str, int]]:
    if name and size and size.isdigit() and len(size) <= 15:
        yield name.decode("utf-8", "backslashreplace"), int(size) * unit
