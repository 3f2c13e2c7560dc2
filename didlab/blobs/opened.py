"""A blob of the store that is open, and what it can be copied to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from didlab.blobs import copying


class Writer(Protocol):
    """Where `BlobStore.copy_into` may write to, besides a bare descriptor.

    One that also has ``fileno`` is written to by the kernel where it can.
    """

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``."""


class OpenBlob:
    """A verified blob, open for reading; it stays readable when the store drops it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``, or as many as can be read."""
        return copying.pieces(self.descriptor, start, stop)

    def read_at(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, or as many as can be read."""
        return b"".join(self.pieces(start, stop))

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def __enter__(self) -> OpenBlob:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
