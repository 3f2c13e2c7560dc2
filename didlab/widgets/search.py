"""Finding entries by name in a merged table, without a DataFrame."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from didlab.files import paths
from didlab.files.table import Table

#: What is shown of a search; the count goes on to this many.
SHOWN = 500
_GLOB = re.compile(r"[*?\[{]")


def search(table: Table, text: str, limit: int = SHOWN) -> tuple[list[int], bool]:
    """Return the rows that a text finds, and whether there are more than ``limit``.

    Plain text finds names that hold it, in either case (of ASCII letters); with a slash in it,
    paths. With ``*``, ``?``, ``[…]`` or ``{a,b}`` it is a glob: of a name, or, with a slash, of a
    path as `Manifest.files` takes it.

    Raises
    ------
    InvalidArgument
        The pattern cannot be meant.
    """
    text = text.strip()
    if not text:
        return [], False
    found: list[int] = []
    for row in _globbed(table, text) if _GLOB.search(text) else _plain(table, text):
        if len(found) == limit:
            return found, True
        found.append(row)
    return found, False


def _globbed(table: Table, text: str) -> Iterator[int]:
    matches = paths.matcher(text if "/" in text else f"**/{text}")
    return (row for row, path in enumerate(table.paths) if matches(path))


def _plain(table: Table, text: str) -> Iterator[int]:
    wanted = text.encode("utf-8", "surrogateescape").lower()
    strings = table.paths
    # All paths at once, by the C library: a hundred thousand in some milliseconds.
    blob = strings.blob.lower()
    starts, lengths = strings.starts, strings.lengths
    in_path = b"/" in wanted
    at = blob.find(wanted)
    while at >= 0:
        row = bisect_right(starts, at) - 1
        end = starts[row] + lengths[row]
        if row < 0 or at + len(wanted) > end:
            at = blob.find(wanted, at + 1)
        elif in_path or blob.find(b"/", at, end) < 0:
            yield row
            at = blob.find(wanted, end)
        else:  # in a folder's name: further on in the same path
            at = blob.find(wanted, at + 1)
