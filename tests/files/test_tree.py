"""The drawing of a file system."""

from __future__ import annotations

import pytest

from didlab import errors
from didlab.files.merge import merge
from didlab.files.table import CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry, Table
from didlab.files.tree import tree

IMAGE = merge(
    [
        Table.of(
            [
                Entry(b"/etc", DIR),
                Entry(b"/etc/passwd", FILE, size=1234),
                Entry(b"/etc/ssl/certs/x", FILE, size=5),
                Entry(b"/lib", SYMLINK, link=b"usr/lib"),
                Entry(b"/usr/lib/\x1b[31m\xff", FILE, size=0),
                Entry(b"/usr/lib/null", CHAR),
                Entry(b"/usr/lib/pipe", FIFO),
                Entry(b"/zz", HARDLINK, link=b"/etc/passwd"),
            ]
        )
    ]
)


def test_whole():
    assert tree(IMAGE) == (
        "/\n"
        "├── etc/\n"
        "│   ├── passwd  1.2 kB\n"
        "│   └── ssl/\n"
        "│       └── certs/\n"
        "│           └── x  5 B\n"
        "├── lib -> usr/lib\n"
        "├── usr/\n"
        "│   └── lib/\n"
        "│       ├── \\x1b[31m\\udcff  0 B\n"
        "│       ├── null  [char]\n"
        "│       └── pipe  [fifo]\n"
        "└── zz  1.2 kB  (hard link to /etc/passwd)"
    )


def test_parts():
    assert tree(IMAGE, depth=0) == "/"
    assert tree(IMAGE, b"/etc", depth=1) == "/etc\n├── passwd  1.2 kB\n└── ssl/"
    assert tree(IMAGE, b"/lib").startswith("/lib -> /usr/lib\n├── ")
    assert tree(IMAGE, b"/etc/passwd") == "/etc/passwd  1.2 kB"
    assert tree(merge([])) == "/"


def test_bounds():
    assert tree(IMAGE, depth=1, per_folder=2) == "/\n├── etc/\n├── lib -> usr/lib\n└── … 2 more"
    assert tree(IMAGE, limit=3) == ("/\n├── etc/\n│   ├── passwd  1.2 kB\n… cut after 3 lines")
    many = merge([Table.of([Entry(b"/d%d/f%d" % (n % 20, n), FILE) for n in range(6000)])])
    assert len(tree(many).splitlines()) == 2001
    assert "└── … 100 more" in tree(many, b"/d0")
    assert len(tree(many, b"/d0").splitlines()) == 202
    exact = merge([Table.of([Entry(b"/f%d" % n, FILE) for n in range(9)])])
    assert "cut" not in tree(exact, limit=10)


@pytest.mark.parametrize("bad", [{"depth": -1}, {"limit": 0}, {"per_folder": 0}])
def test_refused(bad):
    with pytest.raises(errors.InvalidArgument):
        tree(IMAGE, **bad)


def test_missing():
    with pytest.raises(errors.PathNotFound):
        tree(IMAGE, b"/nothing")


def test_a_deep_tree_needs_no_recursion():
    deep = merge([Table.of([Entry(b"/d" * 1500, FILE)])])
    assert len(tree(deep).splitlines()) == 1501
