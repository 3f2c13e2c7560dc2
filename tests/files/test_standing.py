"""A few paths asked of layers, one after the other, as a merge of all of them tells."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab.errors import DidlabError, PathError, PathNotFound, UnsafeContent
from didlab.files import links
from didlab.files.merge import merge
from didlab.files.standing import Standing, Unsure, folders, sketch
from didlab.files.table import FILE, TYPES, Entry, Table


def layer(text: str) -> Table:
    """A layer of words: `/a/` a directory, `/a` a file, `/a->b` a symlink, `/a=>/b` a hard link."""
    entries = []
    for number, word in enumerate(text.split()):
        kind, link, path, size = "file", "", word, 1
        if "=>" in word:
            kind, (path, _, link) = "hardlink", word.partition("=>")
        elif "->" in word:
            kind, (path, _, link) = "symlink", word.partition("->")
        elif word.endswith("/"):
            kind, path = "dir", word.rstrip("/") or "/"
        elif word.endswith("!"):
            kind, path = "fifo", word[:-1]
        size = int(kind == "file" and "/.wh." not in path)
        at = 512 * number if size else -1
        name = path.encode()
        entries.append(Entry(name, TYPES.index(kind), size=size, link=link.encode(), offset=at))
    return Table.of(entries)


def standing(*texts: str) -> Standing:
    return Standing([sketch(layer(text)) for text in texts])


def left(*texts: str) -> list[str]:
    """What is there in the end of the files of layers, as `number:path`."""
    tables = [layer(text) for text in texts]
    found = Standing([sketch(table) for table in tables])
    return [
        f"{number}:{path.decode()}"
        for number, table in enumerate(tables)
        for path in found.left(number, files(table))
    ]


def files(table: Table) -> list[bytes]:
    """The files with content of a layer, by what holds in it."""
    return [
        path
        for row, path in enumerate(table.paths)
        if table.types[row] == FILE and table.sizes[row] and table.find(path) == row
    ]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["/a/ /a/b"], ["0:/a/b"]),
        (["/a/b", "/a/b"], ["1:/a/b"]),
        (["/a/b /a/c", "/a/.wh.b"], ["0:/a/c"]),
        (["/a/b", "/.wh.a"], []),
        (["/a/b", "/.wh.a /a/b"], ["1:/a/b"]),
        (["/a/b", "/.wh.a", "/a/c"], ["2:/a/c"]),
        (["/a/b/c /a/d", "/a/b/.wh..wh..opq"], ["0:/a/d"]),
        (["/a/b", "/a/.wh..wh..opq /a/c"], ["1:/a/c"]),
        (["/a/b /c", "/.wh..wh..opq /d"], ["1:/d"]),
        (["/a/b", "/a"], ["1:/a"]),
        (["/a/b /c", "/a->c"], ["0:/c"]),
        (["/a/b", "/a/b/"], []),
        (["/a->b /b/c", "/d"], ["0:/b/c", "1:/d"]),
        (["/a/ /a/b", "/a/"], ["0:/a/b"]),
        (["/a /b", "/a->b"], ["0:/b"]),
        (["/a /c=>/d /d/"], ["0:/a"]),
    ],
)
def test_what_is_left(texts: list[str], expected: list[str]) -> None:
    assert left(*texts) == expected


@pytest.mark.parametrize(
    "texts",
    [
        ["/a->b /a/c"],
        ["/a->b", "/a/c"],  # it lies at /b/c
        ["/a->b", "/a/.wh.c"],
        ["/a", "/a/c"],  # the merge says what is wrong
        ["/a->b", "/c", "/a/ /a/d"],
        ["/a /b=>/a"],
        ["/a", "/b=>/a"],
        ["/a", "/l->x", "/b=>/l/a"],
        ["/a/../b"],
        ["/a /a/"],
        ["/a/c", "/a /a/"],
        ["/.wh..wh.plnk/1.2"],
        ["/.wh."],
        ["/a /b=>/../a"],
    ],
)
def test_what_only_a_merge_tells(texts: list[str]) -> None:
    with pytest.raises(Unsure):
        left(*texts)


@pytest.mark.parametrize(
    ("texts", "path", "expected"),
    [
        (["/etc/os->../usr/os /usr/os"], "/etc/os", (0, 1)),
        (["/etc/os->../usr/os /usr/os", "/usr/os"], "/etc/os", (1, 0)),
        (["/etc/os->../usr/os", "/.wh.usr"], "/etc/os", None),
        (["/etc->usr/etc /usr/etc/os"], "/etc/os", (0, 1)),
        (["/etc/os /x/os", "/etc->x"], "/etc/os", (0, 1)),
        (["/etc/os/"], "/etc/os", None),
        (["/etc/os!"], "/etc/os", None),
        (["/etc/os->os"], "/etc/os", None),
        (["/etc->../../x /x/os"], "/etc/os", None),
        (["/etc->/x /x/os"], "/etc/os", (0, 1)),
        (["/etc->x/../y /x/ /y/os"], "/etc/os", (0, 2)),
        (["/etc", "/b"], "/etc/os", None),
        ([], "/etc/os", None),
    ],
)
def test_where_a_path_leads(texts: list[str], path: str, expected: tuple[int, int] | None) -> None:
    assert standing(*texts).file(path.encode()) == expected


@pytest.mark.parametrize(
    "texts", [["/etc/os=>/x /x"], ["/etc->x/../y /x/z /y/os"]], ids=["hard link", "unstated"]
)
def test_where_a_path_leads_may_take_a_merge(texts: list[str]) -> None:
    with pytest.raises(Unsure):
        standing(*texts).file(b"/etc/os")


_NAMES = ["a", "b", "c"]
_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
_LINKS = st.one_of(_PATHS, _PATHS.map("/{}".format), _PATHS.map("../{}".format))


@st.composite
def _word(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from("fffffffdddddwwwoss=!"))
    path = draw(_PATHS)
    parent, slash, name = path.rpartition("/")
    match kind:
        case "d":
            return f"/{path}/"
        case "w":
            return f"/{parent}{slash}.wh.{name}"
        case "o":
            return f"/{path}/.wh..wh..opq"
        case "s":
            return f"/{path}->{draw(_LINKS)}"
        case "=":
            return f"/{path}=>/{draw(_PATHS)}"
        case "!":
            return f"/{path}!"
    return f"/{path}"


_STACKS = st.lists(st.lists(_word(), max_size=5).map(" ".join), min_size=1, max_size=4)


@settings(max_examples=1500)
@given(texts=_STACKS, paths=st.lists(_PATHS, min_size=1, max_size=4))
def test_as_the_merge_tells(texts: list[str], paths: list[str]) -> None:
    tables = [layer(text) for text in texts]
    try:
        found = Standing([sketch(table) for table in tables])
    except Unsure:
        return
    merged = merge(tables)
    assert merged.homes is not None
    assert merged.origins is not None
    for number, table in enumerate(tables):
        keys = files(table)
        try:
            there = found.left(number, keys)
        except Unsure:
            continue
        rows = {table.find(path): path for path in keys}
        expected = [
            (path, rows[merged.origins[row]])
            for row, path in enumerate(merged.paths)
            if merged.homes[row] == number and merged.origins[row] in rows
        ]
        assert [(path, path) for path in there] == expected
    for path in paths:
        try:
            where = found.file(f"/{path}".encode())
        except Unsure:
            continue
        assert where == resolved(merged, tables, f"/{path}".encode())


def resolved(merged: Table, tables: list[Table], path: bytes) -> tuple[int, int] | None:
    """Layer and row of the file that a path leads to, by the merged file system."""
    try:
        row = links.resolve(merged, path)
    except (PathNotFound, PathError, UnsafeContent):
        return None
    if row == links.ROOT or merged.types[row] != FILE:
        return None
    assert merged.layers is not None
    number = merged.layers[row]
    return number, tables[number].find(merged.paths[row])


def test_most_stacks_need_no_merge() -> None:
    # Or the test above says little.
    sure = []

    @settings(max_examples=300, derandomize=True, database=None)
    @given(texts=_STACKS)
    def count(texts: list[str]) -> None:
        try:
            sure.append(bool(left(*texts)))
        except (Unsure, DidlabError):
            sure.append(False)

    count()
    assert sum(sure) > len(sure) / 5


def test_folders_on_the_way() -> None:
    assert folders([b"/a/b/c", b"/x"]) == {b"/a", b"/a/b"}
    assert folders([]) == set()


def test_paths_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import didlab.files.standing as module

    monkeypatch.setattr(module, "hash", lambda path: len(path), raising=False)
    with pytest.raises(Unsure):
        left("/x /y", "/a/b")  # /a may well be that file
    assert left("/aa /bb", "/bb") == ["0:/aa", "1:/bb"]
    assert left("/aa /bb", "/cc") == ["0:/aa", "0:/bb", "1:/cc"]
