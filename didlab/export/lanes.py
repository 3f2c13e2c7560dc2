"""A lane: one connection at a time, which brings stretches of blobs to their places."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from didlab import _pausing as pausing
from didlab.errors import (
    AuthError,
    BadRange,
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    NotFound,
    ProtocolError,
    RateLimited,
    TransportError,
)
from didlab.export.blobwork import BlobWork, Segment
from didlab.export.foreign import explained
from didlab.export.output import Handle
from didlab.export.partial import Stretch
from didlab.export.places import Places, memory
from didlab.sources.base import BlobReader

#: Failures of one blob without any progress in between, after which it is given up.
FAILURES = 5
#: Progress that starts the count anew.
PROGRESS = 64 * 1024
#: Bytes that one blob may cost on the wire, in its own sizes, where ranges are not served.
BUDGET = 3

Note = Callable[[Stretch], None]


class Board(Protocol):
    """What lanes share: where they get work, and where they say what came of it."""

    places: Places
    stop: pausing.Stop
    patience: pausing.Patience

    def next_job(self, lane: Lane) -> tuple[BlobWork, Segment] | None:
        """Return a stretch to bring, waiting for one if need be; None at the end."""

    def count(self, place: str, came: int) -> None:
        """Take note of bytes that came, or, below zero, that have to come again."""

    def changed(self) -> None:
        """Wake whoever waits for a change."""

    def fail(self, error: BaseException) -> None:
        """End the whole with an error."""


class Lane:
    """One connection at a time, to one place. ``ride`` is the life of its thread."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self.number = number
        self.place: str | None = None
        self._readers: dict[int, BlobReader] = {}
        self._reading: BlobReader | None = None
        self.thread = threading.Thread(
            target=self._ride, name=f"didlab-fetch-{number}", daemon=True
        )

    def abort(self) -> None:
        """Shut the connection under way, from another thread."""
        reader = self._reading
        if reader is not None:
            with contextlib.suppress(Exception):
                reader.abort()

    def _ride(self) -> None:
        pausing.stop.set(self._board.stop)
        pausing.patience.set(self._board.patience)
        try:
            while (job := self._board.next_job(self)) is not None:
                self._carry(*job)
        except pausing.Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised in the watching thread
            self._board.fail(error)

    def _carry(self, work: BlobWork, segment: Segment) -> None:
        """Bring one stretch, as far as it goes."""
        reader = self._readers.get(id(work))
        if reader is None:
            reader = self._readers[id(work)] = work.source.open(work.hole.descriptor)
        with work.output.handle() as handle:

            def note(stretch: Stretch) -> None:
                work.output.note(handle, stretch)

            self._reading = reader
            try:
                self._bring(reader, handle, work, segment, note)
            except pausing.Stopped:
                raise
            except BaseException as error:
                # Before the stretch is free again: nobody is to ask for it once more.
                self._board.fail(error)
                raise
            finally:
                self._reading = None
                work.drop(segment)
                rest = work.pending_note(segment)
                if rest is not None:
                    with contextlib.suppress(Exception):
                        note(rest)
                self._board.changed()
            work.catch_up(handle)
        if work.ready():
            self._judge(work)

    def _bring(
        self, reader: BlobReader, handle: Handle, work: BlobWork, segment: Segment, note: Note
    ) -> None:
        """Fetch once, and say what comes of a failure; raises where it is the end."""
        began, place = segment.position, segment.place
        try:
            self._pump(reader, handle, work, segment, note)
        except BadRange:
            # Nobody cuts there any more; the one before brings the rest, where it still can.
            memory(place).ranged = False
            work.join(segment)
        except (NotFound, IntegrityError, AuthError, ProtocolError) as error:
            self._refused(work, place, error)
        except TransportError as error:
            self._broke(reader, work, place, error, segment.position - began, began)
        else:
            work.failures = 0
            if reader.ranged is not None and began:
                memory(place).ranged = reader.ranged

    def _pump(
        self, reader: BlobReader, handle: Handle, work: BlobWork, segment: Segment, note: Note
    ) -> None:
        stream = reader.stream(
            segment.position, segment.stop, place=segment.place or None, strict=segment.split
        )
        with contextlib.closing(stream):
            for data in stream:
                length = work.allow(segment, len(data))
                piece = data if length == len(data) else data[:length]
                if piece:
                    handle.write_at(work.hole.offset + segment.position, piece)
                    work.wrote(segment, piece, note)
                    self._board.count(reader.served_by or "", len(piece))
                pausing.check()
                if length < len(data) or not segment.left:
                    return

    def _refused(self, work: BlobWork, place: str, error: Exception) -> None:
        """Ask elsewhere for what a place does not have, or gives wrongly."""
        error = explained(error, work.hole.descriptor)
        work.bad_places.add(place)
        if not self._board.places.others(work, place):
            work.mismatches += 1
            if work.mismatches > 1 or not isinstance(error, IntegrityError):
                raise error
            # Too much or too little, as bytes with a wrong digest: once more.
        self._board.places.note(f"{place}: {error}")

    def _broke(
        self,
        reader: BlobReader,
        work: BlobWork,
        place: str,
        error: TransportError,
        came: int,
        began: int,
    ) -> None:
        """Count a failure, and say when and where to go on."""
        if self._board.stop.is_set():
            raise pausing.Stopped
        work.spent += came + (began if reader.ranged is False else 0)
        work.failures = 1 if came >= PROGRESS else work.failures + 1
        others = self._board.places.others(work, place)
        passing = error.retryable and not isinstance(error, RateLimited)
        if not passing:
            if not others:
                raise error
            self._board.places.drop(place, error.message)
        elif work.failures >= FAILURES and not others:
            raise _given_up(work, error) from error
        if reader.ranged is False and work.spent > BUDGET * work.size:
            raise _over_budget(work, place or reader.served_by, error) from error
        if passing:
            self._board.places.broke(place or reader.served_by or str(error.host), error.message)
        if came < PROGRESS:
            if others and work.failures >= 2:
                self._board.places.drop(place, error.message)
                work.failures = 0
            work.not_before = time.monotonic() + pausing.pause(work.failures or 1)

    def _judge(self, work: BlobWork) -> None:
        """Compare a complete blob's digest; once more from the start when it is wrong."""
        error = judge(work)
        if error is not None:
            places = self._board.places
            places.note(error.message)
            work.bad_places |= work.brought_by
            if len(work.brought_by) == 1 and len(work.places) > 1:
                places.drop(next(iter(work.brought_by)), "it gave wrong bytes")
            work.brought_by.clear()
            self._board.count("", -work.discard())
        self._board.changed()


def judge(work: BlobWork) -> DigestMismatch | None:
    """Mark a complete blob as done if its digest is right; return the error if it is not.

    Raises
    ------
    DigestMismatch
        For the second time.
    """
    descriptor = work.hole.descriptor
    actual = work.digest()
    if actual == descriptor.digest:
        work.done = True
        return None
    work.mismatches += 1
    brought = sorted(filter(None, work.brought_by))
    error = DigestMismatch(
        f"{', '.join(brought) or work.source.location} gave content with the digest {actual}, "
        f"asked was {descriptor.digest}",
        host=brought[0] if brought else None,
        expected=descriptor.digest,
        actual=actual,
    )
    if work.mismatches > 1 or not work.size:
        raise error
    return error


def _given_up(work: BlobWork, error: TransportError) -> TransportError:
    """Return an error of the last failure's kind that says how far it got."""
    here = work.size - work.left
    fields = {
        **error.fields(),
        "received": here,
        "size": work.size,
        "hint": "what came is kept: the same call goes on from there; mirrors= or proxy= may help",
    }
    return type(error)(
        f"gave up after {work.failures} failures in a row at {here} of {work.size} bytes: "
        f"{error.message}",
        **fields,
    )


def _over_budget(work: BlobWork, place: str | None, error: TransportError) -> LimitExceeded:
    return LimitExceeded(
        f"{place} serves no ranges and breaks off again and again: {work.spent} bytes for a blob "
        f"of {work.size}",
        what="bytes for one blob",
        limit=BUDGET * work.size,
        seen=work.spent,
        host=error.host,
        hint="what came is kept: the same call goes on from there",
    )
