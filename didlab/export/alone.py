"""One writer at a time for the list of what a folder holds."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from didlab import _pausing as pausing

#: Seconds that another writer is waited for. A list is written in milliseconds.
_PATIENCE = 30.0
_AGAIN = 0.02
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EEXIST)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes and threads of this machine out of a folder's list meanwhile.

    The lock goes with its process, however that ends. Where a disk knows no locks, or another
    holds one for too long, the block runs all the same: what is read in it is fresh, and what is
    written is whole, so that at worst one of two names that came in the same moment is lost.
    """
    descriptor = _locked(folder)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return _try(folder)
        except OSError as error:
            if error.errno not in _TAKEN or time.monotonic() > until:
                return None
        pausing.check()
        time.sleep(_AGAIN)


def _try(folder: Path) -> int:
    """Return an open descriptor that holds the lock; `OSError` where it is taken."""
    if sys.platform == "win32":
        # Folders cannot be opened; this file is removed by the system when it is closed.
        path = folder / ".index.lock"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TEMPORARY | os.O_NOINHERIT)
    import fcntl

    # The folder itself: nothing is left behind. Each call has a lock of its own, threads included.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
