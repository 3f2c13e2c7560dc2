"""A file that is written in any order beside its target and appears there complete."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from didlab.errors import DestinationExists, DiskFull, LocalStoreError, WriteFailed

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG})

#: Seconds between two flushes behind the download.
_FLUSH_EVERY = 0.1


class Writer:
    """One thread's handle on a partial file.

    Each thread has its own descriptor: the file can be given up while another thread is still
    about to write, without that write landing in whatever was opened next.
    """

    def __init__(self, descriptor: int, lock: threading.Lock | None, path: Path) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._path = path

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``."""
        view = memoryview(data)
        with translated(self._path):
            while view:
                written = self._write(offset, view)
                view = view[written:]
                offset += written

    def _write(self, offset: int, view: memoryview) -> int:
        if self._lock is None:
            return os.pwrite(self._descriptor, view, offset)
        # Windows has no pwrite, and duplicates share their position.
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, view)

    def close(self) -> None:
        """Close this handle."""
        os.close(self._descriptor)


class PartialFile:
    """A file beside ``target`` with a name of its own, until `commit` gives it the real one."""

    def __init__(self, target: Path, size: int) -> None:
        self.target = target
        folder = target.parent
        _check_room(folder, target, size)
        self.path = folder / f".{target.name[:150]}.{secrets.token_hex(16)}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY", "O_NOINHERIT"):
            flags |= getattr(os, name, 0)
        with translated(target):
            self._descriptor: int | None = os.open(self.path, flags, 0o666)
        self._lock = None if hasattr(os, "pwrite") else threading.Lock()
        try:
            self._reserve(size)
        except BaseException:
            self.abandon()
            raise

    def _reserve(self, size: int) -> None:
        assert self._descriptor is not None
        with translated(self.target, needed=size):
            if size and hasattr(os, "posix_fallocate"):
                try:
                    # Real room, so that a full disk is found before the download.
                    os.posix_fallocate(self._descriptor, 0, size)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                        raise
                else:
                    return
            os.ftruncate(self._descriptor, size)

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """Give the calling thread a handle to write with."""
        assert self._descriptor is not None
        writer = Writer(os.dup(self._descriptor), self._lock, self.target)
        try:
            yield writer
        finally:
            writer.close()

    @contextmanager
    def flushed_behind(self) -> Iterator[None]:
        """Write to the disk while the block runs, so that `commit` has little left to wait for.

        A gigabyte from a fast registry otherwise waits for the disk at its end, after the
        processors have nothing left to do.
        """
        if self._descriptor is None or not hasattr(os, "fdatasync"):
            yield
            return
        done = threading.Event()
        descriptor = os.dup(self._descriptor)

        def flush() -> None:
            try:
                while not done.wait(_FLUSH_EVERY):
                    os.fdatasync(descriptor)
            except OSError:
                return  # commit meets the same refusal and tells it
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=flush, name="didlab-flush", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()

    def commit(self, *, overwrite: bool) -> None:
        """Make the file durable and give it its name.

        Raises
        ------
        DestinationExists
            Something appeared at the target meanwhile.
        WriteFailed, DiskFull
        """
        assert self._descriptor is not None
        with translated(self.target):
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
            if not overwrite and os.path.lexists(self.target):
                raise exists(self.target)
            self.path.replace(self.target)
        _sync_folder(self.target.parent)

    def abandon(self) -> None:
        """Remove what was written; harmless after `commit`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            # On Windows a thread that has not stopped yet keeps the file; its name says what
            # it is.
            return


def exists(target: Path) -> DestinationExists:
    """Return the error for a target that is taken."""
    return DestinationExists(
        f"{target} exists and is something else",
        path=str(target),
        hint="pass overwrite=True to replace it",
    )


@contextmanager
def translated(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn the operating system's refusals into didlab's errors."""
    try:
        yield
    except LocalStoreError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"no room to write {path}: {error.strerror}",
                path=str(path),
                needed=needed,
                available=_available(path.parent),
                hint="free some room, or save to another disk",
            ) from None
        raise WriteFailed(
            f"{path} cannot be written: {error.strerror or error}", path=str(path)
        ) from None


def _available(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _check_room(folder: Path, target: Path, size: int) -> None:
    if not folder.is_dir():
        raise WriteFailed(
            f"the folder {folder} does not exist", path=str(target), hint="make it first"
        )
    available = _available(folder)
    if available is not None and available < size:
        raise DiskFull(
            f"{target} needs {size} bytes, {folder} has room for {available}",
            path=str(target),
            needed=size,
            available=available,
            hint="free some room, or save to another disk",
        )


def _sync_folder(folder: Path) -> None:
    # Only then does the name survive a power cut; Windows neither needs nor allows it.
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
