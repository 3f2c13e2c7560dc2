"""Tar archives made by hand: what is legal, odd, or an attack."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from rig.tars import BLOCK, END, base256, file, header, long, octal, padded, pax, record, signed

from didlab.errors import DidlabError, LimitExceeded, TarInvalid
from didlab.files import walk
from didlab.files.limits import Limits
from didlab.files.table import NO_OFFSET, TYPES, Entry
from didlab.files.walk import Walker

GNU = b"ustar  \0"


@pytest.fixture(autouse=True, params=[True, False], ids=["batch", "alone"])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every case is read in both ways: many headers at once, and one by one."""
    monkeypatch.setattr(walk, "_WORTH", 0)
    return bool(request.param)


@pytest.fixture
def read(batch: bool) -> Callable[..., list[Entry]]:
    def reader(data: bytes, limits: Limits | None = None, **options: object) -> list[Entry]:
        walker = Walker(limits or Limits(), batch=batch, **options)  # type: ignore[arg-type]
        walker.feed(data)
        reader.walker = walker  # type: ignore[attr-defined]
        return list(walker.finish())

    return reader


def one(entries: list[Entry]) -> Entry:
    assert len(entries) == 1
    return entries[0]


def warnings(read: Callable[..., list[Entry]]) -> str:
    return "\n".join(read.walker.warnings)  # type: ignore[attr-defined]


def refused(read: Callable[..., list[Entry]], data: bytes, *words: str) -> TarInvalid:
    with pytest.raises(TarInvalid) as caught:
        read(data)
    for word in words:
        assert word in str(caught.value)
    return caught.value


# Names and types


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"", b"/"),
        (b".", b"/"),
        (b"./", b"/"),
        (b"/", b"/"),
        (b"./etc/passwd", b"/etc/passwd"),
        (b"/etc//passwd", b"/etc/passwd"),
        (b"././a/./b/.", b"/a/b"),
        (b"a/", b"/a"),
        (b"a//", b"/a"),
        (b"../a/..", b"/../a/.."),
        (b".hidden/..b", b"/.hidden/..b"),
        (b"\xff\xfe\n\xe9", b"/\xff\xfe\n\xe9"),
        (b"a\\b", b"/a\\b"),
        (b"cut\0here", b"/cut"),
        (b"c" * 100, b"/" + b"c" * 100),
    ],
)
def test_paths(read: Callable[..., list[Entry]], name: bytes, path: bytes) -> None:
    entries = read(header(b"other") + header(name, flag=b"5") + header(b"last") + END)
    assert [entry.path for entry in entries] == [b"/other", path, b"/last"]


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        *zip([b"0", b"5", b"2", b"1", b"3", b"4", b"6"], TYPES, strict=True),
        *((flag, "file") for flag in (b"\0", b"7", b"Z", b"D")),
    ],
)
@pytest.mark.parametrize("magic", [b"ustar\x0000", GNU, b""], ids=["posix", "gnu", "v7"])
def test_types(read: Callable[..., list[Entry]], flag: bytes, kind: str, magic: bytes) -> None:
    block = header(b"x", flag=flag, link=b"./to", device=(8, 300), magic=magic)
    entry = one(read(block + END))
    assert TYPES[entry.type] == kind
    assert entry.link == {"hardlink": b"/to", "symlink": b"./to"}.get(kind, b"")
    assert entry.extra == ({"device": [8, 300]} if kind in ("char", "block") else None)
    assert entry.offset == (BLOCK if kind == "file" else NO_OFFSET)
    assert ("unknown type" in warnings(read)) == (flag in (b"Z", b"D"))


@pytest.mark.parametrize("flag", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_only_files_have_content(read: Callable[..., list[Entry]], flag: bytes) -> None:
    """As Go reads it: a size there says nothing, in a PAX header neither."""
    entries = read(header(b"x", 700, flag) + file(b"y", b"y") + END)
    assert [(entry.path, entry.size) for entry in entries] == [(b"/x", 0), (b"/y", 1)]
    entries = read(pax([(b"size", b"700")]) + header(b"x", 0, flag) + file(b"y", b"y") + END)
    assert [(entry.path, entry.size) for entry in entries] == [(b"/x", 0), (b"/y", 1)]


def test_a_slash_makes_a_folder(read: Callable[..., list[Entry]]) -> None:
    """Decided by the final name and the type together: of an old file, no content follows."""
    name = b"n" * 120
    entries = read(
        header(b"old/", 600, b"\0")
        + file(b"new/", b"skipped")
        + long(b"L", name + b"/")
        + header(b"short", 600, b"\0")
        + long(b"L", name)
        + file(b"short/", b"kept", b"\0")
        + header(b"end")
        + END
    )
    assert [(entry.path, TYPES[entry.type], entry.size) for entry in entries] == [
        (b"/old", "dir", 0),
        (b"/new", "dir", 0),
        (b"/" + name, "dir", 0),
        (b"/" + name, "file", 4),
        (b"/end", "file", 0),
    ]


def test_prefixes(read: Callable[..., list[Entry]]) -> None:
    """POSIX has one, star a shorter one, GNU and v7 none."""
    star = bytearray(header(b"star", prefix=b"s" * 131 + b"12345678901\0" * 2))
    star[508:512] = b"tar\0"
    entries = read(
        header(b"posix", prefix=b"p" * 155)
        + signed(star)
        + header(b"gnu", prefix=b"00000000000\0", magic=GNU)
        + header(b"v7", prefix=b"junk", magic=b"")
        + END
    )
    assert [entry.path for entry in entries] == [
        b"/" + b"p" * 155 + b"/posix",
        b"/" + b"s" * 131 + b"/star",
        b"/gnu",
        b"/v7",
    ]


def test_long_names_and_their_order(read: Callable[..., list[Entry]]) -> None:
    """K before L or after it; GNU's name comes before PAX's, and only for one entry."""
    name, link = b"n" * 300, b"l" * 300
    for first, second in ((b"L", b"K"), (b"K", b"L")):
        texts = {b"L": name, b"K": link}
        entries = read(
            long(first, texts[first])
            + pax([(b"path", b"pax"), (b"linkpath", b"pax"), (b"mtime", b"3.25")])
            + long(second, texts[second])
            + header(b"short", flag=b"2", link=b"short")
            + header(b"after")
            + END
        )
        assert [entry.path for entry in entries] == [b"/" + name, b"/after"]
        assert entries[0].link == link
        assert entries[0].mtime == 3_250_000


def test_duplicates_stay(read: Callable[..., list[Entry]]) -> None:
    data = file(b"a", b"1") + header(b"a", flag=b"5") + file(b"./a", b"22") + END
    entries = read(data, capture=lambda path, size: True)
    assert [(entry.path, entry.size) for entry in entries] == [(b"/a", 1), (b"/a", 0), (b"/a", 2)]
    assert read.walker.captured == {b"/a": b"22"}  # type: ignore[attr-defined]


# Numbers


@pytest.mark.parametrize("text", [b"0000644\0", b"000644 \0", b"   644 \0", b"644", b"\0\000644"])
def test_spellings_of_octal(read: Callable[..., list[Entry]], text: bytes) -> None:
    assert one(read(header(b"x", mode=text, uid=text, gid=text) + END))[2:5] == (0o644,) * 3


@pytest.mark.parametrize("text", [b"0000694\0", b"0x1ff\0", b"+644\0", b"6_44\0", b"6 44\0", b"-1"])
@pytest.mark.parametrize("name", ["mode", "uid", "gid", "size", "mtime"])
def test_no_numbers(read: Callable[..., list[Entry]], name: str, text: bytes) -> None:
    fields = {"size": 0, name: text}
    refused(read, header(b"a") + header(b"x", **fields) + END, "at byte 512", "is no number")  # type: ignore[arg-type]


def test_large_and_negative_numbers(read: Callable[..., list[Entry]]) -> None:
    block = header(
        b"x", uid=base256(2**40, 8), gid=base256(-2, 8), mtime=base256(-5, 12), magic=GNU
    )
    entry = one(read(block + END))
    assert (entry.uid, entry.gid, entry.mtime) == (2**40, -2, -5_000_000)
    assert entry.extra is None
    entry = one(read(header(b"x", mtime=base256(2**80, 12)) + END))
    assert entry.mtime == 2**63 - 1
    assert entry.extra == {"raw": {"mtime": str(2**80 * 10**6)}}
    assert one(read(header(b"x", size=b"000000000000", mtime=b"7" * 12) + END)).mtime == (
        (8**12 - 1) * 10**6
    )


@pytest.mark.parametrize("size", [-1, -(2**62), 2**63, 2**94])
def test_sizes_no_file_has(read: Callable[..., list[Entry]], size: int) -> None:
    refused(read, header(b"x", base256(size, 12)) + END, "at byte 0")
    refused(read, pax([(b"size", b"%d" % size)]) + header(b"x") + END, "at byte 1024")


def test_more_than_the_budget(read: Callable[..., list[Entry]]) -> None:
    with pytest.raises(LimitExceeded) as caught:
        read(header(b"x", 2000) + END, Limits(decompressed=1500))
    assert (caught.value.limit, caught.value.seen) == (1500, 2512)


def test_sizes_together(read: Callable[..., list[Entry]]) -> None:
    """Sparse files cost nothing and may be as large as a number."""
    huge = pax(
        [
            (b"GNU.sparse.major", b"0"),
            (b"GNU.sparse.minor", b"1"),
            (b"GNU.sparse.size", b"%d" % 2**62),
            (b"GNU.sparse.map", b"0,0"),
            (b"GNU.sparse.numblocks", b"1"),
        ]
    ) + header(b"huge")
    assert one(read(huge + END)).size == 2**62
    refused(read, huge * 2 + END, "larger than any file system")


@pytest.mark.parametrize(
    ("text", "mtime", "raw"),
    [
        (b"1.5", 1_500_000, None),
        (b"1700000000.123456789", 1_700_000_000_123_456, None),
        (b"1700000000.", 1_700_000_000_000_000, None),
        (b"1700000000", 1_700_000_000_000_000, None),
        (b"12345678901.5", 12_345_678_901_500_000, None),
        (b"-1", -1_000_000, None),
        (b"-5.25", -5_250_000, None),
        (b"-1.0000001", -1_000_001, None),
        (b"", 1_700_000_000_000_000, None),
        (b"9223372036854775808", 2**63 - 1, "9223372036854775808"),
        (b"-" + b"9" * 5000, -(2**63) + 1, "-" + "9" * 199),
        (b"NaN", 1_700_000_000_000_000, "NaN"),
        (b"1e400", 1_700_000_000_000_000, "1e400"),
        (b"1700000000,5", 1_700_000_000_000_000, "1700000000,5"),
    ],
)
def test_pax_times(
    read: Callable[..., list[Entry]], text: bytes, mtime: int, raw: str | None
) -> None:
    data = header(b"a") + pax([(b"atime", b"1.5"), (b"mtime", text), (b"ctime", b"2")])
    entry = read(data + header(b"x") + END)[1]
    assert entry.mtime == mtime
    assert entry.extra == (raw and {"raw": {"mtime": raw}})
    # Alone, and with the usual ones around it.
    times = [(b"mtime", text)], [(b"mtime", text), (b"atime", text), (b"ctime", text)]
    for records in times:
        assert one(read(pax(records) + header(b"x") + END)).mtime == mtime


def test_pax_owners(read: Callable[..., list[Entry]]) -> None:
    records = [(b"uid", b"%d" % 2**63), (b"gid", b"-7")]
    entry = one(read(pax(records) + header(b"x", uid=5) + END))
    assert (entry.uid, entry.gid) == (2**63 - 1, -7)
    assert entry.extra == {"raw": {"uid": str(2**63)}}
    entry = one(read(pax([(b"uid", b"root"), (b"gid", b"")]) + header(b"x", uid=5, gid=6) + END))
    assert (entry.uid, entry.gid, entry.extra) == (5, 6, {"raw": {"uid": "root"}})


# PAX headers


def test_two_faces(read: Callable[..., list[Entry]]) -> None:
    """PAX's size holds, as POSIX says: the archive inside is content."""
    inner = file(b"hidden", b"h")
    data = pax([(b"size", b"%d" % len(inner))]) + header(b"x", 0) + inner + header(b"y") + END
    assert [entry.path for entry in read(data)] == [b"/x", b"/y"]
    assert "two sizes" in warnings(read)
    large = pax([(b"size", b"%d" % 8**11)]) + header(b"x", 0)
    with pytest.raises(TarInvalid):
        read(large)
    assert warnings(read) == ""


def test_global_headers(read: Callable[..., list[Entry]]) -> None:
    """Time and comments for all; a path or size for all is an attack."""
    records = [(b"comment", b"c"), (b"mtime", b"7.5"), (b"path", b"evil"), (b"size", b"9")]
    entries = read(
        header(b"before")
        + pax(records, b"g")
        + header(b"a")
        + pax([(b"mtime", b"8")])
        + pax([(b"comment", b"d")], b"g")
        + file(b"b", b"b")
        + header(b"c")
        + END
    )
    assert [(entry.path, entry.mtime, entry.size) for entry in entries] == [
        (b"/before", 1_700_000_000_000_000, 0),
        (b"/a", 7_500_000, 0),
        (b"/b", 8_000_000, 1),
        (b"/c", 7_500_000, 0),
    ]
    assert "path, size of all entries" in warnings(read)


@pytest.mark.parametrize(
    "body",
    [
        b"x path=a\n",
        b"-1 path=a\n",
        b"9 path=a",
        b"11 path=a\n",
        b"8 path=a\n",
        b"99 path=a\n",
        b"9 pathxa\n",
        b"5 =a\n",
        b"11 pa\0th=a\n",
        b"11 path=a\0\n",
        b"9 path=a\n\0\0\0",
        b"9" * 5000 + b" path=a\n",
        b"\0",
        b" 9 path=a\n",
        b"+9 path=a\n",
        b"\xc2\xb2 a=b\n",
        b"3 \n4 a=b",
    ],
)
def test_broken_records(read: Callable[..., list[Entry]], body: bytes) -> None:
    refused(read, header(b"a") + file(b"pax", body, b"x") + header(b"x") + END, "at byte")


def test_a_value_may_be_anything(read: Callable[..., list[Entry]]) -> None:
    records = [
        (b"comment", b"12 path=evil\n\0=size=5"),
        (b"SCHILY.xattr.user.\xff", b"\0\n=GNU.sparse.map"),
        (b"LIBARCHIVE.xattr.user.a%20b", b"aGk"),
        (b"LIBARCHIVE.xattr.user.bad", b"!"),
        (b"LIBARCHIVE.xattr.both", b"b2xk"),
        (b"SCHILY.xattr.both", b"new"),
    ]
    entry = one(read(pax(records) + file(b"x", b"c") + END))
    assert (entry.path, entry.size) == (b"/x", 1)
    values = {"user.\\xff": b"\0\n=GNU.sparse.map", "user.a b": b"hi", "both": b"new"}
    encoded = {name: base64.b64encode(value).decode() for name, value in values.items()}
    assert entry.extra == {"xattrs": encoded}


def test_the_last_record_of_a_name_holds(read: Callable[..., list[Entry]]) -> None:
    records = [(b"path", b"one"), (b"mtime", b"1"), (b"path", b"two"), (b"mtime", b"2")]
    assert one(read(pax(records) + header(b"x") + END))[:7:6] == (b"/two", 2_000_000)
    times = [(b"mtime", b"1700000001.5"), (b"mtime", b"1700000002.5")]
    assert one(read(pax(times) + header(b"x") + END)).mtime == 1_700_000_002_500_000


@pytest.mark.parametrize(
    "twice", [pax([(b"mtime", b"1")]), long(b"L", b"n"), long(b"K", b"n")], ids="xLK"
)
def test_each_header_once(read: Callable[..., list[Entry]], twice: bytes) -> None:
    refused(read, header(b"a") + twice * 2 + header(b"x") + END, "twice")
    assert len(read((twice + header(b"x")) * 3 + END)) == 3


@pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
def test_large_headers(read: Callable[..., list[Entry]], flag: bytes) -> None:
    """Refused by what they say: nobody waits for the bytes."""
    with pytest.raises(LimitExceeded) as caught:
        read(header(b"a") + header(b"h", base256(2**32, 12), flag))
    assert (caught.value.limit, caught.value.seen) == (1024**2, 2**32)


def test_many_records(read: Callable[..., list[Entry]]) -> None:
    body = record(b"a", b"") * 11
    with pytest.raises(LimitExceeded):
        read(file(b"p", body, b"x") + header(b"x") + END, Limits(records=10))
    times = b"".join(record(key, b"1700000000") for key in (b"mtime", b"atime", b"ctime"))
    with pytest.raises(LimitExceeded):
        read(file(b"p", times, b"x") + header(b"x") + END, Limits(records=2))
    assert len(read(file(b"p", times, b"x") + header(b"x") + END, Limits(records=3))) == 1


# Sparse files


def sparse(version: str, regions: list[tuple[int, int]], size: int, content: bytes) -> bytes:
    major, minor = version.encode().split(b".")
    records = [
        (b"GNU.sparse.major", major),
        (b"GNU.sparse.minor", minor),
        (b"GNU.sparse.name", b"dir/holey"),
        (b"GNU.sparse.realsize", b"%d" % size),
    ]
    if version == "0.0":
        records = [(b"GNU.sparse.size", b"%d" % size)]
        for offset, length in regions:
            records.append((b"GNU.sparse.offset", b"%d" % offset))
            records.append((b"GNU.sparse.numbytes", b"%d" % length))
        return pax(records) + file(b"dir/holey", content)
    numbers = [b"%d" % number for region in regions for number in region]
    if version == "0.1":
        records.append((b"GNU.sparse.map", b",".join(numbers)))
        return pax(records) + file(b"GNUSparseFile.0/holey", content)
    text = b"".join(number + b"\n" for number in [b"%d" % len(regions), *numbers])
    return pax(records) + file(b"GNUSparseFile.0/holey", padded(text) + content)


def old_sparse(regions: list[tuple[int, int]], size: int, content: bytes) -> bytes:
    pairs = [octal(offset, 12) + octal(length, 12) for offset, length in regions]
    block = bytearray(header(b"dir/holey", len(content), b"S", magic=GNU))
    block[386 : 386 + 96] = b"".join(pairs[:4]).ljust(96, b"\0")
    block[482] = len(pairs) > 4
    block[483:495] = octal(size, 12)
    blocks, rest = [signed(block)], pairs[4:]
    while rest:
        more = b"\1" if len(rest) > 21 else b"\0"
        blocks.append(b"".join(rest[:21]).ljust(504, b"\0") + more + bytes(7))
        rest = rest[21:]
    return b"".join(blocks) + padded(content)


def made(kind: str, regions: list[tuple[int, int]], size: int, content: bytes) -> bytes:
    return (old_sparse if kind == "old" else lambda *rest: sparse(kind, *rest))(
        regions, size, content
    )


SPARSE = pytest.mark.parametrize("kind", ["old", "0.0", "0.1", "1.0"])


@SPARSE
@pytest.mark.parametrize("count", [0, 1, 4, 5, 25, 26, 100])
def test_sparse(read: Callable[..., list[Entry]], kind: str, count: int) -> None:
    regions = [(1000 * number, 3) for number in range(count)] + [(10**6, 0)]
    content = bytes(65 + number % 26 for number in range(count) for _ in range(3))
    data = header(b"a") + made(kind, regions, 10**6, content)
    entries = read(data + file(b"z", b"z") + END, capture=lambda path, size: True)
    assert [entry.path for entry in entries] == [b"/a", b"/dir/holey", b"/z"]
    entry = entries[1]
    stored = [list(region) for region in regions[:-1]]
    assert entry.size == 10**6
    assert entry.extra == {"sparse": stored, "stored": len(content)}
    assert data[entry.offset : entry.offset + len(content)] == content
    whole = bytearray(10**6)
    for number, (offset, length) in enumerate(regions[:-1]):
        whole[offset : offset + length] = content[3 * number : 3 * number + 3]
    assert read.walker.captured[b"/dir/holey"] == whole  # type: ignore[attr-defined]


@SPARSE
@pytest.mark.parametrize(
    "regions",
    [[(0, 5), (4, 5)], [(8, 1), (0, 1)], [(95, 10)], [(0, 51)], [(2**33 - 1, 2**33 - 1)]],
)
def test_sparse_lies(
    read: Callable[..., list[Entry]], kind: str, regions: list[tuple[int, int]]
) -> None:
    refused(read, made(kind, regions, 100, b"c" * 50) + END, "sparse file")


@pytest.mark.parametrize("kind", ["0.0", "0.1", "1.0"])
def test_sparse_negative(read: Callable[..., list[Entry]], kind: str) -> None:
    refused(read, made(kind, [(-5, 5)], 100, b"c" * 50) + END, "sparse file")
    refused(read, made(kind, [(0, -5)], 100, b"c" * 50) + END, "sparse file")
    refused(read, made(kind, [(0, 0)], -1, b"") + END, "sparse file")


@SPARSE
def test_sparse_limits(read: Callable[..., list[Entry]], kind: str) -> None:
    regions = [(2 * number, 1) for number in range(60)]
    data = made(kind, regions, 1000, b"c" * 60) + END
    assert len(read(data, Limits(regions=60))) == 1
    with pytest.raises(LimitExceeded):
        read(data, Limits(regions=59))


def test_sparse_maps_in_the_content(read: Callable[..., list[Entry]]) -> None:
    start = pax(
        [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.realsize", b"9"),
        ]
    )
    for text in (b"1\n0\n", b"x\n", b"\n", b"-1\n", b"0" * 600, b"1\n0\nx\n"):
        refused(read, start + file(b"x", padded(text)) + header(b"y") + END, "sparse")
    refused(read, start + file(b"x", b"1\n0\n1\n") + END, "map")
    with pytest.raises(LimitExceeded):
        read(start + file(b"x", b"900\n" + b"0\n" * 1800) + END, Limits(sparse_map=1024))
    with pytest.raises(LimitExceeded):
        read(start + file(b"x", padded(b"%d\n" % 10**15)) + END)


# The end


def test_ends(read: Callable[..., list[Entry]]) -> None:
    entry = header(b"a")
    for data, rows, warning in (
        (b"", 0, "empty"),
        (END, 0, ""),
        (END * 20, 0, ""),
        (END + b"\0", 0, ""),
        (entry + END, 1, ""),
        (entry + END + entry, 1, "something follows"),
        (entry + END + b"x", 1, "something follows"),
        (entry + END[:BLOCK], 1, "does not end"),
        (entry + END[:-1], 1, "within a block of zeros"),
        (entry + END[:BLOCK] + entry, 1, "one block of zeros"),
        (entry, 1, "does not end"),
        (file(b"a", b"content")[:519], 1, "does not end"),
        (b"\0", 0, "within a block of zeros"),
    ):
        assert len(read(data)) == rows
        assert warning in warnings(read)
        assert bool(warning) == bool(warnings(read))


def test_cut_anywhere(batch: bool) -> None:
    data = (
        pax([(b"mtime", b"1700000000.5")])
        + file(b"a", b"a" * 700)
        + long(b"L", b"n" * 600)
        + header(b"b")
        + sparse("1.0", [(0, 5)], 100, b"12345")
        + END
    )
    # After whole entries, and after content whose padding is missing.
    good = {0: 0, 1024 + 512 + 700: 1}
    for cut in range(1024 + 512 + 700, 1024 + 512 + 1025):
        good[cut] = 1
    after = 1024 + 512 + 1024 + 512 + 1024 + 512
    good[after] = 2
    end = len(data) - len(END)
    good |= dict.fromkeys(range(end - 512 + 5, len(data) + 1), 3)
    for cut in range(0, len(data) + 1, 13 if batch else 1):
        walker = Walker(batch=batch)
        walker.feed(data[:cut])
        if cut in good:
            assert len(walker.finish()) == good[cut], cut
            assert bool(walker.warnings) == (cut < len(data)), cut
        else:
            with pytest.raises(TarInvalid) as caught:
                walker.finish()
            assert caught.value.where == str(cut)


def test_checksums(read: Callable[..., list[Entry]]) -> None:
    good = header(b"a")
    error = refused(read, good + header(b"x", checksum=b"000001\0 ") + END, "checksum")
    assert error.where == "512"
    refused(read, good + b"<html>" + bytes(506), "no tar header")
    # Old tars added signed bytes.
    block = header(b"\xff\xfe")
    signed_sum = int(block[148:154], 8) - 512
    assert one(read(header(b"\xff\xfe", checksum=b"%06o\0 " % signed_sum) + END)).path
    for text in (b"%07o\0", b"%07o ", b"%06o \0", b"%6o\0 "):
        total = int(good[148:154], 8)
        assert one(read(header(b"a", checksum=text % total) + END)).path == b"/a"


def test_the_first_error_is_told(read: Callable[..., list[Entry]]) -> None:
    data = header(b"a") + header(b"b", uid=b"bad") + header(b"c") + b"junk".ljust(512)
    assert refused(read, data, "owner").where == "512"


# Limits


def test_limits(read: Callable[..., list[Entry]]) -> None:
    data = b"".join(header(b"%d" % number) for number in range(10)) + END
    assert len(read(data, Limits(entries=10))) == 10
    with pytest.raises(LimitExceeded) as caught:
        read(data, Limits(entries=9))
    assert (caught.value.what, caught.value.limit) == ("entries", 9)
    for entry in (
        long(b"L", b"n" * 71) + header(b"x"),
        pax([(b"path", b"n" * 71)]) + header(b"x"),
        header(b"n" * 71),
        pax([(b"linkpath", b"n" * 71)]) + header(b"x", flag=b"2"),
        header(b"x", flag=b"1", link=b"n" * 71),
    ):
        assert len(read(entry + END)) == 1
        with pytest.raises(LimitExceeded):
            read(entry + END, Limits(path=70))
    deep = header(b"a/" * 30) + END
    assert len(read(deep, Limits(components=30))) == 1
    with pytest.raises(LimitExceeded):
        read(deep, Limits(components=29))


def test_names_together(batch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("didlab.files.tar_batch._TEXT", 10_000)
    walker = Walker(batch=batch)
    with pytest.raises(LimitExceeded):
        for _ in range(10):
            for entry in (long(b"L", b"n" * 300) + header(b"x"), header(b"m" * 100)):
                walker.feed(entry * 3)
        walker.finish()
    walker = Walker(batch=batch)
    walker.feed(header(b"m" * 100) * 90 + END)
    assert len(walker.finish()) == 90


def test_warnings_are_few(read: Callable[..., list[Entry]]) -> None:
    read(header(b"\x1b[2J", flag=b"Z") * 500 + END)
    found = read.walker.warnings  # type: ignore[attr-defined]
    assert len(found) == 101
    assert "\x1b" not in found[0]


# Capture


def test_capture(read: Callable[..., list[Entry]]) -> None:
    asked: list[tuple[bytes, int]] = []

    def capture(path: bytes, size: int) -> bool:
        asked.append((path, size))
        return path.endswith(b"y")

    files = [file(b"%d%s" % (n, b"xy"[n % 2 :][:1]), b"%d" % n * n) for n in range(50)]
    folder = header(b"folder/y", flag=b"5")
    read(folder + b"".join(files) + END, capture=capture)
    assert sorted(asked) == sorted(
        (b"/%d%s" % (n, b"xy"[n % 2 :][:1]), len(b"%d" % n * n)) for n in range(50)
    )
    expected = {b"/%dy" % n: b"%d" % n * n for n in range(1, 50, 2)}
    assert read.walker.captured == expected  # type: ignore[attr-defined]


def test_capture_over_pieces(batch: bool) -> None:
    content = bytes(range(256)) * 30
    data = file(b"a", b"first") + file(b"big", content) + file(b"a", b"last") + END
    for size in (1, 100, 512, 1000, 5000):
        walker = Walker(capture=lambda path, size: True, batch=batch)
        for at in range(0, len(data), size):
            walker.feed(data[at : at + size])
        walker.finish()
        assert walker.captured == {b"/a": b"last", b"/big": content}


def test_capture_too_large(read: Callable[..., list[Entry]]) -> None:
    data = file(b"a", b"c" * 100) + END
    with pytest.raises(LimitExceeded):
        read(data, Limits(whole_file=99), capture=lambda path, size: True)
    assert len(read(data, Limits(whole_file=99), capture=lambda path, size: size < 99)) == 1
    huge = sparse("1.0", [(0, 1)], 2**40, b"x") + END
    with pytest.raises(LimitExceeded):
        read(huge, capture=lambda path, size: True)


def test_errors_escape_names(read: Callable[..., list[Entry]]) -> None:
    with pytest.raises(DidlabError) as caught:
        read(file(b"\x1b[31m\xff", b"c" * 600)[:600])
    assert "\x1b" not in str(caught.value)
    assert "\\xff" in str(caught.value)
