"""The JSON of a table of contents, read into a `Table` and the chunks of its files.

Such a table need not agree with the tar that it is about: the manifest only says that its author
meant it. Whatever cannot be true in it raises, and the caller reads the whole layer instead.
"""

from __future__ import annotations

import base64
import binascii
import re
from array import array
from datetime import datetime
from itertools import compress
from typing import Any

from didlab.errors import DidlabError, LimitExceeded
from didlab.files.chunks import Chunks
from didlab.files.limits import Limits
from didlab.files.strings import Strings
from didlab.files.table import (
    BLOCK,
    CHAR,
    DIR,
    FIFO,
    FILE,
    HARDLINK,
    NO_OFFSET,
    SYMLINK,
    Table,
)
from didlab.files.tar_header import absolute
from didlab.files.toc import refuse
from didlab.files.toc_batch import Batch
from didlab.files.toc_chunks import CHUNK, Collected
from didlab.files.toc_json import windows

_CODES = {
    "reg": FILE,
    "dir": DIR,
    "symlink": SYMLINK,
    "hardlink": HARDLINK,
    "char": CHAR,
    "block": BLOCK,
    "fifo": FIFO,
    "chunk": CHUNK,
}
_ODD = re.compile(rb"/(?:/|\.[/\0]|\0)")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
#: Go's zero time, which older writers stored for 1970.
_NO_TIME = "0001-01-01T00:00:00Z"
# Go's JSON cannot hold other names than UTF-8 and puts this in place of each wrong byte.
_REPLACED = "\ufffd".encode()


def parse(
    raw: bytes, end: int, limits: Limits, hidden: frozenset[bytes] = frozenset()
) -> tuple[Table, Chunks]:
    """Read the JSON of a table.

    Parameters
    ----------
    raw : bytes
        The document; its digest was checked.
    end : int
        Where the content ends in the blob.
    limits : Limits
        What it may cost.
    hidden : frozenset of bytes
        Paths to leave out.
    """
    reader = _Reader(limits, hidden)
    try:
        for entries in windows(raw):
            reader.add(entries)
        return reader.finish(end)
    except (ValueError, OverflowError, RecursionError) as failure:
        # Of Python's own: not JSON, not UTF-8, half a surrogate pair, beyond 64 bits. What this
        # module raises is a ValueError too.
        if isinstance(failure, DidlabError):
            raise
        refuse(f"cannot be read: {type(failure).__name__}")


class _Reader:
    """Makes a table of entries that come batch by batch."""

    def __init__(self, limits: Limits, hidden: frozenset[bytes]) -> None:
        self._limits = limits
        names = [path.decode()[1:] for path in hidden]
        self._hidden = frozenset(before + name for name in names for before in ("", "/", "./"))
        self._parts: list[Table] = []
        self._chunks = Collected()
        self._rows = self._content = 0
        self._times: dict[str, int] = {}

    def add(self, entries: list[Any]) -> None:
        """Take the next entries."""
        if not entries:
            return
        batch = Batch(entries)
        names = batch.texts("name")
        if not self._hidden.isdisjoint(names):
            batch = batch.only(name not in self._hidden for name in names)
            names = batch.texts("name")
        kinds = list(map(_CODES.get, batch.texts("type")))
        if None in kinds:
            refuse("has an entry of an unknown type")
        types = bytes(kinds)  # type: ignore[arg-type]
        sizes = batch.sizes("size")
        self._chunks.add(batch, types, sizes, self._rows)
        if CHUNK in types:
            kept = [kind != CHUNK for kind in types]
            batch = batch.only(kept)
            names = list(compress(names, kept))
            sizes = array("q", compress(sizes, kept))
            types = types.replace(bytes([CHUNK]), b"")
        part = self._part(batch, names, types, sizes)
        self._parts.append(part)
        self._rows += len(part)
        self._content += sum(part.sizes)
        _within("entries", max(self._rows, len(self._chunks.rows)), self._limits.entries)
        _within("bytes of content", self._content, self._limits.decompressed)

    def finish(self, end: int) -> tuple[Table, Chunks]:
        """Return all of it; content lies before ``end``."""
        table = Table.joined(self._parts) if self._parts else Table.of([])
        return table, self._chunks.finish(end)

    def _part(self, batch: Batch, names: list[str], types: bytes, sizes: array[int]) -> Table:
        others = [row for row, kind in enumerate(types) if kind != FILE]
        for row in others:
            sizes[row] = 0
        times = batch.texts("modtime")
        known = self._times
        known.update({text: _time(text) for text in set(times).difference(known)})
        return Table(
            _paths(names, self._limits),
            types,
            array("H", [mode & 0o7777 for mode in batch.integers("mode")]),
            batch.sizes("uid"),
            batch.sizes("gid"),
            sizes,
            array("q", map(known.__getitem__, times)),
            _links(batch, types, others, self._limits),
            array("q", [NO_OFFSET]) * len(types),
            _extras(batch, types, others),
        )


def _paths(names: list[str], limits: Limits) -> Strings:
    if "" in names:
        refuse("has an entry without a name")
    made = _absolutes(names)
    _check_names(made, limits)
    return made


def _absolutes(names: list[str]) -> Strings:
    """Do what `absolute` does, in one go where names are plain: nearly always."""
    text = "\0/".join([name[:-1] if name[-1] == "/" else name for name in names])
    blob = f"\0/{text}\0".encode()
    odd = _ODD.search(blob)
    if odd and odd[0] == b"/./":  # before each name, likely
        blob = blob.replace(b"\0/./", b"\0/")
        odd = _ODD.search(blob)
    if odd or blob.count(b"\0") != len(names) + 1:
        return Strings.of([absolute(name.encode()) for name in names])
    return Strings(blob, array("I", map(len, blob[1:-1].split(b"\0"))))


def _links(batch: Batch, types: bytes, others: list[int], limits: Limits) -> Strings:
    links = [b""] * len(types)
    texts = batch.texts("linkName")
    for row in others:
        if types[row] in (SYMLINK, HARDLINK):
            if not texts[row]:
                refuse("has a link that leads nowhere")
            link = texts[row].encode()
            links[row] = absolute(link) if types[row] == HARDLINK else link
    made = Strings.of(links)
    _check_names(made, limits)
    return made


def _check_names(names: Strings, limits: Limits) -> None:
    if not names.blob.isascii() and _REPLACED in names.blob:
        refuse("has lost bytes of a name that is not UTF-8")
    longest = max(names.lengths, default=0)
    _within("bytes in one path", longest, limits.path)
    if longest > limits.components:  # a component takes two bytes at least
        deepest = max(name.count(b"/") for name in names)
        _within("components in one path", deepest, limits.components)


def _time(text: str) -> int:
    """Return microseconds since 1970; 0 for none, which is what the tar has then."""
    if text in ("", _NO_TIME):
        return 0
    found = _TIME.fullmatch(text)
    if found is None:
        refuse("has a time that is none")
    whole, fraction, sign, hours, minutes = found.groups()
    # Timestamps of whole seconds are exact.
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    if sign:
        seconds -= int(sign + "1") * (int(hours) * 3600 + int(minutes) * 60)
    return seconds * 1_000_000 + (int(fraction[:6].ljust(6, "0")) if fraction else 0)


def _extras(batch: Batch, types: bytes, others: list[int]) -> dict[int, dict[str, Any]]:
    extras: dict[int, dict[str, Any]] = {}
    if CHAR in types or BLOCK in types:
        majors, minors = batch.sizes("devMajor"), batch.sizes("devMinor")
        for row in others:
            if types[row] in (CHAR, BLOCK):
                extras[row] = {"device": [majors[row], minors[row]]}
    if "xattrs" in batch.keys:
        for row, entry in enumerate(batch.entries):
            if attributes := _xattrs(entry.get("xattrs")):
                extras.setdefault(row, {})["xattrs"] = attributes
    return extras


def _xattrs(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or set(map(type, value.values())) - {str}:
        refuse("has extended attributes that are none")
    for name, text in value.items():
        name.encode()
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            refuse("has an extended attribute that is not base64")
    return value


def _within(what: str, seen: int, limit: int) -> None:
    if seen > limit:
        raise LimitExceeded(
            f"the layer's table of contents has {seen} {what}, more than {limit}",
            what=what,
            limit=limit,
            seen=seen,
        )
