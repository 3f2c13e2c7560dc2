"""Entries of a table of contents, column by column."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import compress
from operator import itemgetter
from typing import Any

from didlab.files.toc import refuse
from didlab.oci.fields import Names

_NAMES = Names(
    "name type size modtime linkName mode uid gid devMajor devMinor xattrs digest offset endOffset"
    " innerOffset chunkOffset chunkSize chunkDigest chunkType"
)


class Batch:
    """Some entries."""

    def __init__(self, entries: list[Any], keys: set[str] | None = None) -> None:
        if keys is None:
            if set(map(type, entries)) - {dict}:
                refuse("has an entry that is no object")
            keys = set().union(*entries)
            _NAMES.refuse_lookalikes(dict.fromkeys(keys), "the table of contents")
        self.entries = entries
        self.keys = keys

    def only(self, kept: Iterable[bool]) -> Batch:
        """Return some of the entries."""
        return Batch(list(compress(self.entries, kept)), self.keys)

    def texts(self, key: str) -> list[str]:
        """Return a column of strings, empty where there is none."""
        return self._column(key, str, "")

    def integers(self, key: str) -> list[int]:
        """Return a column of integers, 0 where there is none."""
        return self._column(key, int, 0)

    def sizes(self, key: str) -> array[int]:
        """Return a column of integers that are not negative."""
        values = array("q", self.integers(key))
        if values and min(values) < 0:
            refuse(f"has an entry whose {key} is negative")
        return values

    def _column(self, key: str, kind: type, absent: Any) -> list[Any]:
        if key not in self.keys:
            return [absent] * len(self.entries)
        try:
            values = list(map(itemgetter(key), self.entries))
        except KeyError:
            values = [entry.get(key, absent) for entry in self.entries]
        kinds = set(map(type, values))
        if type(None) in kinds:  # reads as absent, as to Go
            values = [absent if value is None else value for value in values]
            kinds.discard(type(None))
        if kinds - {kind}:
            refuse(f"has an entry whose {key} is of another type")
        return values
