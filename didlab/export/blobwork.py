"""One blob on its way into a file: which stretches are here, which are missing, what is hashed.

The digest of a blob wants its bytes in order, ranges arrive in any. So hashing follows the
frontier, the end of the contiguous prefix: what arrives there is hashed in passing, what came
before its turn is read back once the frontier reaches it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from didlab.errors import LocalStoreError, WriteFailed
from didlab.export.output import Handle, PartialFile
from didlab.export.partial import Stretch
from didlab.export.plan import Hole
from didlab.oci import digest as digests
from didlab.sources.base import Source

#: The least that is worth a note in the journal.
NOTE = 128 * 1024
_READ = 1024 * 1024


@dataclass(eq=False)
class Segment:
    """A stretch that one connection brings: ``[start, position)`` is here, ``stop`` the goal.

    ``stop`` may move down while it is under way: somebody else brings the rest.
    """

    start: int
    position: int
    stop: int
    #: Who brings it; None when nobody does.
    lane: object | None = None
    #: Began in the middle of a blob that others bring as well: only a true range will do.
    split: bool = False
    began: float = field(default_factory=time.monotonic)
    came: int = 0
    place: str = ""
    #: How far bytes may have been written that `BlobWork.wrote` was not told of yet.
    granted: int = 0
    _noted: int = 0
    _hasher: Any = None

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.stop - self.position

    def rate(self, now: float) -> float:
        """Bytes a second since its connection was asked."""
        return self.came / max(now - self.began, 0.001)


class BlobWork:
    """The state of one blob. All methods may be called from any thread.

    ``note_every`` is the number of bytes between two notes in the journal, and so what a killed
    process has to fetch again for each lane.
    """

    def __init__(
        self, index: int, hole: Hole, source: Source, output: PartialFile, note_every: int = NOTE
    ) -> None:
        self.index = index
        self.source = source
        self.output = output
        #: The places that may have it: mirrors, then the registry.
        self.places: tuple[str, ...] = tuple(source.open(hole.descriptor).places)
        self._note_every = note_every
        self.hole = hole
        self.size = hole.descriptor.size
        self.done = False
        #: Failures since the last progress, and times that a finished blob had a wrong digest.
        self.failures = 0
        self.mismatches = 0
        #: Not to be asked for again before this moment.
        self.not_before = 0.0
        #: Bytes that were spent on it at places without ranges.
        self.spent = 0
        #: Places that have brought any of it.
        self.brought_by: set[str] = set()
        #: Places that are not to be asked for it again.
        self.bad_places: set[str] = set()
        self._lock = threading.RLock()
        self._reset()

    def _reset(self) -> None:
        self.segments: list[Segment] = [Segment(0, 0, self.size)]
        self._hasher = self._new_hasher()
        self._frontier = 0
        self._busy = False
        self._judged = False

    def _new_hasher(self) -> Any:
        return hashlib.new(digests.algorithm(self.hole.descriptor.digest), usedforsecurity=False)

    # --- segments ----------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether anything came, or is being brought."""
        with self._lock:
            return len(self.segments) > 1 or any(
                segment.position or segment.lane is not None for segment in self.segments
            )

    @property
    def left(self) -> int:
        """Bytes still to come."""
        with self._lock:
            return sum(segment.left for segment in self.segments)

    def waiting(self) -> Segment | None:
        """Return a stretch that nobody brings, the first one, or None."""
        with self._lock:
            for segment in self.segments:
                if segment.lane is None and segment.left:
                    return segment
        return None

    def under_way(self) -> list[Segment]:
        """Return the stretches that somebody brings now."""
        with self._lock:
            return [s for s in self.segments if s.lane is not None and s.left]

    def take(self, segment: Segment, lane: object, place: str) -> bool:
        """Begin to bring a stretch; False when somebody was quicker."""
        with self._lock:
            if segment.lane is not None or not segment.left or segment not in self.segments:
                return False
            segment.lane, segment.place = lane, place
            segment.began, segment.came = time.monotonic(), 0
            return True

    def drop(self, segment: Segment) -> None:
        """Stop bringing a stretch; what is missing waits for somebody else."""
        with self._lock:
            segment.lane = None

    def split(self, segment: Segment, at: int) -> Segment | None:
        """Cut a stretch that is under way; return the second part, waiting, or None."""
        with self._lock:
            # Bytes on their way to the disk belong to the first part, or they would be in both.
            begun = max(segment.position, segment.granted)
            if segment not in self.segments or not begun <= at < segment.stop:
                return None
            rest = Segment(at, at, segment.stop, split=True)
            segment.stop = at
            self.segments.insert(self.segments.index(segment) + 1, rest)
            return rest

    def join(self, rest: Segment) -> bool:
        """Undo a split: the one before brings the rest as well. True when it still can."""
        with self._lock:
            rest.lane = None
            if rest not in self.segments:
                return True
            before = self.segments.index(rest) - 1
            previous = self.segments[before] if before >= 0 else None
            untouched = rest.position == rest.start
            if previous is not None and previous.stop == rest.start and untouched and previous.left:
                previous.stop = rest.stop
                self.segments.remove(rest)
                return True
            # The one before is through already: the rest has to be asked for as it stands, and
            # what comes before it read over.
            rest.split = False
            return False

    # --- bytes -------------------------------------------------------------------------------

    def allow(self, segment: Segment, length: int) -> int:
        """Return how many of the bytes that came are still wanted here."""
        with self._lock:
            length = min(length, segment.stop - segment.position)
            segment.granted = segment.position + length
            return length

    def wrote(self, segment: Segment, data: bytes, note: Callable[[Stretch], None]) -> None:
        """Take note of bytes that have been written at the segment's position."""
        stretch = None
        if segment.start:
            if segment._hasher is None:
                segment._hasher = hashlib.sha256(usedforsecurity=False)
            segment._hasher.update(data)
        with self._lock:
            at_frontier = segment.position == self._frontier and not self._busy
            if at_frontier:
                self._hasher.update(data)
                self._frontier += len(data)
            segment.position += len(data)
            segment.came += len(data)
            self.brought_by.add(segment.place)
            if segment.position - segment._noted >= self._note_every or not segment.left:
                stretch = self._stretch(segment)
        if stretch is not None:
            note(stretch)

    def _stretch(self, segment: Segment) -> Stretch | None:
        """Return what the journal is to say of a segment, or None when it cannot be said yet."""
        if segment.position == segment.start:
            return None
        if segment.start:
            digest = segment._hasher.copy().hexdigest() if segment._hasher is not None else None
        elif self._busy:
            digest = None  # the hasher may be ahead of the frontier just now
        elif self._frontier == segment.position and self._hasher.name == "sha256":
            digest = self._hasher.copy().hexdigest()
        else:
            digest = None
        if digest is None:
            return None
        segment._noted = segment.position
        return Stretch(self.index, segment.start, segment.position, digest)

    def pending_note(self, segment: Segment) -> Stretch | None:
        """Return what the journal does not say yet of a segment, or None."""
        with self._lock:
            if segment.position == segment._noted:
                return None
            return self._stretch(segment)

    def notes(self) -> list[Stretch]:
        """Return all that a fresh journal has to say."""
        with self._lock:
            for segment in self.segments:
                segment._noted = 0
            found = [self.pending_note(segment) for segment in self.segments]
        return [stretch for stretch in found if stretch is not None]

    def catch_up(self, handle: Handle) -> None:
        """Hash what lies contiguously behind the frontier; returns when nothing is left to do."""
        with self._lock:
            if self._busy:
                return
            self._busy = True
        try:
            while True:
                with self._lock:
                    want = min(_READ, self._reached() - self._frontier)
                    if want <= 0:
                        # In the same breath: what arrives from now on is hashed in passing.
                        self._busy = False
                        return
                data = handle.read_at(self.hole.offset + self._frontier, want)
                if not data:
                    raise WriteFailed("a partial file lost bytes that were written to it")
                self._hasher.update(data)
                with self._lock:
                    self._frontier += len(data)
        finally:
            with self._lock:
                self._busy = False

    def _reached(self) -> int:
        """Return the end of the contiguous prefix that is on disk."""
        end = 0
        for segment in self.segments:
            if segment.start != end:
                break
            end = segment.position
            if segment.left:
                break
        return end

    def complete(self) -> bool:
        """Whether every byte is here."""
        with self._lock:
            return not any(segment.left for segment in self.segments)

    def ready(self) -> bool:
        """Whether every byte is here and hashed; True to one caller only, who judges it."""
        with self._lock:
            if self._judged or self._frontier < self.size or not self.complete():
                return False
            self._judged = True
            return True

    def digest(self) -> str:
        """Return the digest of what is here; meaningful when complete and caught up."""
        with self._lock:
            assert self._frontier == self.size
            name = digests.algorithm(self.hole.descriptor.digest)
            return f"{name}:{self._hasher.hexdigest()}"

    def filled(self) -> Stretch | None:
        """Take note that the whole blob was put in its place, verified; return the note for it."""
        with self._lock:
            segment = Segment(0, self.size, self.size)
            self.segments = [segment]
            self._frontier, self._judged, self.done = self.size, True, True
            segment._noted = self.size
        digest = self.hole.descriptor.digest
        if digests.algorithm(digest) != "sha256" or not self.size:
            return None
        return Stretch(self.index, 0, self.size, digests.encoded(digest))

    def discard(self) -> int:
        """Forget everything that came, and return how many bytes that was."""
        with self._lock:
            came = self.size - self.left
            self._reset()
            return came

    # --- taking over -------------------------------------------------------------------------

    def restore(self, stretches: Iterable[Stretch], handle: Handle) -> int:
        """Take what a journal claims as far as the bytes are what it says; return how many.

        Reads and hashes every claimed byte once.
        """
        kept: list[Segment] = []
        end = 0
        for stretch in sorted(stretches, key=lambda s: (s.start, -s.stop)):
            if stretch.start < end or not stretch.start < stretch.stop <= self.size:
                continue
            segment = self._check(stretch, handle)
            if segment is None:
                continue
            if segment.start > end:
                kept.append(Segment(end, end, segment.start))
            kept.append(segment)
            end = segment.stop
        if end < self.size:
            kept.append(Segment(end, end, self.size))
        with self._lock:
            self.segments = kept
            return self.size - self.left

    def _check(self, stretch: Stretch, handle: Handle) -> Segment | None:
        hasher = hashlib.sha256(usedforsecurity=False)
        own = self._new_hasher() if stretch.start == 0 and self._hasher.name != "sha256" else None
        position = stretch.start
        while position < stretch.stop:
            want = min(_READ, stretch.stop - position)
            try:
                data = handle.read_at(self.hole.offset + position, want)
            except LocalStoreError:  # a bad sector: it is fetched again
                return None
            if not data:
                return None
            hasher.update(data)
            if own is not None:
                own.update(data)
            position += len(data)
        if hasher.hexdigest() != stretch.sha256:
            return None
        if stretch.start == 0:
            self._hasher = own if own is not None else hasher
            self._frontier = stretch.stop
        made = Segment(stretch.start, stretch.stop, stretch.stop, _hasher=hasher)
        made._noted = stretch.stop
        return made
