"""Layers decompressed as they come: every writer's stream, whole, and every damage typed."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.packers import Packers, skippable

from didlab.errors import CompressionInvalid, LimitExceeded, Unsupported
from didlab.files import decompress, gzip_plain, gzip_points, inflate, zstdlib
from didlab.files.gzip_plain import PlainGzip
from didlab.files.gzip_points import Gzip
from didlab.files.limits import DEFAULT, Limits
from didlab.files.sniff import Kind

MIB = 1024 * 1024


def _content(size: int, seed: int = 1) -> bytes:
    dice = random.Random(seed)
    words = [dice.randbytes(dice.randrange(2, 12)).hex().encode() for _ in range(3000)]
    out = bytearray()
    while len(out) < size:
        out += b" ".join(dice.choices(words, k=200)) + dice.randbytes(40)
    return bytes(out[:size])


CONTENT = _content(600_000)
PACKERS = Packers(CONTENT)
piped, members, zstd_frames = PACKERS.piped, PACKERS.members, PACKERS.zstd_frames


def decoded(
    kind: Kind, blob: bytes, step: int = 7919, limits: Limits = DEFAULT
) -> tuple[bytes, decompress.Decoder]:
    decoder = decompress.decoder(kind, limits)
    out = b"".join(
        piece
        for start in range(0, len(blob), step)
        for piece in decoder.feed(blob[start : start + step])
    )
    decoder.end()
    return out, decoder


def header_of_all_fields() -> bytes:
    """FEXTRA, FNAME, FCOMMENT and FHCRC, as large as they may be."""
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + b"\xff\xff" + b"e" * 65535
    head += b"n" * 65000 + b"\0" + b"c" * 65000 + b"\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    return head + gzip.compress(CONTENT, mtime=0)[10:]


GZIPS: dict[str, Callable[[], bytes]] = {
    **PACKERS.gzips(),
    "pigz-11": lambda: piped("pigz", "-p2", "-11", given=CONTENT[:50_000]),
    "fixed-codes": lambda: fixed(CONTENT),
    "members": lambda: members(3001),
    "small-members": lambda: members(60, CONTENT[:20_000]),
    "padded": lambda: gzip.compress(CONTENT) + bytes(10_000),
    "padded-between": lambda: members(100_000, between=bytes(513)),
    "empty-members": lambda: gzip.compress(b"") * 3 + gzip.compress(CONTENT) + gzip.compress(b""),
    "all-fields": header_of_all_fields,
}
SHORTER = {"pigz-11": 50_000, "small-members": 20_000}


def fixed(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31, 8, zlib.Z_FIXED)
    return packer.compress(content) + packer.flush()


ZSTDS: dict[str, Callable[[], bytes]] = {
    "one": lambda: piped("zstd", "-cq"),
    "no-check": lambda: piped("zstd", "-cq", "--no-check"),
    "long": lambda: piped("zstd", "-cq", "--long=27"),
    "frames": lambda: zstd_frames(),
    "skippable": lambda: skippable(9) + zstd_frames() + skippable(0, 15) + skippable(70_000, 3),
    "empty-frames": lambda: piped("zstd", "-cq", given=b"") * 3 + piped("zstd", "-cq"),
}


@pytest.fixture(params=["zlib-ng", "zlib", "zlib_ng module", "zlib module"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to decode gzip, the fall-backs included."""
    name: str = request.param
    use(name, monkeypatch)
    return name


def use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: inflate.Library | None = None
    if name in ("zlib-ng", "zlib"):
        for make in inflate._candidates():
            candidate = make()
            if candidate is not None and candidate.name == name:
                found = candidate
        if found is None:
            pytest.skip(f"NOT TESTED: no {name} that ctypes can load on this system")
    else:
        module = zlib if name == "zlib module" else pytest.importorskip("zlib_ng.zlib_ng")
        monkeypatch.setattr(gzip_plain, "module", lambda: module)
    monkeypatch.setattr(inflate, "library", lambda: found)


@pytest.mark.parametrize("writer", GZIPS)
def test_gzip(writer: str, engine: str) -> None:
    blob = GZIPS[writer]()
    for step in (len(blob), 4099):
        out, decoder = decoded("gzip", blob, step)
        assert out == CONTENT[: SHORTER.get(writer)]
        assert isinstance(decoder, PlainGzip if "module" in engine else Gzip)
        assert decoder.marks[0] == decompress.Mark(0, 0, 0, b"")


def test_gzip_byte_by_byte(engine: str) -> None:
    blob = members(700, CONTENT[:5000]) + bytes(5)
    assert decoded("gzip", blob, 1)[0] == CONTENT[:5000]


@pytest.mark.parametrize("writer", ZSTDS)
def test_zstd(writer: str) -> None:
    blob = ZSTDS[writer]()
    for step in (len(blob), 4099, 1)[: 2 + (writer == "skippable")]:
        assert decoded("zstd", blob, step)[0] == CONTENT


def test_all_that_can_come_out_does(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of a range gets no later bytes that would push out what waits for room."""
    monkeypatch.setattr(gzip_points, "ROOM", 65536)
    monkeypatch.setattr(gzip_plain, "_ROOM", 65536)
    blob = gzip.compress(bytes(300_000), mtime=0)
    for end in range(len(blob)):  # some pieces end where the room ends
        decoder, reference = decompress.decoder("gzip"), zlib.decompressobj(31)
        piece = blob[:end]
        assert sum(map(len, decoder.feed(piece))) == len(reference.decompress(piece))


def test_tar_goes_through() -> None:
    assert decoded("tar", CONTENT)[0] == CONTENT
    assert decoded("tar", b"")[0] == b""


def test_cut_at_every_byte(engine: str) -> None:
    first, second = gzip.compress(CONTENT[:300], mtime=0), gzip.compress(CONTENT[300:500])
    for end in range(len(first + second)):
        if end == len(first):
            continue
        with pytest.raises(CompressionInvalid, match="cut off"):
            decoded("gzip", (first + second)[:end])


def test_zstd_cut_at_every_byte() -> None:
    first = skippable(4) + piped("zstd", "-cq", given=CONTENT[:300])
    second = piped("zstd", "-cq", given=CONTENT[300:500])
    for end in range(len(first + second)):
        if end not in (8 + 4, len(first)):
            with pytest.raises(CompressionInvalid, match="cut off"):
                decoded("zstd", (first + second)[:end])


@pytest.mark.parametrize("back", [1, 5])
def test_wrong_length_or_checksum(back: int, engine: str) -> None:
    blob = bytearray(gzip.compress(CONTENT))
    blob[-back] ^= 1
    with pytest.raises(CompressionInvalid, match="damaged"):
        decoded("gzip", bytes(blob))


def test_zstd_wrong_checksum() -> None:
    blob = bytearray(piped("zstd", "-cq", "--check"))
    blob[-1] ^= 1
    with pytest.raises(CompressionInvalid, match="damaged"):
        decoded("zstd", bytes(blob))


@pytest.mark.parametrize("rest", [b"x", bytes(600) + b"x", b"\x1f", b"\x1fx", b"\x28\xb5\x2f\xfd"])
def test_garbage_after_the_end(rest: bytes, engine: str) -> None:
    with pytest.raises(CompressionInvalid):
        decoded("gzip", gzip.compress(CONTENT) + rest)


def test_zstd_garbage_after_the_end() -> None:
    with pytest.raises(CompressionInvalid, match="something else"):
        decoded("zstd", piped("zstd", "-cq") + b"x")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_not_that_at_all(kind: Kind, engine: str) -> None:
    with pytest.raises(CompressionInvalid, match="header"):
        decoded(kind, b"something else")
    with pytest.raises(CompressionInvalid, match="header"):  # padding comes after, not before
        decoded(kind, bytes(9) + (gzip.compress(b"x") if kind == "gzip" else b""))


def test_endless_name(engine: str) -> None:
    head = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"

    def all_fed() -> None:
        decoder = decompress.decoder("gzip")
        for _ in decoder.feed(head):
            pass
        for _ in range(100):
            for _ in decoder.feed(b"n" * MIB):
                pass

    with pytest.raises(CompressionInvalid, match="header does not end"):
        all_fed()


def bomb(kind: Kind, size: int) -> bytes:
    if kind == "zstd":
        return piped("zstd", "-cq", "-19", given=bytes(size))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(bytes(MIB)) for _ in range(size // MIB)]) + packer.flush()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bomb(kind: Kind, engine: str) -> None:
    if kind == "zstd" and engine != "zlib-ng":
        return
    blob = bomb(kind, 64 * MIB)
    decoder = decompress.decoder(kind, Limits(decompressed=48 * MIB))
    tracemalloc.start()
    seen = 0
    with pytest.raises(LimitExceeded, match="decompresses") as caught:
        for piece in decoder.feed(blob):
            assert len(piece) <= 4 * MIB
            seen += len(piece)
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    tracemalloc.stop()
    assert 47 * MIB < seen <= 48 * MIB
    assert caught.value.limit == 48 * MIB


def test_exactly_the_budget(engine: str) -> None:
    limits = Limits(decompressed=len(CONTENT))
    assert decoded("gzip", gzip.compress(CONTENT), limits=limits)[0] == CONTENT
    with pytest.raises(LimitExceeded):
        decoded("gzip", gzip.compress(CONTENT + b"x"), limits=limits)


def test_too_many_members(engine: str) -> None:
    limits = Limits(members=1000)
    assert decoded("gzip", gzip.compress(b"") * 1000, limits=limits)[0] == b""
    with pytest.raises(LimitExceeded, match="too many gzip members") as caught:
        decoded("gzip", gzip.compress(b"") * 1001, limits=limits)
    assert caught.value.seen == 1001


def test_too_many_empty_zstd_frames() -> None:
    decoded("zstd", skippable(1) * 1000, limits=Limits(members=1000))
    for frame in (skippable(1), piped("zstd", "-cq", given=b"")):
        with pytest.raises(LimitExceeded, match="too many empty zstd frames"):
            decoded("zstd", frame * 1001, limits=Limits(members=1000))
    full = piped("zstd", "-cq", given=b"x")
    assert decoded("zstd", full * 1001, limits=Limits(members=1000))[0] == b"x" * 1001


def test_zstd_window() -> None:
    blob = piped("zstd", "-cq", "--ultra", "--long=28")
    with pytest.raises(LimitExceeded, match="window") as caught:
        decoded("zstd", blob)
    assert caught.value.seen == 256 * MIB
    assert decoded("zstd", blob, limits=Limits(window=256 * MIB))[0] == CONTENT


def test_zstd_dictionary() -> None:
    frame = b"\x28\xb5\x2f\xfd\x21\x07\x02" + b"\x11\0\0hi"
    with pytest.raises(CompressionInvalid, match="dictionary"):
        decoded("zstd", frame)


def test_zstd_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstdlib, "module", lambda: None)
    assert not decompress.can_seek("zstd")
    with pytest.raises(Unsupported, match=r"pip install backports\.zstd"):
        decompress.decoder("zstd")


SMALL = {
    "gzip": members(400, CONTENT[:2000]) + bytes(3),
    "zstd": b"".join(
        zstdlib.module().compress(CONTENT[at : at + 500]) for at in range(0, 2000, 500)
    )
    + skippable(5),
}


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("library", ["zlib-ng", "zlib", "zlib module"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_typed(kind: Kind, library: str, data: st.DataObject) -> None:
    blob = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(blob) - 1))
        how = data.draw(st.sampled_from("fic"))
        if how == "f":
            blob[place] = data.draw(st.integers(0, 255))
        elif how == "i":
            blob[place:place] = data.draw(st.binary(max_size=20))
        else:
            del blob[place : place + data.draw(st.integers(1, 20))]
        if not blob:
            break
    limits = Limits(decompressed=MIB, members=100)
    with pytest.MonkeyPatch.context() as patch:
        use(library, patch)
        patch.setattr("didlab.files.gzip_points.SPACING", 100)
        try:
            out, _ = decoded(kind, bytes(blob), data.draw(st.integers(1, 900)), limits)
        except (CompressionInvalid, LimitExceeded):
            return
    # Whoever takes it, must take it as the standard library does.
    if kind == "gzip":
        assert out == b"".join(reference(bytes(blob)))


def reference(blob: bytes) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(blob)) as file:
        yield file.read()
