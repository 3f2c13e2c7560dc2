"""What is no ordinary entry of a layer: whiteouts, the root, what aufs kept for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from didlab import errors
from didlab.files import paths as names
from didlab.files.strings import Strings
from didlab.files.table import DIR, FILE, Table

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
#: What aufs keeps for itself in a layer: no files of the image.
_AUFS = b".wh..wh."


@dataclass(slots=True)
class Prepared:
    """A layer's entries, ready to be put on others.

    Attributes
    ----------
    paths : list of bytes
        Of all rows, ``..`` resolved.
    kept : bytearray
        1 for each row that is an entry, and not the root.
    whiteouts : list of (bytes, bool)
        Path, and whether all that lies below it is meant (opaque). They speak of lower layers
        only, wherever they stand in their own, so that all of them come before the entries.
    root : int or None
        The row that states the root.
    plinks : dict
        Rows of aufs' own files, to which old images have hard links.
    """

    paths: list[bytes]
    kept: bytearray
    whiteouts: list[tuple[bytes, bool]] = field(default_factory=list)
    root: int | None = None
    plinks: dict[bytes, int] = field(default_factory=dict)


def prepare(table: Table, count: Callable[[int], None]) -> Prepared:
    """Set aside what is no ordinary entry; ``count`` is told the bytes of each path made anew.

    Raises
    ------
    PathEscape
        A path leads above the root.
    UnsafeContent
        A whiteout of no plain name, or something below one.
    """
    paths = list(table.paths)
    made = Prepared(paths, bytearray(b"\1") * len(paths))
    for row in _unusual(table.paths, paths):
        parts = paths[row].split(b"/")
        if b".." in parts:
            try:
                parts = [b"", *names.lexical(parts)]
            except errors.PathEscape:
                refuse(errors.PathEscape, paths[row], "leads above the image's root")
            paths[row] = b"/".join(parts) or b"/"
            count(len(paths[row]))
        if paths[row] == b"/":
            made.kept[row] = 0
            if table.types[row] == DIR:
                made.root = row
        elif any(part.startswith(_WHITEOUT) for part in parts):
            made.kept[row] = 0
            _mark(made, row, parts, table.types[row])
    return made


def _mark(made: Prepared, row: int, parts: list[bytes], kind: int) -> None:
    """Note what an entry says that has a whiteout in its path."""
    path = made.paths[row]
    marks = [part for part in parts if part.startswith(_WHITEOUT)]
    if any(mark.startswith(_AUFS) and mark != _OPAQUE for mark in marks):
        if kind == FILE:
            made.plinks[path] = row
        return
    if len(marks) > 1 or not parts[-1].startswith(_WHITEOUT):
        refuse(errors.UnsafeContent, path, "lies below a whiteout")
    parent, name = b"/".join(parts[:-1]), parts[-1][len(_WHITEOUT) :]
    if parts[-1] == _OPAQUE:
        made.whiteouts.append((parent, True))
    elif name in (b"", b".", b".."):
        refuse(errors.UnsafeContent, path, "is a whiteout of no plain name")
    else:
        made.whiteouts.append((parent + b"/" + name, False))


def _unusual(strings: Strings, paths: list[bytes]) -> list[int]:
    """Rows of the root, of whiteouts, and of paths with ``..``; and a few that only look so."""
    found = []
    blob = strings.blob
    if b"\0/\0" in blob or b"/.wh." in blob or b"/.." in blob:
        found = [
            row
            for row, path in enumerate(paths)
            if b"/.wh." in path or b"/.." in path or path == b"/"
        ]
    return found


def refuse(kind: type[errors.DidlabError], path: bytes, why: str) -> NoReturn:
    """Raise an error about one entry."""
    shown = path.decode("utf-8", "backslashreplace")
    extra = {"path": shown} if issubclass(kind, errors.PathError) else {"where": shown}
    raise kind(f"the entry {shown} {why}", **extra)
