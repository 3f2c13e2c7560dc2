"""A small file that appears complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import InvalidArgument
from didlab.export.output import durable, exists, sync_folder

__all__ = ["save"]


def save(data: bytes, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write ``data`` beside its name first; what has that content already is left as it is.

    Raises
    ------
    DestinationExists, WriteFailed, DiskFull, InvalidArgument
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise InvalidArgument(f"{target} is a folder", hint="name a file in it")
    with translated(target):
        if not overwrite and os.path.lexists(target):
            # One byte more: a longer file is another one, and may be very long.
            with contextlib.suppress(OSError), target.open("rb") as file:
                if file.read(len(data) + 1) == data:
                    return target
            raise exists(target)
        # A link is followed: the file that it leads to is replaced, not the link.
        final = target.resolve() if target.is_symlink() else target
        fresh = final.with_name(f".{final.name[:40]}.{secrets.token_hex(6)}.part")
        # Not mkstemp: that would keep the file from everybody else.
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(fresh, how, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                durable(file.fileno())
            if not overwrite and os.path.lexists(target):
                raise exists(target)
            fresh.replace(final)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        sync_folder(final.parent)
    return target
