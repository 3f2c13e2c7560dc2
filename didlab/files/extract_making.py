"""How one file, link or device is made: under a name of its own, then under its real one."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from didlab import _pausing as pausing
from didlab.blobs.refusals import translated
from didlab.errors import (
    DestinationExists,
    NameCollision,
    SizeMismatch,
    UnsafeContent,
    WriteFailed,
)
from didlab.files.below import Folder
from didlab.files.extract_ground import MODES, Ground
from didlab.files.extract_names import WINDOWS, Parts, shown
from didlab.files.extract_private import hidden
from didlab.files.table import BLOCK, CHAR, FIFO, FILE, NO_TIME, TYPES, Entry

Content = Callable[[], Iterator[bytes]]

#: What the system calls the types that need a call of their own.
NODES = {
    CHAR: getattr(stat, "S_IFCHR", 0),
    BLOCK: getattr(stat, "S_IFBLK", 0),
    FIFO: getattr(stat, "S_IFIFO", 0),
}


class Maker:
    """Makes what is no folder.

    Parameters
    ----------
    ground : Ground
    overwrite : bool
        Whether what is there may be replaced.
    owner : bool
        Whether it gets the owner that it has in the image.
    """

    def __init__(self, ground: Ground, *, overwrite: bool, owner: bool) -> None:
        self._ground = ground
        self._overwrite = overwrite
        self._owner = owner

    def vacate(self, entry: Entry, parts: Parts, found: os.stat_result) -> None:
        """Raise unless what is at an entry's place may be replaced."""
        where = self._ground.local(parts)
        if self._ground.fresh:
            raise NameCollision(
                f"{shown(entry.path)} is there twice, or under another name",
                where=shown(entry.path),
            )
        if stat.S_ISDIR(found.st_mode):
            raise DestinationExists(
                f"{where} is a folder, {shown(entry.path)} is none",
                path=str(where),
                hint="remove it first",
            )
        if not self._overwrite:
            raise taken(where)

    def _put(
        self, parent: Folder, entry: Entry, parts: Parts, make: Callable[[bytes], None]
    ) -> None:
        name = parts[-1]
        where = self._ground.local(parts)
        if self._ground.fresh:  # nobody sees it before the whole tree is complete
            try:
                make(name)
            except FileExistsError:
                with translated(where):
                    found = parent.look(name)
                if found is not None:
                    self.vacate(entry, parts, found)
                raise
            return
        with translated(where):
            if (found := parent.look(name)) is not None:
                self.vacate(entry, parts, found)
        self._ground.sweep(parent, parts[:-1])
        own = hidden("")
        try:
            make(own)
            with translated(where):
                if (found := parent.look(name)) is not None:
                    self.vacate(entry, parts, found)
                parent.rename(own, name)
        except BaseException:
            with contextlib.suppress(OSError):
                parent.unlink(own)
            raise

    def file(self, parent: Folder, entry: Entry, content: Content | None, parts: Parts) -> int:
        """Write a file; return its bytes."""
        where = self._ground.local(parts)
        written = 0

        def make(name: bytes) -> None:
            nonlocal written
            with _refused(where):
                descriptor = parent.create(name, entry.mode & MODES)
            try:
                written = _pour(descriptor, entry, content, where)
                with translated(where):
                    self._settle(parent, descriptor, entry)
            finally:
                with translated(where):
                    os.close(descriptor)
            if os.utime not in os.supports_fd and entry.mtime != NO_TIME:
                parent.time(name, entry.mtime * 1000)

        self._put(parent, entry, parts, make)
        return written

    def node(self, parent: Folder, entry: Entry, parts: Parts) -> None:
        """Make a device or fifo."""
        where = self._ground.local(parts)
        numbers = (entry.extra or {}).get("device") or (0, 0)
        device = None if entry.type == FIFO else (int(numbers[0]), int(numbers[1]))

        def make(name: bytes) -> None:
            try:
                with _refused(where, PermissionError):
                    parent.node(name, NODES[entry.type] | entry.mode & MODES, device)
            except (PermissionError, OverflowError) as error:
                raise WriteFailed(
                    f"the {TYPES[entry.type]} {shown(entry.path)} cannot be made: "
                    f"{getattr(error, 'strerror', None) or error}",
                    path=str(where),
                    hint="only root may: extract without devices=True",
                ) from None
            if self._owner:
                self.own(parent, name, entry)
            if entry.mtime != NO_TIME:
                parent.time(name, entry.mtime * 1000)

        self._put(parent, entry, parts, make)

    def symlink(self, parent: Folder, entry: Entry, target: bytes, parts: Parts) -> None:
        """Make a symlink."""
        where = self._ground.local(parts)

        def make(name: bytes) -> None:
            inside = where.parent / os.fsdecode(target) if WINDOWS else None
            with _refused(where):
                parent.link(name, target, folder=inside is not None and inside.is_dir())
            if self._owner:
                self.own(parent, name, entry)
            if entry.mtime != NO_TIME:
                parent.time(name, entry.mtime * 1000)

        self._put(parent, entry, parts, make)

    def own(self, folder: Folder, name: bytes | int | None, entry: Entry) -> None:
        """Set the owner of a file, a link itself, or (None) the folder."""
        if not (0 <= entry.uid < 2**32 - 1 and 0 <= entry.gid < 2**32 - 1):
            raise UnsafeContent(
                f"{shown(entry.path)} belongs to {entry.uid}:{entry.gid}, which no system has",
                where=shown(entry.path),
                hint="extract without owner=True",
            )
        try:
            folder.owner(name, entry.uid, entry.gid)
        except PermissionError as error:
            raise WriteFailed(
                f"the owner of {shown(entry.path)} cannot be set: {error.strerror}",
                path=str(self._ground.target),
                hint="only root may: extract without owner=True",
            ) from None

    def _settle(self, parent: Folder, descriptor: int, entry: Entry) -> None:
        if self._owner:
            self.own(parent, descriptor, entry)
        if entry.mtime != NO_TIME and os.utime in os.supports_fd:
            with contextlib.suppress(OSError, OverflowError):
                os.utime(descriptor, ns=(entry.mtime * 1000, entry.mtime * 1000))


def _pour(descriptor: int, entry: Entry, content: Content | None, where: Path) -> int:
    """Write content to an open file; return its bytes, which are those that were promised."""
    holes = bool(entry.extra and "sparse" in entry.extra)
    limit = entry.size if entry.type == FILE or entry.size else None
    written = 0
    pieces = iter(()) if content is None else content()
    try:
        for piece in pieces:
            pausing.check()
            written += len(piece)
            if limit is not None and written > limit:
                break
            with translated(where):
                if holes and piece.count(0) == len(piece):
                    os.lseek(descriptor, len(piece), os.SEEK_CUR)
                    continue
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
    finally:
        if (close := getattr(pieces, "close", None)) is not None:
            close()
    if limit is not None and written != limit:
        raise SizeMismatch(
            f"{shown(entry.path)} has {'more' if written > limit else 'fewer'} bytes "
            f"than the {limit} it should have",
            expected=limit,
            actual=written,
        )
    if holes:
        with translated(where):
            os.ftruncate(descriptor, written)
    return written


@contextlib.contextmanager
def _refused(path: Path, *others: type[OSError]) -> Iterator[None]:
    """Tell refusals as `translated` does, but for those that the caller knows more about."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (FileExistsError, *others)):
            raise
        with translated(path):
            raise


def taken(target: Path) -> DestinationExists:
    """Return the error for a name that something has."""
    return DestinationExists(
        f"{target} exists", path=str(target), hint="pass overwrite=True to replace it"
    )
