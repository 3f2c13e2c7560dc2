"""A file that is written in any order beside its target and appears there complete."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from didlab import _pausing as pausing
from didlab.blobs.refusals import available, translated
from didlab.errors import DestinationExists, DiskFull, WriteFailed
from didlab.export import partial
from didlab.export.partial import Stretch

#: Seconds between two flushes behind the download.
_FLUSH_EVERY = 0.1
#: The longest journal that is read back.
_JOURNAL_LIMIT = 64 * 1024 * 1024


class Handle:
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
        if sys.platform != "win32" and self._lock is None:
            return os.pwrite(self._descriptor, view, offset)
        # Windows has no pwrite, and duplicates share their position.
        assert self._lock is not None
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, view)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer only at the end of the file."""
        parts: list[bytes] = []
        with translated(self._path):
            while size > 0:
                data = self._read(offset, size)
                if not data:
                    break
                parts.append(data)
                offset += len(data)
                size -= len(data)
        return b"".join(parts)

    def _read(self, offset: int, size: int) -> bytes:
        if sys.platform != "win32" and self._lock is None:
            return os.pread(self._descriptor, size, offset)
        assert self._lock is not None
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def fileno(self) -> int:
        """Return the descriptor, for copies that the system does by itself."""
        return self._descriptor

    def close(self) -> None:
        """Close this handle."""
        os.close(self._descriptor)


class PartialFile:
    """A file beside ``target``, fresh or taken over, until `commit` gives it the real name.

    Parameters
    ----------
    target : Path
        Where the finished file goes.
    size : int
        Its size.
    plan : str
        Sixteen hexadecimal digits that stand for its content.

    Attributes
    ----------
    stretches : list of Stretch
        What the journal of a file taken over claims; to be checked before it is trusted.
    taken_over : bool
        Whether the file was there already.
    finished : bool
        Whether it has no journal: everything may be there. Once that is known, `begin_journal`.
    """

    def __init__(self, target: Path, size: int, plan: str) -> None:
        self.target = target
        self.size = size
        self._plan = plan
        self._descriptor: int | None = None
        self._journal_lock = threading.Lock()
        self._lock = None if hasattr(os, "pwrite") else threading.Lock()
        self.stretches: list[Stretch] = []
        partial.sweep(target)
        found = partial.take_over(target, plan)
        self.taken_over = found is not None
        if found is None:
            _check_room(target.parent, target, size)
            self.path = partial.own_name(target, plan)
        else:
            self.path = found
        partial.live.add(self.path.name)
        self.finished = False
        self._end = size
        try:
            self._open(os.O_CREAT | os.O_EXCL if found is None else 0)
            self._reserve()
            if self.taken_over:
                self._read_journal()
            if not self.finished and self._end == size:
                self.begin_journal([])
        except BaseException:
            # What was there already is not lost by a failure to go on with it.
            if self.taken_over:
                self.release()
            self.abandon()
            raise

    def _open(self, how: int) -> None:
        flags = os.O_RDWR | how
        for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY", "O_NOINHERIT"):
            flags |= getattr(os, name, 0)
        with translated(self.target):
            self._descriptor = os.open(self.path, flags, 0o666)

    def _reserve(self) -> None:
        assert self._descriptor is not None
        with translated(self.target, needed=self.size):
            if self.size and hasattr(os, "posix_fallocate"):
                try:
                    # Real room, so that a full disk is found before the download.
                    os.posix_fallocate(self._descriptor, 0, self.size)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                        raise
                else:
                    return
            if os.fstat(self._descriptor).st_size < self.size:
                os.ftruncate(self._descriptor, self.size)

    def _read_journal(self) -> None:
        """Read the journal; what comes is written behind it, so that nothing is ever lost."""
        with self.handle() as handle:
            try:
                data = handle.read_at(self.size, _JOURNAL_LIMIT)
            except WriteFailed:  # a bad sector: everything is fetched again
                return
        self.stretches = partial.read_journal(data)
        length = partial.journal_length(data)
        self.finished = length == 0
        self._end = self.size + length
        # What was torn off must not stand before what comes.
        assert self._descriptor is not None
        with translated(self.target):
            os.ftruncate(self._descriptor, self._end)

    def begin_journal(self, stretches: Iterable[Stretch]) -> None:
        """Write the journal's head with what is known to be here, in one go."""
        data = partial.HEAD + b"".join(stretch.line() for stretch in stretches)
        self._end = self.size + len(data)
        with self.handle() as handle:
            handle.write_at(self.size, data)

    @contextmanager
    def handle(self) -> Iterator[Handle]:
        """Give the calling thread a handle to read and write with."""
        assert self._descriptor is not None
        with translated(self.target):
            descriptor = os.dup(self._descriptor)
        handle = Handle(descriptor, self._lock, self.target)
        try:
            yield handle
        finally:
            handle.close()

    def note(self, handle: Handle, stretch: Stretch) -> None:
        """Write in the journal that a stretch has arrived, after its bytes."""
        line = stretch.line()
        with self._journal_lock:
            offset, self._end = self._end, self._end + len(line)
        handle.write_at(offset, line)

    @contextmanager
    def flushed_behind(self) -> Iterator[None]:
        """Write to the disk while the block runs, so that `commit` has little left to wait for.

        A gigabyte from a fast registry otherwise waits for the disk at its end, after the
        processors have nothing left to do.
        """
        known = sys.platform != "win32" and sys.platform != "darwin" and hasattr(os, "fdatasync")
        if self._descriptor is None or not known:
            yield
            return
        done = threading.Event()
        with translated(self.target):
            descriptor = os.dup(self._descriptor)

        def flush() -> None:
            try:
                while not done.wait(_FLUSH_EVERY):
                    if sys.platform != "win32" and sys.platform != "darwin":
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
        """Cut the journal off, make the file durable and give it its name.

        Raises
        ------
        DestinationExists
            Something appeared at the target meanwhile.
        WriteFailed, DiskFull
        """
        assert self._descriptor is not None
        with translated(self.target):
            os.ftruncate(self._descriptor, self.size)
            durable(self._descriptor)
            if not overwrite and os.path.lexists(self.target):
                raise exists(self.target)
            self._close()  # Windows renames no open file
            self.path.replace(self.target)
        partial.live.discard(self.path.name)
        sync_folder(self.target.parent)

    def release(self) -> None:
        """Leave the file for the next process that wants the same content."""
        with contextlib.suppress(OSError):  # that is not what went wrong
            self._close()
        free = partial.free_name(self.target, self._plan)
        try:
            self.path.rename(free)
        except OSError:
            return  # the name still tells who left it
        finally:
            partial.live.discard(self.path.name)

    def abandon(self) -> None:
        """Remove what was written; harmless after `commit` and `release`."""
        with contextlib.suppress(OSError):
            self._close()
        partial.live.discard(self.path.name)
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            # On Windows a thread that has not stopped yet keeps the file; it is swept later.
            return

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def durable(descriptor: int) -> None:
    """Wait until a file is on the disk: it may take long, and cannot be interrupted itself."""
    own = os.dup(descriptor)

    def flush() -> None:
        try:
            os.fsync(own)
        finally:
            os.close(own)

    pausing.aside(flush, "didlab-sync")


def exists(target: Path) -> DestinationExists:
    """Return the error for a target that is taken."""
    return DestinationExists(
        f"{target} exists and is something else",
        path=str(target),
        hint="pass overwrite=True to replace it",
    )


def _check_room(folder: Path, target: Path, size: int) -> None:
    if not folder.is_dir():
        raise WriteFailed(
            f"the folder {folder} does not exist", path=str(target), hint="make it first"
        )
    room = available(folder)
    if room is not None and room < size:
        raise DiskFull(
            f"{target} needs {size} bytes, {folder} has room for {room}",
            path=str(target),
            needed=size,
            available=room,
            hint="free some room, or save to another disk",
        )


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
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
