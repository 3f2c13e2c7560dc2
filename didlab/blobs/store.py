"""The local store: blobs by digest, shared by all processes of a user.

No lock is needed for correctness: content is written to a file of one's own and renamed, and
whatever is read is hashed when a process meets it first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import time
from pathlib import Path

from didlab.blobs import copying, folder, trimming
from didlab.blobs.ingest import Identity, Ingest, identity
from didlab.blobs.opened import OpenBlob, Writer
from didlab.errors import IntegrityError, LimitExceeded, LocalStoreError
from didlab.oci.digest import Verifier

#: Seconds between two notes that a blob is in use.
_TOUCH = 10.0

_log = logging.getLogger("didlab")


class BlobStore:
    """Blobs below a folder that is this user's alone.

    Parameters
    ----------
    root : Path
        The folder; made if need be.
    limit : int
        Bytes to hold; the blobs not used for longest go first.

    Raises
    ------
    WriteFailed
        The folder cannot be made, or others may write to it.
    """

    def __init__(self, root: Path, limit: int = folder.DEFAULT_LIMIT) -> None:
        self.root = root
        self.limit = limit
        folder.make(root)
        self._verified: dict[str, Identity] = {}
        self._hashing: dict[str, threading.Lock] = {}
        # Bytes committed since the folder was last looked through; None: never looked.
        self._added: int | None = None

    # --- out ---------------------------------------------------------------------------------

    def present(self, digest: str, size: int) -> bool:
        """Whether a file of that name and size is there: cheap, and no proof of its content."""
        try:
            status = os.lstat(folder.blob_path(self.root, digest))
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    def get(self, digest: str, size: int | None = None) -> Path | None:
        """Return the path of a verified blob, or None. See `open`."""
        blob = self.open(digest, size)
        if blob is None:
            return None
        blob.close()
        return folder.blob_path(self.root, digest)

    def open(self, digest: str, size: int | None = None) -> OpenBlob | None:
        """Open a blob, or return None where it is not there.

        It is hashed when this process meets the file first. A rotten one is removed with a
        warning and counts as absent.
        """
        path = folder.blob_path(self.root, digest)
        try:
            if os.name != "posix" and not stat.S_ISREG(os.lstat(path).st_mode):
                return None
            descriptor = copying.open_file(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError:
            if path.is_symlink():
                self.discard(digest)
            return None
        try:
            status = os.fstat(descriptor)
            whole = stat.S_ISREG(status.st_mode) and self._is_whole(descriptor, status, digest)
        except BaseException:
            os.close(descriptor)
            raise
        # Another size asked for is the asker's mistake, not the file's.
        if whole and size in (None, status.st_size):
            self._touch(path, status)
            return OpenBlob(descriptor, status.st_size)
        os.close(descriptor)  # Windows removes no open file
        if not whole and stat.S_ISREG(status.st_mode):
            self._remove_rotten(path, status, digest)
        return None

    def _is_whole(self, descriptor: int, status: os.stat_result, digest: str) -> bool:
        known = identity(status)
        if self._verified.get(digest) == known:
            return True
        # Several threads want the same new blob often; one hashes it.
        with self._hashing.setdefault(digest, threading.Lock()):
            if self._verified.get(digest) == known:
                return True
            verifier = Verifier(digest, status.st_size)
            try:
                for data in copying.pieces(descriptor, 0, status.st_size):
                    verifier.update(data)
                verifier.check()
            except (IntegrityError, OSError):  # a bad disk is as bad as bad content
                return False
            self._verified[digest] = known
        self._hashing.pop(digest, None)
        return True

    def _touch(self, path: Path, status: os.stat_result) -> None:
        now = time.time()
        if now - status.st_atime > _TOUCH:
            # Only the time of use: that of the last change tells whether to hash again.
            with contextlib.suppress(OSError):
                os.utime(path, ns=(int(now * 1e9), status.st_mtime_ns))

    def _remove_rotten(self, path: Path, status: os.stat_result, digest: str) -> None:
        # Another process may have put a good one in its place while this one was hashed.
        with contextlib.suppress(OSError):
            if identity(os.lstat(path)) == identity(status):
                self.discard(digest)

    def discard(self, digest: str) -> None:
        """Remove a blob that cannot be read as what it should be."""
        self._verified.pop(digest, None)
        with contextlib.suppress(OSError):
            folder.blob_path(self.root, digest).unlink()
            _log.warning("the local store held a damaged copy of %s; it was removed", digest)

    def copy_into(self, digest: str, size: int, out: int | Writer, offset: int) -> bool:
        """Copy a blob to ``offset`` of an open file; False where it is not there.

        ``out`` is a descriptor, or has ``write_at`` (and ``fileno`` for the kernel's help). After
        False anything may stand between ``offset`` and its end; refusals to write are raised.
        """
        blob = self.open(digest, size)
        if blob is None:
            return False
        with blob:
            target = out if isinstance(out, int) else _fileno(out)
            done = 0
            if target is not None:
                done = copying.by_kernel(blob.descriptor, 0, target, offset, size)
            reading = blob.pieces(done, size)
            while done < size:
                try:
                    data = next(reading, b"")
                except OSError:
                    data = b""
                if not data:
                    self.discard(digest)
                    return False
                if isinstance(out, int):
                    copying.write_at(out, data, offset + done)
                else:
                    out.write_at(offset + done, data)
                done += len(data)
        return True

    # --- in ----------------------------------------------------------------------------------

    def begin(self, digest: str, size: int) -> Ingest:
        """Begin to take a blob in.

        Raises
        ------
        LimitExceeded
            It is larger than the whole store may be.
        DiskFull, WriteFailed
        """
        return self._begin(digest, size, durable=True)

    def _begin(self, digest: str, size: int, *, durable: bool) -> Ingest:
        if size > self.limit:
            raise LimitExceeded(
                f"{digest} has {size} bytes, the local store holds {self.limit}",
                what="size of the local store",
                limit=self.limit,
                seen=size,
                hint="DIDLAB_CACHE_LIMIT sets how much it holds",
            )
        return Ingest(self.root, digest, size, self._committed, durable=durable)

    def put(self, digest: str, data: bytes) -> None:
        """Keep small content, verified.

        Not flushed to the disk: losing it in a power cut costs one request (and its hash tells),
        while a flush for each manifest would make people wait.

        Raises
        ------
        DigestMismatch, LimitExceeded, DiskFull, WriteFailed
        """
        verifier = Verifier(digest, len(data), where=f"what came for {digest}")
        verifier.update(data)
        verifier.check()
        if self.get(digest, len(data)) is None:
            with self._begin(digest, len(data), durable=False) as ingest:
                ingest.write(data)
                ingest.commit()

    def put_file(self, digest: str, size: int, source: Path, offset: int = 0) -> None:
        """Copy a stretch of a file into the store, verified; by the kernel where it can.

        Raises
        ------
        SizeMismatch, DigestMismatch, LimitExceeded, DiskFull, WriteFailed
        FileNotFoundError, PermissionError
            About ``source``.
        """
        if self.get(digest, size) is not None:
            return
        with source.open("rb") as file, self.begin(digest, size) as ingest:
            ingest.copy_from(file.fileno(), offset)
            ingest.commit()

    def _committed(self, digest: str, known: Identity) -> None:
        self._verified[digest] = known
        added = None if self._added is None else self._added + known[2]
        # Looked through at the first commit, and whenever enough came since.
        if added is None or added > self.limit // 20:
            trimming.trim(self.root, self.limit)
            added = 0
        self._added = added

    def __repr__(self) -> str:
        return f"<BlobStore {self.root}>"


def _fileno(out: Writer) -> int | None:
    fileno = getattr(out, "fileno", None)
    return None if fileno is None else int(fileno())


# What the environment asked for -> the store; None where it cannot be used.
_stores: dict[tuple[str | None, ...], BlobStore | None] = {}
_VARIABLES = ("DIDLAB_CACHE", "DIDLAB_CACHE_LIMIT", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")


def default() -> BlobStore | None:
    """Return the store that the environment asks for, or None for none.

    One that cannot be used (a foreign or shared folder, a read-only disk) is told once, as a
    warning, and everything works without.

    Raises
    ------
    InvalidArgument
        ``DIDLAB_CACHE`` or ``DIDLAB_CACHE_LIMIT`` cannot be meant that way.
    """
    key = tuple(os.environ.get(name) for name in _VARIABLES)
    if key not in _stores:
        found = folder.chosen(os.environ)
        store = None
        if found is not None:
            try:
                store = BlobStore(*found)
            except LocalStoreError as error:
                _log.warning("the local store is not used: %s", error)
        _stores[key] = store
    return _stores[key]


def _after_fork() -> None:
    # A lock that another thread held at the fork would stay held for ever in the child.
    for store in _stores.values():
        if store is not None:
            store._hashing.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
