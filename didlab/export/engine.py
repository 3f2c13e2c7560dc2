"""The transfer engine: lanes that bring stretches of blobs to their places in a file.

A lane is one connection at a time, to one place. Each blob begins on one lane, the largest first.
When lanes are seen to be slow, further ones are opened and cut the longest-lasting stretch in two
(`pace`), as long as that brings more. Whatever breaks is asked for again from where it broke;
failures are counted since the last progress.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from didlab import _pausing as pausing
from didlab.errors import (
    AuthError,
    BadRange,
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    NotFound,
    ProtocolError,
    TransportError,
    Truncated,
)
from didlab.export import pace
from didlab.export.blobwork import BlobWork, Segment
from didlab.export.output import Handle, PartialFile
from didlab.export.pace import Running
from didlab.export.partial import Stretch
from didlab.export.progress import Progress
from didlab.sources.base import BlobReader, Source

#: Failures of one blob without any progress in between, after which it is given up.
FAILURES = 5
#: Progress that starts the count anew.
PROGRESS = 64 * 1024
#: Bytes that one blob may cost on the wire, in its own sizes, where ranges are not served.
BUDGET = 3
#: Seconds between two looks of the watching thread, and so for Ctrl-C to be seen.
LOOK = 0.05
#: Seconds over which a rate is measured.
WINDOW = 0.5
#: Seconds without a byte after which somebody else takes a stretch over.
STALLED = 5.0

Note = Callable[[Stretch], None]


@dataclass
class Memory:
    """What one place was found to do, kept for the process."""

    #: Whether it honours ranges; None as long as nobody asked for one.
    ranged: bool | None = None
    #: Whether more connections brought more.
    gains: bool | None = None


_memories: dict[str, Memory] = {}
_memories_lock = threading.Lock()


def memory(place: str) -> Memory:
    """Return what is known of a place."""
    with _memories_lock:
        return _memories.setdefault(place, Memory())


@dataclass(eq=False)
class Lane:
    """One connection at a time."""

    number: int
    place: str | None
    thread: threading.Thread | None = None
    readers: dict[int, BlobReader] = field(default_factory=dict)
    reader: BlobReader | None = None


class Transfer:
    """One save under way. Make one, call `run` once."""

    def __init__(
        self,
        source: Source,
        works: Sequence[BlobWork],
        output: PartialFile,
        *,
        start: int = pace.START,
        most: int = pace.MOST,
    ) -> None:
        self._source = source
        self._works = sorted((work for work in works if not work.done), key=lambda work: -work.size)
        self._output = output
        self._start = min(start, most)
        self._most = most
        self._lanes: list[Lane] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._dropped: set[str] = set()
        #: Bytes that came, and by whom they were brought.
        self.came = 0
        self.served: Counter[str] = Counter()
        #: What happened on the way that people may want to know: retries, changes of place.
        self.notes: list[str] = []
        self._places: tuple[str, ...] = ()
        # Expansion: how many lanes there were, and what they brought, before the last one.
        self._proved = False
        self._trial: tuple[float, float, int] | None = None

    # --- the watching thread -------------------------------------------------------------------

    def run(self, progress: Progress) -> None:
        """Bring everything; return when every blob is here and verified.

        On any failure, and on Ctrl-C, the lanes are stopped, their connections shut.
        """
        if not self._works:
            return
        self._places = tuple(self._source.open(self._works[0].hole.descriptor).places)
        try:
            self._open_lanes(min(self._start, self._most))
            self._watch(progress)
        except BaseException:
            self._halt()
            raise
        finally:
            self._show(progress)
        for lane in self._lanes:
            if lane.thread is not None:
                lane.thread.join(timeout=5.0)

    def _watch(self, progress: Progress) -> None:
        marks: list[tuple[float, int]] = [(time.monotonic(), 0)]
        while True:
            with self._changed:
                # With a timeout: a bare wait cannot be interrupted on Windows.
                self._changed.wait(LOOK)
                if self._error is not None:
                    raise self._error
                finished = all(work.done for work in self._works)
            self._show(progress)
            if finished:
                return
            now = time.monotonic()
            marks.append((now, self.came))
            while len(marks) > 2 and marks[1][0] <= now - WINDOW:
                marks.pop(0)
            span = now - marks[0][0]
            self._steer(now, (self.came - marks[0][1]) / span if span > 0 else 0.0)

    _shown = 0

    def _show(self, progress: Progress) -> None:
        came = self.came
        if came != self._shown:
            progress.update(came - self._shown)
            self._shown = came

    def _steer(self, now: float, rate: float) -> None:
        """Take over what stalls; open further lanes where they bring more."""
        with self._changed:
            self._take_over(now)
            count = len(self._lanes)
            if self._trial is not None:
                since, before, lanes = self._trial
                if now - since < 2 * WINDOW:
                    return
                self._trial = None
                grew = pace.gained(before, rate, lanes, count)
                self._proved = self._proved or grew
                for place in self._usable():
                    memory(place).gains = grew
                if not grew:
                    return
            if count >= self._most or not self._may_cut():
                return
            running = self._running(now)
            slow = [r for _, _, r in running if pace.worth(r, proved=self._proved)]
            if not slow:
                return
            # All at once: on a line that is slow for each connection every further one counts.
            more = self._most - count
            self._trial = (now, rate, count)
            self._open_lanes(more)

    def _may_cut(self) -> bool:
        usable = self._usable()
        return any(
            memory(place).ranged is not False and memory(place).gains is not False
            for place in usable
        )

    def _usable(self) -> list[str]:
        places = [place for place in self._places if place not in self._dropped]
        return places or list(self._places) or [""]

    def _running(self, now: float) -> list[tuple[BlobWork, Segment, Running]]:
        found = []
        for work in self._works:
            if work.done:
                continue
            for segment in work.under_way():
                found.append(
                    (work, segment, Running(segment.left, segment.rate(now), now - segment.began))
                )
        return found

    def _take_over(self, now: float) -> None:
        """Free stretches whose lane has brought nothing for long, for somebody else."""
        if len(self._usable()) < 2:
            return
        for work in self._works:
            for segment in work.under_way():
                if segment.came == 0 and now - segment.began > STALLED:
                    place = segment.place
                    rest = work.split(segment, segment.position)
                    if rest is not None:
                        rest.split = False
                        self._drop_place(place, "nothing came for too long")
                        self._changed.notify_all()

    def _drop_place(self, place: str, why: str) -> None:
        """Leave a place out for the rest of this save; what it brought stays."""
        others = [p for p in self._places if p not in self._dropped and p != place]
        if place and others:
            self._dropped.add(place)
            self.notes.append(f"{place} dropped: {why}")

    def _open_lanes(self, count: int) -> None:
        for _ in range(count):
            usable = self._usable()
            number = len(self._lanes)
            # The first places first; further ones help when the first are slow.
            at = 0 if number < self._start else number % len(usable)
            lane = Lane(number, usable[at] or None)
            lane.thread = threading.Thread(
                target=self._ride, args=(lane,), name=f"didlab-fetch-{number}", daemon=True
            )
            self._lanes.append(lane)
            lane.thread.start()

    def _halt(self) -> None:
        """Stop the lanes: no thread, no connection is left behind, as far as it can be helped."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for lane in self._lanes:
            reader = lane.reader
            if reader is not None:
                with contextlib.suppress(Exception):
                    reader.abort()
        deadline = time.monotonic() + 1.0
        for lane in self._lanes:
            if lane.thread is not None:
                lane.thread.join(timeout=max(0.0, deadline - time.monotonic()))

    # --- lanes ---------------------------------------------------------------------------------

    def _ride(self, lane: Lane) -> None:
        pausing.stop.set(self._stop)
        try:
            with self._output.handle() as handle:
                while (job := self._next(lane)) is not None:
                    self._carry(lane, handle, *job)
        except pausing.Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised in the watching thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._stop.set()
            self._changed.notify_all()

    def _next(self, lane: Lane) -> tuple[BlobWork, Segment] | None:
        """Return a stretch to bring, waiting for one if need be; None at the end."""
        with self._changed:
            while True:
                if self._stop.is_set() or all(work.done for work in self._works):
                    return None
                now = time.monotonic()
                job = self._waiting(lane, now) or self._cut(lane, now)
                if job is not None:
                    return job
                self._changed.wait(LOOK)

    def _waiting(self, lane: Lane, now: float) -> tuple[BlobWork, Segment] | None:
        for work in self._works:
            if work.done or work.not_before > now:
                continue
            segment = work.waiting()
            if segment is None:
                continue
            place = self._place_for(lane, work)
            if segment.split and memory(place).ranged is False:
                continue
            if work.take(segment, lane, place):
                return work, segment
        return None

    def _cut(self, lane: Lane, now: float) -> tuple[BlobWork, Segment] | None:
        if not self._may_cut():
            return None
        if lane.number < self._start and not self._proved and len(self._lanes) <= self._start:
            return None  # whether cutting pays is found out with further lanes
        running = [item for item in self._running(now) if item[0].mismatches == 0]
        at = pace.candidate([r for _, _, r in running], proved=self._proved)
        if at is None:
            return None
        work, segment, _ = running[at]
        place = self._place_for(lane, work)
        if memory(place).ranged is False:
            return None
        rest = work.split(segment, pace.cut(segment.position, segment.stop))
        if rest is None or not work.take(rest, lane, place):
            return None
        return work, rest

    def _place_for(self, lane: Lane, work: BlobWork) -> str:
        usable = [place for place in self._usable() if place not in work.bad_places]
        if not usable:
            usable = self._usable()
        if lane.place not in usable:
            lane.place = usable[lane.number % len(usable)] or None
        return lane.place or ""

    def _carry(self, lane: Lane, handle: Handle, work: BlobWork, segment: Segment) -> None:
        """Bring one stretch, as far as it goes."""
        place = segment.place
        reader = lane.readers.get(work.index)
        if reader is None:
            reader = lane.readers[work.index] = self._source.open(work.hole.descriptor)
        lane.reader = reader
        began = segment.position

        def note(stretch: Stretch) -> None:
            self._output.note(handle, stretch)

        try:
            self._pump(reader, handle, work, segment, note)
        except BadRange:
            self._no_ranges(work, segment, place)
        except (NotFound, IntegrityError, AuthError, ProtocolError) as error:
            self._refused(work, segment, place, error)
        except TransportError as error:
            self._broke(lane, work, segment, place, error, segment.position - began, began)
        else:
            work.failures = 0
            if reader.ranged is not None and began:
                memory(place).ranged = reader.ranged
        finally:
            lane.reader = None
            work.drop(segment)
            self._note_rest(work, segment, note)
            with self._changed:
                self._changed.notify_all()
        work.catch_up(handle)
        if work.ready():
            self._judge(work)

    def _pump(
        self,
        reader: BlobReader,
        handle: Handle,
        work: BlobWork,
        segment: Segment,
        note: Note,
    ) -> None:
        offset = work.hole.offset
        stream = reader.stream(
            segment.position,
            segment.stop,
            place=segment.place or None,
            strict=segment.split,
        )
        with contextlib.closing(stream):
            for data in stream:
                length = work.allow(segment, len(data))
                piece = data if length == len(data) else data[:length]
                if piece:
                    handle.write_at(offset + segment.position, piece)
                    work.wrote(segment, piece, note)
                    with self._changed:
                        self.came += len(piece)
                        self.served[reader.served_by or ""] += len(piece)
                pausing.check()
                if length < len(data) or not segment.left:
                    return

    def _note_rest(self, work: BlobWork, segment: Segment, note: Note) -> None:
        stretch = work.pending_note(segment)
        if stretch is not None:
            with contextlib.suppress(Exception):
                note(stretch)

    def _no_ranges(self, work: BlobWork, segment: Segment, place: str) -> None:
        """Take note that a place does not honour ranges: nobody cuts there any more."""
        memory(place).ranged = False
        work.join(segment)

    def _refused(self, work: BlobWork, segment: Segment, place: str, error: Exception) -> None:
        """Ask elsewhere for what a place does not have, or gives wrongly."""
        work.bad_places.add(place)
        left = [p for p in self._usable() if p not in work.bad_places]
        if not left:
            raise error
        self.notes.append(f"{place}: {error}")

    def _broke(
        self,
        lane: Lane,
        work: BlobWork,
        segment: Segment,
        place: str,
        error: TransportError,
        came: int,
        began: int,
    ) -> None:
        """Count a failure, and say when and where to go on."""
        if self._stop.is_set():
            raise pausing.Stopped
        reader = lane.readers[work.index]
        work.spent += came + (began if reader.ranged is False else 0)
        work.failures = 1 if came >= PROGRESS else work.failures + 1
        others = [p for p in self._usable() if p != place]
        if not error.retryable and not others:
            raise error
        if work.failures >= FAILURES and not others:
            raise Truncated(
                f"gave up after {work.failures} failures in a row at "
                f"{work.size - work.left} of {work.size} bytes: {error.message}",
                host=error.host,
                received=work.size - work.left,
                size=work.size,
                hint="what came is kept: the same call goes on from there; "
                "mirrors= or proxy= may help",
            ) from error
        if reader.ranged is False and work.spent > BUDGET * work.size:
            raise LimitExceeded(
                f"{place or reader.served_by} serves no ranges and breaks off again and again: "
                f"{work.spent} bytes for a blob of {work.size}",
                what="bytes for one blob",
                limit=BUDGET * work.size,
                seen=work.spent,
                hint="what came is kept: the same call goes on from there",
            ) from error
        if came < PROGRESS:
            if others and (not error.retryable or work.failures >= 2):
                with self._changed:
                    self._drop_place(place, error.message)
                    work.failures = 0
            work.not_before = time.monotonic() + pausing.pause(work.failures)

    def _judge(self, work: BlobWork) -> None:
        """Compare a complete blob's digest; once more from the start when it is wrong."""
        descriptor = work.hole.descriptor
        actual = work.digest()
        if actual == descriptor.digest:
            with self._changed:
                work.done = True
                self._changed.notify_all()
            return
        work.mismatches += 1
        brought = set(work.brought_by)
        error = DigestMismatch(
            f"{', '.join(sorted(filter(None, brought))) or self._source.location} gave content "
            f"with the digest {actual}, asked was {descriptor.digest}",
            host=next(iter(sorted(brought)), None),
            expected=descriptor.digest,
            actual=actual,
        )
        if work.mismatches > 1:
            raise error
        self.notes.append(error.message)
        with self._changed:
            work.bad_places |= brought
            if len(brought) == 1:
                self._drop_place(next(iter(brought)), "wrong bytes")
            work.brought_by.clear()
            self.came -= work.discard()
            self._changed.notify_all()


def restore(works: Sequence[BlobWork], output: PartialFile) -> int:
    """Take from a partial file that was taken over what is right; return the bytes kept.

    A file whose journal is gone may be complete: its blobs are looked at as a whole then.
    """
    claimed: dict[int, list[Stretch]] = {}
    for stretch in output.stretches:
        claimed.setdefault(stretch.blob, []).append(stretch)
    kept = 0
    with output.handle() as handle:
        for work in works:
            stretches = claimed.get(work.index, [])
            if output.finished:
                encoded = work.hole.descriptor.digest.partition(":")[2]
                stretches = [Stretch(work.index, 0, work.size, encoded)]
            kept += work.restore(stretches, handle)
            if work.complete():
                work.done = work.digest() == work.hole.descriptor.digest
                if not work.done:
                    kept -= work.discard()
            for segment in list(work.segments):
                segment._noted = 0
                again = work.pending_note(segment)
                if again is not None:
                    output.note(handle, again)
    return kept
