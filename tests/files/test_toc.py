"""Tables of contents: what they list is what the tar holds, and each chunk is its file's."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest
from rig import tocs
from rig.tocs import Tabled, entry

from didlab.errors import CompressionInvalid, DigestMismatch, LimitExceeded, MalformedContent
from didlab.files import estargz, toc
from didlab.files.chunks import Chunk, Chunks
from didlab.files.limits import Limits
from didlab.files.table import NO_OFFSET, Entry, Table
from didlab.oci.descriptor import Descriptor

_DICE = random.Random(4)
_NOISE = _DICE.randbytes(300_000)
_KINDS = {
    tarfile.REGTYPE: 0,
    tarfile.DIRTYPE: 1,
    tarfile.SYMTYPE: 2,
    tarfile.LNKTYPE: 3,
    tarfile.CHRTYPE: 4,
    tarfile.BLKTYPE: 5,
    tarfile.FIFOTYPE: 6,
}

MEMBERS = [
    entry("./", type=tarfile.DIRTYPE, mode=0o755),
    entry("./etc/", type=tarfile.DIRTYPE, mode=0o1777, uid=1, gid=2),
    entry("etc/motd", b"hello\n" * 50, mode=0o644, mtime=0),
    entry("etc/.hidden", b"x", mode=0o600, mtime=1),
    entry("usr//bin/./su", b"\x7fELF" * 9, mode=0o4755),
    entry("/abs", b"absolute", mode=0o2755),
    entry("a/../b", b"climbs", mode=0o644),
    entry("empty", mode=0o644),
    entry("big", _NOISE + bytes(70_000) + b"end" + bytes(500), mode=0o640, uid=65534, gid=65534),
    entry("zeros", bytes(200_000), mode=0o644),
    entry("bücher/名", "漢字".encode(), mode=0o644),
    entry("line\nbreak", b"1", mode=0o644),
    entry("link", type=tarfile.SYMTYPE, linkname="../etc//motd", mode=0o777),
    entry("hard", type=tarfile.LNKTYPE, linkname="./etc/motd", mode=0o644),
    entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    entry("dev/sda", type=tarfile.BLKTYPE, devmajor=8, mode=0o660),
    entry("pipe", type=tarfile.FIFOTYPE, mode=0o600),
    entry("etc/.wh.gone", mode=0o644),
    entry("etc/.wh..wh..opq", mode=0o644),
    entry("cap", b"c", pax_headers={"SCHILY.xattr.user.x": "value"}),
    entry("etc/motd", b"again\n", mode=0o644),
]

BUILDS: dict[str, Callable[[], Tabled]] = {
    "estargz": lambda: tocs.estargz(MEMBERS),
    "estargz, chunks": lambda: tocs.estargz(MEMBERS, chunk=40_000),
    "estargz, joined": lambda: tocs.estargz(MEMBERS, chunk=90_000, join=100_000),
    "estargz, short footer": lambda: tocs.estargz(MEMBERS, footer="short"),
    "estargz, legacy footer": lambda: tocs.estargz(MEMBERS, footer="legacy"),
    "chunked": lambda: tocs.chunked(MEMBERS),
    "chunked, of old": lambda: tocs.chunked(MEMBERS, prefix=tocs.OLD_CHUNKED, chunk=1 << 30),
    "chunked by stargz": lambda: tocs.stargz_zstd(MEMBERS, chunk=50_000),
}


@pytest.fixture(params=BUILDS, ids=list(BUILDS))
def built(request: pytest.FixtureRequest) -> Tabled:
    return BUILDS[request.param]()


def read(built: Tabled, limits: Limits | None = None) -> tuple[str, Table, Chunks]:
    finder = toc.find(_descriptor(built.annotations))
    assert finder is not None
    table, chunks = finder.read(built.read_at, len(built.blob), limits or Limits())
    return finder.kind, table, chunks


def _descriptor(annotations: dict[str, str]) -> Descriptor:
    digest = "sha256:" + "0" * 64
    return Descriptor("application/octet-stream", digest, 1, annotations=annotations)


def _clean(name: str) -> bytes:
    return ("/" + "/".join(part for part in name.split("/") if part not in ("", "."))).encode()


def _by_tarfile(tar: bytes) -> list[tuple[Entry, bytes]]:
    """The tar's entries as Python's tarfile has them, but for what eStargz adds."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for info in archive:
            if info.name in ("stargz.index.json", ".no.prefetch.landmark"):
                continue
            link = info.linkname.encode()
            if info.islnk():
                link = _clean(info.linkname)
            row = Entry(
                _clean(info.name),
                _KINDS[info.type],
                info.mode,
                info.uid,
                info.gid,
                info.size,
                int(info.mtime) * 1_000_000,
                link,
            )
            reader = archive.extractfile(info) if info.isreg() else None
            found.append((row, reader.read() if reader else b""))
    return found


def test_table_is_what_the_tar_holds(built: Tabled) -> None:
    _, table, _ = read(built)
    listed = [row._replace(extra=None) for row in table]
    assert listed == [row for row, _ in _by_tarfile(built.tar)]
    assert len(listed) == len(MEMBERS)
    assert set(table.offsets) == {NO_OFFSET}


def test_devices_and_attributes(built: Tabled) -> None:
    _, table, _ = read(built)
    extras = {table.paths[row]: extra for row, extra in table.extras.items()}
    assert extras == {
        b"/dev/null": {"device": [1, 3]},
        b"/dev/sda": {"device": [8, 0]},
        b"/cap": {"xattrs": {"user.x": "dmFsdWU="}},
    }


def test_chunks_are_the_files(built: Tabled) -> None:
    kind, _, chunks = read(built)
    chunks = Chunks.load(chunks.dump())
    for row, (_, content) in enumerate(_by_tarfile(built.tar)):
        parts = [
            toc.decode(kind, chunk, built.blob[chunk.start : chunk.stop])
            for chunk in chunks.of_row(row)
        ]
        assert b"".join(parts) == content
        at = 0
        for chunk in chunks.of_row(row):
            assert chunk.offset == at
            at += chunk.length


def test_estargz_is_an_ordinary_gzip_tar() -> None:
    built = tocs.estargz(MEMBERS, chunk=40_000)
    tar = gzip.decompress(built.blob)
    assert tar == built.tar
    with tarfile.open(fileobj=io.BytesIO(built.blob), mode="r:gz") as archive:
        names = archive.getnames()
    assert (names[0], names[-1]) == (".no.prefetch.landmark", "stargz.index.json")


def test_landmarks_are_no_content() -> None:
    _, table, _ = read(tocs.estargz(MEMBERS))
    assert not estargz.HIDDEN.intersection(table.paths)
    # Only at the root, and not where an ordinary writer listed them.
    deep = [entry("a/.no.prefetch.landmark", b"1")]
    assert list(read(tocs.estargz(deep))[1].paths) == [b"/a/.no.prefetch.landmark"]
    kept = [entry(".no.prefetch.landmark", b"1")]
    assert list(read(tocs.chunked(kept))[1].paths) == [b"/.no.prefetch.landmark"]


def test_zeros_need_no_data() -> None:
    kind, table, chunks = read(tocs.chunked(MEMBERS))
    (chunk,) = chunks.of_row(table.find(b"/zeros"))
    # One chunk is not told to be zeros; among others it is.
    assert chunk.digest
    holes = [chunk for chunk in chunks.of_row(table.find(b"/big")) if not chunk.digest]
    assert [(hole.offset, hole.length) for hole in holes] == [(300_000, 70_000)]
    assert toc.decode(kind, holes[0], b"") == bytes(70_000)


def test_requests() -> None:
    small = tocs.estargz(MEMBERS)
    read(small)
    assert len(small.reads) == 1
    large = tocs.estargz(
        [*MEMBERS, *(entry(f"f{n}", _NOISE[n : n + 2500]) for n in range(6000))], chunk=1 << 20
    )
    read(large)
    assert len(large.blob) > 10_000_000
    assert len(large.reads) == 2
    # The second one takes what the first left, up to its first byte.
    assert large.reads[1][1] == large.reads[0][0]
    assert large.reads[0][1] == len(large.blob)
    moved = sum(stop - start for start, stop in large.reads)
    assert moved < len(large.blob) // 25
    chunked = tocs.chunked(MEMBERS)
    read(chunked)
    assert len(chunked.reads) == 1


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {tocs.ESTARGZ: "sha256:short"},
        {tocs.ESTARGZ: ""},
        {f"{tocs.CHUNKED}manifest-checksum": "sha256:" + "0" * 64},
        {f"{tocs.CHUNKED}manifest-position": "1:2:3:1"},
        *(
            {
                f"{tocs.CHUNKED}manifest-checksum": "sha256:" + "0" * 64,
                f"{tocs.CHUNKED}manifest-position": place,
            }
            for place in ("1:2:3", "1:2:3:2", "-1:2:3:1", "1:2:3:1\n", "١:2:3:1", "1:2:3:1:4", "")
        ),
    ],
)
def test_annotations_that_vouch_for_nothing(annotations: dict[str, str]) -> None:
    assert toc.find(_descriptor(annotations)) is None


def test_digest_before_anything_else(built: Tabled) -> None:
    wrong = {
        key: "sha256:" + "1" * 64 if value.startswith("sha256:") else value
        for key, value in built.annotations.items()
    }
    built.annotations = wrong
    with pytest.raises(DigestMismatch) as caught:
        read(built)
    assert caught.value.expected == "sha256:" + "1" * 64


def test_chunk_that_is_another(built: Tabled) -> None:
    kind, table, chunks = read(built)
    chunk = chunks.of_row(table.find(b"/abs"))[0]
    data = built.blob[chunk.start : chunk.stop]
    with pytest.raises(DigestMismatch):
        toc.decode(kind, chunk._replace(digest="sha256:" + "2" * 64), data)
    with pytest.raises(CompressionInvalid):
        toc.decode(kind, chunk, b"\0" * 40)
    with pytest.raises(CompressionInvalid):
        toc.decode(kind, chunk, data[:12])
    with pytest.raises(CompressionInvalid):
        toc.decode(kind, chunk, b"")
    with pytest.raises(LimitExceeded):
        toc.decode(kind, chunk, data, Limits(whole_file=3))


@pytest.mark.parametrize("kind", ["estargz", "chunked"])
def test_no_more_is_decompressed_than_listed(kind: str) -> None:
    bomb = bytes(256 << 20)
    data = gzip.compress(bomb, 1) if kind == "estargz" else tocs.zstd_module().compress(bomb)
    del bomb
    tracemalloc.start()
    try:
        for skip in (0, 20 << 20):
            chunk = Chunk(1, 1 + len(data), 0, 10, tocs.sha256(bytes(10)), skip)
            assert toc.decode(kind, chunk, data) == bytes(10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_wide_windows_are_refused() -> None:
    zstd = tocs.zstd_module()
    wide = {zstd.CompressionParameter.window_log: 24}
    engine = zstd.ZstdCompressor(options=wide)  # without a length, the window is as asked
    data = engine.compress(_NOISE, mode=engine.FLUSH_BLOCK) + engine.flush()
    chunk = Chunk(1, 1 + len(data), 0, len(_NOISE), tocs.sha256(_NOISE))
    assert toc.decode("chunked", chunk, data) == _NOISE
    with pytest.raises(CompressionInvalid):
        toc.decode("chunked", chunk, data, Limits(window=1 << 20))


def test_stored_chunks_that_are_cut() -> None:
    chunks = read(tocs.chunked(MEMBERS))[2]
    assert Chunks.load(chunks.dump()).dump() == chunks.dump()
    with pytest.raises(MalformedContent):
        Chunks.load(chunks.dump()[:-1])
    assert len(Chunks.load(b"")) == 0
    assert Chunks.load(b"").of_row(0) == []
