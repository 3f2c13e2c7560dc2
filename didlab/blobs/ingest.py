"""Content on its way into the store; it becomes a blob only by `Ingest.commit`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from didlab.blobs import copying, folder
from didlab.blobs.refusals import translated
from didlab.errors import WriteFailed
from didlab.oci.digest import Verifier

#: What tells whether a file is still the one that was hashed.
Identity: TypeAlias = tuple[int, int, int, int]


def identity(status: os.stat_result) -> Identity:
    """Return device, number, size and time of last change of the content."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Ingest:
    """A file of this process's own. As a context manager it is abandoned unless committed.

    Made by `BlobStore.begin`. ``done`` is called after a commit with what identifies the file.
    """

    def __init__(
        self,
        root: Path,
        digest: str,
        size: int,
        done: Callable[[str, Identity], None],
        *,
        durable: bool = True,
    ) -> None:
        self.digest = digest
        self.size = size
        self._target = folder.blob_path(root, digest)
        self._root = root
        self._done = done
        self._durable = durable
        self._verifier = Verifier(digest, size, where=f"what came for {digest}")
        self._path = folder.ingest_path(root)
        self._descriptor: int | None = None
        with translated(self._path, needed=size):
            how = os.O_RDWR | os.O_CREAT | os.O_EXCL
            try:
                self._descriptor = copying.open_file(self._path, how)
            except FileNotFoundError:  # somebody removed the store meanwhile
                folder.make(root)
                self._descriptor = copying.open_file(self._path, how)

    @property
    def received(self) -> int:
        """Bytes that have come so far."""
        return self._verifier.received

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises
        ------
        SizeMismatch
            More than the blob's size.
        DiskFull, WriteFailed
        """
        offset = self._verifier.received
        self._verifier.update(data)
        with translated(self._path, needed=self.size):
            copying.write_at(self._open(), data, offset)

    def copy_from(self, descriptor: int, offset: int) -> None:
        """Take all bytes from a file; short of its size where the file ends before."""
        target = self._open()
        position = 0
        while position < self.size:
            step = min(copying.STRETCH, self.size - position)
            with translated(self._path, needed=self.size):
                came = copying.copy(descriptor, offset + position, target, position, step)
                # Hashed is what was written: the file may change while it is read.
                for data in copying.pieces(target, position, position + came):
                    self._verifier.update(data)
            position += came
            if came < step:
                return

    def commit(self) -> Path:
        """Verify, make durable, and give the blob its name; return its path.

        Raises
        ------
        SizeMismatch, DigestMismatch
            Nothing of it is kept.
        DiskFull, WriteFailed
        """
        try:
            self._verifier.check()
            descriptor = self._open()
            with translated(self._path, needed=self.size):
                if self._durable:
                    os.fsync(descriptor)
                self._close()  # Windows renames no open file, and tells the last change then
                known = identity(os.lstat(self._path))
                self._publish()
            if self._durable:
                folder.sync(self._target.parent)
        except BaseException:
            self.abandon()
            raise
        self._done(self.digest, known)
        return self._target

    def _publish(self) -> None:
        try:
            self._path.replace(self._target)
        except FileNotFoundError:
            folder.make(self._root)
            self._path.replace(self._target)
        except PermissionError:
            # Windows: somebody reads the same blob just now. Theirs is as good as this one.
            if not self._target.is_file():
                raise
            self.abandon()

    def abandon(self) -> None:
        """Remove what was written; harmless after `commit`."""
        self._close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._descriptor is None:
            raise WriteFailed(f"{self._path} is closed already", path=str(self._path))
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abandon()
