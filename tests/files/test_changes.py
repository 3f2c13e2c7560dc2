"""What every layer did."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, note, settings
from rig.images import make_tar
from rig.stacks import describe, stacks
from rig.unpacked import layer_table

from didlab import errors
from didlab.files.changes import ADDED, CHANGES, DELETED, REPLACED, changes
from didlab.files.merge import merge
from didlab.files.table import Entry, Table

FILE, DIR, SYMLINK, HARDLINK = range(4)


def table(*rows):
    """Rows of (path, type or size or link)."""
    entries = []
    for path, what in rows:
        if isinstance(what, int):
            entries.append(Entry(path, FILE, 0o644, size=what, offset=512 * what))
        elif what.startswith("=>"):
            entries.append(Entry(path, HARDLINK, link=what[2:].encode()))
        elif what.startswith("->"):
            entries.append(Entry(path, SYMLINK, link=what[2:].encode()))
        else:
            entries.append(Entry(path, DIR, 0o755))
    return Table.of(entries)


def shown(*tables):
    """(layer, path, change, row, size, size before) of every change."""
    found = changes(tables)
    return [
        (
            found.table.layers[row],
            path.decode(),
            CHANGES[found.kinds[row]],
            found.rows[row],
            found.table.sizes[row],
            found.before[row],
        )
        for row, path in enumerate(found.table.paths)
    ]


BASE = table((b"/d", "dir"), (b"/d/x", 1), (b"/d/y", 2), (b"/e", 3))
FIRST = [
    (0, "/d", "added", 0, 0, -1),
    (0, "/d/x", "added", 1, 1, -1),
    (0, "/d/y", "added", 2, 2, -1),
    (0, "/e", "added", 3, 3, -1),
]
CASES = {
    "nothing": ([], []),
    "replaced": ([(b"/e", 5)], [(1, "/e", "replaced", 0, 5, 3)]),
    "directory again": ([(b"/d", "dir")], [(1, "/d", "replaced", 0, 0, 0)]),
    "whiteout": ([(b"/.wh.e", 0)], [(1, "/e", "deleted", -1, 0, 3)]),
    "whiteout of nothing": ([(b"/.wh.z", 0)], []),
    "whiteout of a tree": (
        [(b"/.wh.d", 0)],
        [
            (1, "/d", "deleted", -1, 0, 0),
            (1, "/d/x", "deleted", -1, 0, 1),
            (1, "/d/y", "deleted", -1, 0, 2),
        ],
    ),
    "opaque": (
        [(b"/d", "dir"), (b"/d/.wh..wh..opq", 0), (b"/d/x", 7), (b"/d/z", 8)],
        [
            (1, "/d", "replaced", 0, 0, 0),
            (1, "/d/x", "replaced", 2, 7, 1),
            (1, "/d/y", "deleted", -1, 0, 2),
            (1, "/d/z", "added", 3, 8, -1),
        ],
    ),
    "whiteout and made again": (
        [(b"/d", "dir"), (b"/d/y", 9), (b"/.wh.d", 0)],
        [
            (1, "/d", "replaced", 0, 0, 0),
            (1, "/d/x", "deleted", -1, 0, 1),
            (1, "/d/y", "replaced", 1, 9, 2),
        ],
    ),
    "a file over a directory": (
        [(b"/d", 4)],
        [
            (1, "/d", "replaced", 0, 4, 0),
            (1, "/d/x", "deleted", -1, 0, 1),
            (1, "/d/y", "deleted", -1, 0, 2),
        ],
    ),
    "implied": (
        [(b"/n/f", 4), (b"/d/g", 5)],
        [
            (1, "/d/g", "added", 1, 5, -1),
            (1, "/n", "added", -1, 0, -1),
            (1, "/n/f", "added", 0, 4, -1),
        ],
    ),
    "duplicates count once": (
        [(b"/n", 4), (b"/e", 5), (b"/n", 6), (b"/e", 7)],
        [(1, "/e", "replaced", 3, 7, 3), (1, "/n", "added", 2, 6, -1)],
    ),
    "gone within the layer": (
        [(b"/n", "dir"), (b"/n/a", 4), (b"/n", 6)],
        [(1, "/n", "added", 2, 6, -1)],
    ),
    "through a link": (
        [(b"/l", "->d"), (b"/l/x", 4)],
        [(1, "/d/x", "replaced", 1, 4, 1), (1, "/l", "added", 0, 0, -1)],
    ),
    "hard link": ([(b"/h", "=>/e")], [(1, "/h", "added", 0, 3, -1)]),
    "root": ([(b"/", "dir")], [(1, "/", "added", 0, 0, -1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_changes(name):
    rows, expected = CASES[name]
    assert shown(BASE, table(*rows)) == FIRST + expected


def test_no_layers():
    found = changes([])
    assert (len(found.table), found.kinds, list(found.rows)) == (0, b"", [])


def test_what_a_deleted_path_was():
    """Its attributes stay, and so does the way to its content."""
    link = table((b"/h", "=>/e"), (b"/.wh.e", 0))
    found = changes([BASE, link, table((b"/.wh.h", 0))])
    last = len(found.table) - 1
    entry = found.table.entry(last)
    assert (entry.path, entry.type, entry.mode, entry.size) == (b"/h", HARDLINK, 0o644, 0)
    assert (found.table.layers[last], found.before[last]) == (2, 3)
    assert (found.table.homes[last], found.table.origins[last]) == (0, 3)


def named(entry):
    """Which of several names of one file is shown as the file depends on what is there later."""
    if entry.type in (FILE, HARDLINK):
        return entry._replace(type=FILE, link=b"")
    return entry


@settings(max_examples=150, deadline=None)
@given(stack=stacks())
def test_changes_add_up_to_the_merged_view(stack):
    note(describe(stack))
    tables = [layer_table(make_tar(layer)) for layer in stack]
    try:
        views = [merge(tables[:count]) for count in range(len(tables) + 1)]
    except (errors.TarInvalid, errors.LinkLoop):
        return
    found = changes(tables)
    rows = list(enumerate(zip(found.table.paths, found.kinds, found.table.layers, strict=True)))
    assert sorted(rows, key=lambda row: (row[1][2], row[1][0])) == rows
    for layer, (below, view) in enumerate(pairwise(views)):
        old = {entry.path: entry for entry in below}
        now = dict(old)
        for row, (path, kind, by) in rows:
            if by != layer:
                continue
            assert found.before[row] == (old[path].size if path in old else -1)
            assert (path in old) == (kind != ADDED)
            if kind == DELETED:
                assert named(now.pop(path)._replace(size=0)) == named(found.table.entry(row))
                assert found.rows[row] == -1
                continue
            assert kind in (ADDED, REPLACED)
            now[path] = found.table.entry(row)
            if found.rows[row] >= 0:
                assert tables[layer].paths[found.rows[row]].endswith(path.rpartition(b"/")[2])
        assert {path: named(entry) for path, entry in now.items()} == {
            entry.path: named(entry) for entry in view
        }
