"""Folders held open: what is done in one happens in it, whatever its path leads to meanwhile.

On Linux and macOS every call goes through a descriptor of the folder and follows no link. Where
the system cannot do that (Windows) a path is used instead, and before every call the folder is
looked at: that it is no link, and still the one that was entered.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from didlab.errors import Unsupported

#: Whether calls can be made relative to an open folder.
HANDLES = (
    {os.open, os.mkdir, os.rename, os.stat, os.symlink, os.unlink, os.rmdir, os.readlink}
    <= os.supports_dir_fd
    and os.listdir in os.supports_fd
    and hasattr(os, "O_NOFOLLOW")
    and hasattr(os, "O_DIRECTORY")
)

Stat = os.stat_result


def _flags(*names: str) -> int:
    flags = 0
    for name in names:
        flags |= getattr(os, name, 0)
    return flags


_ENTER = _flags("O_RDONLY", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC")
_CREATE = _flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC")
_CREATE |= _flags("O_BINARY", "O_NOINHERIT")


class Folder:
    """One folder, held; names are single components, never paths.

    Parameters
    ----------
    path : Path
        Where it was when it was entered.
    descriptor : int or None
        What holds it; None where the system cannot.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor
        self._identity = None if descriptor is not None else _identity(_real(path))

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Enter a folder that the user named: links on the way are the user's own."""
        if not HANDLES:
            return cls(path.resolve(strict=True), None)
        return cls(path, os.open(path, _ENTER & ~_flags("O_NOFOLLOW")))

    def enter(self, name: bytes) -> Folder:
        """Enter a folder in this one; a link to one is no folder."""
        path = self.path / os.fsdecode(name)
        if self._descriptor is None:
            self._look()
            return Folder(path, None)
        return Folder(path, os.open(name, _ENTER, dir_fd=self._descriptor))

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _look(self) -> None:
        if _identity(_real(self.path)) != self._identity:
            raise OSError(errno.ESTALE, "the folder was exchanged meanwhile", str(self.path))

    def _at(self, name: bytes) -> Any:
        """Return what the system's calls take for a name, together with ``dir_fd``."""
        if self._descriptor is not None:
            return name
        self._look()
        return str(self.path / os.fsdecode(name))

    def make(self, name: bytes, mode: int) -> None:
        """Make a folder in this one."""
        os.mkdir(self._at(name), mode, dir_fd=self._descriptor)

    def create(self, name: bytes, mode: int) -> int:
        """Open a new file for writing; one that is there, a link too, is an error."""
        return os.open(self._at(name), _CREATE, mode, dir_fd=self._descriptor)

    def link(self, name: bytes, target: bytes, *, folder: bool = False) -> None:
        """Make a symlink."""
        if sys.platform == "win32":
            text = os.fsdecode(target).replace("/", "\\")
            os.symlink(text, self._at(name), target_is_directory=folder)  # noqa: PTH211
        else:
            os.symlink(target, os.fsencode(self._at(name)), dir_fd=self._descriptor)

    def node(self, name: bytes, mode: int, device: tuple[int, int] | None) -> None:
        """Make a device, or a fifo where ``device`` is None; ``mode`` has the type's bits."""
        if sys.platform == "win32" or not self._can(os.mknod, os.mkfifo):
            raise Unsupported("devices and fifos cannot be made on this system")
        if device is None:
            os.mkfifo(self._at(name), mode, dir_fd=self._descriptor)
        else:
            os.mknod(self._at(name), mode, os.makedev(*device), dir_fd=self._descriptor)

    def look(self, name: bytes) -> Stat | None:
        """Return what is there under a name, a link itself; None if nothing is."""
        try:
            return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def target(self, name: bytes) -> bytes:
        """Return where a link leads."""
        return os.fsencode(os.readlink(self._at(name), dir_fd=self._descriptor))

    def names(self) -> list[bytes]:
        """Return the names in this folder."""
        if self._descriptor is None:
            self._look()
            return [os.fsencode(name) for name in os.listdir(self.path)]  # noqa: PTH208
        return [os.fsencode(name) for name in os.listdir(self._descriptor)]  # noqa: PTH208

    def rename(self, old: bytes, new: bytes) -> None:
        """Give another name; a file or link that has it already is replaced."""
        held = self._descriptor
        os.replace(self._at(old), self._at(new), src_dir_fd=held, dst_dir_fd=held)

    def unlink(self, name: bytes) -> None:
        """Remove a file or link."""
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def rmdir(self, name: bytes) -> None:
        """Remove an empty folder."""
        os.rmdir(self._at(name), dir_fd=self._descriptor)

    def time(self, name: bytes | None, nanoseconds: int) -> None:
        """Set the time of a file, a link itself, or (None) this folder, where the system can."""
        both = (nanoseconds, nanoseconds)
        # Not worth an extraction: years that the file system cannot hold, systems that cannot.
        with contextlib.suppress(OSError, OverflowError):
            if name is not None:
                follow = os.utime not in os.supports_follow_symlinks
                found = self.look(name) if follow else None
                if found is None or not stat.S_ISLNK(found.st_mode):
                    os.utime(
                        self._at(name), ns=both, dir_fd=self._descriptor, follow_symlinks=follow
                    )
            elif self._descriptor is not None and os.utime in os.supports_fd:
                os.utime(self._descriptor, ns=both)
            else:
                os.utime(self.path, ns=both)

    def mode(self, mode: int) -> None:
        """Set the permissions of this folder."""
        if self._descriptor is None:
            self._look()
            self.path.chmod(mode)
        else:
            os.chmod(self._descriptor, mode)  # noqa: PTH101

    def owner(self, what: bytes | int | None, uid: int, gid: int) -> None:
        """Give a file (by name or descriptor), a link itself, or (None) this folder away."""
        if sys.platform == "win32":
            raise Unsupported("owners cannot be set on this system")
        if isinstance(what, bytes):
            held = self._descriptor
            os.chown(self._at(what), uid, gid, dir_fd=held, follow_symlinks=False)
            return
        if what is None:
            what = self._descriptor
        os.chown(self.path if what is None else what, uid, gid)

    def remove(self, name: bytes) -> None:
        """Remove what is there under a name, with all below it; what cannot be stays."""
        found = self.look(name)
        if found is None:
            return
        if not _is_folder(found):
            self.unlink(name)
            return
        with self._entered(name) as inner:
            for below in inner.names():
                with contextlib.suppress(OSError):
                    inner.remove(below)
        self.rmdir(name)

    @contextlib.contextmanager
    def _entered(self, name: bytes) -> Iterator[Folder]:
        try:
            inner = self.enter(name)
        except PermissionError:
            # Its own mode was set already, and keeps its owner out as well.
            os.chmod(self._at(name), 0o700, dir_fd=self._descriptor)
            inner = self.enter(name)
        with inner:
            inner.mode(0o700)
            yield inner

    def _can(self, *calls: Any) -> bool:
        return self._descriptor is None or all(call in os.supports_dir_fd for call in calls)


class Tree:
    """The folders below one, entered step by step; those of the last path stay open."""

    def __init__(self, top: Folder) -> None:
        self.top = top
        self._open: list[tuple[bytes, Folder]] = []

    def folder(
        self, parts: Sequence[bytes], missing: Callable[[Folder, Sequence[bytes]], None]
    ) -> Folder:
        """Return the folder of a path; ``missing(parent, path)`` is called for those not there.

        Raises
        ------
        OSError
            A step is no folder: `errno.ENOTDIR` or `errno.ELOOP`.
        """
        known = 0
        for (name, _), part in zip(self._open, parts, strict=False):
            if name != part:
                break
            known += 1
        self._leave(known)
        for depth in range(known, len(parts)):
            here = self._open[-1][1] if self._open else self.top
            name = parts[depth]
            try:
                inner = here.enter(name)
            except FileNotFoundError:
                missing(here, parts[: depth + 1])
                inner = here.enter(name)
            self._open.append((name, inner))
        return self._open[-1][1] if self._open else self.top

    def _leave(self, depth: int) -> None:
        while len(self._open) > depth:
            self._open.pop()[1].close()

    def close(self) -> None:
        """Let go of all but the top."""
        self._leave(0)


def _is_folder(found: Stat) -> bool:
    # Junctions and mount points of Windows are folders that lead elsewhere.
    reparse = getattr(found, "st_file_attributes", 0) & 0x400
    return stat.S_ISDIR(found.st_mode) and not reparse


def _real(path: Path) -> Stat:
    found = path.lstat()
    if not _is_folder(found):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return found


def _identity(found: Stat) -> tuple[int, int]:
    return found.st_dev, found.st_ino
