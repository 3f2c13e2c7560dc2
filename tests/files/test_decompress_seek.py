"""Seek points: decoding taken up at every one of them gives the same bytes as from the start."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import random
import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.packers import Packers

from didlab.errors import CompressionInvalid, LimitExceeded, Unsupported
from didlab.files import decompress, gzip_points, inflate, windows, zstd, zstdlib
from didlab.files.decompress import Mark
from didlab.files.limits import DEFAULT, Limits
from didlab.files.sniff import Kind

WINDOW = inflate.WINDOW
DICE = random.Random(7)
WORDS = [DICE.randbytes(DICE.randrange(2, 12)).hex().encode() for _ in range(2000)]


def _content(size: int) -> bytes:
    out = bytearray()
    while len(out) < size:
        out += b" ".join(DICE.choices(WORDS, k=100)) + DICE.randbytes(100)
        if len(out) > WINDOW:  # something that lies far back
            at = len(out) - DICE.randrange(WINDOW - 300, WINDOW)
            out += out[at : at + 200]
    return bytes(out[:size])


CONTENT = _content(700_000)
PACKERS = Packers(CONTENT)
piped, members = PACKERS.piped, PACKERS.members


@pytest.fixture(autouse=True)
def _close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many points in a small stream."""
    monkeypatch.setattr(gzip_points, "SPACING", 20_000)
    monkeypatch.setattr(zstd, "SPACING", 20_000)


def libraries() -> Iterator[inflate.Library]:
    for make in inflate._candidates():
        try:
            found = make()
        except (ImportError, OSError):
            continue
        if found is not None and inflate._works(found):
            yield found


LIBRARIES = {found.name: found for found in libraries()}


@pytest.fixture(params=["zlib-ng", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> inflate.Library:
    if request.param not in LIBRARIES:
        pytest.skip(f"NOT TESTED: no {request.param} that ctypes can load on this system")
    found = LIBRARIES[request.param]
    monkeypatch.setattr(inflate, "library", lambda: found)
    return found


def marks(kind: Kind, blob: bytes, step: int = 5003, limits: Limits = DEFAULT) -> list[Mark]:
    decoder = decompress.decoder(kind, limits)
    for start in range(0, len(blob), step):
        for _ in decoder.feed(blob[start : start + step]):
            pass
    decoder.end()
    return decoder.marks


def entered(kind: Kind, blob: bytes, mark: Mark, step: int = 60_000) -> bytes:
    begin = mark.compressed - bool(mark.bits)
    pieces = (blob[at : at + step] for at in range(begin, len(blob), step))
    return b"".join(decompress.span(kind, mark, pieces))


def check(kind: Kind, blob: bytes, found: list[Mark], content: bytes = CONTENT) -> None:
    assert found[0] == Mark(0, 0, 0, b"")
    places = [mark.compressed for mark in found]
    assert places == sorted(set(places))
    for mark in found:
        assert 0 <= mark.bits <= 7
        assert entered(kind, blob, mark) == content[mark.decompressed :]


WRITERS = {
    **PACKERS.gzips(),
    "members": lambda: members(50_000),
    "small-members": lambda: members(1500),
    "large-members": lambda: members(300_000) + bytes(70_000),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_point(writer: str, library: inflate.Library) -> None:
    blob = WRITERS[writer]()
    found = marks("gzip", blob)
    assert len(found) > 4
    check("gzip", blob, found)
    # Wherever the pieces are cut, the points are the same.
    again = marks("gzip", blob, 1 << 20)
    assert [(m.compressed, m.bits, m.window) for m in again] == [
        (m.compressed, m.bits, m.window) for m in found
    ]


def test_points_inside_bytes_and_windows(library: inflate.Library) -> None:
    found = marks("gzip", WRITERS["gzip-6"]())
    assert len({mark.bits for mark in found}) > 2
    kept = [windows.unpack(mark.window) for mark in found[1:]]
    for mark, window in zip(found[1:], kept, strict=True):
        real = CONTENT[mark.decompressed - WINDOW : mark.decompressed]
        assert len(window) == WINDOW
        assert all(mine in (0, theirs) for mine, theirs in zip(window, real, strict=True))
        assert 0 < WINDOW - window.count(0) < WINDOW * 3 // 4


@pytest.mark.parametrize("size", [WINDOW, 5000])
@pytest.mark.parametrize(("begin", "end"), [(300, WINDOW), (1000, 2000), (257, 258)])
def test_what_is_needed_of_a_window(
    size: int, begin: int, end: int, library: inflate.Library
) -> None:
    """Also where a byte is both halves of its place's number: nothing tells that from a copy."""
    hiding = bytearray(random.Random(3).randbytes(size))
    for value in range(-(-size // 257)):
        hiding[257 * value] = value
    window = bytes(hiding)
    truth = window[begin:end]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=window)
    data = packer.compress(truth) + packer.flush()
    stream = inflate.Stream(library, inflate.RAW)
    kept = windows.needed(window, truth, stream, 0, data)
    entered_again = inflate.Stream(library, inflate.RAW)
    entered_again.look_back(kept)
    assert entered_again.run(data, len(truth)) == truth
    assert kept[begin:end] == truth or len(truth) < 3  # two bytes are no copy
    outside = kept[:begin] + kept[end:]
    assert outside.count(0) >= len(outside) - 128


def test_points_of_one_library_serve_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    if len(LIBRARIES) < 2:
        pytest.skip("NOT TESTED: one library only that ctypes can load on this system")
    blob = WRITERS["gzip-6"]()
    first, second = LIBRARIES.values()
    monkeypatch.setattr(inflate, "library", lambda: first)
    found = marks("gzip", blob)
    monkeypatch.setattr(inflate, "library", lambda: second)
    check("gzip", blob, found)
    assert marks("gzip", blob) == found


def test_members_need_no_window(library: inflate.Library) -> None:
    for writer in ("small-members", "full-flush"):
        found = marks("gzip", WRITERS[writer]())
        assert sum(len(mark.window) for mark in found) <= 40 * len(found)
    blob = WRITERS["small-members"]()
    found = marks("gzip", blob)
    gaps = [b.compressed - a.compressed for a, b in itertools.pairwise(found)]
    assert min(gaps) >= gzip_points.SPACING // 2
    assert all(blob[mark.compressed : mark.compressed + 2] == b"\x1f\x8b" for mark in found)


def test_points_by_output(library: inflate.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_points, "OUT_SPACING", 8 << 20)
    content = bytes(40 << 20)
    blob = gzip.compress(content, 6)
    found = marks("gzip", blob)
    gaps = [b.decompressed - a.decompressed for a, b in itertools.pairwise(found)]
    assert len(found) > 2
    assert all(8 << 20 <= gap <= 16 << 20 for gap in gaps)
    check("gzip", blob, found, content)


def test_windows_of_a_bomb_stay_few(
    library: inflate.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same 30 KiB of noise a thousand times: every window would be needed whole."""
    monkeypatch.setattr(gzip_points, "OUT_SPACING", 1 << 18)
    monkeypatch.setattr(gzip_points, "KEPT", 100_000)
    content = random.Random(5).randbytes(30_000) * 1000
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    step = 30_000
    blob = b"".join(
        packer.compress(content[at : at + step]) + packer.flush(zlib.Z_SYNC_FLUSH)
        for at in range(0, len(content), step)
    )
    blob += packer.flush()
    found = marks("gzip", blob)
    kept = sum(len(mark.window) for mark in found)
    assert len(found) > 3
    assert kept <= 100_000 + len(blob) // 32 + WINDOW + len(blob) // 20_000 * WINDOW
    monkeypatch.setattr(gzip_points, "KEPT", 100_000_000)
    assert sum(len(mark.window) for mark in marks("gzip", blob)) > 2 * kept
    check("gzip", blob, found[:3], content)


def test_whole_windows_where_output_is_late(
    library: inflate.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip_points, "LATE", 100)
    blob = WRITERS["gzip-6"]()
    found = marks("gzip", blob)
    check("gzip", blob, found)
    for mark in found[1:]:
        real = CONTENT[mark.decompressed - WINDOW : mark.decompressed]
        assert windows.unpack(mark.window) == real


def test_without_numpy_and_zstd(library: inflate.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(zstdlib, "module", lambda: None)
    blob = WRITERS["gzip-6"]()
    found = marks("gzip", blob)
    assert windows.unpack(found[1].window).count(0) < WINDOW // 8
    check("gzip", blob, found)


def test_zstd_module_missing_for_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = windows.pack(b"window")
    monkeypatch.setattr(zstdlib, "module", lambda: None)
    with pytest.raises(Unsupported, match=r"pip install backports\.zstd"):
        windows.unpack(packed)
    assert windows.unpack(windows.pack(b"window")) == b"window"


@pytest.mark.parametrize("junk", [b"x", b"\x28\xb5\x2f\xfdxyz", b"\x78\x9cjunk"])
def test_damaged_window(junk: bytes, library: inflate.Library) -> None:
    blob = WRITERS["gzip-6"]()
    mark = marks("gzip", blob)[2]
    with pytest.raises(CompressionInvalid, match="window is damaged"):
        entered("gzip", blob, Mark(mark.compressed, mark.bits, mark.decompressed, junk))


def test_wrong_place_is_typed(library: inflate.Library) -> None:
    blob = WRITERS["gzip-9"]()
    mark = marks("gzip", blob)[3]
    refused = 0
    for shift in range(1, 60):
        wrong = Mark(mark.compressed + shift, mark.bits, mark.decompressed, mark.window)
        try:
            entered("gzip", blob, wrong)
        except CompressionInvalid:
            refused += 1
    assert refused > 50


def test_ends_quietly(library: inflate.Library) -> None:
    blob = WRITERS["gzip-6"]()
    mark = marks("gzip", blob)[2]
    for end in (1, 2, 999, 30_000):
        begin = mark.compressed - bool(mark.bits)
        out = b"".join(decompress.span("gzip", mark, [b"", blob[begin : begin + end]]))
        assert CONTENT[mark.decompressed :].startswith(out)
        assert len(out) >= end - 999
    assert b"".join(decompress.span("gzip", mark, [])) == b""


def test_span_has_the_budget_too(library: inflate.Library) -> None:
    blob = WRITERS["gzip-6"]()
    mark = marks("gzip", blob)[2]
    begin = mark.compressed - bool(mark.bits)
    with pytest.raises(LimitExceeded):
        list(decompress.span("gzip", mark, [blob[begin:]], Limits(decompressed=1000)))


def test_no_points_unless_asked(library: inflate.Library) -> None:
    decoder = decompress.decoder("gzip", points=False)
    out = b"".join(decoder.feed(WRITERS["gzip-6"]()))
    decoder.end()
    assert out == CONTENT
    assert decoder.marks == [Mark(0, 0, 0, b"")]


def test_without_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    blob, entire = WRITERS["members"](), WRITERS["gzip-6"]()
    inner = marks("gzip", entire)[1]
    monkeypatch.setattr(inflate, "library", lambda: None)
    assert not decompress.can_seek("gzip")
    assert len(marks("gzip", entire)) == 1
    found = marks("gzip", blob)
    assert len(found) > 4
    check("gzip", blob, found)
    with pytest.raises(Unsupported, match="pip install zlib-ng"):
        entered("gzip", entire, inner)


def fresh(monkeypatch: pytest.MonkeyPatch) -> inflate.Library | None:
    monkeypatch.setattr(inflate, "_found", inflate.Once(inflate._find))
    return inflate.library()


def test_zlib_ng_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    if "zlib-ng" not in LIBRARIES:
        pytest.skip("NOT TESTED: zlib-ng's symbols are not to be had on this system")
    found = fresh(monkeypatch)
    assert found is not None
    assert found.name == "zlib-ng"
    assert decompress.can_seek("gzip")


def test_system_library_where_zlib_ng_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    found = fresh(monkeypatch)
    if "zlib" not in LIBRARIES:
        assert found is None
        return
    assert found is not None
    assert found.name == "zlib"


def test_nothing_where_all_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(inflate.ctypes, "CDLL", refuse)
    assert fresh(monkeypatch) is None


LIES = {
    "no window": {"get_dictionary": lambda *_: -2},
    "never stops at a block": {"inflate": "no flush"},
    "no way in": {"set_dictionary": lambda *_: -2},
    "bits ignored": {"prime": lambda *_: 0},
    "does nothing": {"inflate": lambda *_: 0},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_library_that_does_otherwise_is_not_used(
    lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for found in LIBRARIES.values():
        changed = dict(LIES[lie])
        if changed.get("inflate") == "no flush":
            changed["inflate"] = lambda ref, _flush, real=found.inflate: real(ref, 0)
        false = dataclasses.replace(found, **changed)
        monkeypatch.setattr(inflate, "_candidates", lambda false=false: iter([lambda: false]))
        assert fresh(monkeypatch) is None


@pytest.mark.parametrize("options", [(), ("--no-check", "-9"), ("--long=27",)])
def test_zstd_points(options: tuple[str, ...]) -> None:
    blob = PACKERS.zstd_frames(*options, size=25_000)
    note = b"\x55\x2a\x4d\x18\x03\0\0\0abc"
    blob = note + blob + note
    found = marks("zstd", blob)
    assert len(found) > 6
    check("zstd", blob, found)
    assert all(mark.bits == 0 and mark.window == b"" for mark in found)
    gaps = [b.compressed - a.compressed for a, b in itertools.pairwise(found)]
    assert min(gaps) >= zstd.SPACING
    assert marks("zstd", blob, 1 << 20) == found


def test_one_zstd_frame_has_one_mark() -> None:
    assert len(marks("zstd", piped("zstd", "-cq"))) == 1


@pytest.mark.parametrize("step", [1000, 786_432, 10_000_000])
def test_tar_points(step: int) -> None:
    content = CONTENT * 5
    found = marks("tar", content, step)
    assert [mark.compressed for mark in found] == list(range(0, len(content), decompress.SPAN))
    check("tar", content, found, content)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(1, WINDOW), st.integers(WINDOW - 260, WINDOW)),
            st.integers(3, 258),
            st.binary(max_size=30),
            st.sampled_from([None, None, None, 5, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]),
        ),
        max_size=60,
    ),
    st.integers(0, 2 * WINDOW),
    st.sampled_from([1, 7, 4096, 100_000]),
)
def test_any_stream(
    steps: list[tuple[int, int, bytes, int | None]], before: int, step: int
) -> None:
    """Copies from all distances, blocks that end anywhere: each point is a way in."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = bytearray(CONTENT[:before])
    blob = packer.compress(bytes(content))
    for back, length, literal, flush in steps:
        begin = len(content)
        copied = content[max(0, begin - back) :][:length]
        content += copied + literal
        blob += packer.compress(bytes(content[begin:]))
        if flush is not None:
            blob += packer.flush(flush)
    blob += packer.flush()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip_points, "SPACING", 2)
        for found in LIBRARIES.values():
            patch.setattr(inflate, "library", lambda found=found: found)
            check("gzip", blob, marks("gzip", blob, step), bytes(content))
