"""The names opened last, in the user's data folder: names only."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

#: How many are kept, and how many bytes of the file are read.
KEPT = 20
_LIMIT = 64 * 1024

_log = logging.getLogger("didlab")


def file() -> Path:
    """Return where they are kept."""
    from platformdirs import user_data_path

    return user_data_path("didlab", appauthor=False) / "recent.txt"


def names() -> list[str]:
    """Return the names, the latest first; none where nothing can be read."""
    try:
        with file().open("rb") as stream:
            text = stream.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.isprintable() and len(line) <= 500]
    return list(dict.fromkeys(filter(None, lines)))[:KEPT]


def add(name: str) -> None:
    """Put a name first; what cannot be kept is not."""
    if not name.isprintable() or len(name) > 500:
        return
    kept = [name, *(one for one in names() if one != name)][:KEPT]
    target = file()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(dir=target.parent, prefix=".recent-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write("".join(f"{one}\n" for one in kept))
            Path(made).replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                Path(made).unlink()
            raise
    except OSError as error:
        _log.info("recent names could not be kept: %s", error)
