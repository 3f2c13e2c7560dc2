"""Layers put on top of each other, by the specification's rules."""

from __future__ import annotations

import pytest

from didlab import errors
from didlab.files import overlay
from didlab.files.limits import Limits
from didlab.files.merge import merge
from didlab.files.table import NO_TIME, TYPES, Entry, Table


def layer(text):
    """A layer of words: `/a/` a directory, `/a=x` a file with content named x, `/a->b` a
    symlink, `/a=>/b` a hard link, `/a!` a fifo."""
    entries = []
    for number, word in enumerate(text.split()):
        mode, time, at = 0o640, 1000 + number, 512 * number
        if "=>" in word:
            path, _, link = word.partition("=>")
            entries.append((path, "hardlink", link, 0, mode))
        elif "->" in word:
            path, _, link = word.partition("->")
            entries.append((path, "symlink", link, 0, 0o777))
        elif word.endswith("!"):
            entries.append((word[:-1], "fifo", "", 0, mode))
        elif word.endswith("/"):
            entries.append((word.rstrip("/") or "/", "dir", "", 0, 0o700))
        else:
            path, _, content = word.partition("=")
            entries.append((path, "file", "", len(content), mode))
        path, kind, link, size, mode = entries[-1]
        number = TYPES.index(kind)
        entries[-1] = Entry(
            path.encode(), number, mode, 7, 8, size, time, link.encode(), at if size else -1
        )
    return Table.of(entries)


def shown(texts):
    """The merged view of such layers in the same words; contents by where they lie."""
    contents = [[word.partition("=")[2] for word in text.split()] for text in texts]
    words = []
    merged = merge([layer(text) for text in texts])
    for row, entry in enumerate(merged):
        path, link = entry.path.decode(), entry.link.decode()
        home, origin = merged.homes[row], merged.origins[row]
        content = contents[home][origin] if home >= 0 else "?"
        words.append(
            {
                "dir": f"{path}/" if path != "/" else "/",
                "file": f"{path}={content}",
                "hardlink": f"{path}=>{link}={content}",
                "symlink": f"{path}->{link}",
                "fifo": f"{path}!",
            }[TYPES[entry.type]]
        )
    return " ".join(words)


CASES = {
    "nothing": ([], ""),
    "one": (["/a/ /a/x=1"], "/a/ /a/x=1"),
    "sorted by bytes": (["/b=1 /a/ /a/x=2 /a-b=3"], "/a/ /a-b=3 /a/x=2 /b=1"),
    "root": (["/ /a=1", "/"], "/ /a=1"),
    "root is no file": (["/=1 /a=2"], "/a=2"),
    "root is no link": (["/->/etc /a=2"], "/a=2"),
    "implied": (["/a/b/x=1"], "/a/ /a/b/ /a/b/x=1"),
    "whiteout": (["/a/ /a/x=1 /a/y=2", "/a/.wh.x"], "/a/ /a/y=2"),
    "whiteout of a tree": (["/a/ /a/b/ /a/b/x=1 /ab=2", "/.wh.a"], "/ab=2"),
    "whiteout of nothing": (["/a=1", "/.wh.b /c/.wh.d"], "/a=1"),
    "whiteout below a file": (["/a=1", "/a/.wh.x"], "/a=1"),
    "whiteout, then made again": (["/a/ /a/x=1 /a/y=2", "/.wh.a /a/ /a/x=3"], "/a/ /a/x=3"),
    "made again, then whiteout": (["/a/ /a/x=1 /a/y=2", "/a/ /a/x=3 /.wh.a"], "/a/ /a/x=3"),
    "whiteout and file, one name": (["/a=1", "/a=2 /.wh.a"], "/a=2"),
    "whiteout in the layer itself only": (["/a=1 /.wh.a"], "/a=1"),
    "whiteout and implied": (["/a/ /a/x=1", "/.wh.a /a/y=2"], "/a/ /a/y=2"),
    "whiteout of a file, then a directory": (["/a=1", "/a/x=2 /.wh.a"], "/a/ /a/x=2"),
    "opaque before": (["/a/ /a/x=1 /a/b/ /a/b/y=2", "/a/.wh..wh..opq /a/z=3"], "/a/ /a/z=3"),
    "opaque after": (["/a/ /a/x=1", "/a/ /a/z=3 /a/.wh..wh..opq"], "/a/ /a/z=3"),
    "opaque root": (["/a=1 /b/", "/.wh..wh..opq /c=2"], "/c=2"),
    "opaque keeps what is stated again": (["/a/ /a/x=1", "/a/.wh..wh..opq /a/x=2"], "/a/ /a/x=2"),
    "opaque is a directory": (["/a/ /a/x=1", "/a/.wh..wh..opq/"], "/a/"),
    "opaque over a link": (
        ["/b/ /b/x=1 /a->b", "/a/ /a/.wh..wh..opq /a/y=2"],
        "/a/ /a/y=2 /b/ /b/x=1",
    ),
    "opaque through a link": (["/b/ /b/x=1 /a->b", "/a/.wh..wh..opq"], "/a->b /b/"),
    "whiteout through a link": (
        ["/usr/lib/x=1 /lib->usr/lib", "/lib/.wh.x"],
        "/lib->usr/lib /usr/ /usr/lib/",
    ),
    "after whiteouts, entries see what is there": (
        ["/a/.wh..wh..opq /b/ /c->b /c/x=1 /c=2"],
        "/b/ /b/x=1 /c=2",
    ),
    "whiteout of the link comes first": (
        ["/b/ /b/x=1 /a->b", "/a/.wh.x /.wh.a"],
        "/b/ /b/x=1",
    ),
    "aufs": (["/.wh..wh.aufs=1 /.wh..wh.orph/ /.wh..wh.plnk/ /.wh..wh.plnk/1.2=x /a=1"], "/a=1"),
    "aufs hard links": (
        ["/.wh..wh.plnk/ /.wh..wh.plnk/1.2=x /a=>/.wh..wh.plnk/1.2"],
        "/a=x",
    ),
    "directory over directory": (["/a/ /a/x=1", "/a/ /a/y=2"], "/a/ /a/x=1 /a/y=2"),
    "file over directory": (["/a/ /a/b/ /a/b/x=1", "/a=2"], "/a=2"),
    "directory over file": (["/a=1", "/a/ /a/x=2"], "/a/ /a/x=2"),
    "link over directory": (["/a/ /a/x=1 /b/", "/a->b /a/y=2"], "/a->b /b/ /b/y=2"),
    "directory over link": (["/b/ /a->b", "/a/ /a/x=1"], "/a/ /a/x=1 /b/"),
    "usr-merge": (
        ["/usr/ /usr/lib/ /lib->usr/lib", "/lib/x=1 /lib/y/ /lib/y/z=2 /lib/x=3"],
        "/lib->usr/lib /usr/ /usr/lib/ /usr/lib/x=3 /usr/lib/y/ /usr/lib/y/z=2",
    ),
    "a link from the root": (["/a/b->/c /c/", "/a/b/x=1"], "/a/ /a/b->/c /c/ /c/x=1"),
    "a link, then another": (
        ["/a/ /b/ /l->a /l/x=1 /l->b /l/y=2"],
        "/a/ /a/x=1 /b/ /b/y=2 /l->b",
    ),
    "links of links": (["/c/ /b->/c /a->b", "/a/x=1"], "/a->b /b->/c /c/ /c/x=1"),
    "a link that climbs stays inside": (["/a->../../../b", "/a/x=1"], "/a->../../../b /b/ /b/x=1"),
    "a link to what is not there yet": (["/a->b/c", "/a/x=1"], "/a->b/c /b/ /b/c/ /b/c/x=1"),
    "duplicates": (["/a=1 /a/ /a/x=2 /a=3"], "/a=3"),
    "dots": (["/a/../b=1 /b/../c/./../d=2 /b/.."], "/b=1 /d=2"),
    "hard link": (["/a=1 /b=>/a"], "/a=1 /b=>/a=1"),
    "hard link to a lower layer": (["/a=1", "/b=>/a"], "/a=1 /b=>/a=1"),
    "hard link, target deleted": (["/a=1", "/b=>/a", "/.wh.a"], "/b=1"),
    "hard link, target replaced": (["/a=1", "/b=>/a", "/a=2"], "/a=2 /b=1"),
    "hard link, target deleted by the same layer": (["/d/a=1", "/b=>/d/a /.wh.d"], "/b=1"),
    "hard link to a directory that is deleted": (["/d/a=1", "/b=>/d /.wh.d"], "/b=>/d=?"),
    "hard link to a hard link": (["/a=1 /b=>/a /c=>/b"], "/a=1 /b=>/a=1 /c=>/a=1"),
    "hard link to the old one": (["/a=1", "/b=>/a /a=2"], "/a=2 /b=1"),
    "hard links, their file deleted": (["/a=1 /b=>/a /c=>/a", "/.wh.a"], "/b=1 /c=>/b=1"),
    "hard link over its target's folder": (["/a/ /a/x=1", "/a=>/a/x"], "/a=1"),
    "hard link to nothing": (["/b=>/a"], "/b=>/a=?"),
    "hard link forward": (["/b=>/a /a=1"], "/a=1 /b=>/a=?"),
    "hard link to itself": (["/a=>/a"], "/a=>/a=?"),
    "hard link to itself, as GNU tar writes what it is told twice": (
        ["/a=1 /a=>/a"],
        "/a=1",
    ),
    "hard links in a circle": (["/a=>/b /b=>/a"], "/a=>/b=? /b=>/a=?"),
    "hard link to a directory": (["/a/ /b=>/a"], "/a/ /b=>/a=?"),
    "hard link to an implied directory": (["/a/x=1 /b=>/a"], "/a/ /a/x=1 /b=>/a=?"),
    "hard link to a link": (["/a->x /b=>/a"], "/a->x /b->x"),
    "hard link to a fifo": (["/a! /b=>/a"], "/a! /b!"),
    "hard link through a link": (["/u/ /u/x=1 /l->u /b=>/l/x"], "/b=>/u/x=1 /l->u /u/ /u/x=1"),
    "through a hard link to a link": (["/u/ /l->u /m=>/l", "/m/x=1"], "/l->u /m->u /u/ /u/x=1"),
    "a name of whiteouts, nearly": (["/.whx=1 /a.wh.b=2 /..data=3"], "/..data=3 /.whx=1 /a.wh.b=2"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rules(name):
    texts, expected = CASES[name]
    assert shown(texts) == expected


UNSAFE = [
    (["/.wh."], errors.UnsafeContent),
    (["/.wh.."], errors.UnsafeContent),
    (["/.wh..."], errors.UnsafeContent),
    (["/a/.wh..."], errors.UnsafeContent),
    (["/.wh.../x=1"], errors.UnsafeContent),
    (["/.wh.a/ /.wh.a/x=1"], errors.UnsafeContent),
    (["/.wh..wh..opq/x=1"], errors.UnsafeContent),
    (["/a/../../x=1"], errors.PathEscape),
    (["/../.wh.x"], errors.PathEscape),
    (["/a=>/../../etc/passwd"], errors.LinkEscape),
    (["/a=1", "/a/x=2"], errors.TarInvalid),
    (["/a=1 /l->a", "/l/x=2"], errors.TarInvalid),
    (["/a->b /b->a", "/a/x=2"], errors.LinkLoop),
    (["/a->a", "/a/x=2"], errors.LinkLoop),
    (["/d/e/ /l->d/e /l/x=1 /d=2 /l/y=3"], errors.TarInvalid),
]


@pytest.mark.parametrize(("texts", "kind"), UNSAFE)
def test_refused(texts, kind):
    with pytest.raises(kind) as caught:
        merge([layer(text) for text in texts])
    assert type(caught.value) is kind
    words = [word for text in texts for word in text.replace("=", " ").split()]
    named = getattr(caught.value, "where", None) or caught.value.path
    assert any(word.rstrip("/") == named for word in words)
    assert named in str(caught.value)


def test_where_rows_come_from():
    merged = merge([layer("/a=one /d/ /d/x=1"), layer("/i/y=22 /b=>/a /d/")])
    rows = {entry.path: row for row, entry in enumerate(merged)}
    assert {
        path: (merged.layers[row], merged.homes[row], merged.origins[row])
        for path, row in rows.items()
    } == {
        b"/a": (0, 0, 0),
        b"/b": (1, 0, 0),
        b"/d": (1, 1, 2),
        b"/d/x": (0, 0, 2),
        b"/i": (1, -1, -1),
        b"/i/y": (1, 1, 0),
    }
    assert merged.sizes[rows[b"/b"]] == 3
    assert merged.mtimes[rows[b"/b"]] == merged.mtimes[rows[b"/a"]] == 1000
    parents = merge([layer("/i/x=1"), layer("/j/x=1 /k/x=1"), layer("/l/x=1")])
    assert list(parents.layers) == [0, 0, 1, 1, 1, 1, 2, 2]
    implied = merged.entry(rows[b"/i"])
    assert implied == Entry(b"/i", 1, 0o755, 0, 0, 0, NO_TIME, b"", -1, None)
    assert (merged.modes[rows[b"/d"]], merged.mtimes[rows[b"/d"]]) == (0o700, 1002)


def test_extras_go_with_the_content():
    extra = {"xattrs": {"user.x": "MQ=="}}
    first = Table.of([Entry(b"/a", 0, extra=extra), Entry(b"/c", 0, extra={"raw": {"uid": "x"}})])
    merged = merge([first, Table.of([Entry(b"/b", 3, link=b"/a"), Entry(b"/c", 0)])])
    assert merged.extras == {0: extra, 1: extra}


def test_names_that_are_no_text():
    first, second, third = [b"/\xff", b"/n\0x"], [b"/\xff\xfe", b"/a\nb"], [b"/.wh.\xff", b"/n\0/y"]
    merged = merge([Table.of([Entry(path, 0) for path in some]) for some in (first, second, third)])
    assert list(merged.paths) == [b"/a\nb", b"/n\0", b"/n\0/y", b"/n\0x", b"/\xff\xfe"]


def test_hops():
    chain = " ".join(f"/l{n}->l{n + 1}" for n in range(40)) + " /l40/"
    assert b"/l40/x" in list(merge([layer(chain), layer("/l0/x=1")]).paths)
    with pytest.raises(errors.LinkLoop, match="40 links"):
        merge([layer("/k->l0 " + chain), layer("/k/x=1")])


def test_limits(monkeypatch):
    with pytest.raises(errors.LimitExceeded) as caught:
        merge([layer("/a/b/c=1")], Limits(entries=2))
    assert (caught.value.limit, caught.value.seen) == (2, 3)
    assert len(merge([layer("/a/b/c=1")], Limits(entries=3))) == 3
    with pytest.raises(errors.LimitExceeded, match="of a path"):
        merge([layer("/long->a/b/c/d /long/x=1")], Limits(path=9))
    # Paths that no layer holds are counted: parents nobody stated, and places behind links.
    monkeypatch.setattr(overlay, "_MADE", 100)
    deep = "/a" * 10
    assert merge([layer(f"{deep}=1")])
    with pytest.raises(errors.LimitExceeded, match="unstated parents"):
        merge([layer(f"{deep}=1 /b{deep}=1")])
    with pytest.raises(errors.LimitExceeded, match="made by links"):
        merge([layer("/verylong/ /l->verylong " + " ".join(f"/l/{n}=1" for n in range(10)))])
    monkeypatch.undo()
    monkeypatch.setattr(overlay, "_WORK", 1000)
    with pytest.raises(errors.LimitExceeded, match="looked up"):
        merge([layer("/a->/b/b/b/b/b/b/b/b/b/b/b/b/b/b/b/b /a/x=1")])


def test_a_deep_tree_is_removed_without_recursion():
    path = b"/d" * 3000
    merged = merge([Table.of([Entry(path, 0)]), Table.of([Entry(b"/d", 0)])])
    assert list(merged.paths) == [b"/d"]
