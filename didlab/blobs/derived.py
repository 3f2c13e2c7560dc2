"""What was worked out from blobs (a layer's index) and is dear to work out again.

Files are named by a hash of what they are of; each checks itself when it is read, and is written
to a file of one's own and renamed. Losing one costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from didlab.blobs import copying, folder
from didlab.blobs.refusals import translated

#: Seconds between two notes that a file is in use.
_TOUCH = 60.0


def path(root: Path, name: str) -> Path:
    """Return where the derived file ``name`` lies."""
    return root / folder.VERSION / "derived" / hashlib.sha256(name.encode()).hexdigest()


def load(root: Path, name: str) -> bytes | None:
    """Return a derived file, or None where there is none that can be read."""
    target = path(root, name)
    try:
        descriptor = copying.open_file(target, os.O_RDONLY)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        content = copying.read_at(descriptor, status.st_size, 0)
        now = time.time()
        if now - status.st_atime > _TOUCH:
            os.utime(target, ns=(int(now * 1e9), status.st_mtime_ns))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return content


def keep(root: Path, name: str, content: bytes) -> None:
    """Write a derived file.

    Raises
    ------
    DiskFull, WriteFailed
    """
    target, fresh = path(root, name), folder.ingest_path(root)
    with translated(target, needed=len(content)):
        try:
            descriptor = copying.open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:  # somebody removed the store meanwhile
            folder.make(root)
            descriptor = copying.open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                copying.write_at(descriptor, content, 0)
            finally:
                os.close(descriptor)
            fresh.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise


def discard(root: Path, name: str) -> None:
    """Remove a derived file that turned out to be useless."""
    with contextlib.suppress(OSError):
        path(root, name).unlink(missing_ok=True)
