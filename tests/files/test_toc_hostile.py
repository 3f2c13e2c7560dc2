"""Tables of contents that cannot be true, or cost too much: typed errors, before the harm."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import tocs
from rig.tocs import Tabled, entry

from didlab.errors import (
    CompressionInvalid,
    DidlabError,
    IntegrityError,
    LimitExceeded,
    MalformedContent,
    TarInvalid,
    TypeConfusion,
)
from didlab.files import toc, toc_batch, toc_json, toc_table
from didlab.files.chunks import Chunk, Chunks
from didlab.files.limits import DEFAULT, Limits
from didlab.files.table import Table
from didlab.oci.descriptor import Descriptor

_NOISE = random.Random(5).randbytes(50_000)
MEMBERS = [
    entry("a", b"first" * 20),
    entry("big", _NOISE),
    entry("link", type=b"2", linkname="a"),
    entry("last", b"last" * 10),
]
Edit = Callable[[list[dict[str, Any]]], object]


def read(built: Tabled, limits: Limits = DEFAULT) -> tuple[Table, Chunks]:
    descriptor = Descriptor("x/y", "sha256:" + "0" * 64, 1, annotations=built.annotations)
    finder = toc.find(descriptor)
    assert finder is not None
    return finder.read(built.read_at, len(built.blob), limits)


def _both(edit: Edit) -> list[Tabled]:
    def table(value: dict[str, Any]) -> None:
        edit(value["entries"])

    return [
        tocs.estargz(MEMBERS, chunk=20_000, landmark=False, edit=table),
        tocs.chunked(MEMBERS, chunk=20_000, edit=table),
    ]


def _set(row: int, **fields: Any) -> Edit:
    return lambda rows: rows[row].update(fields)


def _copied(row: dict[str, Any]) -> dict[str, Any]:
    digest = row.get("chunkDigest") or row["digest"]
    return {"offset": row["offset"] + 1, "chunkDigest": digest}


def _swap(rows: list[dict[str, Any]]) -> None:
    rows[1], rows[2] = rows[2], rows[1]


# Rows: 0 is a, 1 to 3 are big and its chunks, 4 the link, 5 last.
FALSE: dict[str, Edit] = {
    "no name": _set(0, name=""),
    "null for a name": _set(0, name=None),
    "number for a name": _set(0, name=7),
    "unknown type": _set(0, type="socket"),
    "list for a type": _set(0, type=[]),
    "negative size": _set(0, size=-1),
    "size of 64 bits": _set(0, size=2**63),
    "size of a float": _set(0, size=100.0),
    "size of a boolean": _set(0, size=True),
    "size of text": _set(0, size="100"),
    "larger than its chunks": lambda rows: [
        rows[1].update(size=50_001),
        rows[3].update(chunkSize=10_000),
    ],
    "smaller than its chunks": _set(1, size=39_999),
    "no chunks but a size": _set(5, offset=0),
    "offset at the start": _set(0, offset=0),
    "negative offset": _set(0, offset=-5),
    "offset behind the content": _set(5, offset=10**9),
    "end before its start": lambda rows: rows[5].update(endOffset=1),
    "end behind the content": lambda rows: rows[5].update(endOffset=10**9),
    "chunks swapped": _swap,
    "chunk missing": lambda rows: rows.pop(2),
    "last chunk missing": lambda rows: rows.pop(3),
    "chunk twice": lambda rows: rows.insert(2, dict(rows[2])),
    "chunk at 0": _set(2, chunkOffset=0),
    "chunk with a gap": _set(2, chunkOffset=20_001),
    "chunk too long": _set(2, chunkSize=40_000),
    "negative chunk": _set(2, chunkSize=-1),
    "negative skip": _set(2, innerOffset=-1),
    "all of a file twice": lambda rows: rows.append(
        {"type": "chunk", "name": "last", "chunkSize": 40, **_copied(rows[5])}
    ),
    "link among chunks": lambda rows: rows.insert(3, rows.pop(4)),
    "chunk deep in another": _set(2, innerOffset=2**40),
    "chunk of a link": lambda rows: rows.insert(5, dict(rows[2])),
    "chunk alone": lambda rows: rows.__setitem__(slice(None), [{**rows[2], "size": 40_000}]),
    "chunk first": lambda rows: rows.insert(0, dict(rows[2])),
    "chunk of an unknown kind": _set(2, chunkType="holes"),
    "no digest": lambda rows: [rows[0].pop(key, None) for key in ("digest", "chunkDigest")],
    "no digest of a chunk": lambda rows: rows[1].pop("chunkDigest"),
    "sha512": _set(2, chunkDigest="sha512:" + "0" * 128),
    "digest with blanks": _set(2, chunkDigest="sha256:" + "  " * 32),
    "digests cut elsewhere": lambda rows: [
        rows[2].update(chunkDigest="sha256:" + "0" * 63),
        rows[3].update(chunkDigest="sha256:" + "0" * 65),
    ],
    "digest cut": _set(2, chunkDigest="sha256:" + "0" * 63),
    "link to nowhere": _set(4, linkName=""),
    "no time": _set(0, modtime="yesterday"),
    "time of no calendar": _set(0, modtime="2023-02-29T00:00:00Z"),
    "time with Arabic digits": _set(0, modtime="٢٠٢٣-02-01T00:00:00Z"),
    "attributes in a list": _set(0, xattrs=["a"]),
    "attributes not base64": _set(0, xattrs={"a": "!"}),
    "attributes of numbers": _set(0, xattrs={"a": 1}),
    "half a surrogate pair": _set(0, name="\ud800"),
    "half a surrogate pair in a link": _set(4, linkName="\udfff"),
    "lost bytes of a name": _set(0, name="caf\ufffd"),
    "lost bytes of a link": _set(4, linkName="caf\ufffd"),
    "no object": lambda rows: rows.append([]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", FALSE)
def test_what_cannot_be_true(name: str) -> None:
    for built in _both(FALSE[name]):
        with pytest.raises(TarInvalid):
            read(built)


def test_the_same_unedited() -> None:
    for built in _both(lambda rows: None):
        table, chunks = read(built)
        assert list(table.paths) == [b"/a", b"/big", b"/link", b"/last"]
        assert [len(chunks.of_row(row)) for row in range(4)] == [1, 3, 0, 1]


def test_files_in_another_order_than_in_the_blob() -> None:
    def swap(rows: list[dict[str, Any]]) -> None:
        rows[0], rows[5] = rows[5], rows[0]

    for kind, built in zip(("estargz", "chunked"), _both(swap), strict=True):
        table, chunks = read(built)
        assert table.paths[0] == b"/last"
        if kind == "estargz":  # which says of no chunk where it ends
            assert chunks.of_row(3)[0].stop == chunks.of_row(1)[0].start
        for row, content in ((0, b"last" * 10), (3, b"first" * 20)):
            (chunk,) = chunks.of_row(row)
            assert toc.decode(kind, chunk, built.blob[chunk.start : chunk.stop]) == content


def test_keys_in_other_letters() -> None:
    for built in _both(_set(0, Size=3)):
        with pytest.raises(TypeConfusion):
            read(built)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"version":1}',
        b'{"version":2,"entries":[]}',
        b'{"version":true,"entries":[]}',
        b'{"entries":[]}',
        b'{"version":1,"entries":{}}',
        b'{"version":1,"entries":[}',
        b'{"version":1,"entries":[{]}',
        b'{"version":1,"entries":[{},]}',
        b'{"version":1,"entries":[]]}',
        b'{"version":1,"entries":[]}}',
        b'{"version":1,"entries":[],"entries":[]}',
        b'{"version":1,"inner":{"entries":[]}}',
        b'{"version":1,"entries":[{"name":"a","type":"reg","size":' + b"9" * 5000 + b"}]}",
        b'{"version":1,"entries":[{"name":"\xff","type":"reg"}]}',
        b'{"version":1,"entries":[' + b"[" * 100_000 + b"]}",
        b'{"version":1,"entries":[' + b'{"a":' * 100_000 + b"]}",
        b'\xef\xbb\xbf{"version":1,"entries":[]}',
        '{"version":1,"entries":[]}'.encode("utf-16"),
    ],
)
def test_documents_that_are_no_table(text: bytes) -> None:
    for build in (tocs.estargz, tocs.chunked):
        with pytest.raises((TarInvalid, CompressionInvalid)):
            read(build(MEMBERS, raw=lambda _: text))


@pytest.mark.parametrize("text", ['{"version":1,"entries":null}', '{"entries" : [ ],"version":1}'])
def test_tables_without_entries(text: str) -> None:
    for build in (tocs.estargz, tocs.chunked):
        table, chunks = read(build(MEMBERS, raw=lambda _: text.encode()))
        assert len(table) == len(chunks) == 0


def test_many_windows_with_names_that_look_like_cuts() -> None:
    names = [f'd/{number}"}},{{' + "x" * 90 for number in range(30_000)]
    rows = [{"name": name, "type": "reg", "xattrs": {"a": "AAAA"}} for name in names]
    document = {"version": 1, "entries": rows, "tarSplitDigest": "sha256:0"}
    for indent in (None, 1):
        text = json.dumps(document, indent=indent).encode()
        assert len(text) > 2 * toc_json.WINDOW
        table, _ = toc_table.parse(text, 10**9, DEFAULT)
        assert list(table.paths) == [b"/" + name.encode() for name in names]
        assert len(table.extras) == len(names)


def test_chunks_over_windows() -> None:
    digest = "sha256:" + "ab" * 32
    rows: list[dict[str, Any]] = [{"name": "a", "type": "dir"}]
    rows.append({"name": "b", "type": "reg", "size": 50_000, "chunkSize": 1, "offset": 1})
    for at in range(1, 50_000):
        chunk = {"name": "b", "type": "chunk", "chunkSize": 1, "chunkOffset": at, "offset": at + 1}
        rows.append(chunk)
    rows[1]["endOffset"] = 50_010
    for row in rows[1:]:
        row["chunkDigest"] = digest
    rows.append({"name": "c", "type": "reg", "size": 1, "offset": 50_020, "digest": digest})
    text = json.dumps({"version": 1, "entries": rows}).encode()
    assert len(text) > 3 * toc_json.WINDOW
    table, chunks = toc_table.parse(text, 50_030, DEFAULT)
    assert len(table) == 3
    assert [chunk.offset for chunk in chunks.of_row(1)] == list(range(50_000))
    assert chunks.of_row(1)[-1] == Chunk(50_000, 50_010, 49_999, 1, digest)
    assert chunks.of_row(2) == [Chunk(50_020, 50_030, 0, 1, digest)]


def test_an_entry_larger_than_a_window() -> None:
    rows = [{"name": "a", "type": "dir"}, {"name": "x" * (3 << 20), "type": "dir"}]
    rows += rows[:1] * 10
    text = json.dumps({"version": 1, "entries": rows}).encode()
    with pytest.raises((TarInvalid, LimitExceeded)):
        toc_table.parse(text, 100, DEFAULT)
    # Every brace in a name could be a cut; few are tried.
    rows[1]["name"] = "},{" * (1 << 20)
    text = json.dumps({"version": 1, "entries": rows}).encode()
    with pytest.raises(TarInvalid):
        toc_table.parse(text, 100, DEFAULT)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(entries=3),
        Limits(decompressed=50_000),
        Limits(path=4),
        Limits(components=1),
    ],
)
def test_limits(limits: Limits) -> None:
    deep = [*MEMBERS, entry("deep/er", b"")]
    for built in (tocs.estargz(deep), tocs.chunked(deep)):
        with pytest.raises(LimitExceeded):
            read(built, limits)


def test_files_of_one_member_share_its_range() -> None:
    built = tocs.estargz(MEMBERS, join=1 << 20, landmark=False)
    _, chunks = read(built)
    places = {(chunk.start, chunk.skip) for row in (0, 1, 3) for chunk in chunks.of_row(row)}
    assert len({start for start, _ in places}) == 1
    assert len(places) == 3


def test_what_lies_behind_a_file_is_not_fetched() -> None:
    digest = "sha256:" + "ab" * 32
    rows = [{"name": "a", "type": "reg", "size": 10, "offset": 5, "digest": digest}]
    _, chunks = toc_table.parse(
        json.dumps({"version": 1, "entries": rows}).encode(), 10_000_000_000, DEFAULT
    )
    (chunk,) = chunks.of_row(0)
    assert chunk.stop - chunk.start < 100_000


def test_footers() -> None:
    built = tocs.estargz(MEMBERS)
    size = len(built.blob)
    good = built.blob
    offset = good[-51:][16:32]
    for replaced in (b"0" * 16, b"f" * 16, b"%016x" % size, b"%016X" % (size - 52), b"-" * 16):
        if replaced == offset:
            continue
        built.blob = good[:-51] + good[-51:].replace(offset, replaced)
        with pytest.raises(TarInvalid, match="footer"):
            read(built)
    for blob in (good[:-1], good + b"\0", good[:-51], b"\0" * 60, b"\0", good[-51:]):
        built.blob = blob
        with pytest.raises((TarInvalid, CompressionInvalid)):
            read(built)


def test_a_table_as_large_as_the_layer_is_not_worth_it() -> None:
    built = tocs.estargz([*MEMBERS, *(entry(f"f{n}", _NOISE) for n in range(200))])
    offset = built.blob[-51:][16:32]
    built.blob = built.blob[:-51] + built.blob[-51:].replace(offset, b"%016x" % 100)
    with pytest.raises(LimitExceeded):
        read(built)
    assert len(built.reads) == 1


@pytest.mark.parametrize("place", ["0:10:10:1", "7:10:10:1", "{size}:1:1:1", "100:0:10:1"])
def test_positions_outside(place: str) -> None:
    built = tocs.chunked(MEMBERS)
    key = f"{tocs.CHUNKED}manifest-position"
    built.annotations[key] = place.format(size=len(built.blob))
    with pytest.raises(TarInvalid):
        read(built)
    assert built.reads == []


def test_positions_with_false_lengths() -> None:
    built = tocs.chunked(MEMBERS)
    key = f"{tocs.CHUNKED}manifest-position"
    offset, length, size, _ = map(int, built.annotations[key].split(":"))
    for claimed, error in [
        (size - 1, TarInvalid),
        (size + 1, CompressionInvalid),
        (10**12, LimitExceeded),
    ]:
        built.annotations[key] = f"{offset}:{length}:{claimed}:1"
        with pytest.raises(error):
            read(built)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
        ("2023-11-14T22:13:20.5Z", 1_700_000_000_500_000),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000_000_000),
        ("2023-11-14T18:43:20-03:30", 1_700_000_000_000_000),
        ("1969-12-31T23:59:59.25Z", -750_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
    ],
)
def test_times(text: str, microseconds: int) -> None:
    for built in _both(_set(0, modtime=text)):
        assert read(built)[0].mtimes[0] == microseconds


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
_KEYS = st.sampled_from(sorted(toc_batch._NAMES._exact))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), _KEYS, _VALUES), min_size=1, max_size=4))
def test_any_value_anywhere(edits: list[tuple[int, str, Any]]) -> None:
    def edit(value: dict[str, Any]) -> None:
        for row, key, new in edits:
            value["entries"][row][key] = new

    built = tocs.chunked(MEMBERS, chunk=20_000, edit=edit)
    end = len(built.blob)
    try:
        table, chunks = toc_table.parse(built.table, end, DEFAULT)
    except (MalformedContent, IntegrityError, LimitExceeded):
        return
    for row, size in enumerate(table.sizes):
        assert sum(chunk.length for chunk in chunks.of_row(row)) == (size or 0)
    for chunk in (chunk for row in range(len(table)) for chunk in chunks.of_row(row)):
        assert 0 <= chunk.start < chunk.stop <= end


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_the_blob(data: st.DataObject) -> None:
    built = data.draw(st.sampled_from(_BUILT))
    damaged = bytearray(built.blob)
    for _ in range(data.draw(st.integers(1, 3))):
        at = len(damaged) - 1 - data.draw(st.integers(0, min(1200, len(damaged) - 1)))
        damaged[at] = data.draw(st.integers(0, 255))
    copy = Tabled(bytes(damaged), built.annotations, built.tar, built.table)
    try:
        table, _ = read(copy)
    except DidlabError:
        return
    assert list(table) == list(read(built)[0])


_BUILT = [tocs.estargz(MEMBERS, chunk=20_000), tocs.chunked(MEMBERS, chunk=20_000)]
