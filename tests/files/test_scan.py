"""The pass over a layer, what it leaves, and reading by what it left."""

from __future__ import annotations

import gzip
import hashlib
import random
import threading
from collections.abc import Callable, Generator, Iterator

import pytest
from rig.images import gzipped, make_tar, sha256

from didlab.errors import (
    CompressionInvalid,
    DigestMismatch,
    LimitExceeded,
    MalformedContent,
    SizeMismatch,
    TarInvalid,
    TransportError,
    Truncated,
)
from didlab.files import blocks, codec
from didlab.files.blocks import Blocks
from didlab.files.content import Sparse, Stretch, pieces
from didlab.files.index import LayerIndex
from didlab.files.limits import Limits
from didlab.files.reading import open_file
from didlab.files.scan import SMALL, Scan
from didlab.files.streamed import Streamed
from didlab.oci.digest import Verifier


@pytest.fixture(autouse=True)
def nothing_decoded() -> None:
    blocks.forget()


def noise(size: int, seed: int = 1) -> bytes:
    """Text that compresses to a third or so: deflate blocks as in real layers."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randrange(2, 9)).hex().encode() for _ in range(4000)]
    out = b" ".join(chance.choice(words) for _ in range(size // 8))
    return (out * (size // len(out) + 1))[:size]


BIG = noise(6_000_000)
FILES: dict[str, bytes] = {
    "etc/os-release": b'ID="rig"\n',
    "big": BIG,
    "middle": b"in the middle",
    "noise": random.Random(2).randbytes(3_000_000),
    "var/lib/dpkg/status": b"Package: a\n" * 100,
    "last": b"the last",
}
TAR = make_tar(FILES)
BLOB = gzipped(TAR)


def cut(data: bytes, size: int = 70_001) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def scan(blob: bytes, **options: object) -> LayerIndex:
    verifier = Verifier(sha256(blob), len(blob))
    return Scan(verifier, **options).run(cut(blob), len(blob))  # type: ignore[arg-type]


class Reader:
    """Ranges of a blob, counted; ``changed`` may spoil them."""

    def __init__(self, blob: bytes, changed: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.blob = blob
        self.size = len(blob)
        self.ranged: bool | None = True
        self.served_by = "rig"
        self.places: tuple[str, ...] = ()
        self.asked: list[tuple[int, int]] = []
        self.changed = changed
        self.failures: list[TransportError] = []

    def read_at(self, start: int, stop: int) -> bytes:
        self.asked.append((start, stop))
        if self.failures:
            raise self.failures.pop(0)
        return self.changed(self.blob[start:stop])

    def stream(
        self, start: int = 0, stop: int | None = None, *, place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:  # fmt: skip
        yield self.blob[start:stop]

    def abort(self) -> None: ...


def zstd(data: bytes) -> bytes:
    from didlab.files import zstdlib

    # Several frames, as those writers make that can be read from the middle.
    packed = [zstdlib.module().compress(piece) for piece in cut(data, 1_000_000)]
    return b"".join(packed)


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda _: BLOB,
    "zstd": zstd,
    "tar": lambda data: data,
    "members": lambda data: b"".join(gzip.compress(piece) for piece in cut(data, 2_000_000)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_by_ranges(kind: str) -> None:
    blob = KINDS[kind](TAR)
    index = scan(blob)
    assert index.kind == ("gzip" if kind == "members" else kind)
    assert (index.digest, index.size, index.length) == (sha256(blob), len(blob), len(TAR))
    assert index.diff_id == sha256(TAR)
    spans = index.spans
    assert spans is not None
    assert len(spans) > 3
    for name, content in FILES.items():
        reader = Reader(blob)
        entry = index.table.entry(index.table.find(b"/" + name.encode()))
        stretch = Stretch(
            Blocks(index.digest, index.compression, spans, lambda reader=reader: reader),  # type: ignore[misc]
            entry.offset,
            entry.size,
        )
        assert stretch.read_at(0, entry.size) == content
        if entry.size < 1000:
            # One span, so one range; or its neighbours are known from the file before.
            assert len(reader.asked) <= 1
    assert sum(span.stop - span.start for span in map(spans.__getitem__, range(len(spans)))) >= len(
        blob
    )


def test_spans_tile_the_blob() -> None:
    index = scan(BLOB)
    spans = index.spans
    assert spans is not None
    for number in range(1, len(spans)):
        before, span = spans[number - 1], spans[number]
        assert span.begin == before.end
        # Where a span begins inside a byte it shares that byte.
        assert span.start == before.stop - (1 if span.bits else 0)
        packed = BLOB[span.start : span.stop]
        assert hashlib.sha256(packed).digest() == span.digest
    assert (spans[0].start, spans[0].begin) == (0, 0)
    assert spans[len(spans) - 1].stop == index.size
    assert spans[len(spans) - 1].end == index.length


def test_random_stretches_over_spans() -> None:
    blob = BLOB
    index = scan(blob)
    assert index.spans is not None
    reading = Blocks(index.digest, "gzip", index.spans, lambda: Reader(blob))
    chance = random.Random(3)
    for _ in range(60):
        begin = chance.randrange(len(TAR))
        end = min(len(TAR), begin + chance.randrange(3_000_000))
        assert reading.read_at(begin, end) == TAR[begin:end]


def test_neighbouring_spans_come_by_one_request() -> None:
    blob = BLOB
    index = scan(blob)
    assert index.spans is not None
    reader = Reader(blob)
    Blocks(index.digest, "gzip", index.spans, lambda: reader).read_at(0, len(TAR))
    assert reader.asked == [(0, len(blob))]
    assert len(index.spans) > 3


def test_a_changed_range_is_refused_before_it_is_decoded() -> None:
    blob = BLOB
    index = scan(blob)
    assert index.spans is not None

    def spoil(data: bytes) -> bytes:
        return data[:100] + bytes([data[100] ^ 1]) + data[101:]

    reading = Blocks(index.digest, "gzip", index.spans, lambda: Reader(blob, spoil))
    with pytest.raises(DigestMismatch, match="when the layer was listed"):
        reading.read_at(10, 20)


def test_a_broken_range_is_asked_for_again() -> None:
    blob = BLOB
    index = scan(blob)
    assert index.spans is not None
    reader = Reader(blob)
    reader.failures = [Truncated("cut")]
    assert Blocks(index.digest, "gzip", index.spans, lambda: reader).read_at(0, 9) == TAR[:9]
    assert len(reader.asked) == 2
    reader.failures = [Truncated("cut")] * 9
    blocks.forget()
    with pytest.raises(Truncated):
        Blocks(index.digest, "gzip", index.spans, lambda: reader).read_at(0, 9)
    assert len(reader.asked) == 2 + blocks.ATTEMPTS


def test_what_follows_the_layer_is_no_content() -> None:
    index = scan(BLOB)
    assert index.spans is not None
    reading = Blocks(index.digest, "gzip", index.spans, lambda: Reader(BLOB))
    with pytest.raises(CompressionInvalid, match="ends at"):
        reading.read_at(len(TAR) - 5, len(TAR) + 5)


@pytest.mark.parametrize("size", [SMALL - 1, SMALL + 1, 3 * SMALL])
def test_with_threads_and_without(size: int) -> None:
    tar = make_tar({"a": random.Random(1).randbytes(size), "b": b"b"})
    index = scan(tar)
    assert list(index.table.paths) == [b"/a", b"/b"]
    assert index.diff_id == sha256(tar)


# --- what is wrong -------------------------------------------------------------------------------


def test_other_bytes_are_no_malformed_layer() -> None:
    """What a proxy broke must not be told as the image's fault."""
    blob = BLOB
    spoiled = blob[:5000] + bytes(100) + blob[5100:]
    verifier = Verifier(sha256(blob), len(blob))
    with pytest.raises(DigestMismatch):
        Scan(verifier).run(cut(spoiled), len(blob))
    verifier = Verifier(sha256(blob), len(blob))
    with pytest.raises(SizeMismatch):
        Scan(verifier).run(cut(blob[:-1000]), len(blob))
    verifier = Verifier(sha256(blob), len(blob))
    with pytest.raises(SizeMismatch):
        Scan(verifier).run(cut(blob + b"more"), len(blob))


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        (BLOB[:-1000], CompressionInvalid),
        (BLOB[:5000] + bytes(100) + BLOB[5100:], CompressionInvalid),
        (gzipped(TAR[: TAR.rindex(b"the last") + 3]), TarInvalid),
        (gzipped(TAR[:100_000]), TarInvalid),
        (gzipped(b"no tar at all" * 100_000), TarInvalid),
        (b"<html>not found</html>" * 50, CompressionInvalid),
        (b"\xfd7zXZ\0" + bytes(1000), CompressionInvalid),
        (b"", None),
    ],
    ids=["cut", "spoiled", "cut tar", "cut file", "text", "html", "xz", "empty"],
)
def test_malformed_layers(blob: bytes, error: type[Exception] | None) -> None:
    if error is None:
        assert len(scan(blob).table) == 0
        return
    with pytest.raises(error):
        scan(blob)


def test_an_endless_layer_is_stopped_by_its_budget() -> None:
    blob = gzipped(make_tar({"zeros": bytes(20_000_000)}))
    with pytest.raises(LimitExceeded):
        scan(blob, limits=Limits(decompressed=1_000_000))


def test_no_thread_is_left_behind() -> None:
    def broken() -> Iterator[bytes]:
        yield BLOB[:1_000_000]
        raise Truncated("the line is dead")

    blob = BLOB
    with pytest.raises(Truncated):
        Scan(Verifier(sha256(blob), len(blob))).run(broken(), len(blob))
    alive = [one.name for one in threading.enumerate() if one.name.startswith("didlab")]
    assert not alive or not any(
        one.join(5) or one.is_alive()
        for one in threading.enumerate()
        if one.name.startswith("didlab")
    )


def test_interrupted_fetching_is_aborted() -> None:
    waiting, aborted = threading.Event(), threading.Event()
    blob = BLOB

    def slow() -> Iterator[bytes]:
        yield blob[:600_000]
        waiting.set()
        aborted.wait(20)
        raise Truncated("cut off")

    def stop(path: bytes, size: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Scan(Verifier(sha256(blob), len(blob)), capture=stop).run(
            slow(), len(blob), abort=aborted.set
        )
    assert aborted.is_set()


# --- captured ------------------------------------------------------------------------------------


def test_files_captured_on_the_way() -> None:
    blob = BLOB
    scanning = Scan(Verifier(sha256(blob), len(blob)), capture=lambda path, _: path == b"/middle")
    index = scanning.run(cut(blob), len(blob))
    assert scanning.captured[b"/middle"] == b"in the middle"
    # What everybody asks for rides along in the index, what was asked for does not.
    assert dict(index.captured) == {
        b"/etc/os-release": FILES["etc/os-release"],
        b"/var/lib/dpkg/status": FILES["var/lib/dpkg/status"],
    }


# --- to disk and back ----------------------------------------------------------------------------


def test_an_index_survives_the_disk() -> None:
    blob = BLOB
    index = scan(blob)
    raw = codec.dump_index(index)
    again = codec.load_index(raw, index.digest, index.size)
    assert list(again.table) == list(index.table)
    assert dict(again.captured) == dict(index.captured)
    assert (again.kind, again.rows, again.diff_id, again.length, again.warnings) == (
        index.kind, index.rows, index.diff_id, index.length, index.warnings,
    )  # fmt: skip
    assert again.spans is not None
    reading = Blocks(again.digest, "gzip", again.spans, lambda: Reader(blob))
    assert reading.read_at(4_000_000, 4_000_100) == TAR[4_000_000:4_000_100]
    assert codec.dump_index(again) == raw


def test_a_damaged_index_is_none() -> None:
    index = scan(BLOB)
    raw = codec.dump_index(index)
    chance = random.Random(5)
    places = [0, 14, 50, len(raw) - 1, *(chance.randrange(len(raw)) for _ in range(200))]
    for place in places:
        spoiled = raw[:place] + bytes([raw[place] ^ 0x40]) + raw[place + 1 :]
        with pytest.raises(MalformedContent):
            codec.load_index(spoiled, index.digest, index.size)
    for length in (0, 10, 40, 100, len(raw) - 1):
        with pytest.raises(MalformedContent):
            codec.load_index(raw[:length], index.digest, index.size)
    with pytest.raises(MalformedContent, match="another blob"):
        codec.load_index(raw, sha256(b"other"), index.size)


def test_seek_points_are_small() -> None:
    blob = BLOB
    index = scan(blob)
    assert index.spans is not None
    rows, windows = index.spans.dump()
    assert len(rows) + len(windows) <= len(blob) / 100


# --- content -------------------------------------------------------------------------------------


def test_a_file_is_a_file() -> None:
    blob = BLOB
    index = scan(blob)
    assert index.spans is not None
    entry = index.table.entry(index.table.find(b"/big"))
    reading = Blocks(index.digest, "gzip", index.spans, lambda: Reader(blob))
    with open_file(Stretch(reading, entry.offset, entry.size), "/big") as file:
        assert (file.name, file.readable(), file.seekable(), file.writable()) == (
            "/big", True, True, False,
        )  # fmt: skip
        assert file.read(10) == BIG[:10]
        assert file.seek(-7, 2) == len(BIG) - 7
        assert file.read() == BIG[-7:]
        assert file.read() == b""
        assert file.seek(5_000_000) == 5_000_000
        assert file.read(1000) == BIG[5_000_000:5_001_000]
        file.seek(len(BIG) + 10)
        assert file.read(1) == b""
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
        file.seek(0)
        assert file.read() == BIG
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_holes_are_zeros() -> None:
    blob = TAR
    index = scan(blob)
    assert index.spans is not None
    entry = index.table.entry(index.table.find(b"/big"))
    reading = Blocks(index.digest, "tar", index.spans, lambda: Reader(blob))
    sparse = Sparse(reading, entry.offset, 1000, [[100, 50], [500, 10]])
    whole = bytes(100) + BIG[:50] + bytes(350) + BIG[50:60] + bytes(490)
    assert sparse.read_at(0, 1000) == whole
    assert sparse.read_at(120, 505) == whole[120:505]
    assert b"".join(pieces(sparse)) == whole


def test_read_from_the_beginning_where_nothing_else_helps() -> None:
    blob = BLOB
    index = scan(blob)
    entry = index.table.entry(index.table.find(b"/middle"))

    def made(stream: Callable[[], Iterator[bytes]]) -> Streamed:
        return Streamed(
            stream, lambda: Verifier(sha256(blob), len(blob)), "gzip", entry.offset, entry.size
        )

    content = made(lambda: cut(blob))
    assert content.read_at(3, 6) == b"the"
    spoiled = blob[:-5000] + bytes([blob[-5000] ^ 1]) + blob[-4999:]
    with pytest.raises(DigestMismatch):
        made(lambda: cut(spoiled)).read_at(0, 3)
