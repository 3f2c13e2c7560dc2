"""Whether there is room for an extraction: asked before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from didlab.blobs.refusals import available
from didlab.errors import DiskFull
from didlab.files.table import FILE, HARDLINK, Table
from didlab.sizes import human


def needed(table: Table, row: int) -> int:
    """Return the bytes that a row takes on the disk at least: holes take none."""
    if table.types[row] not in (FILE, HARDLINK):
        return 0
    size = table.sizes[row]
    extra = table.extras.get(row)
    if not extra or "sparse" not in extra:
        return size
    return min(size, sum(int(length) for _, length in extra["sparse"]))


def check(target: Path, size: int, *, merged: bool = False) -> None:
    """Raise where there is no room for ``size`` bytes at a path, or in its folder.

    With ``merged``, what is at the path already may be replaced: then its room counts, too.

    Raises
    ------
    DiskFull
    """
    folder = target if target.is_dir() else target.parent
    room = available(folder)
    if room is None or size <= room:
        return
    if merged and size <= room + _held(target):
        return
    raise DiskFull(
        f"{target} needs {human(size)}, there is room for {human(room)}",
        path=str(target),
        needed=size,
        available=room,
        hint="free some room, or extract to another disk",
    )


def _held(folder: Path) -> int:
    """Return about how many bytes the files in a folder take."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = Path(place, name).lstat()
            except OSError:
                continue
            blocks: int | None = getattr(found, "st_blocks", None)
            total += found.st_size if blocks is None else blocks * 512
    return total
