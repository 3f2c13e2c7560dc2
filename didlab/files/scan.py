"""The pass over a whole layer: verified, listed, and made readable from many places."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial

from didlab.errors import MalformedContent
from didlab.files import pipeline, sniff
from didlab.files.decompress import Decoder, decoder
from didlab.files.index import LayerIndex
from didlab.files.limits import DEFAULT, Limits
from didlab.files.looking import Encoded
from didlab.files.looks import Look
from didlab.files.spans import SpanHasher, Spans
from didlab.files.walk import Walker
from didlab.files.wellknown import Capture, Riding, is_wellknown
from didlab.oci.digest import Verifier

#: Layers up to here are not worth threads.
SMALL = 256 * 1024

#: What remains to be done with a piece, in order.
Step = Callable[[], None]


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
    looks : sequence of Look
        What learns from files' contents: see `facts`.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        media_type: str = "",
        capture: Capture | None = None,
        limits: Limits = DEFAULT,
        looks: Sequence[Look] = (),
    ) -> None:
        self._verifier = verifier
        self._media_type = media_type
        self._limits = limits
        self._walker = Walker(limits, Riding(capture), looks=looks)
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

    @property
    def facts(self) -> dict[str, dict[bytes, Encoded]]:
        """What looks learned, as JSON, by their names and by path; verified when `run` is over.

        Without a look that would have needed a file under another name than its own.
        """
        return self._walker.facts

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
        steps = self._steps(pieces)
        with contextlib.closing(steps if size <= SMALL else pipeline.ahead(steps, abort)) as todo:
            for step in todo:
                step()
        self._verifier.check()
        for wrong in (self._broken, self._no_tar):
            if wrong is not None:
                raise wrong
        return self._finish()

    # --- along the way -----------------------------------------------------------------------

    def _steps(self, pieces: Iterable[bytes]) -> Generator[Step]:
        """Fetch and inflate; yield what else is to be done with what came."""
        head, source = sniff.beginning(pieces)
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

    def _decoded(self, piece: bytes) -> Iterator[Step]:
        decoding = self._decoder
        if decoding is None or self._broken is not None:
            yield partial(self._verifier.update, piece)
            return
        try:
            for content in decoding.feed(piece):
                self._length += len(content)
                yield partial(self._walk, content)
        except MalformedContent as error:
            self._broken = error
        places = [(mark.compressed, mark.bits) for mark in decoding.marks[self._marked :]]
        self._marked += len(places)
        yield partial(self._hash, piece, places)

    def _hash(self, piece: bytes, places: Sequence[tuple[int, int]]) -> None:
        self._verifier.update(piece)
        self._spans.update(piece, places)

    def _walk(self, content: bytes) -> None:
        self._content.update(content)
        if self._no_tar is None:
            try:
                self._walker.feed(content)
            except MalformedContent as error:
                self._no_tar = error

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
            if is_wellknown(path, len(content))
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
