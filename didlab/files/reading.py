"""A file inside an image as Python's own binary file: seekable, read-only."""

from __future__ import annotations

import io
import os
from typing import Any

from didlab.errors import LimitExceeded
from didlab.files.content import Content
from didlab.files.limits import DEFAULT, Limits

#: Bytes that reading line by line takes at a time.
BUFFER = 128 * 1024
#: Bytes that are read ahead, at most, when a file is read on end: a request for each.
_AHEAD = 16 * 1024 * 1024


class _Raw(io.RawIOBase):
    def __init__(self, content: Content, name: str) -> None:
        self._content = content
        self._position = 0
        # What was read ahead, and how much more to read the next time.
        self._kept, self._kept_at = memoryview(b""), 0
        self._ahead = 0
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.size}
        if whence not in base:
            raise ValueError(f"whence={whence} is none of 0, 1, 2")
        position = base[whence] + offset
        if position < 0:
            raise ValueError(f"there is nothing before the start of {self.name}")
        self._position = position
        return position

    def tell(self) -> int:
        self._open()
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._open()
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _next(self, length: int) -> memoryview:
        """Return up to so many bytes from the position on, reading ahead where that goes on."""
        start = self._position
        end = self._kept_at + len(self._kept)
        if not self._kept_at <= start < end:
            stop = min(self._content.size, start + length)
            if stop <= start:
                return memoryview(b"")
            self._ahead = min(_AHEAD, max(2 * self._ahead, length)) if start == end else 0
            stop = min(self._content.size, max(stop, start + self._ahead))
            self._kept, self._kept_at = memoryview(self._content.read_at(start, stop)), start
        return self._kept[start - self._kept_at :][:length]

    def readall(self) -> bytes:
        self._open()
        start = min(self._position, self._content.size)
        self._position = self._content.size
        return read_all(self._content, self.name, start)

    def _open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")


def open_file(content: Content, name: str) -> io.BufferedReader:
    """Return a file over a content; ``name`` is what its ``name`` says."""
    return io.BufferedReader(_Raw(content, name), BUFFER)


def read_all(content: Content, name: str, start: int = 0, limits: Limits = DEFAULT) -> bytes:
    """Return a content from ``start`` on.

    Raises
    ------
    LimitExceeded
        More than is taken into memory at once.
    """
    if content.size - start > limits.whole_file:
        raise LimitExceeded(
            f"{name} has {content.size} bytes, too many to be read at once",
            what="size of a file read at once",
            limit=limits.whole_file,
            seen=content.size,
            hint="open() it and read it piece by piece, or extract() it",
        )
    return content.read_at(start, content.size)
