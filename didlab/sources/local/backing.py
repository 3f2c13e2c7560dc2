"""A file that is read in place, and known again when it has changed."""

from __future__ import annotations

import difflib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from didlab.blobs import copying
from didlab.errors import DidlabError, FileChanged, NotAFile, PathError, PathNotFound, SpecialFile

#: Names in a folder that are looked at for near misses.
_NEIGHBOURS = 2000


class Identity(NamedTuple):
    """What tells whether a file is still the same."""

    device: int
    inode: int
    size: int
    modified: int


class Backing(Protocol):
    """Where an archive's bytes are."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def open(self) -> OpenFile:
        """Open it for a while."""


class OpenFile:
    """An open file; ``expected`` is what it must be, where it was looked at before."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        status = os.fstat(descriptor)
        #: What it is now.
        self.identity = Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def check(self, expected: Identity) -> None:
        """Raise `FileChanged` unless it is what it was."""
        if self.identity != expected:
            raise changed(self._name)

    def read_at(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, or raise."""
        return b"".join(self.pieces(start, stop))

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``, or raise."""
        try:
            for piece in copying.pieces(self._descriptor, start, stop):
                start += len(piece)
                yield piece
        except OSError as error:
            raise unreadable(self._name, error) from None
        if start < stop:
            raise changed(self._name)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)


class DiskFile:
    """A file by its path."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The path."""
        return self._path

    def open(self) -> OpenFile:
        """Open it; a link that the user named is followed.

        Raises
        ------
        PathNotFound
            With files beside it that have a name like it.
        SpecialFile, NotAFile, PathError
        """
        return open_regular(os.path.realpath(self._path), self._path)


def open_regular(path: str, name: str) -> OpenFile:
    """Open a regular file, never where a link leads, never waiting for a pipe's other end."""
    try:
        descriptor = copying.open_file(Path(path), os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise missing(name) from None
        if os.path.isdir(path):  # noqa: PTH112 - Windows refuses to open folders
            raise NotAFile(f"{name} is a folder") from None
        raise unreadable(name, error) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise NotAFile(f"{name} is a folder")
        raise SpecialFile(f"{name} is a device, socket or fifo, no file")
    return OpenFile(descriptor, name)


def missing(path: str) -> PathNotFound:
    """Return the error for a path that is not there, with what is beside it."""
    folder, name = os.path.split(path)
    there: list[str] = []
    try:
        with os.scandir(folder or ".") as entries:
            for entry, _ in zip(entries, range(_NEIGHBOURS), strict=False):
                there.append(entry.name)
    except OSError:
        return PathNotFound(f"{path} does not exist, nor does its folder", path=path)
    close = tuple(difflib.get_close_matches(name, there, 5, 0.5))
    return PathNotFound(
        f"{path} does not exist",
        path=path,
        available=close,
        hint=f"there is {', '.join(close)}" if close else None,
    )


def changed(name: str) -> FileChanged:
    """Return the error for a file that is another one by now."""
    return FileChanged(
        f"{name} has changed since it was looked into",
        path=name,
        hint="m.refresh() looks anew",
    )


def unreadable(name: str, error: OSError) -> DidlabError:
    """Return the error for a file that the system does not give."""
    return PathError(f"{name} cannot be read: {error.strerror or error}", path=name)
