"""One blob on its way into a file, whatever the order in which its bytes come."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab.errors import WriteFailed
from didlab.export import engine
from didlab.export.blobwork import BlobWork, Segment
from didlab.export.output import PartialFile
from didlab.export.partial import HEAD, Stretch, journal_length, read_journal
from didlab.export.plan import Hole
from didlab.oci.descriptor import Descriptor

PLAN = "0123456789abcdef"
#: What stands before the blob in the file, and behind it.
BEFORE, BEHIND = 100, 50
#: A note in the journal for every so many bytes.
NOTE = 64
CONTENT = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(96))
SIZE = len(CONTENT)

SOURCE: Any = SimpleNamespace(location="memory:x", open=lambda _: SimpleNamespace(places=()))


def new_work(output: PartialFile, content: bytes = CONTENT, algorithm: str = "sha256") -> BlobWork:
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    descriptor = Descriptor("application/octet-stream", digest, len(content))
    return BlobWork(0, Hole(BEFORE, descriptor), SOURCE, output, NOTE)


@contextmanager
def partial_file(target: Path | None = None) -> Iterator[PartialFile]:
    with tempfile.TemporaryDirectory() as folder:
        output = PartialFile(target or Path(folder, "x.tar"), BEFORE + SIZE + BEHIND, PLAN)
        try:
            yield output
        finally:
            output.abandon()


class Lanes:
    """Drives a work as the engine's lanes do, one step at a time."""

    def __init__(self, work: BlobWork, output: PartialFile, handle: Any) -> None:
        self.work, self.output, self.handle = work, output, handle
        self.carried: list[Segment] = []

    def note(self, stretch: Stretch) -> None:
        self.output.note(self.handle, stretch)

    def take(self, _: int = 0) -> bool:
        segment = self.work.waiting()
        taken = segment is not None and self.work.take(segment, object(), "place")
        if taken:
            self.carried.append(segment)
        return taken

    def write(self, which: int, count: int) -> None:
        if self.carried:
            segment = self.carried[which % len(self.carried)]
            count = self.work.allow(segment, count)
            if count:
                data = CONTENT[segment.position : segment.position + count]
                self.handle.write_at(BEFORE + segment.position, data)
                self.work.wrote(segment, data, self.note)

    def split(self, which: int, at: int) -> None:
        running = self.work.under_way()
        if running:
            segment = running[which % len(running)]
            rest = self.work.split(segment, segment.position + at % segment.left)
            if rest is not None and self.work.take(rest, object(), "place"):
                self.carried.append(rest)

    def join(self, which: int) -> None:
        rests = [segment for segment in self.carried if segment.split]
        if rests:
            rest = rests[which % len(rests)]
            self.work.join(rest)
            self.carried.remove(rest)

    def drop(self, which: int) -> None:
        if self.carried:
            segment = self.carried.pop(which % len(self.carried))
            self.work.drop(segment)
            rest = self.work.pending_note(segment)
            if rest is not None:
                self.note(rest)
            self.work.catch_up(self.handle)

    def finish(self) -> None:
        while self.carried:
            self.drop(0)
        while self.take():
            self.write(0, SIZE)
            self.drop(0)
        self.work.catch_up(self.handle)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take")),
        st.tuples(st.just("write"), st.integers(0, 9), st.integers(1, 700)),
        st.tuples(st.just("split"), st.integers(0, 9), st.integers(0, SIZE)),
        st.tuples(st.just("join"), st.integers(0, 9)),
        st.tuples(st.just("drop"), st.integers(0, 9)),
    ),
    max_size=40,
)


def played(work: BlobWork, output: PartialFile, handle: Any, steps: Any) -> Lanes:
    lanes = Lanes(work, output, handle)
    for name, *arguments in steps:
        getattr(lanes, name)(*arguments)
        assert sum(segment.stop - segment.start for segment in work.segments) == SIZE
    return lanes


def journal(output: PartialFile) -> bytes:
    return output.path.read_bytes()[output.size :]


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_any_order_ends_in_the_right_digest(steps):
    with partial_file() as output, output.handle() as handle:
        work = new_work(output)
        lanes = played(work, output, handle, steps)
        lanes.finish()
        assert work.complete()
        assert work.left == 0
        assert work.ready()
        assert not work.ready(), "only one caller may judge"
        assert work.digest() == work.hole.descriptor.digest
        assert handle.read_at(BEFORE, SIZE) == CONTENT
        for stretch in read_journal(journal(output)):
            data = CONTENT[stretch.start : stretch.stop]
            assert stretch.sha256 == hashlib.sha256(data).hexdigest()


@given(STEPS)
@settings(max_examples=50, deadline=None)
def test_sha512_is_hashed_alike(steps):
    with partial_file() as output, output.handle() as handle:
        work = new_work(output, algorithm="sha512")
        played(work, output, handle, steps).finish()
        assert work.ready()
        assert work.digest() == work.hole.descriptor.digest


@given(
    STEPS,
    st.integers(0, 4000),
    st.lists(st.integers(0, SIZE - 1), max_size=3),
    STEPS,
)
@settings(max_examples=200, deadline=None)
def test_what_is_restored_is_right(steps, cut, damage, more):
    """From any cut of the journal, and with any bytes of the data changed."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "x.tar")
        with partial_file(target) as output:
            with output.handle() as handle:
                lanes = played(new_work(output), output, handle, steps)
                while lanes.carried:
                    lanes.drop(0)
                for position in damage:
                    wrong = bytes([CONTENT[position] ^ 1])
                    handle.write_at(BEFORE + position, wrong)
            claimed = sum(s.stop - s.start for s in read_journal(journal(output)[:cut]))
            path = output.path
            output.release()
        [left] = target.parent.iterdir()
        data = left.read_bytes()
        left.write_bytes(data[: output.size + cut])

        with partial_file(target) as again, again.handle() as handle:
            assert again.taken_over
            assert again.path != path
            work = new_work(again)
            kept = engine.restore([work], again)
            assert kept == SIZE - work.left
            assert kept <= SIZE if again.finished else kept <= claimed
            if not damage and not again.finished:
                assert kept == covered(again.stretches)
            for segment in work.segments:
                there = handle.read_at(BEFORE + segment.start, segment.position - segment.start)
                assert there == CONTENT[segment.start : segment.position]
            # And it goes on from there, to the end.
            played(work, again, handle, more).finish()
            if not work.done:
                assert work.ready()
            assert work.digest() == work.hole.descriptor.digest
            assert handle.read_at(BEFORE, SIZE) == CONTENT


def covered(stretches: list[Stretch]) -> int:
    """Bytes of stretches that do not begin inside an earlier one."""
    end = total = 0
    for stretch in sorted(stretches, key=lambda s: (s.start, -s.stop)):
        if stretch.start >= end:
            total += stretch.stop - stretch.start
            end = stretch.stop
    return total


@given(st.binary(max_size=600), st.booleans())
@settings(max_examples=500, deadline=None)
def test_no_bytes_upset_the_journal(data, head):
    text = HEAD + data if head else data
    read_journal(text)
    assert journal_length(text) <= len(text)


@given(st.lists(st.tuples(*[st.integers(0, 999_999)] * 3), max_size=8), st.binary(max_size=90))
@settings(max_examples=200, deadline=None)
def test_a_journal_is_read_up_to_what_is_torn(lines, tail):
    stretches = [Stretch(blob, start, stop, "ab" * 32) for blob, start, stop in lines]
    whole = HEAD + b"".join(stretch.line() for stretch in stretches)
    torn = tail.replace(b"\n", b"")
    assert read_journal(whole + torn) == read_journal(whole)
    assert journal_length(whole + torn) == len(whole)
    last = {(s.blob, s.start): s for s in stretches}
    assert read_journal(whole) == sorted(last.values(), key=lambda s: (s.blob, s.start))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_ends_the_journal_there(data):
    stretches = [Stretch(0, n * 10, n * 10 + 5, "cd" * 32) for n in range(5)]
    whole = bytearray(HEAD + b"".join(stretch.line() for stretch in stretches))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    assert [s for s in read_journal(bytes(whole)) if s not in stretches] == []


def test_a_blob_of_several_pieces_that_are_all_there_is_done(tmp_path):
    """It was fetched in pieces, and its process ended before another blob was through."""
    target = tmp_path / "x.tar"
    with partial_file(target) as output:
        with output.handle() as handle:
            lanes = played(new_work(output), output, handle, [("take",), ("split", 0, 700)])
            lanes.write(0, SIZE)
            lanes.write(1, SIZE)
            lanes.finish()
        output.release()
    with partial_file(target) as again:
        work = new_work(again)
        assert engine.restore([work], again) == SIZE
        assert work.done


def test_who_is_killed_while_a_journal_is_checked_loses_nothing(tmp_path):
    target = tmp_path / "x.tar"
    with partial_file(target) as output:
        with output.handle() as handle:
            played(new_work(output), output, handle, [("take",), ("write", 0, 500), ("drop", 0)])
        before = read_journal(journal(output))
        output.release()
    assert before
    with partial_file(target) as again:
        assert read_journal(journal(again)) == before
        engine.restore([new_work(again)], again)
        assert read_journal(journal(again)) == before


def test_a_file_that_loses_its_bytes_is_an_error_not_a_wait(tmp_path):
    with partial_file(tmp_path / "x.tar") as output, output.handle() as handle:
        work = new_work(output)
        lanes = played(work, output, handle, [("take",), ("split", 0, 700)])
        lanes.write(1, SIZE)
        lanes.write(0, 500)
        with output.path.open("r+b") as file:
            file.truncate(BEFORE + 600)
        lanes.write(0, SIZE)
        with output.path.open("r+b") as file:
            file.truncate(BEFORE + 600)
        with pytest.raises(WriteFailed):
            work.catch_up(handle)
