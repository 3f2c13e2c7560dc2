"""Any stretch of an uncompressed layer, by ranges of the blob, each checked before decoding."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from didlab import _pausing as pausing
from didlab.errors import CompressionInvalid, DigestMismatch, LimitExceeded, TransportError
from didlab.files import decompress
from didlab.files.limits import DEFAULT, Limits
from didlab.files.sniff import Kind
from didlab.files.spans import Span, Spans
from didlab.sources.base import BlobReader

#: Bytes of decoded spans that a process keeps.
CACHE = 48 * 1024 * 1024
#: Bytes of the blob asked for in one request when much is read on end.
REQUEST = 8 * 1024 * 1024
#: Failures in a row after which a range is given up.
ATTEMPTS = 4


class _Decoded:
    """Decoded spans of this process, those used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._weight = 0

    def get(self, key: tuple[str, int]) -> bytes | None:
        with self._lock:
            found = self._spans.get(key)
            if found is not None:
                self._spans.move_to_end(key)
            return found

    def put(self, key: tuple[str, int], content: bytes) -> None:
        with self._lock:
            if len(content) > CACHE // 2 or key in self._spans:
                return
            self._spans[key] = content
            self._weight += len(content)
            while self._weight > CACHE:
                _, dropped = self._spans.popitem(last=False)
                self._weight -= len(dropped)

    def clear(self) -> None:
        with self._lock:
            self._spans.clear()
            self._weight = 0


_decoded = _Decoded()

if hasattr(os, "register_at_fork"):
    # A lock that another thread held at the fork would stay held for ever in the child.
    os.register_at_fork(after_in_child=lambda: globals().__setitem__("_decoded", _Decoded()))


def forget() -> None:
    """Drop the decoded spans that this process keeps."""
    _decoded.clear()


def fetch(reader: BlobReader, start: int, stop: int) -> bytes:
    """Return a range of a blob, asked for again where the connection breaks."""
    failures = 0
    while True:
        try:
            return reader.read_at(start, stop)
        except TransportError as error:
            failures += 1
            if not error.retryable or failures >= ATTEMPTS:
                raise
            pausing.wait(pausing.pause(failures))


class Blocks:
    """An uncompressed layer by stretches.

    Parameters
    ----------
    digest : str
        The blob's.
    kind : str
        Its compression.
    open_blob : callable
        Gives a reader of the blob; called when the first range is needed.
    """

    def __init__(
        self,
        digest: str,
        kind: Kind,
        spans: Spans,
        open_blob: Callable[[], BlobReader],
        limits: Limits = DEFAULT,
    ) -> None:
        self._digest = digest
        self._kind = kind
        self._spans = spans
        self._open = open_blob
        self._limits = limits
        self._reader: BlobReader | None = None

    def read_at(self, begin: int, end: int) -> bytes:
        """Return the bytes from ``begin`` to ``end`` of the uncompressed tar.

        Raises
        ------
        DigestMismatch
            The range is not what the pass over the layer saw.
        TransportError, BlobNotFound
        """
        return b"".join(self.pieces(begin, end))

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``begin`` to ``end``; some MiB of the blob at a time."""
        numbers = self._spans.covering(begin, end)
        at = begin
        for content, span in self._decode(list(numbers)):
            piece = content[at - span.begin : end - span.begin]
            if piece:
                yield piece
            at = min(end, span.end)
        if at < end:
            raise CompressionInvalid(
                f"the layer {self._digest} ends at {self._spans.length}, "
                f"asked was for {begin} to {end}"
            )

    def _decode(self, numbers: list[int]) -> Iterator[tuple[bytes, Span]]:
        position = 0
        while position < len(numbers):
            number = numbers[position]
            known = _decoded.get((self._digest, number))
            if known is not None:
                yield known, self._spans[number]
                position += 1
                continue
            run = [number]
            first = self._spans[number]
            for following in numbers[position + 1 :]:
                if self._spans[following].stop - first.start > REQUEST:
                    break
                if _decoded.get((self._digest, following)) is not None:
                    break
                run.append(following)
            yield from self._fetched(run)
            position += len(run)

    def _fetched(self, run: list[int]) -> Iterator[tuple[bytes, Span]]:
        start = self._spans[run[0]].start
        raw = memoryview(self._range(start, self._spans[run[-1]].stop))
        for number in run:
            span = self._spans[number]
            packed = raw[span.start - start : span.stop - start]
            content = self._decoded(number, span, packed)
            _decoded.put((self._digest, number), content)
            yield content, span

    def _range(self, start: int, stop: int) -> bytes:
        if self._reader is None:
            self._reader = self._open()
        return fetch(self._reader, start, stop)

    def _decoded(self, number: int, span: Span, packed: memoryview) -> bytes:
        actual = hashlib.sha256(packed).digest()
        if actual != span.digest:
            raise DigestMismatch(
                f"bytes {span.start} to {span.stop} of {self._digest} are not what they were when "
                "the layer was listed",
                expected="sha256:" + span.digest.hex(),
                actual="sha256:" + actual.hex(),
                hint="a proxy or mirror may have changed them",
            )
        length = span.end - span.begin
        if length > self._limits.whole_file:
            raise LimitExceeded(
                f"a stretch of {self._digest} decompresses to {length} bytes",
                what="decompressed bytes in memory",
                limit=self._limits.whole_file,
                seen=length,
            )
        mark = decompress.Mark(
            span.start + (1 if span.bits else 0),
            span.bits,
            span.begin,
            self._spans.windows(number),
        )
        parts: list[bytes] = []
        left = length
        for part in decompress.span(self._kind, mark, iter([bytes(packed)]), self._limits):
            parts.append(part[:left])
            left -= len(parts[-1])
            if left <= 0:
                break
        if left > 0:
            raise CompressionInvalid(
                f"bytes {span.start} to {span.stop} of {self._digest} decode to "
                f"{length - left} bytes, not {length}"
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)
