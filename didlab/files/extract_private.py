"""What an extraction has not completed: its names, and what killed ones left behind."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import time

from didlab.files.below import Folder, Stat

#: Seconds after which what nobody completed is removed.
KEEP = 7 * 24 * 3600.0

_LEFT = re.compile(
    rb"\..*\.didlab-[0-9a-f]{32}\.part"
    rb"|\.didlab-[0-9a-f]{16}(-.{1,3})?",  # made to see what the disk makes of names
    re.DOTALL,
)


def hidden(name: str) -> bytes:
    """Return a name for what is not complete, that nobody can guess."""
    stem = name.encode(errors="ignore")[:120].decode(errors="ignore")
    return f".{stem}.didlab-{secrets.token_hex(16)}.part".encode()


def trial() -> str:
    """Return a name to try the disk with; an ``-é`` may follow."""
    return f".didlab-{secrets.token_hex(8)}"


def sweep(folder: Folder) -> None:
    """Remove what other extractions left in a folder and nobody came back for within `KEEP`."""
    with contextlib.suppress(OSError):
        for name in folder.names():
            if _LEFT.fullmatch(name):
                with contextlib.suppress(OSError):
                    found = folder.look(name)
                    if found is not None and _own(found) and _age(found) > KEEP:
                        folder.remove(name)


def _age(found: Stat) -> float:
    # What is complete but for its name has the image's time already: an extraction that is at
    # work is known by when the system saw the last change (on Windows, by when it began).
    return time.time() - max(found.st_mtime, found.st_ctime)


def _own(found: Stat) -> bool:
    if sys.platform == "win32":
        return True
    return found.st_uid == os.geteuid()
