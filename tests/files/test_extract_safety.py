"""Extraction writes below its destination and nowhere else, whatever an image says.

Every test has a sentinel: files outside, and in the working directory, that must stay as they are.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from didlab.errors import (
    DestinationExists,
    DidlabError,
    LimitExceeded,
    LinkEscape,
    NameCollision,
    PathEscape,
    UnsafeContent,
)
from didlab.files import below, extract_links, extract_names
from didlab.files.extract import extract
from didlab.files.extract_names import fold
from didlab.files.table import CHAR, DIR, FILE, HARDLINK, SYMLINK, Entry

Row = tuple[Entry, Callable[[], Iterator[bytes]] | None]

posix = pytest.mark.skipif(os.name != "posix", reason="names and links of POSIX")


def file(path: str | bytes, content: bytes = b"hello\n", kind: int = FILE) -> Row:
    name = path.encode() if isinstance(path, str) else path
    return Entry(name, kind, 0o644, size=len(content)), lambda: iter([content])


def folder(path: str, mode: int = 0o755) -> Row:
    return Entry(path.encode(), DIR, mode), None


def link(path: str, target: str) -> Row:
    return Entry(path.encode(), SYMLINK, 0o777, link=target.encode()), None


def snapshot(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        what: object = stat.S_IMODE(info.st_mode), info.st_mtime_ns, info.st_nlink
        if path.is_symlink():
            what = path.readlink()
        elif path.is_file():
            what = what, path.read_bytes()
        found[str(path)] = what
    return found


class Outside:
    """A folder beside the destination, and the working directory: nothing in them may change."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for place in (top / "outside", top / "cwd"):
            (place / "sub").mkdir(parents=True)
            (place / "passwd").write_text("sentinel")
        self._before = self._now()

    def _now(self) -> dict[str, object]:
        return snapshot(self.top / "outside") | snapshot(self.top / "cwd")

    def unchanged(self) -> bool:
        return self._now() == self._before


@pytest.fixture(params=["handles", "paths"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "paths":
        monkeypatch.setattr(below, "HANDLES", False)
    elif not below.HANDLES:
        pytest.skip("this system has no calls relative to a folder")
    return str(request.param)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> Iterator[Outside]:
    place = Outside(tmp_path)
    monkeypatch.chdir(tmp_path / "cwd")
    yield place
    assert place.unchanged()


def strays(top: Path) -> list[str]:
    """Links below a folder that lead out of it when they are followed, as far as they exist."""
    inside = os.path.realpath(top)
    return [
        f"{path} -> {path.readlink()}"
        for path in top.rglob("*")
        if path.is_symlink()
        and not circle(path)
        and os.path.commonpath([inside, os.path.realpath(path)]) != inside
    ]


def circle(path: Path) -> bool:
    """Whether a link leads in a circle: nowhere, but `os.path.realpath` makes up a place."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


# G1: names that lead out


@pytest.mark.parametrize("path", ["/../../x", "/a/../../x", "/a/..", "/..", "/etc/../outside/x"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_names_that_climb(outside: Outside, tmp_path: Path, path: str, kind: str) -> None:
    row = {"file": file(path), "folder": folder(path), "link": link(path, "x")}[kind]
    with pytest.raises(PathEscape):
        extract([folder("/a"), row], tmp_path / "out")
    with pytest.raises(PathEscape):
        extract([row], tmp_path / "out", root=path.encode())
    assert not (tmp_path / "out").exists()


def test_what_lies_elsewhere_in_the_image_is_refused(outside: Outside, tmp_path: Path) -> None:
    with pytest.raises(PathEscape, match="does not lie in /etc"):
        extract([folder("/etc"), file("/etcetera/x")], tmp_path / "out", root=b"/etc")


@posix
def test_names_that_only_look_as_if_they_climbed(outside: Outside, tmp_path: Path) -> None:
    names = ["C:\\x", "\\\\srv\\x", "..\\x", "...", "~", "a\nb", "-rf", "con", "nul.txt"]
    raw = b"\xff\xfe"
    rows = [*(file(f"/{name}") for name in names), file(b"/" + raw), file("/~/.ssh/x")][:-1]
    dest = extract([*rows, file("/home/~/x")], tmp_path / "out").path
    assert {os.fsencode(p.name) for p in dest.iterdir()} == {*map(str.encode, names), raw, b"home"}


def test_a_nul_in_a_name(outside: Outside, tmp_path: Path) -> None:
    for row in (file(b"/a\0b"), file(b"/a\0b/c"), link("/a\0b", "x")):
        with pytest.raises(UnsafeContent, match="NUL"):
            extract([row], tmp_path / "out")
    done = extract([link("/a", "x\0y"), link("/b", ""), link("/c", "x/" * 9999)], tmp_path / "out")
    assert (done.links, len(done.skipped)) == (0, 3)


# G4, G5: links


@pytest.mark.parametrize("target", ["/outside", "../outside", "/", ".", "sub", "missing"])
def test_nothing_is_written_through_a_link(outside: Outside, tmp_path: Path, target: str) -> None:
    tail = [file("/x/passwd"), folder("/x/d"), link("/x/l", "y")]
    for row in tail:
        with pytest.raises(LinkEscape):
            extract([link("/x", target), row], tmp_path / "out")
        assert not (tmp_path / "out").exists()


@posix
@pytest.mark.parametrize("implied", [True, False])
def test_a_link_that_was_there_is_not_followed(
    outside: Outside, tmp_path: Path, implied: bool
) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "x").symlink_to(tmp_path / "outside")
    (dest / "passwd").symlink_to(tmp_path / "outside" / "passwd")
    rows = [file("/passwd", b"new")] + ([] if implied else [folder("/x")]) + [file("/x/new")]
    if implied:
        with pytest.raises(LinkEscape, match="through the link"):
            extract(rows, dest, overwrite=True)
    else:
        extract(rows, dest, overwrite=True)
        assert (dest / "x").is_dir()
        assert (dest / "x" / "new").read_bytes() == b"hello\n"
    assert not (dest / "passwd").is_symlink()
    assert (dest / "passwd").read_bytes() == b"new"


def test_where_links_lead(outside: Outside, tmp_path: Path) -> None:
    targets = {
        "/d/same": ("x", "x"),
        "/d/slashes": ("x//.//y/", "x//.//y/"),
        "/d/e/link": ("../up/../z", "../../e/z"),
        "/d/up": ("../e/x", "../e/x"),
        "/d/root": ("/", ".."),
        "/d/absolute": ("/usr//bin/./x", "../usr/bin/x"),
        "/d/above": ("/../usr/x", "../usr/x"),
        "/d/inner": ("../e/../usr/x", "../usr/x"),
        "/d/e/through": ("../same/../y", "../y"),
        "/d/missing": ("no/../such", "such"),
        "/d/e/top": ("../..", "../.."),
        "/d/circle": ("circle", "circle"),
        "/top": ("/d/x", "d/x"),
        "/itself": ("/", "."),
    }
    rows = [folder("/d"), folder("/d/e"), *(link(p, t) for p, (t, _) in targets.items())]
    done = extract(rows, tmp_path / "out")
    made = {path: (done.path / path[1:]).readlink() for path in targets}
    assert made == {path: Path(shown) for path, (_, shown) in targets.items()}
    assert (done.links, done.skipped) == (len(targets), ())
    assert strays(done.path) == []


@pytest.mark.parametrize("target", ["../../x", "../../outside/passwd", "../x/../../../y", "../.."])
def test_links_that_climb_above_the_image_are_left_out(
    outside: Outside, tmp_path: Path, target: str
) -> None:
    rows = [folder("/d"), link("/d/l", target), link("/d/m", "l/x")]
    done = extract(rows, tmp_path / "out")
    assert done.skipped == (("/d/l", f"it leads above the image's root: {target}"),)
    assert strays(done.path) == []
    assert not (done.path / "d/l").is_symlink()
    # Nothing goes through it, in this extraction or another one.
    with pytest.raises(LinkEscape, match="through the link"):
        extract([*rows, file("/d/l/x")], tmp_path / "no")
    assert not (tmp_path / "no").exists()
    extract([file("/d/l/x")], tmp_path / "out", overwrite=True)
    assert (done.path / "d/m").read_bytes() == b"hello\n"
    assert strays(done.path) == []


def test_links_to_what_is_not_extracted_are_left_out(outside: Outside, tmp_path: Path) -> None:
    out = {
        "/etc/mtab": "../proc/self/mounts",
        "/etc/a/localtime": "/usr/share/zoneinfo/UTC",
        "/etc/b": "/etcetera",
        "/etc/c": "/etc/../usr/x",
        "/etc/d": "a/../../usr/x",
        "/etc/e": "..",
        "/etc/f": "/usr/../etc/x",
    }
    kept = {
        "/etc/g": ("/etc/a/x", "a/x"),
        "/etc/a/h": ("../../etc/x", "../x"),
        "/etc/i": ("/etc", "."),
        "/etc/a/j": ("/etc/a/../x", "../x"),
    }
    rows = [folder("/etc"), folder("/etc/a")]
    rows += [link(path, target) for path, target in out.items()]
    rows += [link(path, target) for path, (target, _) in kept.items()]
    done = extract(rows, tmp_path / "copy", root=b"/etc")
    assert {path for path, _ in done.skipped} == set(out)
    assert all("not extracted" in why for _, why in done.skipped)
    made = {p: (done.path / p.removeprefix("/etc/")).readlink().as_posix() for p in kept}
    assert made == {path: shown for path, (_, shown) in kept.items()}
    rows = [folder("/etc"), link("/etc/x", "a/../../../y"), link("/etc/y", "../../z")]
    done = extract(rows, tmp_path / "above", root=b"/etc")
    assert [path for path, why in done.skipped if "above the image's root" in why] == [
        "/etc/x",
        "/etc/y",
    ]


CHAINS = {
    # Each is harmless to whoever looks at its text only.
    "down and up": [link("/a/b/c/d", "../../.."), link("/e", "a/b/c/d/../outside/passwd")],
    "twice": [
        link("/a/b/l", ".."),
        link("/a/b/m", "l/.."),
        link("/n", "a/b/m/../outside"),
    ],
    "made of others": [
        link("/x/y/z", "../.."),
        link("/v", "x/y/z/."),
        link("/w", "v/../outside"),
    ],
}


@pytest.mark.parametrize("rows", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("backwards", [False, True])
def test_chains_that_lead_out_together(
    outside: Outside, tmp_path: Path, rows: list[Row], backwards: bool
) -> None:
    done = extract(rows[::-1] if backwards else rows, tmp_path / "out")
    last, _ = rows[-1]
    assert ["above the image's root" in why for _, why in done.skipped] == [True]
    assert done.skipped[0][0] == last.path.decode()
    assert strays(done.path) == []
    with pytest.raises(LinkEscape, match="through the link"):
        extract([*rows, file(last.path + b"/x")], tmp_path / "no")
    assert not (tmp_path / "no").exists()


@posix
def test_a_chain_through_a_link_that_was_there(outside: Outside, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    (dest / "a" / "b").mkdir(parents=True)
    (dest / "a" / "b" / "up").symlink_to("../..")
    (dest / "away").symlink_to(tmp_path / "outside")
    done = extract([link("/l", "a/b/up/../outside")], dest, overwrite=True)
    assert done.skipped == (("/l", "it leads above the image's root: a/b/up/../outside"),)
    done = extract([link("/m", "away/../x")], dest, overwrite=True)
    assert (done.links, len(done.skipped)) == (0, 1)


def test_links_of_two_extractions_that_lead_out_together(outside: Outside, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    extract([folder("/d"), link("/e", "a/../outside/passwd"), link("/f", "d/../x")], dest)
    extract([link("/a", "."), file("/x")], dest, overwrite=True)
    assert strays(dest) == []
    with pytest.raises(DestinationExists):
        extract([link("/d", ".")], dest, overwrite=True)
    extract([link("/a", "d"), link("/e", "a/../x")], dest, overwrite=True)
    extract([link("/a", ".")], dest, overwrite=True)
    assert strays(dest) == []


def test_the_search_through_links_has_an_end(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [link(f"/l{number}", "x/../" * 50 + "y") for number in range(9)]
    assert extract(rows, tmp_path / "in").links == 9
    monkeypatch.setattr(extract_links, "_STEPS", 500)
    with pytest.raises(LimitExceeded, match="through too many others"):
        extract(rows, tmp_path / "out")
    rows = [link(f"/{number:02}", f"{number + 1:02}/../x") for number in range(45)]
    monkeypatch.setattr(extract_links, "_STEPS", 50_000)
    done = extract(rows, tmp_path / "chain")
    assert (done.links, len(done.skipped)) == (41, 4)  # four go through more than 40


NAMES = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
STEPS = st.sampled_from(["a", "b", "c", "d", "..", ".", "..", ""])
TARGETS = st.builds(
    lambda steps, lead: lead + "/".join(steps),
    st.lists(STEPS, min_size=1, max_size=7),
    st.sampled_from(["", "", "/"]),
)
GRAPHS = st.lists(
    st.one_of(
        st.builds(link, PATHS, TARGETS),
        st.builds(link, PATHS, TARGETS),
        st.builds(file, PATHS),
        st.builds(folder, PATHS),
        st.builds(lambda path: file(path, b"copy", HARDLINK), PATHS),
    ),
    max_size=9,
)


def tidied(rows: list[Row]) -> list[Row]:
    """Each path once, and nothing below what is no folder: what a real image has."""
    last = {entry.path: (entry, content) for entry, content in rows}
    plain = {path for path, (entry, _) in last.items() if entry.type != DIR}
    return [
        row
        for path, row in sorted(last.items())
        if not any(path.startswith(other + b"/") for other in plain)
    ]


@pytest.mark.parametrize("handles", [True, False])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layers=st.lists(GRAPHS, min_size=1, max_size=3), base=st.sampled_from(["", "/a"]))
@example(layers=[CHAINS["down and up"]], base="")
@example(layers=[[link("/a", "a//a")]], base="")
@example(layers=[[link("/e", "a/../outside")], [link("/a", ".")]], base="")
def test_no_graph_of_links_leads_out(handles: bool, layers: list[list[Row]], base: str) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        top = Path(place)
        outside = Outside(top)
        patch.chdir(top / "cwd")
        if not handles:
            patch.setattr(below, "HANDLES", False)
        dest = top / "out"
        root = base.encode() or b"/"
        extract([], dest)
        for rows in layers:
            rows = [(e._replace(path=base.encode() + e.path), content) for e, content in rows]
            for chosen in (rows, tidied(rows)):
                with suppress(DidlabError):
                    extract(chosen, top, root=root, name=b"out", overwrite=True)
        assert outside.unchanged()
        assert strays(dest) == []
        assert [p.name for p in top.iterdir() if p.name.startswith(".")] == []


# G6: hard links


@posix
def test_hard_links_are_copies_and_never_lead_anywhere(outside: Outside, tmp_path: Path) -> None:
    entry = Entry(b"/h", HARDLINK, 0o666, link=b"/passwd")
    again = Entry(b"/i", HARDLINK, 0o666, link=str(tmp_path / "outside/passwd").encode())
    done = extract([(entry, lambda: iter([b"image's"])), (again, None)], tmp_path / "out")
    assert (done.path / "h").read_bytes() == b"image's"
    assert [path for path, _ in done.skipped] == ["/i"]


# G7: the root, and folders that keep out


@pytest.mark.parametrize("kind", [SYMLINK, FILE, CHAR, HARDLINK])
def test_a_root_that_is_no_folder_sets_nothing(outside: Outside, tmp_path: Path, kind: int) -> None:
    odd: Row = Entry(b"/", kind, 0o4777, link=b"/outside"), lambda: iter([b""])
    done = extract([odd, file("/x")], tmp_path / "out", devices=os.name == "posix")
    assert done.path.is_dir()
    assert not done.path.is_symlink()
    assert (done.path / "x").exists()
    assert [path for path, _ in done.skipped] == ["/"]


# G8: somebody else at work in the same place


@posix
@pytest.mark.parametrize("target", ["outside", "outside/sub"])
def test_a_folder_exchanged_for_a_link_meanwhile(tmp_path: Path, target: str) -> None:
    if not below.HANDLES:
        pytest.skip("this system has no calls relative to a folder")
    outside = Outside(tmp_path)
    dest = tmp_path / "out"
    (dest / "d" / "e").mkdir(parents=True)
    over = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        for number in itertools.count():
            if over.is_set():
                return
            aside = dest / f"aside{number}"
            # The extraction may have made a folder in between: then that one is exchanged next.
            with suppress(OSError):
                (dest / "d").rename(aside)
            with suppress(OSError):
                (dest / "d").symlink_to(tmp_path / target)
                swaps += 1
            with suppress(OSError):
                (dest / "d").unlink()
            with suppress(OSError):
                aside.rename(dest / "d")

    rows = [file(f"/d/{n}") if n % 2 else file(f"/d/e/{n}") for n in range(20)]
    rows += [folder("/d"), link("/d/l", "x"), folder("/d/passwd", 0o700)]
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(400):
            with suppress(DidlabError):
                extract(rows, dest, overwrite=True)
            if number >= 40 and swaps >= 40:
                break
    finally:
        over.set()
        thread.join()
    assert swaps > 0, "the other thread did nothing"
    assert outside.unchanged()


@posix
@pytest.mark.parametrize("by", ["link", "folder"])
def test_by_paths_an_exchange_is_seen_at_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(below, "HANDLES", False)
    outside = Outside(tmp_path)
    dest = tmp_path / "out"
    (dest / "d").mkdir(parents=True)

    def rows() -> Iterator[Row]:
        yield file("/d/a")
        (dest / "d").rename(tmp_path / "aside")
        if by == "link":
            (dest / "d").symlink_to(tmp_path / "outside")
        else:
            (dest / "d").mkdir()
        yield file("/d/b")

    with pytest.raises(DidlabError):
        extract(rows(), dest, overwrite=True)
    assert outside.unchanged()
    assert by == "link" or list((dest / "d").iterdir()) == []


# G12: names that the disk does not keep apart

TWINS = [
    ("/A", "/a"),
    ("/d/README", "/d/readme"),
    ("/D/x", "/d/y"),
    ("/caf\u00e9", "/cafe\u0301"),
    ("/stra\u00dfe", "/STRASSE"),
    ("/\u212a", "/k"),
    ("/.git\u200c", "/.git"),
    ("/\u0131", "/I"),
]


@pytest.mark.parametrize("twins", TWINS)
def test_twins_are_refused_where_they_would_be_one(
    outside: Outside, tmp_path: Path, twins: tuple[str, str]
) -> None:
    for pair in (twins, twins[::-1]):
        for rows in ([file(p) for p in pair], [folder(pair[0]), file(pair[1] + "/x")]):
            with pytest.raises(NameCollision, match="one file here"):
                extract(rows, tmp_path / "out", portable=True)
    with pytest.raises(NameCollision):
        extract([link(twins[0], "/"), file(twins[1] + "/x")], tmp_path / "out", portable=True)
    assert not (tmp_path / "out").exists()


def _insensitive(patch: pytest.MonkeyPatch) -> None:
    """Have names looked up as a disk does that sees no case."""
    look = below.Folder.look

    def looked(self: below.Folder, name: bytes) -> Any:
        if name.startswith(b".DIDLAB-"):
            name = name.decode().swapcase().encode()
        return look(self, name)

    patch.setattr(below.Folder, "look", looked)


def test_the_disk_is_asked_whether_it_sees_case(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [file("/d/A"), file("/d/a")]
    if sys.platform == "linux":
        done = extract(rows, tmp_path / "out")
        assert done.files == 2
    _insensitive(monkeypatch)
    for overwrite in (False, True):
        with pytest.raises(NameCollision):
            extract(rows, tmp_path / "out", name=b"", overwrite=overwrite or True)
    with pytest.raises(NameCollision):
        extract(rows, tmp_path / "new")
    chain = [link("/p/q/D", "../.."), link("/e", "p/q/d/../outside")]
    done = extract(chain, tmp_path / "new")
    assert [path for path, _ in done.skipped] == ["/e"]


def test_a_path_that_comes_twice(outside: Outside, tmp_path: Path) -> None:
    for second in (file("/x"), folder("/x"), link("/x", "y")):
        for first in (file("/x"), link("/x", "y")):
            with pytest.raises((NameCollision, LinkEscape)):
                extract([first, second], tmp_path / "out")
    assert not (tmp_path / "out").exists()


RESERVED = ["con", "NUL.txt", "Com1", "LPT\u00b9.log", "aux .x", "f:stream", "x.", "x ", "a\\b"]
RESERVED += ["a*", "q?", '"', "<", "|", "a\tb", "CONIN$", "\udcff"]


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("where", ["portable", "windows"])
def test_names_that_windows_cannot_have(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    path = b"/" + name.encode("utf-8", "surrogateescape")
    portable = where == "portable"
    if not portable:
        monkeypatch.setattr(extract_names, "WINDOWS", True)
    to = Entry(b"/l", SYMLINK, link=b"a" + path)
    for row in (file(path), file(path + b"/x"), (Entry(path, DIR), None), (to, None)):
        with pytest.raises(UnsafeContent, match="cannot be written"):
            extract([row], tmp_path / "out", portable=portable)
    with pytest.raises(UnsafeContent):
        extract([file(path)], tmp_path, root=path, portable=portable)
    if os.name == "posix" and not portable:
        monkeypatch.setattr(extract_names, "WINDOWS", False)
        assert extract([file(path)], tmp_path / "out").files == 1


def test_ordinary_names_are_portable(outside: Outside, tmp_path: Path) -> None:
    names = ["console", "com10", "nul_", ".x", "a.b.c", "caf\u00e9", "x y", "lpt", "con-1"]
    assert extract([file(f"/{n}") for n in names], tmp_path / "o", portable=True).files == 9
    assert len({fold(name.encode()) for name in names}) == 9


# G14: what is at the destination


@posix
@pytest.mark.parametrize("kind", ["file", "link", "dangling", "fifo"])
@pytest.mark.parametrize("base", [b"/x", b"/"])
def test_what_is_at_the_destination_is_replaced_only_when_told(
    outside: Outside, tmp_path: Path, kind: str, base: bytes
) -> None:
    dest = tmp_path / "dest"

    def put() -> None:
        if kind == "file":
            dest.write_text("old")
        elif kind == "fifo":
            os.mkfifo(dest)
        else:
            dest.symlink_to(tmp_path / "outside" / ("passwd" if kind == "link" else "none"))

    put()
    before = snapshot(tmp_path)
    with pytest.raises(DestinationExists):
        extract([file("/x")], dest, root=base)
    assert snapshot(tmp_path) == before
    made = extract([file("/x")], dest, root=base, overwrite=True).path
    written = made if base == b"/x" else made / "x"
    assert not made.is_symlink()
    assert written.read_bytes() == b"hello\n"


@posix
def test_a_link_to_a_folder_is_the_users_own_way_to_it(outside: Outside, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    assert extract([file("/x")], tmp_path / "way", root=b"/x").path == tmp_path / "way" / "x"
    extract([folder("/d"), file("/d/x")], tmp_path / "way", root=b"/d")
    extract([file("/y")], tmp_path / "way", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == ["d", "x", "y"]
    # What lies in it was not named by the user.
    (tmp_path / "real" / "e").symlink_to(tmp_path / "outside")
    with pytest.raises(DestinationExists):
        extract([folder("/e"), file("/e/x")], tmp_path / "way", root=b"/e")
    extract([folder("/e"), file("/e/x")], tmp_path / "way", root=b"/e", overwrite=True)
    assert not (tmp_path / "real" / "e").is_symlink()


# H1: names of what is not complete


def test_names_of_incomplete_files_cannot_be_guessed(outside: Outside, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    seen: set[str] = set()

    def content() -> Iterator[bytes]:
        seen.update(path.name for path in dest.iterdir())
        yield b"x"

    for _ in range(3):
        extract([(Entry(b"/f", FILE, 0o644, size=1), content)], dest, overwrite=True)
    hidden = {name for name in seen if name != "f"}
    assert len(hidden) == 3
    assert all(name.startswith(".") and len(name) > 40 for name in hidden)
