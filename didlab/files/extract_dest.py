"""Where an extraction goes: the folder that it was given, and the one around that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from didlab.blobs.refusals import translated
from didlab.errors import DestinationExists, WriteFailed
from didlab.files.below import Folder


@contextlib.contextmanager
def made(dest: Path, *, empty: bool) -> Iterator[None]:
    """Have a folder at ``dest``, unless what comes makes it anyway (not ``empty``).

    One that was made goes again when something failed and nothing came into it.
    """
    with translated(dest):
        there = os.path.lexists(dest)
        if there and not dest.is_dir():
            raise DestinationExists(
                f"{dest} is not a folder", path=str(dest), hint="remove it, or name another"
            )
    if there or not empty:
        yield
        return
    with opened(dest) as beside:
        name = os.fsencode(dest.name)
        try:
            with translated(dest):
                beside.make(name, 0o777)
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                beside.rmdir(name)
            raise


@contextlib.contextmanager
def opened(target: Path) -> Iterator[Folder]:
    """Hold the folder that ``target`` goes into."""
    try:
        with translated(target):
            folder = Folder.open(target.parent)
    except WriteFailed:
        if target.parent.is_dir():
            raise
        raise WriteFailed(
            f"the folder {target.parent} does not exist", path=str(target), hint="make it first"
        ) from None
    with folder:
        yield folder
