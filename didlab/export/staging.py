"""Blobs that lie on this disk for the moment: fetched whole before something is made of them.

The engine brings them into partial files beside the target, so that a save that breaks off later
finds them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from didlab.errors import Truncated, Unsupported
from didlab.export import engine, stored
from didlab.export.blobwork import BlobWork
from didlab.export.content import identity
from didlab.export.output import PartialFile
from didlab.export.plan import Hole
from didlab.export.report import Made
from didlab.export.running import Manner, note_every, run
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference
from didlab.sources.base import Source

#: Reads a blob's bytes from an offset on, up to so many.
Read = Callable[[int, int], bytes]
SourceOf = Callable[[str], Source]

_READ = 1024 * 1024


class StagedReader:
    """A `BlobReader` over bytes on this disk."""

    ranged = True
    places: tuple[str, ...] = ()

    def __init__(self, read: Read, size: int, served_by: str | None = None) -> None:
        self._read = read
        self.size = size
        self.served_by = served_by

    def read_at(self, start: int, stop: int) -> bytes:
        """Return exactly these bytes."""
        return b"".join(self.stream(start, stop))

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Yield the bytes in pieces."""
        del place, strict
        stop = self.size if stop is None else stop
        while start < stop:
            data = self._read(start, min(_READ, stop - start))
            if not data:
                raise Truncated(
                    "a file ends before the bytes that it should have",
                    received=start,
                    size=self.size,
                )
            start += len(data)
            yield data

    def abort(self) -> None:
        """Nothing waits here."""


class Staged:
    """A `Source` of blobs on this disk; it knows no names."""

    local = True

    def __init__(self, location: str) -> None:
        self.location = location
        self._blobs: dict[str, Read] = {}

    def add(self, digest: str, read: Read) -> None:
        """Take a blob in, by what reads it."""
        self._blobs[digest] = read

    def __contains__(self, digest: str) -> bool:
        return digest in self._blobs

    def open(self, descriptor: Descriptor) -> StagedReader:
        """Return a reader."""
        return StagedReader(self._blobs[descriptor.digest], descriptor.size, self.location)

    def resolve(self, reference: Reference) -> NoReturn:
        """Refuse: there are no names."""
        raise Unsupported(f"{self.location} does not know {reference}")

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return a blob."""
        return self.open(descriptor).read_at(0, descriptor.size)

    def tags(self) -> Iterator[str]:
        """Yield nothing."""
        return iter(())

    def referrers(self, digest: str, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Yield nothing."""
        del digest, artifact_type
        return iter(())


@contextlib.contextmanager
def fetched(
    blobs: Iterable[Descriptor], source_of: SourceOf, beside: Path, manner: Manner, *, title: str
) -> Iterator[tuple[Staged, Made]]:
    """Bring blobs to the disk, verified, for as long as the block runs.

    When it fails they wait there for the next save to the same target.
    """
    distinct = list({blob.digest: blob for blob in blobs}.values())
    every = note_every(sum(blob.size for blob in distinct))
    works: list[BlobWork] = []
    try:
        for blob in distinct:
            plan = identity([b"blob", blob.digest.encode()])
            output = PartialFile(beside, blob.size, plan)
            try:
                works.append(BlobWork(0, Hole(0, blob), source_of(blob.digest), output, every))
            except BaseException:
                output.abandon()
                raise
        kept = sum(engine.restore([work], work.output) for work in works if work.output.taken_over)
        kept += stored.fill_in(works)
        made = run(works, kept, manner, title=title)
        if manner.keep:
            stored.keep((w.hole.descriptor.digest, w.size, w.output.path, 0) for w in works)
        with _readable(works, beside) as staged:
            yield staged, made
    except BaseException:
        for work in works:
            if work.left < work.size:
                work.output.release()
        raise
    finally:
        for work in works:
            work.output.abandon()


@contextlib.contextmanager
def _readable(works: Sequence[BlobWork], beside: Path) -> Iterator[Staged]:
    staged = Staged(str(beside.parent))
    with contextlib.ExitStack() as stack:
        for work in works:
            handle = stack.enter_context(work.output.handle())
            staged.add(work.hole.descriptor.digest, handle.read_at)
        yield staged
