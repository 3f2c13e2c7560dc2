"""The JSON of a table of contents, window by window: its objects are never all in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from didlab.files.toc import refuse

#: What is parsed at once.
WINDOW = 2 * 1024**2
_OUTER = 64 * 1024
_CUTS = 8
_ENTRIES = re.compile(rb'"entries"\s*:\s*\[')


def windows(raw: bytes) -> Iterator[list[Any]]:
    """Yield the members of ``entries``, as many at a time as a window holds.

    Raises
    ------
    TarInvalid, ValueError, RecursionError
        It is no JSON, or no table.
    """
    found = _ENTRIES.search(raw, 0, _OUTER)
    if found is None:
        # Go writes null for no entries.
        outer, start, stop = raw[:_OUTER], 0, 0
    else:
        start, stop = found.end(), raw.rfind(b"]", max(found.end(), len(raw) - _OUTER))
        outer = raw[:start] + raw[stop:] if stop >= 0 else b""
    document = json.loads(outer.decode())
    if not isinstance(document, dict) or type(document.get("version")) is not int:
        refuse("is no table")
    if document["version"] != 1:
        refuse("is of an unknown version")
    if document.get("entries", 0) != ([] if found else None):
        refuse("has no entries")
    while start < stop:
        entries, start = _window(raw, start, stop)
        yield entries


def _window(raw: bytes, start: int, stop: int) -> tuple[list[Any], int]:
    """Parse what begins at ``start``; return it with where the next window begins."""
    if stop - start <= WINDOW:
        return _members(raw[start:stop]), stop
    end = start + WINDOW
    for _ in range(_CUTS):
        # A cut in the middle of a string or of a nested value shows: what is before it is no
        # JSON then, whatever comes after.
        end, cut = _cut(raw, start, end)
        try:
            return _members(raw[start:cut]), end
        except json.JSONDecodeError:
            continue
    return refuse("is not JSON", f"byte {start}")


def _cut(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the last object before ``end`` begins, and where the one before it ends."""
    while (end := raw.rfind(b"{", start + 1, end)) >= 0:
        before = raw[max(start, end - 64) : end].rstrip()
        if before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            return end, raw.rfind(b",", start, end)
    return refuse(f"has an entry of more than {WINDOW} bytes", f"byte {start}")


def _members(text: bytes) -> list[Any]:
    entries: list[Any] = json.loads(f"[{text.decode()}]")
    return entries
