"""From a path to its row, links followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import errors
from didlab.files.limits import Limits
from didlab.files.links import ROOT, children, find, resolve
from didlab.files.merge import merge
from didlab.files.table import Entry, Table

FILE, DIR, SYMLINK = range(3)


def merged(*entries):
    rows = []
    for text in entries:
        path, arrow, link = text.partition("->")
        kind = SYMLINK if arrow else DIR if path.endswith("/") else FILE
        rows.append(Entry(path.rstrip("/").encode() or b"/", kind, link=link.encode()))
    return merge([Table.of(rows)])


IMAGE = merged(
    "/usr/lib/x.so",
    "/usr/lib/os-release",
    "/usr-local",
    "/etc/os-release->../usr/lib/os-release",
    "/lib->usr/lib",
    "/lib64->/lib/",
    "/etc/alternatives/awk->/usr/bin/mawk",
    "/usr/bin/mawk",
    "/usr/bin/awk->/etc/alternatives/awk",
    "/loop->loop2",
    "/loop2->./loop",
    "/self->self/x",
    "/out->../etc",
    "/out2->/usr/../../etc",
    "/inside->/usr/../etc",
    "/broken->nowhere",
    "/top->/",
    "/file->etc/os-release",
)
RESOLVED = {
    "/usr/lib/x.so": "/usr/lib/x.so",
    "/etc": "/etc",
    "/lib": "/usr/lib",
    "/lib/x.so": "/usr/lib/x.so",
    "/lib64/x.so": "/usr/lib/x.so",
    "/etc/os-release": "/usr/lib/os-release",
    "/file": "/usr/lib/os-release",
    "/usr/bin/awk": "/usr/bin/mawk",
    "/inside/os-release": "/usr/lib/os-release",
    "/top/top/lib": "/usr/lib",
    "/usr/../lib": "/usr/lib",
    "/lib/../bin/mawk": "/usr/bin/mawk",
}


@pytest.mark.parametrize("path", RESOLVED)
def test_resolved(path):
    row = resolve(IMAGE, path.encode())
    assert IMAGE.paths[row] == RESOLVED[path].encode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/lib", "/lib"),
        ("/top/lib", "/lib"),
        ("/broken", "/broken"),
        ("/lib/x.so", "/usr/lib/x.so"),
    ],
)
def test_the_last_link_itself(path, expected):
    row = resolve(IMAGE, path.encode(), follow_last=False)
    assert IMAGE.paths[row] == expected.encode()


def test_root():
    assert resolve(IMAGE, b"/") == resolve(IMAGE, b"/top") == resolve(IMAGE, b"/usr/..") == ROOT
    stated = merged("/", "/a/b", "/top->/", "/up->a/..")
    assert stated.paths[0] == b"/"
    assert resolve(stated, b"/") == resolve(stated, b"/top") == resolve(stated, b"/up") == 0
    assert resolve(merge([]), b"/") == ROOT


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/loop", errors.LinkLoop),
        ("/loop/x", errors.LinkLoop),
        ("/self", errors.LinkLoop),
        ("/out", errors.LinkEscape),
        ("/out/os-release", errors.LinkEscape),
        ("/out2", errors.LinkEscape),
        ("/broken", errors.PathNotFound),
        ("/broken/x", errors.PathNotFound),
        ("/nothing", errors.PathNotFound),
        ("/usr/nothing/x", errors.PathNotFound),
        ("/usr/lib/x.so/y", errors.NotAFolder),
        ("/file/x", errors.NotAFolder),
    ],
)
def test_refused(path, kind):
    with pytest.raises(kind) as caught:
        resolve(IMAGE, path.encode())
    assert type(caught.value) is kind
    assert path in str(caught.value)


def test_hops():
    chain = [f"/l{number}->l{number + 1}" for number in range(40)]
    table = merged(*chain, "/l40/x")
    assert table.paths[resolve(table, b"/l0/x")] == b"/l40/x"
    with pytest.raises(errors.LinkLoop):
        resolve(merged("/k->l0", *chain, "/l40/x"), b"/k/x")
    with pytest.raises(errors.LinkLoop, match="3 links"):
        resolve(table, b"/l0/x", limits=Limits(hops=3))


def test_near_misses():
    with pytest.raises(errors.PathNotFound) as caught:
        resolve(IMAGE, b"/etc/os-releas")
    assert caught.value.available == ("/etc/os-release",)
    assert "did you mean /etc/os-release?" in str(caught.value)
    assert caught.value.path == "/etc/os-releas"
    with pytest.raises(errors.PathNotFound) as caught:
        resolve(IMAGE, b"/lib/x.sso")
    assert caught.value.available == ("/usr/lib/x.so",)
    with pytest.raises(errors.PathNotFound, match="it leads to /nowhere") as caught:
        resolve(IMAGE, b"/broken")
    assert caught.value.hint is None
    many = merged(*(f"/abc{number}" for number in range(30)))
    with pytest.raises(errors.PathNotFound) as caught:
        resolve(many, b"/abc")
    assert len(caught.value.available) == 5


def test_children():
    def below(path):
        return [IMAGE.paths[row].decode() for row in children(IMAGE, path)]

    assert below(b"/usr") == ["/usr/bin", "/usr/lib"]
    assert below(b"/usr/lib") == ["/usr/lib/os-release", "/usr/lib/x.so"]
    assert below(b"/usr/lib/x.so") == below(b"/nothing") == below(b"/us") == []
    assert "/usr-local" in below(b"/")
    assert "/usr/lib" not in below(b"/")
    assert len(children(IMAGE, b"/", 3)) == 3


NAME = st.sampled_from(["a", "b", "a-", "a0", "a.", "\xff"])
PATHS = st.lists(st.lists(NAME, min_size=1, max_size=4).map("/".join), max_size=25)


@given(PATHS, st.booleans())
def test_children_by_their_definition(paths, root):
    table = merged(*(f"/{path}/" for path in paths), *(["/"] if root else []))
    assert list(table.paths) == sorted(table.paths)
    for folder in (b"/", *table.paths, b"/zz"):
        expected = [
            row
            for row, path in enumerate(table.paths)
            if path != b"/" and (path.rpartition(b"/")[0] or b"/") == folder
        ]
        assert children(table, folder) == expected


@given(PATHS, st.binary(max_size=5))
def test_find(paths, other):
    table = merged(*(f"/{path}/" for path in paths))
    for row, path in enumerate(table.paths):
        assert find(table, path) == row == resolve(table, path)
    assert find(table, b"/no" + other) == -1
