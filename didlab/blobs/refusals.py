"""The operating system's refusals in didlab's words."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from didlab.errors import DiskFull, LocalStoreError, WriteFailed

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG})


@contextmanager
def translated(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an `OSError` about ``path`` into `DiskFull` or `WriteFailed`."""
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
                available=available(path.parent),
                hint="free some room, or use another disk; "
                "didlab.clear_cache() empties the local store",
            ) from None
        raise WriteFailed(
            f"{path} cannot be written: {error.strerror or error}", path=str(path)
        ) from None


def available(folder: Path) -> int | None:
    """Return the free bytes of the disk that a folder is on; None where it does not tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
