"""A file inside an image as Python's own binary file: seekable, read-only."""

from __future__ import annotations

import io
import os
from typing import Any

from didlab.errors import LimitExceeded
from didlab.files.content import Content
from didlab.files.limits import DEFAULT, Limits

#: Bytes that reading line by line takes at a time.
_BUFFER = 128 * 1024


class _Raw(io.RawIOBase):
    def __init__(self, content: Content, name: str) -> None:
        self._content = content
        self._position = 0
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
        stop = min(self._content.size, self._position + len(view))
        if stop <= self._position:
            return 0
        data = self._content.read_at(self._position, stop)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

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
    return io.BufferedReader(_Raw(content, name), _BUFFER)


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
