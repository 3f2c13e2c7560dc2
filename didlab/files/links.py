"""From a path to its row in a merged table, links followed inside the image."""

from __future__ import annotations

from bisect import bisect_left

from didlab import errors
from didlab.files import paths as names
from didlab.files.limits import DEFAULT, Limits
from didlab.files.table import DIR, SYMLINK, Table

__all__ = ["ROOT", "children", "find", "resolve"]

#: The row of a root that no layer states: it is a directory all the same.
ROOT = -1
#: Names compared to find near misses.
_COMPARED = 2000


def find(table: Table, path: bytes) -> int:
    """Return the row that has exactly this path in a sorted table, or -1."""
    row = bisect_left(table.paths, path)
    return row if row < len(table) and table.paths[row] == path else -1


def resolve(
    table: Table, path: bytes, *, follow_last: bool = True, limits: Limits = DEFAULT
) -> int:
    """Return the row of what a path leads to in a merged table.

    The root gives `ROOT` when no layer states it. With ``follow_last=False`` a symlink at the
    end is itself the answer.

    Raises
    ------
    PathNotFound
        Something on the way is not there; ``available`` has names like it.
    NotAFolder
        A file stands where a directory should.
    LinkEscape
        A link leads above the image's root.
    LinkLoop
        Links lead in a circle, or there are too many.
    """
    row = find(table, path)
    # Parents in a merged table are directories: what is found there needs no walk.
    if row >= 0 and not (follow_last and table.types[row] == SYMLINK):
        return row
    here, row, hops = b"", find(table, b"/"), 0
    todo = [part for part in path.split(b"/")[::-1] if part not in (b"", b".")]
    while todo:
        part = todo.pop()
        if part == b"..":
            if not here:
                raise errors.LinkEscape(
                    f"on the way to {names.shown(path)}, a link leads above the image's root",
                    where=names.shown(path),
                )
            here = here[: here.rfind(b"/")]
            row = find(table, here or b"/")
            continue
        child = here + b"/" + part
        row = find(table, child)
        if row < 0:
            raise _missing(table, path, here, part)
        kind = table.types[row]
        if kind == SYMLINK and (todo or follow_last):
            hops += 1
            if hops > limits.hops:
                raise errors.LinkLoop(
                    f"{names.shown(path)} leads in a circle, or through more than "
                    f"{limits.hops} links",
                    path=names.shown(path),
                )
            link = table.links[row]
            if link.startswith(b"/"):
                here = b""
            row = find(table, here or b"/")
            todo += [part for part in link.split(b"/")[::-1] if part not in (b"", b".")]
        elif kind == DIR or not todo:
            here = child
        else:
            raise errors.NotAFolder(
                f"{names.shown(path)}: {names.shown(child)} is no directory",
                path=names.shown(path),
            )
    return row


def children(table: Table, path: bytes, limit: int | None = None) -> list[int]:
    """Return the rows directly below a path of a sorted table, at most ``limit``."""
    prefix = path.rstrip(b"/") + b"/"
    found: list[int] = []
    paths, row = table.paths, bisect_left(table.paths, prefix)
    while row < len(table) and (limit is None or len(found) < limit):
        child = paths[row]
        if not child.startswith(prefix):
            break
        end = child.find(b"/", len(prefix))
        if end >= 0:
            row = bisect_left(paths, child[:end] + b"0", row)  # past all that lies below
            continue
        if child != prefix:  # the root
            found.append(row)
        row += 1
    return found


def _missing(table: Table, path: bytes, folder: bytes, name: bytes) -> errors.PathNotFound:
    from difflib import get_close_matches

    wanted = names.shown(name)[:255]
    there = {
        names.shown(table.paths[row].rpartition(b"/")[2])[:255]: row
        for row in children(table, folder, _COMPARED)
    }
    close = get_close_matches(wanted, there, n=5, cutoff=0.5)
    shown, missing = names.shown(path), names.shown(folder + b"/" + name)
    where = "" if missing == shown else f": it leads to {missing}"
    hint = "did you mean " + " or ".join(f"{names.shown(folder)}/{near}" for near in close[:2])
    return errors.PathNotFound(
        f"there is no {shown} in the image{where}",
        hint=hint + "?" if close else None,
        path=shown,
        available=tuple(f"{names.shown(folder)}/{near}" for near in close),
    )
