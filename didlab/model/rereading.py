"""The files that looks want of layers that are listed already, by few requests."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

from didlab.errors import BadRange, BlobNotFound, CompressionInvalid
from didlab.export.fetch import resuming
from didlab.export.foreign import explained
from didlab.files import decompress, kept, pipeline, toc
from didlab.files.blocks import CACHE, Blocks
from didlab.files.chunks import Chunk
from didlab.files.content import Chunked, pieces
from didlab.files.index import LayerIndex
from didlab.files.looking import Encoded, View
from didlab.files.looks import Look
from didlab.files.ranges import Stretch, coalesced, cut, streamed
from didlab.files.reel import Reel, Wanted, stretch, wanted
from didlab.files.scan import SMALL
from didlab.files.spans import Spans
from didlab.files.underway import Key
from didlab.model.together import Together
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sources.base import BlobReader, Source

#: What looks learned of one layer: by their names, by path.
Facts: TypeAlias = dict[str, dict[bytes, Encoded]]

#: Requests for the files of one layer.
REQUESTS = 10
#: From this part of a layer on, all of it is read instead.
_MUCH = 3
#: A span that decodes to more is not taken into memory.
_LARGE = CACHE // 2

_log = logging.getLogger("didlab")


class Job:
    """What is to be read of one listed layer.

    Attributes
    ----------
    bytes : int
        Of the blob.
    """

    def __init__(self, descriptor: Descriptor, index: LayerIndex, looks: Sequence[Look]) -> None:
        self.descriptor = descriptor
        self.index = index
        self.looks = looks
        self.files = wanted(index.table, looks) if looks else []
        self.spans: list[int] = []
        self.chunks: list[tuple[Chunk, Wanted]] = []
        self.alone: list[tuple[Wanted, list[Chunk]]] = []
        self.ranges: list[Stretch] = []
        self.whole = False
        self._plan()

    def _plan(self) -> None:
        spans, chunks = self.index.spans, self.index.chunks
        size = self.descriptor.size
        if chunks is not None:
            for file in self.files:
                of_file = chunks.of_row(file.row)
                starts = [one.start for one in of_file]
                if starts == sorted(starts):
                    self.chunks += [(one, file) for one in of_file]
                else:
                    self.alone.append((file, of_file))
            self.chunks.sort(key=lambda one: (one[0].start, one[1].row, one[0].offset))
            stretches = [(one.start, one.stop) for one, _ in self.chunks if one.digest]
            self.ranges = coalesced(stretches, REQUESTS)
            if self._much():
                self.ranges = coalesced(stretches, 1)
        elif spans is not None:
            numbers: dict[int, None] = {}
            for file in self.files:
                numbers.update(dict.fromkeys(spans.covering(*stretch(self.index.table, file.row))))
            self.spans = sorted(numbers)
            stretches = [(spans[number].start, spans[number].stop) for number in self.spans]
            self.ranges = coalesced(stretches, REQUESTS)
            if self._much() or (self.spans and self._far(spans)):
                self.whole, self.ranges = True, [(0, size)]

    def _much(self) -> bool:
        return self.bytes * _MUCH > self.descriptor.size

    def _far(self, spans: Spans) -> bool:
        """Whether some span that is needed cannot be decoded by itself."""
        seek = decompress.can_seek(self.index.compression)
        for number in self.spans:
            span = spans[number]
            if span.end - span.begin > _LARGE:
                return True
            if not seek and (span.bits or spans.windows(number)):
                return True
        return False

    def reel(self) -> Reel:
        """Return what takes the contents."""
        return Reel(self.index.table, self.files, self.looks)

    def told(self, reel: Reel) -> Facts:
        """Return what came of it.

        Raises
        ------
        CompressionInvalid
            Some file did not come.
        """
        if not reel.over:
            raise CompressionInvalid(f"{self.descriptor.digest} ends before a file that it lists")
        return reel.told()

    @property
    def bytes(self) -> int:
        """Bytes of the blob that are asked for."""
        return sum(stop - start for start, stop in self.ranges)


class Readings(Together[tuple[Key, Facts]]):
    """Jobs, several layers at a time."""

    def __init__(self, source: Source, jobs: dict[Key, Job], title: str, progress: Any) -> None:
        self._source = source
        self._jobs = {key[0]: job for key, job in jobs.items()}
        super().__init__([job.descriptor for job in jobs.values()], title, progress)

    def _weight(self, descriptor: Descriptor) -> int:
        return self._jobs[descriptor.digest].bytes

    def _pass(self, descriptor: Descriptor) -> tuple[Key, Facts]:
        job = self._jobs[descriptor.digest]
        told = {look.name: {} for look in job.looks} if not job.files else self._told(job)
        # Where the blob was verified whole, it is the same for every image that has it.
        vouched = job.index.vouched
        for name, found in told.items():
            kept.keep_facts(descriptor.digest, descriptor.size, name, found, vouched)
        return (descriptor.digest, descriptor.size), told

    def _told(self, job: Job) -> Facts:
        reader = self._source.open(job.descriptor)
        with self._lock:
            self._readers.add(reader)
        try:
            if job.index.chunks is not None:
                return self._chunked(job, reader)
            if not job.whole and reader.ranged is not False:
                before = self._came
                try:
                    return self._spans(job, reader)
                except BadRange:
                    _log.info("%s serves no ranges", reader.served_by)
                    with self._lock:
                        self._came = min(self._came, before)
            return self._whole(job, reader)
        except BlobNotFound as error:
            raise explained(error, job.descriptor) from None
        finally:
            with self._lock:
                self._readers.discard(reader)

    def _spans(self, job: Job, reader: BlobReader) -> Facts:
        reel, spans = job.reel(), job.index.spans
        if spans is None:
            raise AssertionError("a job by spans has some")
        stretches = [(spans[number].start, spans[number].stop) for number in job.spans]
        held = _Held()
        blocks = Blocks(job.descriptor.digest, job.index.compression, spans, lambda: held.reader)
        raw = cut(job.ranges, stretches, lambda *place: self._counted(streamed(reader, *place)))
        for number, held.content in zip(job.spans, raw, strict=True):
            span = spans[number]
            for content in blocks.pieces(span.begin, span.end):
                reel.feed(span.begin, content)
        return job.told(reel)

    def _chunked(self, job: Job, reader: BlobReader) -> Facts:
        reel, kind = job.reel(), job.index.kind
        real = [(one, file) for one, file in job.chunks if one.digest]
        raw = cut(
            job.ranges,
            [(one.start, one.stop) for one, _ in real],
            lambda *place: self._counted(streamed(reader, *place, strict=False)),
        )
        views: dict[int, View | None] = {}
        left = {file.row: 0 for _, file in job.chunks}
        for _, file in job.chunks:
            left[file.row] += 1
        for chunk, file in job.chunks:
            packed = next(raw) if chunk.digest else b""
            if file.row not in views:
                views[file.row] = reel.begin(file)
            view = views[file.row]
            if view is not None:
                view.feed(toc.decode(kind, chunk, packed))
            left[file.row] -= 1
            if not left[file.row]:
                if view is not None:
                    view.finish()
                del views[file.row]
        for file, chunks in job.alone:
            view = reel.begin(file)
            if view is None:
                continue
            content = Chunked(kind, chunks, job.index.table.sizes[file.row], lambda: reader)
            for piece in pieces(content):
                view.feed(piece)
            view.finish()
        return reel.told()

    def _whole(self, job: Job, reader: BlobReader) -> Facts:
        reel, descriptor = job.reel(), job.descriptor
        verifier = Verifier(descriptor.digest, descriptor.size, where=self._source.location)
        decoding = decompress.decoder(job.index.compression, points=False)

        def contents() -> Iterator[bytes]:
            for piece in self._counted(resuming(reader)):
                verifier.update(piece)
                if reel.over:
                    continue  # only to verify what was read
                yield from decoding.feed(piece)

        position = 0
        small = descriptor.size <= SMALL
        for content in contents() if small else pipeline.ahead(contents(), reader.abort):
            reel.feed(position, content)
            position += len(content)
        verifier.check()
        return job.told(reel)


class _Held:
    """A reader of the stretch at hand."""

    content = b""

    @property
    def reader(self) -> BlobReader:
        """Itself, for whoever reads ranges only."""
        return cast("BlobReader", self)

    def read_at(self, start: int, stop: int) -> bytes:
        """Return it."""
        if stop - start != len(self.content):
            raise AssertionError("spans are read one by one")
        return self.content
