"""Looks along a pass: which files they get, of duplicates, links and holes; and their mistakes."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.images import hardlink, make_tar, sha256, symlink
from rig.tars import END, file, header, octal, padded, signed

from didlab.errors import MalformedContent
from didlab.files import codec, kept, looking, picking, ranges, reel
from didlab.files.limits import DEFAULT
from didlab.files.looks import Facts, Look, Sieve
from didlab.files.picking import SMALL, linked, picked
from didlab.files.scan import Scan
from didlab.files.table import Table
from didlab.files.walk import Walker
from didlab.oci.digest import Verifier


class Marked(Look):
    """Files whose name ends in ``.mark``, and all that are large."""

    name = "marked 1"

    def wants(self, path: bytes, size: int) -> bool:
        return path.endswith(b".mark") or size > SMALL

    def maybe(self, paths: bytes) -> bool:
        return b".mark\0" in paths

    def facts(self, path: bytes, content: bytes) -> Facts:
        return [path.decode("latin-1"), len(content), hashlib.sha256(content).hexdigest()[:8]]


class Everything(Marked):
    """All files."""

    name = "everything 1"

    def wants(self, path: bytes, size: int) -> bool:
        return True

    def maybe(self, paths: bytes) -> bool:
        return True


def fact(path: str, content: bytes) -> list[Any]:
    return [path, len(content), hashlib.sha256(content).hexdigest()[:8]]


Learn = Callable[..., dict[str, dict[bytes, Any]]]


@pytest.fixture(params=[700, 1 << 22], ids=["small pieces", "one piece"])
def learn(request: pytest.FixtureRequest) -> Learn:
    """Facts of a tar, read alone header by header, and many at once."""

    def learner(tar: bytes, *looks: Look) -> dict[str, dict[bytes, Any]]:
        walker = Walker(DEFAULT, looks=looks)
        for start in range(0, len(tar), request.param):
            walker.feed(tar[start : start + request.param])
        walker.finish()
        return {
            name: {path: json.loads(text) for path, text in found.items()}
            for name, found in walker.facts.items()
        }

    return learner


LARGE = random.Random(5).randbytes(SMALL + 1)
FILES: dict[str, Any] = {
    "a": None,
    "a/one.mark": b"one",
    "a/other": b"not wanted",
    "a/empty.mark": b"",
    "a/large": LARGE,
    "a/two.mark": b"two" * 5000,
}


def test_facts_of_what_is_wanted(learn: Learn) -> None:
    found = learn(make_tar(FILES), Marked())["marked 1"]
    assert found == {
        b"/a/one.mark": fact("/a/one.mark", b"one"),
        b"/a/large": fact("/a/large", LARGE),
        b"/a/two.mark": fact("/a/two.mark", b"two" * 5000),
    }


def test_several_looks_at_one_file(learn: Learn) -> None:
    found = learn(make_tar(FILES), Marked(), Everything())
    assert set(found) == {"marked 1", "everything 1"}
    assert found["everything 1"].keys() == found["marked 1"].keys() | {b"/a/other"}
    assert found["everything 1"][b"/a/one.mark"] == fact("/a/one.mark", b"one")


def test_nobody_looks(learn: Learn) -> None:
    assert learn(make_tar(FILES)) == {}


def test_of_many_files_the_few(learn: Learn) -> None:
    files = {f"d/{number}": b"x" * (number % 700) for number in range(5000)}
    some = {f"d/{number}.mark": b"%d" % number for number in range(0, 5000, 397)}
    members = sorted((files | some).items(), key=lambda one: one[0])
    found = learn(make_tar(members), Marked())["marked 1"]
    assert found == {
        f"/{name}".encode(): fact(f"/{name}", content) for name, content in some.items()
    }


@pytest.mark.parametrize(
    "last", [b"", b"the last", symlink("elsewhere"), None], ids=["empty", "file", "link", "folder"]
)
def test_the_last_of_a_path_holds(learn: Learn, last: Any) -> None:
    tar = make_tar([("x.mark", b"the first"), ("y", b"y"), ("x.mark", last)])
    expected = {b"/x.mark": fact("/x.mark", last)} if last == b"the last" else {}
    assert learn(tar, Marked())["marked 1"] == expected


@pytest.mark.parametrize("order", [0, 1])
def test_the_last_one_across_the_two_ways_of_reading(order: int) -> None:
    """Usual entries wait for each other; one with a base-256 size is read at once."""
    usual = file(b"x.mark", b"usual")
    odd = header(b"x.mark", size=b"\x80" + (3).to_bytes(11, "big")) + padded(b"odd")
    both = (usual + odd) if order else (odd + usual)
    walker = Walker(DEFAULT, looks=[Marked()])
    walker.feed(both + file(b"rest", bytes(60_000)) + END)
    walker.finish()
    expected = fact("/x.mark", b"odd" if order else b"usual")
    assert json.loads(walker.facts["marked 1"][b"/x.mark"]) == expected


def test_a_hard_link_has_the_facts_of_its_file(learn: Learn) -> None:
    tar = make_tar([("x.mark", b"one"), ("y.mark", hardlink("x.mark")), ("z", hardlink("x.mark"))])
    found = learn(tar, Marked())["marked 1"]
    assert found == {name: fact("/x.mark", b"one") for name in (b"/x.mark", b"/y.mark")}
    tar = make_tar([("x.mark", b"one"), ("y.mark", hardlink("x.mark")), ("y.mark", b"two")])
    assert learn(tar, Marked())["marked 1"][b"/y.mark"] == fact("/y.mark", b"two")


def test_a_link_to_what_went_by_unseen(learn: Learn) -> None:
    """As in pnpm's trees: then that look has to come again, the others need not."""
    tar = make_tar([("store/1f", b"one"), ("y.mark", hardlink("store/1f"))])
    assert learn(tar, Marked()).keys() == set()
    assert learn(tar, Marked(), Everything()).keys() == {"everything 1"}
    # What was looked at without a fact is known.
    nothing = make_tar([("big", LARGE), ("y.mark", hardlink("big"))])

    class Silent(Marked):
        def facts(self, path: bytes, content: bytes) -> Facts:
            return []

    assert learn(nothing, Silent()) == {"marked 1": {}}


def test_holes_are_filled(learn: Learn) -> None:
    regions = b"".join(octal(number, 12) for number in (1000, 3, 5000, 4))
    block = bytearray(header(b"holes.mark", size=7, flag=b"S", magic=b"ustar  \0"))
    block[386 : 386 + len(regions)] = regions
    block[483:495] = octal(6000, 12)
    sparse = signed(block)
    content = bytearray(6000)
    content[1000:1003], content[5000:5004] = b"abc", b"defg"
    found = learn(sparse + padded(b"abcdefg") + END, Marked())["marked 1"]
    assert found == {b"/holes.mark": fact("/holes.mark", bytes(content))}


def test_more_than_a_look_takes(learn: Learn, caplog: pytest.LogCaptureFixture) -> None:
    class Modest(Marked):
        most = SMALL

    caplog.set_level(logging.INFO, "didlab")
    found = learn(make_tar(FILES), Modest())["marked 1"]
    assert found.keys() == {b"/a/one.mark", b"/a/two.mark"}
    assert "/a/large" in caplog.text


class Head:
    """The first bytes only."""

    over = False

    def __init__(self) -> None:
        self.content = b""
        self.fed = 0

    def feed(self, data: bytes) -> None:
        assert not self.over
        self.fed += 1
        self.content = (self.content + data)[:4]
        self.over = len(self.content) == 4

    def finish(self) -> bytes:
        return self.content


def test_a_sieve_that_has_enough(learn: Learn) -> None:
    made: list[Head] = []

    class Heads(Marked):
        most = 0  # it keeps next to nothing, whatever the file's size

        def sieve(self, path: bytes, size: int) -> Sieve:
            made.append(Head())
            return made[-1]

    found = learn(make_tar(FILES), Heads(), Everything())
    assert found["marked 1"][b"/a/large"] == fact("/a/large", LARGE[:4])
    assert found["everything 1"][b"/a/large"] == fact("/a/large", LARGE)
    assert all(one.fed <= 2 for one in made)


@pytest.mark.parametrize("where", ["wants", "maybe", "sieve", "facts", "feed", "value"])
def test_a_look_that_fails_hides_nothing(
    learn: Learn, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "_told", set())

    class Broken(Marked):
        name = "broken 1"

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("a mistake")

    if where == "feed":
        monkeypatch.setattr(Head, "feed", fails)
        monkeypatch.setattr(Broken, "sieve", lambda *_: Head())
    else:
        method = "facts" if where == "value" else where
        monkeypatch.setattr(Broken, method, (lambda *_: [object()]) if where == "value" else fails)
    found = learn(make_tar(FILES), Broken(), Marked())
    assert len(found["marked 1"]) == 3
    # Those that are read one by one are asked for by themselves.
    assert where == "maybe" or not found["broken 1"]
    told = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(told) == 1 or (where == "maybe" and not told), "said once"
    assert all(one.exc_info for one in told)


def test_facts_are_bounded(
    learn: Learn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(looking, "KEPT", 2000)
    files = {f"{number:03}.mark": b"x" for number in range(100)}
    found = learn(make_tar(files), Everything())["everything 1"]
    assert 3 < len(found) < 10
    assert caplog.text.count("the rest is left out") == 1


def test_a_pass_with_looks_is_verified() -> None:
    tar = make_tar(FILES)
    scan = Scan(Verifier(sha256(tar), len(tar)), looks=[Marked()])
    scan.run([tar[:70_000], tar[70_000:]], len(tar))
    assert scan.facts["marked 1"].keys() == {b"/a/one.mark", b"/a/large", b"/a/two.mark"}


# --- the rows of a table --------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b.mark", "c.mark", "d/e.mark", "d/f", "g"])


@given(
    st.lists(
        st.tuples(_NAMES, st.sampled_from([b"", b"x", b"yy", LARGE, None, "link"])), max_size=9
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_picked_rows_are_those_that_are_wanted(members: list[tuple[str, Any]]) -> None:
    shown = [(name, hardlink("a") if data == "link" else data) for name, data in members]
    walker = Walker(DEFAULT)
    walker.feed(make_tar(shown))
    table = walker.finish()
    look = Marked()
    expected = {
        row
        for row, entry in enumerate(table)
        if entry.type == 0 and entry.size and look.wants(entry.path, entry.size)
    }
    assert set(picked(look, table)) == expected
    for row, target in linked(look, table):
        assert table.links[row] == table.paths[target]
        assert target < row
        assert table.types[target] == 0


@given(
    st.lists(st.tuples(_NAMES, st.sampled_from([b"x", b"yy" * 400, LARGE, "a"])), max_size=9),
    st.sampled_from([5000, 70_001, 1 << 22]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_along_and_afterwards_is_the_same(members: list[tuple[str, Any]], size: int) -> None:
    """A pass without an index, and the reel that goes by one, tell the same."""
    tar = make_tar([(name, hardlink(data) if data == "a" else data) for name, data in members])
    looks = [Marked(), Everything()]
    walker = Walker(DEFAULT, looks=looks)
    walker.feed(tar)
    table = walker.finish()
    strip = reel.Reel(table, reel.wanted(table, looks), looks)
    for start in range(0, len(tar), size):
        strip.feed(start, tar[start : start + size])
    assert strip.over
    told = strip.told()
    for name, found in walker.facts.items():
        assert _by_content(told[name]) == _by_content(found)


def _by_content(found: dict[bytes, bytes]) -> dict[bytes, Any]:
    # A link may be told of under its own name, or under its file's.
    return {path: json.loads(text)[1:] for path, text in found.items()}


def test_an_empty_table() -> None:
    assert list(picked(Everything(), Table.of([]))) == []
    assert list(linked(Everything(), Table.of([]))) == []


# --- ranges ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(1, 90_000)), max_size=40))
@settings(max_examples=25, deadline=None)
def test_ranges_have_all_stretches(places: list[tuple[int, int]]) -> None:
    blob = random.Random(3).randbytes(2_100_000)
    stretches = sorted((start, start + length) for start, length in places)
    made = ranges.coalesced(stretches, 5)
    assert len(made) <= 5
    assert made == sorted(made)
    asked: list[tuple[int, int]] = []

    def stream(start: int, stop: int) -> Any:
        asked.append((start, stop))
        return (blob[at : min(stop, at + 7000)] for at in range(start, stop, 7000))

    found = list(ranges.cut(made, stretches, stream))
    assert found == [blob[start:stop] for start, stop in stretches]
    assert asked == made


def test_the_smallest_gaps_are_read_over() -> None:
    far = [(at, at + 10) for at in (0, 1_000_000, 1_500_000, 9_000_000, 9_400_000)]
    assert ranges.coalesced(far, 3) == [(0, 10), (1_000_000, 1_500_010), (9_000_000, 9_400_010)]
    assert ranges.coalesced(far, 1) == [(0, 9_400_010)]
    assert ranges.coalesced([], 3) == []


# --- as they are stored ---------------------------------------------------------------------------


def test_stored_and_back() -> None:
    found = {b"/a\xff": b"[1]", b"/b": b'["x",[2]]'}
    raw = codec.dump_facts(found, "sha256:a", 5, "l 1")
    assert codec.load_facts(raw, "sha256:a", 5, "l 1") == found
    for other in (("sha256:b", 5, "l 1"), ("sha256:a", 6, "l 1"), ("sha256:a", 5, "l 2")):
        with pytest.raises(MalformedContent):
            codec.load_facts(raw, *other)
    with pytest.raises(MalformedContent):
        codec.load_facts(raw, "sha256:a", 5, "l 1", "estargz x")
    for at in range(0, len(raw), 3):
        spoilt = bytearray(raw)
        spoilt[at] ^= 1
        with pytest.raises(MalformedContent):
            codec.load_facts(bytes(spoilt), "sha256:a", 5, "l 1")


def test_what_a_table_of_contents_told_is_for_those_who_vouch() -> None:
    kept.forget()
    kept.keep_facts("sha256:a", 5, "l 1", {b"/a": b"[1]"}, "estargz x")
    assert kept.facts("sha256:a", 5, "l 1") is None
    assert kept.facts("sha256:a", 5, "l 1", "estargz y") is None
    assert kept.facts("sha256:a", 5, "l 1", "estargz x") == {b"/a": b"[1]"}
    kept.keep_facts("sha256:a", 5, "l 1", {b"/a": b"[2]"})
    assert kept.facts("sha256:a", 5, "l 1", "estargz x") == {b"/a": b"[2]"}
    kept.forget()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept.forget()
    monkeypatch.setattr(kept._facts, "_limit", 10_000)
    for number in range(30):
        kept.keep_facts(f"sha256:{number}", 5, "l 1", {b"/a": b"x" * 1000})
    assert kept.facts("sha256:0", 5, "l 1") is None
    assert kept.facts("sha256:29", 5, "l 1") is not None
    assert kept._facts._weight <= 10_000
    kept.forget()


def test_tarfile_agrees(learn: Learn) -> None:
    """The oracle for contents: what `tarfile` reads."""
    tar = make_tar(FILES)
    import io

    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        expected = {
            f"/{one.name}".encode(): fact(f"/{one.name}", archive.extractfile(one).read())  # type: ignore[union-attr]
            for one in archive
            if one.isreg() and one.size
        }
    assert learn(tar, Everything())["everything 1"] == expected
