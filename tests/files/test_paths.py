"""Paths that users write, and globs."""

from __future__ import annotations

import fnmatch
import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import errors
from didlab.files.limits import Limits
from didlab.files.paths import matcher, normalise, select, shown
from didlab.files.table import Entry, Table

NORMAL = {
    "": b"/",
    "/": b"/",
    ".": b"/",
    "//": b"/",
    "etc": b"/etc",
    "/etc/": b"/etc",
    "./etc//x/./y": b"/etc/x/y",
    "/a/../b": b"/b",
    "a/b/../..": b"/",
    "...": b"/...",
    "..data": b"/..data",
    "/é": "/é".encode(),
    "/\udcff": b"/\xff",
    "a b\n": b"/a b\n",
    "/a\\b": b"/a\\b",
    b"x/\xff/": b"/x/\xff",
    PurePosixPath("/etc/x"): b"/etc/x",
    PurePosixPath("etc"): b"/etc",
    PureWindowsPath("/etc/x"): b"/etc/x",
}


@pytest.mark.parametrize("text", NORMAL, ids=repr)
def test_normal(text):
    assert normalise(text) == NORMAL[text]


@pytest.mark.parametrize("text", ["..", "/..", "a/../..", b"../etc", "/a/../../etc/passwd"])
def test_above_the_root(text):
    with pytest.raises(errors.PathEscape):
        normalise(text)


@pytest.mark.parametrize("text", [None, 3, True, ["a"], "a\0b", b"\0", "\ud800"])
def test_no_path(text):
    with pytest.raises(errors.InvalidArgument):
        normalise(text)
    with pytest.raises(errors.InvalidArgument):
        matcher(text)


def test_too_long():
    assert normalise("a/b", Limits(path=3, components=1)) == b"/a/b"
    with pytest.raises(errors.LimitExceeded, match="bytes"):
        normalise("a/bc", Limits(path=3))
    with pytest.raises(errors.LimitExceeded, match="components"):
        normalise("a/b/c", Limits(components=1))


@given(st.binary(max_size=20).filter(lambda raw: b"\0" not in raw))
def test_bytes_come_back(raw):
    text = shown(raw)
    plain = b"/" + b"/".join(raw.split(b"/"))
    if b".." not in raw:
        assert normalise(text) == normalise(raw)
        assert shown(normalise(raw)).encode("utf-8", "surrogateescape") == normalise(raw)
    assert shown(plain).encode("utf-8", "surrogateescape") == plain


GLOBS = [
    ("/usr/lib/**/*.so*", ["/usr/lib/x.so", "/usr/lib/a/b/x.so.1"], ["/usr/lib", "/usr/libx.so"]),
    ("usr/*", ["/usr/a", "/usr/.hidden"], ["/usr", "/usr/a/b", "/x/usr/a"]),
    ("/*", ["/a"], ["/", "/a/b"]),
    ("**", ["/a", "/a/b/c"], ["/"]),
    ("/a/**", ["/a/b", "/a/b/c"], ["/a", "/ab"]),
    ("/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a/xb", "/b", "/a"]),
    ("**/b", ["/b", "/a/b", "/b/b"], ["/ab", "/b/c"]),
    ("**/a/**/b", ["/a/b", "/x/a/y/b", "/a/a/b/b"], ["/b", "/a/bb"]),
    ("**/**/b", ["/b", "/a/b"], ["/ab"]),
    ("/a**b", ["/ab", "/axxb"], ["/a/b"]),
    ("/?", ["/a", "/é", "/\udcff"], ["/", "/ab"]),
    ("/é?", ["/éé"], ["/é"]),
    ("/[abc]x", ["/ax", "/cx"], ["/dx", "/x"]),
    ("/[!abc]x", ["/dx", "/éx"], ["/ax", "//x"]),
    ("/[^a]", ["/b"], ["/a", "/^"][:1]),
    ("/[a-c]", ["/b"], ["/d", "/-"]),
    ("/[]a]", ["/]", "/a"], ["/b"]),
    ("/[!]a]", ["/b"], ["/]", "/a"]),
    ("/[a-]", ["/a", "/-"], ["/b"]),
    ("/[é-ü]", ["/ö"], ["/a"]),
    ("/[[]", ["/["], ["/]"]),
    ("/[*]", ["/*"], ["/a"]),
    ("/[{]a,b}", ["/{a,b}"], ["/a", "/a,b}"]),
    ("/[\\d]", ["/d", "/\\"], ["/1"]),
    ("/a.*", ["/a.b"], ["/ab"]),
    ("/*.{so,a}", ["/x.so", "/x.a"], ["/x.b", "/x.{so,a}"]),
    ("/{a,b/{c,d}}/x", ["/a/x", "/b/c/x", "/b/d/x"], ["/b/x", "/c/x"]),
    ("/{a}*", ["/{a}b"], ["/ab"]),
    ("/{a*", ["/{ab"], ["/ab"]),
    ("/a}*", ["/a}b"], ["/ab"]),
    ("/x{,y}", ["/x", "/xy"], ["/x,"]),
    ("//usr/./lib/../*", ["/usr/a"], ["/usr/lib/a"]),
    ("/usr/*/", ["/usr/a"], ["/usr"]),
    ("/a/*/c", ["/a/b/c"], ["/a/c", "/a//c", "/a/b/b/c"]),
    ("/a*b*c", ["/abc", "/a1b2c", "/abcbc"], ["/abb", "/ac"]),
    ("/*a*", ["/a", "/bab"], ["/b"]),
    ("/*\n*", ["/a\nb"], ["/ab"]),
    ("/etc", ["/etc"], ["/etc/x", "/etc2"]),
    ("etc/", ["/etc"], ["/etc/x"]),
    ("./*", ["/a"], ["/a/b"]),
]


@pytest.mark.parametrize(("pattern", "yes", "no"), GLOBS)
def test_globs(pattern, yes, no):
    matches = matcher(pattern)
    for text, expected in [*((path, True) for path in yes), *((path, False) for path in no)]:
        assert matches(text.encode("utf-8", "surrogateescape")) is expected, text


def test_pattern_types():
    for pattern in ("/a*", b"/a*", PurePosixPath("/a*"), PureWindowsPath("/a*")):
        assert matcher(pattern)(b"/abc")
    assert matcher(b"/\xff*")(b"/\xffx")


@pytest.mark.parametrize("pattern", ["/[", "/[a", "/[]", "/[!]", "*/[a/b]", "/[z-a]", "/*\0"])
def test_nonsense(pattern):
    with pytest.raises(errors.InvalidArgument):
        matcher(pattern)


def test_too_much():
    with pytest.raises(errors.InvalidArgument, match="characters"):
        matcher("*" * 5000)
    with pytest.raises(errors.InvalidArgument, match="alternatives"):
        matcher("{a,b}" * 12)
    with pytest.raises(errors.PathEscape):
        matcher("../*")


WORD = st.text("ab*?", max_size=6)


@given(WORD, st.text("ab", min_size=1, max_size=8))
def test_one_component_as_fnmatch(pattern, name):
    expected = bool(re.match(fnmatch.translate(pattern), name))
    if not pattern or pattern == "**" or not set(pattern) & set("*?"):
        return
    assert matcher("/" + pattern)(b"/" + name.encode()) is expected


def slow(parts, components):
    """The definition: `**` is any number of components."""
    if not parts:
        return not components
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(components)
        return any(slow(parts[1:], components[at:]) for at in range(len(components) + 1))
    return (
        bool(components)
        and fnmatch.fnmatchcase(components[0], parts[0])
        and slow(parts[1:], components[1:])
    )


PARTS = st.lists(
    st.sampled_from(["**", "*", "a", "a*", "*b", "?", "*a*b*"]), min_size=1, max_size=6
)


@given(PARTS, st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=7))
def test_components_as_defined(parts, components):
    collapsed = [part for at, part in enumerate(parts) if parts[at : at + 2] != ["**", "**"]]
    path = ("/" + "/".join(components)).encode()
    assert matcher("/".join(parts))(path) is slow(collapsed, components)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/" + "*a" * 500 + "b", b"/" + b"a" * 5000),
        ("/" + "**/*a/" * 200 + "b", b"/aa" * 2000),
        ("/**/" + "*?" * 300 + "b", b"/" + b"a" * 2000),
        ("/" + "?*" * 400 + "[!a]", b"/" + b"a" * 4000),
        ("/**/" + "{*a,*b}*" * 7 + "c", b"/" + b"ab" * 300),
        ("/" + "*/" * 400 + "x", b"/aaaa" * 800),
    ],
)
@pytest.mark.timeout(60)  # a wrong translation would take longer than the universe has lasted
def test_no_pattern_takes_for_ever(pattern, path):
    assert matcher(pattern)(path) is False


def test_select():
    table = Table.of([Entry(path, 0) for path in (b"/b", b"/a/x", b"/a", b"/a/y", b"/b")])
    assert select(table, "/a/*") == [1, 3]
    assert select(table, "b") == [0, 4]
    assert select(table, "nothing") == []
