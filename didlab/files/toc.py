"""Tables of contents that a layer carries, vouched for by an annotation of its descriptor.

With one, a layer is listed by a range or two, and each file is fetched alone. Two formats exist:
eStargz (`didlab.files.estargz`) and zstd:chunked (`didlab.files.chunked`); their tables are JSON
of nearly the same shape, which is read here. Such a table need not agree with the tar that it is
about: the manifest only says that its author meant it. Whatever cannot be true in it raises, and
the caller reads the whole layer instead.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn, Protocol

from didlab.errors import DidlabError, DigestMismatch, LimitExceeded, MalformedContent, TarInvalid
from didlab.files.limits import DEFAULT, Limits
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
from didlab.oci.descriptor import Descriptor
from didlab.oci.fields import Names

#: Bytes that a table may have, decompressed: room for about 600,000 files.
TOC_LIMIT = 256 * 1024**2
#: A table that is larger than this and than half of its blob is not worth its requests.
_WORTH = 4 * 1024**2
#: What is parsed at once: the objects of a window of text, not of the whole, are in memory.
_WINDOW = 2 * 1024**2
_OUTER = 64 * 1024
_CUTS = 8
_CHUNK = 7
_CODES = {
    "reg": FILE,
    "dir": DIR,
    "symlink": SYMLINK,
    "hardlink": HARDLINK,
    "char": CHAR,
    "block": BLOCK,
    "fifo": FIFO,
    "chunk": _CHUNK,
}
_NAMES = Names(
    "name type size modtime linkName mode uid gid devMajor devMinor xattrs digest offset endOffset"
    " innerOffset chunkOffset chunkSize chunkDigest chunkType"
)
_ENTRIES = re.compile(rb'"entries"\s*:\s*\[')
_ODD = re.compile(rb"/(?:/|\.[/\0]|\0)")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
#: Go's zero time, which older writers stored for 1970.
_NO_TIME = "0001-01-01T00:00:00Z"
_ZEROS = "sha256:" + "0" * 64
# Go's JSON cannot hold other names than UTF-8 and puts this in place of each wrong byte.
_REPLACED = "\ufffd".encode()
_NO_DIGEST = bytes(32)
#: What a compressor adds at most to content that it cannot compress, beside 1/64 of it.
_OVERHEAD = 64 * 1024
#: Bytes of other files that a writer puts before one in the same member: some MiB at most.
_SKIP = 1024**3
_FIELDS = ("rows", "starts", "stops", "offsets", "lengths", "skips")
_BYTES = 8 * len(_FIELDS) + len(_NO_DIGEST)


class Chunk(NamedTuple):
    """A piece of a file that can be fetched and checked alone.

    Attributes
    ----------
    start, stop : int
        Where it lies in the blob, compressed.
    offset, length : int
        Which bytes of the file it holds.
    digest : str
        Of its content. Empty where all of it is zeros: then it need not be fetched, though its
        place lets the chunks around it be fetched together.
    skip : int
        Bytes of other content that come before it once decompressed.
    """

    start: int
    stop: int
    offset: int
    length: int
    digest: str
    skip: int = 0


class Chunks:
    """The chunks of all files of a table, in columns; sorted by row, then by position."""

    __slots__ = ("digests", "lengths", "offsets", "rows", "skips", "starts", "stops")

    def __init__(
        self,
        rows: array[int],
        starts: array[int],
        stops: array[int],
        offsets: array[int],
        lengths: array[int],
        skips: array[int],
        digests: bytes,
    ) -> None:
        self.rows = rows  # "q", as are all arrays here
        self.starts = starts
        self.stops = stops
        self.offsets = offsets
        self.lengths = lengths
        self.skips = skips
        self.digests = digests  # 32 bytes each, zeros for none

    def __len__(self) -> int:
        return len(self.rows)

    def of_row(self, row: int) -> list[Chunk]:
        """Return the chunks of one row of the table, first to last; they cover the file."""
        first, last = bisect_left(self.rows, row), bisect_right(self.rows, row)
        return [self._chunk(number) for number in range(first, last)]

    def dump(self) -> bytes:
        """Return all of it as bytes, for `load`."""
        return b"".join([*(_little(getattr(self, name)) for name in _FIELDS), self.digests])

    @classmethod
    def load(cls, raw: bytes) -> Chunks:
        """Make one of what `dump` gave.

        Raises
        ------
        MalformedContent
            These are no bytes that `dump` wrote.
        """
        count, rest = divmod(len(raw), _BYTES)
        if rest:
            raise MalformedContent("a stored index has cut rows of chunks")

        def column(number: int) -> array[int]:
            values = array("q", raw[8 * count * number : 8 * count * (number + 1)])
            if sys.byteorder == "big":
                values.byteswap()
            return values

        digests = raw[8 * count * len(_FIELDS) :]
        rows, starts, stops, offsets, lengths, skips = map(column, range(len(_FIELDS)))
        return cls(rows, starts, stops, offsets, lengths, skips, digests)

    def _chunk(self, number: int) -> Chunk:
        raw = self.digests[32 * number : 32 * number + 32]
        return Chunk(
            self.starts[number],
            self.stops[number],
            self.offsets[number],
            self.lengths[number],
            "" if raw == _NO_DIGEST else "sha256:" + raw.hex(),
            self.skips[number],
        )


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


class Finder(Protocol):
    """Reads the table of contents of one layer."""

    @property
    def kind(self) -> str:
        """``"estargz"`` or ``"chunked"``: how `decode` reads this layer's chunks."""

    def read(
        self, read_at: Callable[[int, int], bytes], size: int, limits: Limits = DEFAULT
    ) -> tuple[Table, Chunks]:
        """Fetch the table and check it against its annotation.

        Parameters
        ----------
        read_at : callable
            As `didlab.sources.base.BlobReader.read_at`.
        size : int
            Bytes of the blob.
        limits : Limits, optional
            What it may cost.

        Raises
        ------
        TarInvalid, CompressionInvalid, DigestMismatch, TypeConfusion, LimitExceeded
            The table cannot be used; the layer itself may be fine.
        """


def find(descriptor: Descriptor) -> Finder | None:
    """Return a reader of the layer's table of contents if an annotation vouches for one.

    No I/O. Annotations that make no sense vouch for nothing.
    """
    from didlab.files import chunked, estargz

    # A zstd layer that was converted by stargz's tools has the annotations of both.
    return chunked.find(descriptor.annotations) or estargz.find(descriptor.annotations)


def decode(kind: str, chunk: Chunk, data: bytes, limits: Limits = DEFAULT) -> bytes:
    """Return the content of a chunk, given the bytes from ``chunk.start`` to ``chunk.stop``.

    Raises
    ------
    CompressionInvalid, DigestMismatch, LimitExceeded
    """
    from didlab.files import chunked, estargz

    if chunk.length > limits.whole_file:
        raise LimitExceeded(
            f"a chunk of {chunk.length} bytes is more than {limits.whole_file}",
            what="bytes of a chunk",
            limit=limits.whole_file,
            seen=chunk.length,
        )
    if not chunk.digest:
        return bytes(chunk.length)
    expand = {"estargz": estargz.expand, "chunked": chunked.expand}[kind]
    content = expand(data, chunk.skip, chunk.length, limits)
    check(content, chunk.digest, f"the chunk at byte {chunk.start} of the layer")
    return content


def check(data: bytes, digest: str, what: str) -> None:
    """Raise `DigestMismatch` unless ``data`` has the digest."""
    algorithm = digest.partition(":")[0]
    actual = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    if actual != digest:
        raise DigestMismatch(
            f"{what} has digest {actual}, not {digest}", expected=digest, actual=actual
        )


def check_worth(length: int, size: int) -> None:
    """Refuse a table of ``length`` bytes that is as costly as the blob of ``size`` itself."""
    limit = min(TOC_LIMIT, max(_WORTH, size // 2))
    if length > limit:
        raise too_large(length, limit)


def too_large(length: int, limit: int = TOC_LIMIT) -> LimitExceeded:
    """Return the error for a table of contents that is too large to be read."""
    return LimitExceeded(
        f"the table of contents has {length} bytes, more than {limit}",
        what="bytes of a table of contents",
        limit=limit,
        seen=length,
    )


def refuse(why: str, where: str | None = None) -> NoReturn:
    """Raise `TarInvalid` for a table of contents."""
    raise TarInvalid(f"the layer's table of contents {why}", where=where)


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
        for entries in _windows(raw):
            reader.add(entries)
        return reader.finish(end)
    except (ValueError, OverflowError, RecursionError) as failure:
        # Of Python's own: not JSON, not UTF-8, half a surrogate pair, beyond 64 bits. What this
        # module raises is a ValueError too.
        if isinstance(failure, DidlabError):
            raise
        refuse(f"cannot be read: {type(failure).__name__}")


def _within(what: str, seen: int, limit: int) -> None:
    if seen > limit:
        raise LimitExceeded(
            f"the layer's table of contents has {seen} {what}, more than {limit}",
            what=what,
            limit=limit,
            seen=seen,
        )


def _windows(raw: bytes) -> Iterator[list[Any]]:
    """Yield the members of ``entries``, as many at a time as a window holds."""
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
    if stop - start <= _WINDOW:
        return _members(raw[start:stop]), stop
    end = start + _WINDOW
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
    refuse(f"has an entry of more than {_WINDOW} bytes", f"byte {start}")


def _members(text: bytes) -> list[Any]:
    entries: list[Any] = json.loads(f"[{text.decode()}]")
    return entries


class _Batch:
    """Entries, column by column."""

    def __init__(self, entries: list[Any], keys: set[str] | None = None) -> None:
        if keys is None:
            if set(map(type, entries)) - {dict}:
                refuse("has an entry that is no object")
            keys = set().union(*entries)
            _NAMES.refuse_lookalikes(dict.fromkeys(keys), "the table of contents")
        self.entries = entries
        self.keys = keys

    def only(self, kept: Iterable[bool]) -> _Batch:
        """Return some of the entries."""
        return _Batch(list(compress(self.entries, kept)), self.keys)

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


class _Reader:
    """Makes a table of entries that come batch by batch."""

    def __init__(self, limits: Limits, hidden: frozenset[bytes]) -> None:
        self._limits = limits
        names = [path.decode()[1:] for path in hidden]
        self._hidden = frozenset(before + name for name in names for before in ("", "/", "./"))
        self._parts: list[Table] = []
        self._pieces = _Pieces()
        self._rows = self._content = 0
        self._times: dict[str, int] = {}

    def add(self, entries: list[Any]) -> None:
        """Take the next entries."""
        if not entries:
            return
        batch = _Batch(entries)
        names = batch.texts("name")
        if not self._hidden.isdisjoint(names):
            batch = batch.only(name not in self._hidden for name in names)
            names = batch.texts("name")
        kinds = list(map(_CODES.get, batch.texts("type")))
        if None in kinds:
            refuse("has an entry of an unknown type")
        types = bytes(kinds)  # type: ignore[arg-type]
        sizes = batch.sizes("size")
        self._pieces.add(batch, types, sizes, self._rows)
        if _CHUNK in types:
            kept = [kind != _CHUNK for kind in types]
            batch = batch.only(kept)
            names = list(compress(names, kept))
            sizes = array("q", compress(sizes, kept))
            types = types.replace(bytes([_CHUNK]), b"")
        part = self._part(batch, names, types, sizes)
        self._parts.append(part)
        self._rows += len(part)
        self._content += sum(part.sizes)
        _within("entries", max(self._rows, len(self._pieces.rows)), self._limits.entries)
        _within("bytes of content", self._content, self._limits.decompressed)

    def finish(self, end: int) -> tuple[Table, Chunks]:
        """Return all of it; content lies before ``end``."""
        table = Table.joined(self._parts) if self._parts else Table.of([])
        return table, self._pieces.finish(end)

    def _part(self, batch: _Batch, names: list[str], types: bytes, sizes: array[int]) -> Table:
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


def _links(batch: _Batch, types: bytes, others: list[int], limits: Limits) -> Strings:
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


def _extras(batch: _Batch, types: bytes, others: list[int]) -> dict[int, dict[str, Any]]:
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


class _Pieces:
    """Chunks while they are collected: as listed, in columns."""

    def __init__(self) -> None:
        self.rows: array[int] = array("q")
        #: Which piece is the first of the same file.
        self.firsts: array[int] = array("q")
        self.totals: array[int] = array("q")
        self.starts: array[int] = array("q")
        self.ends: array[int] = array("q")
        self.offsets: array[int] = array("q")
        self.lengths: array[int] = array("q")
        self.skips: array[int] = array("q")
        self.digests = bytearray()

    def add(self, batch: _Batch, kinds: bytes, sizes: array[int], row: int) -> None:
        """Take what has content; ``row`` is that of the first entry."""
        import numpy as np

        before = len(self.rows)
        types = np.frombuffer(kinds, np.uint8)
        size = np.frombuffer(sizes, np.int64)
        kept = (types == _CHUNK) | ((types == FILE) & (size > 0))
        if not kept.any():
            return
        rows = np.cumsum(types != _CHUNK) + (row - 1)
        self.rows.frombytes(rows[kept].astype(np.int64).tobytes())
        totals = size[kept]
        self.totals.frombytes(totals.tobytes())
        numbers = np.arange(before, before + len(totals), dtype=np.int64)
        heads = np.where(types[kept] == _CHUNK, self.firsts[-1] if before else -1, numbers)
        self.firsts.frombytes(np.maximum.accumulate(heads).astype(np.int64).tobytes())
        batch = batch.only(kept.tolist())
        lengths = batch.sizes("chunkSize")
        self.starts += batch.sizes("offset")
        self.ends += batch.sizes("endOffset")
        self.offsets += batch.sizes("chunkOffset")
        self.lengths += lengths
        self.skips += batch.sizes("innerOffset")
        length = np.frombuffer(lengths, np.int64)
        parts = np.flatnonzero((length != 0) & (length != totals)).tolist()
        self.digests += _digests(batch, parts)

    def finish(self, end: int) -> Chunks:
        """Check that they cover their files, and lie before ``end``."""
        import numpy as np

        if not self.rows:
            return Chunks.load(b"")
        rows, firsts, starts, offsets, skips = (
            np.frombuffer(column, np.int64)
            for column in (self.rows, self.firsts, self.starts, self.offsets, self.skips)
        )
        if firsts[0] < 0 or (rows[firsts] != rows).any():
            refuse("has a chunk of no file")
        totals = np.frombuffer(self.totals, np.int64)[firsts]
        lengths = np.frombuffer(self.lengths, np.int64)
        lengths = np.where(lengths == 0, totals - offsets, lengths)  # 0 says: all that remains
        following = np.append(offsets[1:], 0)
        covered = np.where(following == 0, totals, following)
        heads = firsts == np.arange(len(firsts))
        # No sum here is beyond 64 bits: what is larger than the whole is refused before it is.
        if (
            ((offsets == 0) != heads).any()
            or (lengths <= 0).any()
            or (lengths != covered - offsets).any()
        ):
            refuse("has chunks that do not follow each other")
        # Where another begins, if nobody says; told with a file's first chunk, true of its last.
        bounds = np.append(np.unique(starts), end)
        stops = bounds[np.searchsorted(bounds[:-1], starts, side="right")]
        told = np.frombuffer(self.ends, np.int64)[firsts]
        stops = np.where((following == 0) & (told != 0), told, stops)
        # The layer begins with a tar header, never with content.
        if ((starts == 0) & (skips == 0) | (starts >= stops) | (stops > end)).any():
            refuse("has a chunk that lies outside")
        if (skips > _SKIP).any():
            refuse("has a chunk that lies deep in another")
        # What is behind the last byte need not be fetched, wherever the next file begins.
        most = starts + _OVERHEAD + (skips + lengths) + (skips + lengths) // 64
        return Chunks(
            self.rows,
            self.starts,
            array("q", np.minimum(stops, most).tobytes()),
            self.offsets,
            array("q", lengths.tobytes()),
            self.skips,
            bytes(self.digests),
        )


def _digests(batch: _Batch, parts: list[int]) -> bytes:
    """Return the digests of chunks in one piece; zeros for chunks of zeros."""
    chunks = batch.texts("chunkDigest")
    # The digest of a file will do for a chunk that is all of it.
    texts = [own or file for own, file in zip(chunks, batch.texts("digest"), strict=True)]
    for number in parts:
        texts[number] = chunks[number]
    if "chunkType" in batch.keys:
        for number, kind in enumerate(batch.texts("chunkType")):
            if kind == "zeros":
                texts[number] = _ZEROS
            elif kind:
                refuse("has a chunk of an unknown type")
    try:
        raw = binascii.unhexlify("".join(texts).replace("sha256:", ""))
    except ValueError:
        raw = b""
    # Nothing could be checked without them.
    if set(map(len, texts)) - {71} or len(raw) != 32 * len(texts):
        refuse("has a chunk without a sha256 digest")
    return raw
