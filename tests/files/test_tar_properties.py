"""Generated and mutated archives: tarfile's reading, or a typed error, in pieces of any size."""

from __future__ import annotations

import io
import tarfile
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import tars

from didlab.errors import DidlabError, LimitExceeded, TarInvalid
from didlab.files import walk
from didlab.files.limits import Limits
from didlab.files.table import TYPES, Entry
from didlab.files.tar_header import absolute, number
from didlab.files.tar_rows import absolutes, pax_times
from didlab.files.walk import Walker

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]
QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FLAGS = [b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7"]

names = st.one_of(
    st.text("ab./ é\n", max_size=12),
    st.text("ab/", min_size=90, max_size=110),
    st.text("ab", min_size=240, max_size=270),
).filter(lambda name: "\0" not in name)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_WORTH", 0)


@st.composite
def infos(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(names))
    info.type = draw(st.sampled_from(FLAGS))
    if info.type == b"\0":
        # tarfile looks for the slash in the header, whatever longer name comes with it.
        info.name = draw(st.text("ab/", max_size=20))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 2**33)), draw(st.integers(0, 2**21))
    info.mtime = draw(st.integers(0, 2**34))
    content = b""
    if info.type in (b"1", b"2"):
        info.linkname = draw(names)
    elif info.type in (b"3", b"4"):
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 2**20))
    elif info.type in (b"0", b"7") or (info.type == b"\0" and not info.name.endswith("/")):
        # Of an old file with a slash, which is a folder, no content is read.
        content = draw(st.binary(max_size=1100))
        info.size = len(content)
    if draw(st.booleans()):
        digits = draw(st.integers(0, 10**9 - 1))
        time = f"{draw(st.integers(10**9, 10**10 - 1))}.{digits:09}".rstrip("0")
        keys = draw(st.sampled_from([["mtime"], ["atime", "mtime"], ["mtime", "atime", "ctime"]]))
        info.pax_headers = dict.fromkeys(keys, time)
    if draw(st.integers(0, 9)) == 0:
        info.pax_headers = {**info.pax_headers, "SCHILY.xattr.user.x": draw(st.text(max_size=5))}
    return info, content


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for info, content in draw(st.lists(infos(), max_size=12)):
            try:
                archive.addfile(info, io.BytesIO(content))
            except ValueError:
                # More than this format can say.
                assert kind == tarfile.USTAR_FORMAT
    return out.getvalue()


def read(
    data: bytes, sizes: list[int] | None = None, *, batch: bool = True
) -> tuple[list[Entry], dict[bytes, bytes], list[str]]:
    walker = Walker(capture=lambda path, size: size < 3000, batch=batch)
    at = 0
    for size in sizes or []:
        walker.feed(data[at : at + size])
        at += size
    walker.feed(data[at:])
    return list(walker.finish()), walker.captured, walker.warnings


@QUICK
@given(archives())
def test_generated_archives(data: bytes) -> None:
    entries, captured, _ = read(data)
    last: dict[bytes, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        for entry, info in zip(entries, archive.getmembers(), strict=True):
            name, link = (
                text.encode("utf-8", "surrogateescape") for text in (info.name, info.linkname)
            )
            assert entry.path == absolute(name)
            assert (entry.mode, entry.uid, entry.gid) == (info.mode, info.uid, info.gid)
            flags = {b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir"}
            kind = {**flags, b"6": "fifo"}.get(info.type, "file")
            # tarfile cuts the slash off, and decides before that.
            assert TYPES[entry.type] == kind or (TYPES[entry.type], kind) == ("dir", "file")
            if kind in ("hardlink", "symlink"):
                assert entry.link == (absolute(link) if kind == "hardlink" else link)
            whole, _, fraction = info.pax_headers.get("mtime", str(info.mtime)).partition(".")
            assert entry.mtime == int(whole) * 10**6 + int(fraction[:6].ljust(6, "0"))
            if TYPES[entry.type] == "file":
                content = archive.extractfile(info)
                assert content is not None
                last[entry.path] = content.read()
                assert entry.size == len(last[entry.path])
                end = entry.offset + entry.size
                assert data[entry.offset : end] == last[entry.path]
    assert captured == last


@QUICK
@given(archives(), st.lists(st.integers(0, 3000), max_size=20))
def test_pieces_and_batches_change_nothing(data: bytes, sizes: list[int]) -> None:
    alone = read(data, batch=False)
    assert read(data, sizes) == alone
    assert read(data, sizes, batch=False) == alone
    assert read(data) == alone


def outcome(data: bytes, sizes: list[int] | None = None, *, batch: bool) -> object:
    try:
        return read(data, sizes, batch=batch)
    except (TarInvalid, LimitExceeded) as error:
        return type(error), error.message


mutations = st.lists(
    st.tuples(st.integers(0, 2**16), st.one_of(st.binary(min_size=1, max_size=12))), max_size=6
)


@QUICK
@given(archives(), mutations, st.booleans(), st.integers(0, 2**16))
def test_mutated_archives(
    data: bytes, changes: list[tuple[int, bytes]], sign: bool, cut: int
) -> None:
    changed = bytearray(data)
    for at, text in changes:
        place = at % len(changed)
        changed[place : place + len(text)] = text
    if sign:
        for start in range(0, len(changed) - 511, 512):
            if changed[start + 257 : start + 262] == b"ustar":
                changed[start : start + 512] = tars.signed(changed[start : start + 512])
    if cut % 3 == 0:
        del changed[cut % len(changed) :]
    mutated = bytes(changed)
    assert outcome(mutated, batch=True) == outcome(mutated, batch=False)
    assert outcome(mutated, [cut % 700] * 9, batch=True) == outcome(mutated, batch=False)


@QUICK
@given(st.binary(max_size=2000))
def test_anything(data: bytes) -> None:
    assert outcome(data, batch=True) == outcome(data, batch=False)


@QUICK
@given(st.binary(min_size=1, max_size=12))
def test_numbers_like_tarfile(field: bytes) -> None:
    value = number(field)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if field[0] in (0o200, 0o377):
            assert value == tarfile.nti(field)  # type: ignore[attr-defined]
        elif field.strip(b"01234567") == b"":
            assert value == int(field, 8)
        elif value is not None and field[0] < 0x80 and field[0] != 0:
            assert value == tarfile.nti(field)  # type: ignore[attr-defined]


@QUICK
@given(st.lists(st.text("ab./", max_size=8).map(str.encode), min_size=1, max_size=9))
def test_paths_at_once_and_one_by_one(paths: list[bytes]) -> None:
    assert absolutes(paths) == [absolute(path) for path in paths]


@QUICK
@given(st.lists(st.sampled_from([b"1700000000.5", b"17", b"1700000000", b"9999999999.1234567"])))
def test_times_at_once_and_one_by_one(times: list[bytes]) -> None:
    keys = [b"mtime", b"atime", b"ctime", b"xtime", b"mtime"]
    bodies = [
        b"".join(tars.record(key, time) for key in keys[at : at + 1 + at % 4])
        for at, time in enumerate(times)
    ]
    bodies += [body + b"\0" for body in bodies] + [body[:-1] for body in bodies] + [b""]
    found, usual = pax_times(bodies, Limits())
    for body, value, plain in zip(bodies, found.tolist(), usual.tolist(), strict=True):
        if not plain:
            continue
        try:
            entry = read(tars.file(b"p", body, b"x") + tars.header(b"x"), batch=False)[0][0]
        except DidlabError as error:
            raise AssertionError(body) from error
        assert value in (entry.mtime, -(2**63))
