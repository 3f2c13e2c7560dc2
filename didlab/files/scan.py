"""The pass over a whole layer: verified, listed, and made readable from many places."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from didlab.errors import MalformedContent
from didlab.files import pipeline, sniff, wellknown
from didlab.files.decompress import Decoder, decoder
from didlab.files.index import LayerIndex
from didlab.files.limits import DEFAULT, Limits
from didlab.files.pipeline import Job
from didlab.files.spans import SpanHasher, Spans
from didlab.files.walk import Walker
from didlab.oci.digest import Verifier

#: Layers up to here are not worth threads.
SMALL = 256 * 1024

#: Whether a file's content is wanted along the way, by path and size.
Capture = Callable[[bytes, int], bool]


class Scan:
    """One pass over one layer. Make one, call `run` once.

    Parameters
    ----------
    verifier : Verifier
        Of the blob's digest and size.
    media_type : str
        As declared, for a warning should the bytes be of another kind.
    capture : callable, optional
        ``capture(path, size)`` says which files' content to keep in `captured`, besides those
        that ride along in the index.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        media_type: str = "",
        capture: Capture | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self._verifier = verifier
        self._media_type = media_type
        self._limits = limits
        self._capture = capture
        self._riding = 0
        self._walker = Walker(limits, self._wanted)
        self._content = hashlib.sha256()
        self._spans = SpanHasher(hashlib.sha256)
        self._length = 0
        self._marked = 0
        self._decoder: Decoder | None = None
        self._warning: str | None = None
        # What is wrong with the content is told only when it proved to be the blob's own.
        self._broken: MalformedContent | None = None
        # A damaged stream decompresses to nonsense before its checksum tells: that comes first.
        self._no_tar: MalformedContent | None = None

    @property
    def captured(self) -> dict[bytes, bytes]:
        """Content of the files that were wanted, so far."""
        return self._walker.captured

    def run(
        self, pieces: Iterable[bytes], size: int, abort: Callable[[], object] = lambda: None
    ) -> LayerIndex:
        """Take the blob's bytes from the first to the last; return its index.

        ``abort``, called from another thread, ends the iterator's waiting.

        Raises
        ------
        DigestMismatch, SizeMismatch
            The bytes are not the blob's; whatever else seems wrong then is not told.
        CompressionInvalid, TarInvalid, LimitExceeded
        """
        jobs = self._jobs(pieces)
        if size <= SMALL:
            for hash_it, content in jobs:
                hash_it()
                if content:
                    self._walk(content)
        else:
            pipeline.run(jobs, self._walk, abort)
        self._verifier.check()
        for wrong in (self._broken, self._no_tar):
            if wrong is not None:
                raise wrong
        return self._finish()

    # --- along the way -----------------------------------------------------------------------

    def _jobs(self, pieces: Iterable[bytes]) -> Iterator[Job]:
        """Fetch and inflate; yield what is to be hashed, and what is to be walked."""
        head, source = _beginning(pieces)
        try:
            kind = sniff.kind(head, self._media_type)
        except MalformedContent as error:
            self._broken = error
        else:
            self._decoder = decoder(kind, self._limits)
            self._warning = sniff.mismatch(kind, self._media_type)
        yield from self._decoded(head)
        for piece in source:
            yield from self._decoded(piece)
        if self._decoder is not None and self._broken is None:
            try:
                self._decoder.end()
            except MalformedContent as error:
                self._broken = error

    def _decoded(self, piece: bytes) -> Iterator[Job]:
        decoding = self._decoder
        if decoding is None or self._broken is not None:
            yield lambda: self._verifier.update(piece), b""
            return
        try:
            for content in decoding.feed(piece):
                self._length += len(content)
                yield _updating(self._content.update, content), content
        except MalformedContent as error:
            self._broken = error
        places = [(mark.compressed, mark.bits) for mark in decoding.marks[self._marked :]]
        self._marked += len(places)
        yield self._hashing(piece, places), b""

    def _hashing(self, piece: bytes, places: Sequence[tuple[int, int]]) -> Callable[[], None]:
        def job() -> None:
            self._verifier.update(piece)
            self._spans.update(piece, places)

        return job

    def _walk(self, content: bytes) -> None:
        if self._no_tar is None:
            try:
                self._walker.feed(content)
            except MalformedContent as error:
                self._no_tar = error

    def _wanted(self, path: bytes, size: int) -> bool:
        if wellknown.is_wellknown(path, size) and self._riding + size <= wellknown.TOGETHER:
            self._riding += size
            return True
        return self._capture is not None and self._capture(path, size)

    # --- the end -----------------------------------------------------------------------------

    def _finish(self) -> LayerIndex:
        decoding = self._decoder
        if decoding is None:
            raise AssertionError("a pass without a decoder is broken")
        table = self._walker.finish()
        marks = decoding.marks
        windows = [mark.window for mark in marks]
        spans = Spans(
            [mark.compressed for mark in marks],
            bytes(mark.bits for mark in marks),
            [mark.decompressed for mark in marks],
            self._spans.finish(),
            self._verifier.received,
            self._length,
            windows.__getitem__,
        )
        riding = {
            path: content
            for path, content in self.captured.items()
            if wellknown.is_wellknown(path, len(content))
        }
        return LayerIndex(
            self._verifier.digest,
            self._verifier.received,
            decoding.kind,
            rows=len(table),
            table=lambda: table,
            spans=lambda: spans,
            captured=lambda: riding,
            diff_id="sha256:" + self._content.hexdigest(),
            length=self._length,
            warnings=(*filter(None, [self._warning]), *self._walker.warnings),
        )


def _beginning(pieces: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return enough of the first bytes to tell what they are, and the rest."""
    source = iter(pieces)
    head = b""
    while len(head) < sniff.NEEDED:
        piece = next(source, None)
        if piece is None:
            break
        head += piece
    return head, source


def _updating(work: Callable[[bytes], object], content: bytes) -> Callable[[], None]:
    def job() -> None:
        work(content)

    return job
