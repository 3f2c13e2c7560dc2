"""A blob's bytes on their way out: verified while they are read, from any place again.

Whoever sends them may have to go back to what the other side really has. So the state of the
hash is kept every few MiB: reading goes on from there, and what was hashed is what is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from didlab.errors import SizeMismatch
from didlab.export.fetch import resuming
from didlab.oci import digest as digests
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import BlobReader, mismatch

#: Bytes between two states of the hash that are kept.
STEP = 8 * 1024 * 1024


class Content(Protocol):
    """What is uploaded as one blob."""

    descriptor: Descriptor

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``."""

    def check(self) -> None:
        """Raise unless all bytes were read, and are those of the digest."""


class Held:
    """A small blob that is in memory, or gets there when it is needed."""

    def __init__(self, descriptor: Descriptor, get: Callable[[], bytes]) -> None:
        self.descriptor = descriptor
        self._get = get
        self._got: bytes | None = None

    @property
    def _raw(self) -> bytes:
        if self._got is None:
            self._got = self._get()
        return self._got

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``."""
        yield self._raw[start:stop]

    def check(self) -> None:
        """Raise DigestMismatch unless they are those of the digest."""
        verifier = digests.Verifier(self.descriptor.digest, self.descriptor.size)
        verifier.update(self._raw)
        verifier.check()


class Read:
    """A blob that is read from where it lies, once where nothing goes wrong."""

    def __init__(self, descriptor: Descriptor, open_: Callable[[], BlobReader]) -> None:
        self.descriptor = descriptor
        self._open = open_
        self._reader: BlobReader | None = None
        # The stream under way: it has given, and the hash has seen, the bytes before `_position`.
        self._stream: Iterator[bytes] = iter(())
        self._hash: Any = hashlib.new(digests.algorithm(descriptor.digest))
        self._position = 0
        #: What it has given beyond the end of the last piece.
        self._rest = b""
        self._marks: list[tuple[int, Any]] = [(0, self._hash.copy())]
        self._began = False

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``, hashed."""
        if self._position - len(self._rest) != start or not self._began:
            self._go_back(start)
        elif self._rest:
            data, self._rest = self._rest[: stop - start], self._rest[stop - start :]
            start += len(data)
            yield data
        while start < stop:
            data = next(self._stream, b"")
            if not data:
                raise self._wrong_size("fewer")
            before = self._position
            self._take(data)
            data = data[max(0, start - before) :]  # re-read only to be hashed
            data, self._rest = data[: stop - start], data[stop - start :]
            start += len(data)
            if data:
                yield data

    def check(self) -> None:
        """Raise SizeMismatch or DigestMismatch unless exactly the promised bytes were read."""
        if self._position != self.descriptor.size:
            raise self._wrong_size("fewer")
        if self._began:
            for data in self._stream:  # whatever comes beyond the end
                if data:
                    raise self._wrong_size("more")
        expected = self.descriptor.digest
        actual = f"{digests.algorithm(expected)}:{self._hash.hexdigest()}"
        if actual != expected:
            raise mismatch(expected, actual, self._where(), hint="nothing of it was kept there")

    def _go_back(self, start: int) -> None:
        position, state = next(mark for mark in reversed(self._marks) if mark[0] <= start)
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
        if self._reader is None:
            self._reader = self._open()
        self._position, self._hash, self._rest = position, state.copy(), b""
        self._stream = resuming(self._reader, position)
        self._began = True

    def _take(self, data: bytes) -> None:
        if self._position + len(data) > self.descriptor.size:
            raise self._wrong_size("more")
        self._hash.update(data)
        self._position += len(data)
        if self._position >= self._marks[-1][0] + STEP:
            self._marks.append((self._position, self._hash.copy()))

    def _where(self) -> str:
        served = self._reader.served_by if self._reader is not None else None
        return served or "the source"

    def _wrong_size(self, than: str) -> SizeMismatch:
        size = self.descriptor.size
        return SizeMismatch(
            f"{self._where()} gives {than} than {size} bytes for {self.descriptor.digest}",
            expected=size,
            actual=self._position,
        )
