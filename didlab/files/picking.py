"""Which files of a table a look wants: asked for many paths at once, then one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from didlab.errors import printable
from didlab.files.looks import Look
from didlab.files.table import FILE, HARDLINK, Table

T = TypeVar("T")

#: Files up to this size are asked for by many paths at once, larger ones by one.
SMALL = 1024 * 1024
#: Rows that are asked for one by one.
_FEW = 16

#: Names of looks that failed.
_told: set[str] = set()
_log = logging.getLogger("didlab")


def picked(look: Look, table: Table) -> Iterator[int]:
    """Yield the rows of the regular files with content that a look wants."""
    import numpy as np

    types = np.frombuffer(table.types, np.uint8)
    sizes = np.frombuffer(table.sizes, np.int64)
    for row in np.flatnonzero((types == FILE) & (sizes > SMALL)).tolist():
        if wants(look, table.paths[row], table.sizes[row]):
            yield row
    for row in _likely(look, table):
        size = table.sizes[row]
        if table.types[row] == FILE and 0 < size <= SMALL and wants(look, table.paths[row], size):
            yield row


def linked(look: Look, table: Table) -> Iterator[tuple[int, int]]:
    """Yield the hard links whose names a look wants, each with the row of the file it shares.

    Of files that are in the same table, and stand before it.
    """
    if HARDLINK not in table.types:
        return
    files: dict[bytes, list[int]] = {}
    for row in _likely(look, table):
        if table.types[row] != HARDLINK:
            continue
        if not files:
            for number, path in enumerate(table.paths):
                if table.types[number] in (FILE, HARDLINK):
                    files.setdefault(path, []).append(number)
        target = row
        for _ in range(_FEW):
            before = (one for one in reversed(files.get(table.links[target], [])) if one < target)
            target = next(before, -1)
            if target < 0 or table.types[target] == FILE:
                break
        if target < 0 or table.types[target] != FILE or not table.sizes[target]:
            continue
        if wants(look, table.paths[row], table.sizes[target]):
            yield row, target


def wants(look: Look, path: bytes, size: int) -> bool:
    """Ask a look for one file."""
    return guarded(look, path, lambda: look.wants(path, size), False)


def _likely(look: Look, table: Table) -> Iterator[int]:
    """Yield rows of groups that may have something, in order."""
    paths = table.paths
    waiting = [(0, len(table))]
    while waiting:
        start, stop = waiting.pop()
        if start >= stop:
            continue
        whole = stop - start == len(table)
        blob = paths.blob if whole else paths.blob[paths.starts[start] - 1 : _end(table, stop)]
        if not guarded(look, b"", partial(look.maybe, blob), False):
            continue
        if stop - start <= _FEW:
            yield from range(start, stop)
            continue
        step = -(-(stop - start) // _FEW)
        groups = [(at, min(stop, at + step)) for at in range(start, stop, step)]
        waiting += reversed(groups)


def _end(table: Table, stop: int) -> int:
    starts = table.paths.starts
    return starts[stop] if stop < len(table) else len(table.paths.blob)


def guarded(look: Look, path: bytes, call: Callable[[], T], otherwise: T) -> T:
    """Return what a look says; what it raises is a bug of it, and no reason to break a listing."""
    try:
        return call()
    except Exception:  # noqa: BLE001 - a bug of the look, told below
        where = printable(path.decode("utf-8", "backslashreplace"), 300)
        # Once for a look: it may well fail at every file.
        if look.name not in _told:
            _told.add(look.name)
            _log.warning("%s failed at %s: passed over", look.name, where, exc_info=True)
        else:
            _log.debug("%s failed at %s, too", look.name, where)
        return otherwise
