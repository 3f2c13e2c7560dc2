"""A merged file system as a drawing of its directories."""

from __future__ import annotations

from didlab import errors
from didlab.errors import printable
from didlab.files import links
from didlab.files import paths as names
from didlab.files.table import DIR, FILE, HARDLINK, SYMLINK, TYPES, Table
from didlab.sizes import human

__all__ = ["tree"]

#: What of one directory is shown.
_CHILDREN = 200


def tree(
    table: Table,
    path: bytes = b"/",
    depth: int | None = None,
    limit: int = 2000,
    per_folder: int = _CHILDREN,
) -> str:
    """Draw what lies below a path of a merged table, by name.

    Parameters
    ----------
    table : Table
        A merged table, sorted by path.
    path : bytes, optional
        Where to begin; links are followed.
    depth : int, optional
        How many levels to show.
    limit : int, optional
        How many lines to draw at most.
    per_folder : int, optional
        How many entries of one directory to show.
    """
    if (depth is not None and depth < 0) or limit < 1 or per_folder < 1:
        raise errors.InvalidArgument("depth is at least 0, limit and per_folder at least 1")
    top = links.resolve(table, path)
    start = table.paths[top] if top >= 0 else b"/"
    lines = [printable(names.shown(path), 4096)]
    if start != path:
        lines[0] += f" -> {printable(names.shown(start), 4096)}"
    if top >= 0 and table.types[top] != DIR:
        lines[0] = _line(table, top, lines[0])
        return lines[0]
    # What is still to be drawn, the next one last: a row, or how many were left out.
    todo: list[tuple[str, bool, int, int]] = []

    def enter(folder: bytes, indent: str, level: int) -> None:
        if depth is not None and level >= depth:
            return
        rows = links.children(table, folder)
        more = len(rows) - per_folder
        drawn = [(indent, False, row, level + 1) for row in rows[:per_folder]]
        if more > 0:
            drawn.append((indent, True, -more, level + 1))
        elif drawn:
            drawn[-1] = (indent, True, *drawn[-1][2:])
        todo.extend(reversed(drawn))

    enter(start, "", 0)
    while todo:
        if len(lines) >= limit:
            lines.append(f"… cut after {limit} lines")
            break
        indent, last, row, level = todo.pop()
        branch = indent + ("└── " if last else "├── ")
        if row < 0:
            lines.append(f"{branch}… {-row} more")
            continue
        child = table.paths[row]
        name = printable(names.shown(child.rpartition(b"/")[2]))
        lines.append(branch + _line(table, row, name))
        if table.types[row] == DIR:
            enter(child, indent + ("    " if last else "│   "), level)
    return "\n".join(lines)


def _line(table: Table, row: int, name: str) -> str:
    kind = table.types[row]
    if kind == DIR:
        return f"{name}/"
    if kind == SYMLINK:
        return f"{name} -> {printable(names.shown(table.links[row]))}"
    if kind == HARDLINK:
        target = printable(names.shown(table.links[row]))
        return f"{name}  {human(table.sizes[row])}  (hard link to {target})"
    if kind == FILE:
        return f"{name}  {human(table.sizes[row])}"
    return f"{name}  [{TYPES[kind]}]"
