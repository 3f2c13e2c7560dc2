"""To a registry: what it lacks is mounted or uploaded, then the manifests, the root's last."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from didlab import _pausing as pausing
from didlab.errors import (
    DidlabError,
    DigestMismatch,
    RateLimited,
    TooLarge,
    TransportError,
    Truncated,
)
from didlab.export import progress, push_lanes
from didlab.export.content import Document
from didlab.export.lanes import FAILURES
from didlab.export.push_content import Content
from didlab.export.push_report import CopyReport
from didlab.export.running import Manner
from didlab.sizes import human
from didlab.transport.uploads import Lost, Target, Upload

#: Up to this size a blob is sent as one request, from memory.
SMALL = 4 * 1024 * 1024
#: No smaller pieces than this, unless the registry names another least.
LEAST = 4 * 1024 * 1024
#: By how much pieces get smaller after one that did not get through.
SMALLER = 4


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be copied: blobs, then manifests with the root last, under these names."""

    blobs: Sequence[Content]
    manifests: Sequence[Document]
    #: What the root is called there: a tag, or its digest.
    name: str
    reference: str
    notes: tuple[str, ...] = ()


def push(target: Target, job: Job, manner: Manner) -> CopyReport:
    """Copy to a registry; every blob is verified before the registry keeps it.

    Raises
    ------
    DigestMismatch, SizeMismatch
        The source gave something else; the upload was called off.
    PushRefused, BlobNotFound, RepositoryNotFound, AuthError, TransportError
    """
    began = time.monotonic()
    with manner.waiting():
        work = _Work(target, job, manner)
        work.run()
        for number, manifest in enumerate(job.manifests, 1):
            last = number == len(job.manifests)
            name = job.name if last else manifest.digest
            target.put_manifest(name, manifest.raw, manifest.media_type, manifest.digest)
    counts, sizes = work.counts, work.sizes
    return CopyReport(
        reference=job.reference,
        digest=job.manifests[-1].digest,
        manifests=len(job.manifests),
        uploaded=counts["uploaded"],
        mounted=counts["mounted"],
        present=counts["present"],
        uploaded_bytes=sizes["uploaded"],
        mounted_bytes=sizes["mounted"],
        present_bytes=sizes["present"],
        seconds=time.monotonic() - began,
        notes=(*job.notes, *work.notes),
    )


class _Work:
    """The blobs of one copy, on several lanes."""

    def __init__(self, target: Target, job: Job, manner: Manner) -> None:
        self._target = target
        self._blobs = sorted(job.blobs, key=lambda blob: -blob.descriptor.size)
        self._reference = job.reference
        self._manner = manner
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.notes: list[str] = []
        self._moved = self._shown = self._noted = 0

    def run(self) -> None:
        """Bring every blob to the registry."""
        total = sum(blob.descriptor.size for blob in self._blobs)
        bar = progress.start(self._manner.progress, total, self._reference)

        def look() -> None:
            with self._lock:
                moved, notes = self._moved, self.notes[self._noted :]
                done = self.counts.total()
            if moved != self._shown:
                bar.update(moved - self._shown)
                self._shown = moved
            self._noted += len(notes)
            tell = getattr(bar, "tell", None)
            if tell is not None:
                tell(done, len(self._blobs), notes)

        try:
            jobs = [partial(self._bring, blob) for blob in self._blobs]
            push_lanes.run(jobs, self._manner.lanes[0], look)
        finally:
            bar.close()

    def _bring(self, content: Content) -> None:
        blob = content.descriptor
        if self._target.holds(blob.digest, blob.size):
            self._done("present", blob.size, moved=blob.size)
            return
        upload = self._target.begin(blob.digest, mount=True)
        if upload is None:
            self._done("mounted", blob.size, moved=blob.size)
            return
        _Sending(self._target, content, upload, self._move, self._note).run()
        self._done("uploaded", blob.size, moved=0)

    def _done(self, how: str, size: int, *, moved: int) -> None:
        with self._lock:
            self.counts[how] += 1
            self.sizes[how] += size
            self._moved += moved

    def _move(self, count: int) -> None:
        with self._lock:
            self._moved += count

    def _note(self, text: str) -> None:
        with self._lock:
            self.notes.append(text)


class _SourceFailed(Exception):
    """Where the bytes come from failed: no OSError, lest it be taken for the other side's."""

    def __init__(self, error: DidlabError) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a blob as the body of a request; it can be sent again."""

    sending: _Sending
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.stop - self.start

    def pieces(self) -> Iterator[bytes]:
        """Yield them, read anew where they were read before."""
        return self.sending.read(self.start, self.stop)


class _Sending:
    """One blob being uploaded: again and again from where it broke, in smaller pieces."""

    def __init__(
        self,
        target: Target,
        content: Content,
        upload: Upload,
        move: Callable[[int], None],
        note: Callable[[str], None],
    ) -> None:
        self._target = target
        self._content = content
        self._upload: Upload | None = upload
        self._move, self._note = move, note
        self._size = content.descriptor.size
        self._digest = content.descriptor.digest
        #: How much to send at once.
        self._piece = min(self._size, target.most or self._size)
        #: The furthest that was read, and that the registry had.
        self._read = self._best = 0
        self._failures = 0
        #: Whether the registry has to be asked how much it has.
        self._unsure = False

    def run(self) -> None:
        """Upload and commit; after a failure nothing of the blob is left there."""
        try:
            while not self._try():
                pass
        except BaseException as error:
            if self._upload is not None:
                self._upload.abandon()
            if isinstance(error, _SourceFailed):
                raise error.error from None
            raise

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield bytes of the blob; those that were not read before count as progress."""
        position = start
        try:
            for data in self._content.pieces(start, stop):
                pausing.check()
                yield data
                position += len(data)
                if position > self._read:
                    self._move(position - self._read)
                    self._read = position
        except DidlabError as error:
            raise _SourceFailed(error) from None

    def _try(self) -> bool:
        """Go on until it is done (True), or something happened that another try may mend."""
        try:
            if self._upload is None:
                self._upload = self._target.begin(self._digest)
            elif self._unsure:
                self._upload.ask()
            self._unsure = False
            assert self._upload is not None
            self._send(self._upload)
        except Lost:
            self._upload = None
            if self._target.holds(self._digest, self._size):  # the answer to its end was lost
                return True
            self._failed(f"the upload of {self._digest[:19]} had to begin anew", None)
        except TooLarge:
            if self._piece <= LEAST or self._size <= SMALL:
                raise
            self._note(f"{self._target.name} takes no {human(self._piece)} at once")
            self._piece, self._unsure = self._smaller(), True
            self._target.most = min(self._piece, self._target.most or self._piece)
        except DigestMismatch as error:
            # The registry says so: what was read here has the right digest.
            self._upload = None
            self._failed(f"{self._digest[:19]} was damaged on its way", error)
        except RateLimited:
            raise  # that was waited for already
        except TransportError as error:
            if not error.retryable:
                raise
            self._unsure = True
            self._failed(f"the upload of {self._digest[:19]} broke: {error.message}", error)
        else:
            return True
        return False

    def _send(self, upload: Upload) -> None:
        if upload.offset > self._read:
            raise Lost("more is said to be there than was sent")
        self._progress(upload.offset)
        if self._size <= SMALL and upload.offset == 0:
            raw = b"".join(self.read(0, self._size))
            self._check()
            upload.commit(self._digest, raw)
            return
        while upload.offset < self._size:
            stop = min(self._size, upload.offset + max(self._piece, upload.smallest))
            whole = upload.offset == 0 and stop == self._size
            upload.send(_Part(self, upload.offset, stop), whole=whole)
            self._progress(upload.offset)
        self._check()
        upload.commit(self._digest)

    def _check(self) -> None:
        try:
            self._content.check()
        except DidlabError as error:
            raise _SourceFailed(error) from None

    def _progress(self, offset: int) -> None:
        if offset > self._best:
            self._best, self._failures = offset, 0

    def _failed(self, what: str, error: DidlabError | None) -> None:
        """Count a failure, and take smaller pieces after it.

        Raises
        ------
        DidlabError
            After `FAILURES` without progress in between.
        """
        self._note(what)
        self._failures += 1
        if self._failures >= FAILURES:
            if isinstance(error, DigestMismatch):
                raise error
            raise Truncated(
                f"gave up to upload {self._digest} to {self._target.name} after {FAILURES} "
                f"failures in a row at {self._best} of {self._size} bytes"
                + (f": {error.message}" if error else ""),
                host=error.host if error else None,
                received=self._best,
                size=self._size,
                hint="the same call goes on with what is missing",
            ) from error
        self._piece = self._smaller()
        pausing.wait(pausing.pause(self._failures))

    def _smaller(self) -> int:
        return max(LEAST, self._piece // SMALLER)
