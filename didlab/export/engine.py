"""The transfer engine: which lane brings what, and how many there are.

Each blob begins on one lane, the largest first. When lanes are seen to be slow, further ones are
opened and cut the longest-lasting stretch in two (`pace`), as long as that brings more. Whatever
breaks is asked for again from where it broke (`lanes`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from didlab import _pausing as pausing
from didlab.export import pace
from didlab.export.blobwork import BlobWork, Segment
from didlab.export.lanes import Lane, judge
from didlab.export.output import PartialFile
from didlab.export.pace import Meter, Running, Trial
from didlab.export.partial import Stretch
from didlab.export.places import Places, memory
from didlab.export.progress import Progress

#: Seconds between two looks of the watching thread, and so for Ctrl-C to be seen.
LOOK = 0.05
#: Seconds over which a rate is measured; before a trial, and during one.
SHORT, WINDOW = 0.15, 0.5
#: Seconds of a trial.
TRIAL = 2.0
#: Seconds without a byte after which another place takes a stretch over.
STALLED = 5.0


class Transfer:
    """One save under way. Make one, call `run` once.

    Attributes
    ----------
    came : int
        Bytes that came.
    served : Counter
        By whom they were brought.
    """

    def __init__(
        self,
        works: Sequence[BlobWork],
        *,
        start: int = pace.START,
        most: int = pace.MOST,
        wait: float = pausing.LONGEST,
    ) -> None:
        self._there = sum(work.done for work in works)
        self._works = sorted((work for work in works if not work.done), key=lambda w: -w.size)
        self._start = min(start, most)
        self._most = most
        self._lanes: list[Lane] = []
        self._condition = threading.Condition()
        self.stop = pausing.Stop()
        self.places = Places()
        self.patience = pausing.Patience(wait, self.places.rests)
        self._error: BaseException | None = None
        self.came = 0
        self._shown = 0
        self._noted = 0
        self.served: Counter[str] = Counter()
        # Whether further lanes brought more, and the trial that is to tell.
        self._proved = False
        self._trial: Trial | None = None

    # --- the watching thread -----------------------------------------------------------------

    def run(self, progress: Progress) -> None:
        """Bring everything; return when every blob is here and verified.

        On any failure, and on Ctrl-C, the lanes are stopped, their connections shut.
        """
        for work in self._works:
            if work.ready():  # nothing to bring: an empty blob
                judge(work)
        try:
            if not all(work.done for work in self._works):
                self._open_lanes(self._start)
                self._watch(progress)
                # What a lane still waits for has come by another one.
                self._join(0.2)
        finally:
            self._halt()
            self._show(progress)

    def _watch(self, progress: Progress) -> None:
        meter = Meter(time.monotonic())
        while True:
            with self._condition:
                # With a timeout: a bare wait cannot be interrupted on Windows.
                self._condition.wait(LOOK)
                if self._error is not None:
                    raise self._error
                finished = all(work.done for work in self._works)
            self._show(progress)
            if finished:
                return
            pausing.check()
            now = time.monotonic()
            meter.read(now, self.came)
            self._steer(now, meter)

    def _show(self, progress: Progress) -> None:
        came, news = self.came, self.places.news
        if came != self._shown:
            progress.update(came - self._shown)
            self._shown = came
        tell = getattr(progress, "tell", None)
        if tell is not None:
            done = self._there + sum(work.done for work in self._works)
            fresh = news[self._noted :]
            self._noted += len(fresh)
            tell(done, self._there + len(self._works), fresh)

    def _halt(self) -> None:
        """Stop the lanes: no thread, no connection is left behind, as far as it can be helped."""
        self.stop.set()
        self.changed()
        for lane in self._lanes:
            lane.abort()
        self._join(0.8)

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for lane in self._lanes:
            if lane.thread.is_alive():  # Ctrl-C may have come before it was started
                lane.thread.join(timeout=max(0.0, deadline - time.monotonic()))

    # --- how many lanes ----------------------------------------------------------------------

    def _open_lanes(self, count: int) -> None:
        def begin() -> None:
            for _ in range(count):
                lane = Lane(self, len(self._lanes))
                self._lanes.append(lane)
                lane.thread.start()

        # Not in the main thread: Ctrl-C in the middle of a start leaves a thread that never
        # runs in `threading.enumerate` for ever.
        pausing.aside(begin, "didlab-begin")

    def _steer(self, now: float, meter: Meter) -> None:
        """Take over what stalls; open further lanes where they bring more."""
        with self._condition:
            self._take_over(now)
            count = len(self._lanes)
            if self._trial is not None:
                trial = self._trial
                trial.best = max(trial.best, meter.rate(WINDOW))
                if now - trial.since < TRIAL:
                    return
                self._trial = None
                gained = pace.gained(trial.before, trial.best)
                self._proved = self._proved or gained
                for work, _, _ in self._running(now):
                    for place in self.places.usable(work):
                        memory(place).learn(gained=gained)
            if count >= self._most:
                return
            slow = any(
                pace.worth(running, proved=self._proved)
                and any(map(self.places.may_cut, self.places.usable(work)))
                for work, _, running in self._running(now)
            )
            if slow:
                # All at once: on a line that is slow for each connection every one counts.
                # Just before: many servers begin with a burst, which is no rate to compare with.
                self._trial = Trial(now, meter.rate(SHORT))
                self._open_lanes(self._most - count)

    def _running(self, now: float) -> list[tuple[BlobWork, Segment, Running]]:
        return [
            (work, segment, Running(segment.left, segment.rate(now), now - segment.began))
            for work in self._works
            if not work.done
            for segment in work.under_way()
        ]

    def _take_over(self, now: float) -> None:
        """Free stretches that a place has begun and brings nothing of, for other places."""
        for work, segment, running in self._running(now):
            stalled = segment.came == 0 and running.age > STALLED
            if stalled and self.places.others(work, segment.place):
                rest = work.split(segment, segment.position)
                if rest is not None:
                    rest.split = False
                    self.places.drop(segment.place, "nothing came for too long")
                    self._condition.notify_all()

    # --- what lanes ask and tell (`lanes.Board`) ---------------------------------------------

    def next_job(self, lane: Lane) -> tuple[BlobWork, Segment] | None:
        """Return a stretch to bring, waiting for one if need be; None at the end."""
        with self._condition:
            while not (self.stop.is_set() or all(work.done for work in self._works)):
                now = time.monotonic()
                job = self._waiting(lane, now) or self._cut(lane, now)
                if job is not None:
                    return job
                self._condition.wait(LOOK)
        return None

    def _waiting(self, lane: Lane, now: float) -> tuple[BlobWork, Segment] | None:
        for work in self._works:
            if work.done or work.not_before > now:
                continue
            segment = work.waiting()
            if segment is None:
                continue
            place = self._place(lane, work)
            if self.places.quiet(place):
                continue
            if segment.split and memory(place).ranged is False:
                segment.split = False  # then what stands before it is read over
            if work.take(segment, lane, place):
                return work, segment
        return None

    def _cut(self, lane: Lane, now: float) -> tuple[BlobWork, Segment] | None:
        """Take over half of the longest-lasting stretch, where that pays."""
        if len(self._lanes) <= self._start < self._most and not self._proved:
            return None  # whether cutting pays is found out with further lanes
        running = [
            item
            for item in self._running(now)
            if item[0].mismatches == 0 and self.places.may_cut(self._place(lane, item[0]))
        ]
        at = pace.candidate([r for _, _, r in running], proved=self._proved)
        if at is None:
            return None
        work, segment, _ = running[at]
        rest = work.split(segment, pace.cut(segment.position, segment.stop))
        if rest is None or not work.take(rest, lane, self._place(lane, work)):
            return None
        return work, rest

    def _place(self, lane: Lane, work: BlobWork) -> str:
        """Return whom a lane asks for a blob: the first place first, further lanes the others."""
        usable = self.places.usable(work)
        if lane.place not in usable:
            lane.place = usable[0 if lane.number < self._start else lane.number % len(usable)]
        return lane.place or ""

    def count(self, place: str, came: int) -> None:
        """Take note of bytes that came, or, below zero, that have to come again."""
        with self._condition:
            self.came += came
            if came > 0:
                self.served[place] += came

    def changed(self) -> None:
        """Wake whoever waits for a change."""
        with self._condition:
            self._condition.notify_all()

    def fail(self, error: BaseException) -> None:
        """End the whole with an error; the first one counts."""
        with self._condition:
            self._error = self._error or error
            self.stop.set()
            self._condition.notify_all()


def restore(works: Sequence[BlobWork], output: PartialFile) -> int:
    """Take from a partial file that was taken over what is right; return the bytes kept.

    Reads and hashes what the journal claims; a file that was finished is read as a whole. The
    journal stands meanwhile: who is killed here has lost nothing.
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
                work.catch_up(handle)
                work.done = work.digest() == work.hole.descriptor.digest
                if not work.done:
                    kept -= work.discard()
    if output.finished:
        output.begin_journal(stretch for work in works for stretch in work.notes())
    return kept
