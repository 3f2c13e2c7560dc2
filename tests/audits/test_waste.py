"""waste(), efficiency(), duplicates(), caches(): against disks, and against dive's own way."""

from __future__ import annotations

import io
import os
import posixpath
import random
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from rig.faults import FaultServer, Request
from rig.images import (
    Member,
    gzipped,
    hardlink,
    make_artifact,
    make_image,
    make_tar,
    symlink,
    write_layout,
)
from rig.stacks import Layer, describe, stacks
from rig.unpacked import layer_table, umoci_facts

import didlab
from didlab import errors
from didlab.audits.waste import efficiency as own
from didlab.audits.waste.caches import CACHES
from didlab.files import blocks, kept
from didlab.sources.cached import shared

OWNERS = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, *layers: Any, tag: str = "1") -> didlab.Manifest:
    server.add_image("lab/app", tag, make_image(layers))
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)


def blobs(server: FaultServer) -> list[Request]:
    return [one for one in server.requests if "/blobs/" in one.path]


def file(content: bytes, mtime: int = 1_700_000_000, mode: int = 0o644) -> Member:
    entry = tarfile.TarInfo()
    entry.mtime, entry.mode = mtime, mode
    return entry, content


def rows(m: didlab.Manifest) -> set[tuple[Any, ...]]:
    df = m.waste()
    assert df.attrs["wasted"] == df["size"].sum()
    assert list(df["size"]) == sorted(df["size"], reverse=True)
    columns = ["path", "kind", "size", "layer", "by_layer"]
    return set(df[columns].itertuples(index=False, name=None))


# --- waste ----------------------------------------------------------------------------------------


def marked(stack: Sequence[Layer]) -> tuple[list[Layer], dict[bytes, int]]:
    """A stack in which every file has content of its own; and the layer of each content."""
    made: list[Layer] = []
    contents: dict[bytes, int] = {}
    for number, layer in enumerate(stack):
        members: Layer = []
        for name, member in layer:
            if isinstance(member, tuple):
                content = b"%08d" % len(contents)
                contents[content] = number
                members.append((name, (member[0], content)))
            else:
                members.append((name, member))
        made.append(members)
    return made, contents


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(stack=stacks())
def test_as_what_is_missing_on_a_disk(tmp_path_factory: Any, stack: list[Layer]) -> None:
    """Content that umoci does not unpack is wasted; by the layer after which it is gone."""
    stack, contents = marked(stack)
    note(describe(stack))
    folder = tmp_path_factory.mktemp("waste")
    images = {
        f"{count}": make_image([make_tar(layer) for layer in stack[:count]], compress=False)
        for count in range(1, len(stack) + 1)
    }
    layout = write_layout(folder / "layout", images)
    seen: list[set[bytes]] = []
    for tag in images:
        disk = umoci_facts(layout, tag, folder / tag, OWNERS)
        if isinstance(disk, str):
            event("refused")
            return
        seen.append({fact.content for fact in disk.values() if fact.content is not None})
    event("compared")
    expected = {}
    for content, layer in contents.items():
        if content not in seen[-1]:
            there = [number for number in range(layer, len(stack)) if content in seen[number]]
            expected[content] = (layer, max(there, default=layer - 1) + 1)
    try:
        df = didlab.open(f"oci:{layout}:{len(stack)}").waste()
    except errors.LinkLoop:
        event("refused by us")  # as in test_diff
        return
    assert df.attrs["wasted"] == 8 * len(expected)
    found = sorted(df[["layer", "by_layer"]].itertuples(index=False, name=None))
    assert found == sorted(expected.values())
    event(f"wasted: {min(len(expected), 3)}")


def test_kinds(server: FaultServer) -> None:
    m = opened(
        server,
        {"over": file(b"1" * 10), "chmod": file(b"2" * 20), "gone": file(b"3" * 30),
         "d/a": file(b"4" * 40), "d/b": file(b"5" * 50), "kept": file(b"6"), "empty": file(b"")},
        {"over": file(b"1" * 11), "chmod": file(b"2" * 20, mode=0o755), ".wh.gone": b""},
        {".wh.d": b"", ".wh.empty": b"", "over": file(b"")},
    )  # fmt: skip
    assert rows(m) == {
        ("/over", "overwritten", 10, 0, 1),
        ("/over", "overwritten", 11, 1, 2),
        ("/chmod", "metadata", 20, 0, 1),
        ("/gone", "deleted", 30, 0, 1),
        ("/d/a", "deleted", 40, 0, 2),
        ("/d/b", "deleted", 50, 0, 2),
    }
    df = m.waste()
    by = dict(zip(df["path"], df["created_by"], strict=True))
    assert by["/d/a"] == "rig: layer 2"
    assert df.attrs["reference"] == str(m.reference)
    assert df.attrs["efficiency"] == m.efficiency()


def test_what_a_layer_hides_itself(server: FaultServer) -> None:
    twice: list[tuple[str, Member]] = [
        ("p", file(b"1" * 5)), ("p", file(b"2" * 6)),
        ("d/x", file(b"3" * 7)), ("d", file(b"4")),
        (".wh..wh.plnk/1.2", file(b"5" * 9)),
    ]  # fmt: skip
    assert rows(opened(server, make_tar(twice))) == {
        ("/p", "overwritten", 5, 0, 0),
        ("/d/x", "hidden", 7, 0, 0),
        ("/.wh..wh.plnk/1.2", "hidden", 9, 0, 0),
    }


def test_content_with_another_name_is_none(server: FaultServer) -> None:
    base: list[tuple[str, Member]] = [("a", file(b"1" * 5)), ("b", hardlink("a"))]
    assert rows(opened(server, make_tar(base), {".wh.a": b""})) == set()
    both = opened(server, make_tar(base), {".wh.a": b""}, {"b": b"2"}, tag="2")
    assert rows(both) == {("/a", "overwritten", 5, 0, 2)}
    # a layer moves a file by a link to what it deletes
    moved = opened(server, {"a": b"1" * 5}, {".wh.a": b"", "b": hardlink("a")}, tag="3")
    assert rows(moved) == set()


def test_through_a_folder_that_is_a_link(server: FaultServer) -> None:
    m = opened(server, {"real/x": b"1" * 5, "l": symlink("real")}, {"l/x": b"22"})
    assert rows(m) == {("/real/x", "overwritten", 5, 0, 1)}


def test_a_sparse_file_wastes_what_is_stored(server: FaultServer) -> None:
    entry = tarfile.TarInfo("s")
    content = b"1" * 512
    entry.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "1000000",
    }  # fmt: skip
    stored = b"1\n0\n512\n".ljust(512, b"\0") + content
    m = opened(server, {"s": (entry, stored)}, {".wh.s": b""})
    assert m.layer(0).files().query("path == '/s'")["size"].tolist() == [1_000_000]
    (row,) = rows(m)
    assert row[0] == "/s"
    assert 512 <= row[2] <= 1024


# --- efficiency -----------------------------------------------------------------------------------


class Node:
    """A file node, in dive's words."""

    def __init__(self, name: str, parent: Node | None) -> None:
        self.name, self.parent = name, parent
        self.children: dict[str, Node] = {}
        self.size, self.folder = 0, False

    @property
    def whiteout(self) -> bool:
        return self.name.startswith(".wh.")

    @property
    def path(self) -> tuple[str, ...]:
        parts: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            parts.insert(0, node.name.removeprefix(".wh.") if node is self else node.name)
            node = node.parent
        return tuple(parts)

    def depth_first(self) -> Iterator[Node]:
        for name in sorted(self.children):
            yield from self.children[name].depth_first()
        if self.parent is not None:
            yield self


def add(root: Node, path: Sequence[str], size: int, folder: bool) -> None:
    node = root
    for part in path:
        if part not in node.children:
            if part.startswith(".wh..wh.."):
                return
            node.children[part] = Node(part, node)
        node = node.children[part]
    node.size, node.folder = size, folder


def get(root: Node, path: Sequence[str]) -> Node | None:
    node: Node | None = root
    for part in path:
        node = node.children.get(part) if node is not None else None
    return node


def tree(tar: bytes) -> Node:
    root = Node("", None)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            name = posixpath.normpath(member.name).strip("/")
            if name != ".":
                add(root, name.split("/"), member.size if member.isreg() else 0, member.isdir())
    return root


def dives(tars: Sequence[bytes]) -> float:
    """dive's Efficiency: trees of the layers, each leaf's sizes, whiteouts on the stacked tree."""
    trees = [tree(tar) for tar in tars]
    sums: dict[tuple[str, ...], int] = {}
    least: dict[tuple[str, ...], int] = {}
    for number, layer in enumerate(trees):
        for node in layer.depth_first():
            if node.children:
                continue
            size = node.size
            if node.whiteout:
                stacked = Node("", None)
                for lower in tars[:number]:
                    stack(stacked, tree(lower))
                before = get(stacked, node.path)
                if before is None:
                    continue
                size = sum(one.size for one in before.depth_first()) if before.folder else 0
            path = node.path
            sums[path] = sums.get(path, 0) + size
            least[path] = min(size, least.get(path, size))
    return sum(least.values()) / sum(sums.values()) if sum(sums.values()) else 1.0


def stack(root: Node, upper: Node) -> None:
    for node in upper.depth_first():
        if not node.whiteout:
            add(root, node.path, node.size, node.folder)
        elif (found := get(root, node.path)) is not None and found.parent is not None:
            del found.parent.children[found.name]


@settings(max_examples=150, deadline=None)
@given(stack=stacks())
def test_efficiency_as_dive_counts(stack: list[Layer]) -> None:
    note(describe(stack))
    tars = [make_tar(layer) for layer in marked(stack)[0]]
    found = own.efficiency([layer_table(tar) for tar in tars])
    assert found == pytest.approx(dives(tars))
    event("perfect" if found == 1 else "less")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], 1.0),
        ([{"a": b""}], 1.0),
        ([{"a": b"1" * 10}, {"a": b"1" * 30}], 10 / 40),
        ([{"a": b"1" * 10, "b": b"2" * 10}, {".wh.a": b""}], 10 / 20),
        ([{"d": None, "d/a": b"1" * 10}, {".wh.d": b""}], 20 / 20),
        ([{"d/a": b"1" * 10}, {".wh.d": b""}], 10 / 10),  # nobody says that it is a folder
        ([{"a": b"1" * 10}, {".wh.other": b""}], 1.0),
        ([{"a": b"1" * 10}, {".wh..wh..opq": b""}], 1.0),
        ([{"+": b"1" * 10}, {"+": b"2", ".wh.+": b""}, {".wh.+": b""}], 0.0),
    ],
)
def test_efficiency_by_hand(layers: list[Any], expected: float) -> None:
    tars = [make_tar(layer) for layer in layers]
    assert own.efficiency([layer_table(tar) for tar in tars]) == pytest.approx(expected)
    assert dives(tars) == pytest.approx(expected)


def test_efficiency_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "/".join("d" * 50)
    monkeypatch.setattr(own, "_MADE", 1000)
    with pytest.raises(errors.LimitExceeded, match="parents"):
        own.efficiency([layer_table(make_tar({deep: b"1"}))])
    monkeypatch.undo()
    monkeypatch.setattr(own, "_WORK", 10)
    base = {"d": None, **{f"d/{number}": b"1" for number in range(20)}}
    tables = [layer_table(make_tar(layer)) for layer in (base, {".wh.d": b""})]
    with pytest.raises(errors.LimitExceeded, match="whiteouts"):
        own.efficiency(tables)


# --- duplicates -----------------------------------------------------------------------------------


def test_duplicates(server: FaultServer) -> None:
    m = opened(
        server,
        {"a": b"1" * 5000, "b": b"1" * 5000, "c": hardlink("a"), "d": b"2" * 5000,
         "e": b"3" * 9000, "small": b"s", "gone": b"1" * 5000},
        {"f": b"1" * 5000, "g": b"3" * 9000, "small2": b"s", ".wh.gone": b""},
    )  # fmt: skip
    df = m.duplicates()
    columns = ["path", "size", "copies", "wasted", "layer"]
    assert list(df[columns].itertuples(index=False, name=None)) == [
        ("/a", 5000, 3, 0, 0),
        ("/b", 5000, 3, 5000, 0),
        ("/f", 5000, 3, 5000, 1),
        ("/e", 9000, 2, 0, 0),
        ("/g", 9000, 2, 9000, 1),
    ]
    import hashlib

    assert df["digest"].iloc[0] == "sha256:" + hashlib.sha256(b"1" * 5000).hexdigest()
    assert df.groupby("digest")["path"].count().tolist() == [3, 2] or len(df) == 5
    asked = len(server.requests)
    assert m.duplicates().equals(df)
    assert len(server.requests) == asked
    assert set(m.duplicates(min_size=1)["path"]) == {*df["path"], "/small", "/small2"}
    assert list(m.duplicates("/[ab]")["path"]) == ["/a", "/b"]
    assert len(m.duplicates("/nowhere")) == 0
    for bad in (0, -1, 1.5, True, "1"):
        with pytest.raises(errors.InvalidArgument):
            m.duplicates(min_size=bad)  # type: ignore[arg-type]


def test_duplicates_read_little(server: FaultServer) -> None:
    noise = random.Random(1).randbytes
    layer = {f"big/{number}": noise(300_000 + number) for number in range(20)}
    layer |= {"a": noise(8000), "b": b"1" * 8000}
    layer["c"] = layer["a"]
    image = make_image([layer], compress=lambda tar: gzipped(tar, 1))
    server.add_image("lab/app", "1", image)
    m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
    m.files()
    before = len(blobs(server))
    assert list(m.duplicates()["path"]) == ["/a", "/c"]
    more = blobs(server)[before:]
    assert 1 <= len(more) <= 3
    assert sum(one.sent for one in more) < image.layers[0]["size"] / 3


# --- caches ---------------------------------------------------------------------------------------

LEFT = {
    "apt lists": "var/lib/apt/lists/mirror.example_Packages",
    "apt archives": "var/cache/apt/pkgcache.bin",
    "apk": "var/cache/apk/APKINDEX.1.tar.gz",
    "dnf": "var/cache/dnf/x.solv",
    "zypper": "var/cache/zypp/solv",
    "pacman": "var/cache/pacman/pkg/a.pkg.tar.zst",
    "man-db": "var/cache/man/index.db",
    "tmp": "tmp/x/y",
    "pip": "root/.cache/pip/http/1",
    "uv": "home/me/.cache/uv/wheels/1",
    "poetry": "root/.cache/pypoetry/artifacts/1",
    "conda": "opt/miniconda3/pkgs/a.conda",
    "npm": "root/.npm/_cacache/index/1",
    "yarn": "usr/local/share/.cache/yarn/v6/1",
    "pnpm": "root/.local/share/pnpm/store/v3/1",
    "go": "root/.cache/go-build/00/1",
    "cargo": "usr/local/cargo/registry/cache/1.crate",
    "gem": "usr/local/bundle/cache/a.gem",
    "composer": "root/.composer/cache/files/1.zip",
    "gradle": "root/.gradle/caches/modules/1.jar",
    "ccache": "root/.ccache/0/1",
    "git": "app/.git/objects/pack/1.pack",
}
NONE = [
    "usr/lib/apt/lists/x", "app/cache/x", "root/.cache/other/x", "home/var/cache/apt/x",
    "app/git/x", "app/.gitignore", "usr/lib/go/pkg/x", "tmpfile", "usr/tmp/x", "a.git/x",
    "app/.cache/pipx/x",
]  # fmt: skip


def test_caches(server: FaultServer) -> None:
    assert set(LEFT) == {kind for kind, _ in CACHES}
    layer = {path: b"1" * (100 + number) for number, path in enumerate(LEFT.values())}
    m = opened(server, {**layer, **dict.fromkeys(NONE, b"1"), "tmp/empty": b""})
    df = m.caches()
    assert set(df["kind"]) == set(LEFT)
    assert len(df) == len(LEFT)
    assert list(df["size"]) == sorted(df["size"], reverse=True)
    for kind, path, files, size in df[["kind", "path", "files", "size"]].itertuples(index=False):
        assert f"/{LEFT[kind]}".startswith(path + "/")
        assert (files, size) == (1, len(layer[LEFT[kind]]))


def test_caches_by_layer(server: FaultServer) -> None:
    lists = "var/lib/apt/lists/"
    m = opened(
        server,
        {f"{lists}a": b"1" * 10, f"{lists}b": b"2" * 20, "root/.cache/pip/x": b"x"},
        {f"{lists}c": b"3" * 30, "root/.wh..cache": b""},
    )
    columns = ["kind", "path", "files", "size", "layer", "created_by"]
    assert list(m.caches()[columns].itertuples(index=False, name=None)) == [
        ("apt lists", "/var/lib/apt/lists", 2, 30, 0, "rig: layer 0"),
        ("apt lists", "/var/lib/apt/lists", 1, 30, 1, "rig: layer 1"),
    ]


def test_what_would_stay_is_no_cache(server: FaultServer) -> None:
    """conda links what it installs to its cache."""
    m = opened(
        server,
        {
            "opt/conda/pkgs/a/lib": b"1" * 10,
            "opt/conda/lib": hardlink("opt/conda/pkgs/a/lib"),
            "opt/conda/pkgs/b/lib": b"2" * 20,
            "opt/conda/pkgs/b/lib2": hardlink("opt/conda/pkgs/b/lib"),
        },
    )
    assert list(m.caches()[["files", "size"]].itertuples(index=False, name=None)) == [(1, 20)]


# --- all of them ----------------------------------------------------------------------------------


def test_after_files_nothing_is_asked(server: FaultServer, tmp_path: Path) -> None:
    m = opened(server, {"a": b"1" * 10}, {"a": b"2"})
    m.files()
    asked = len(server.requests)
    m.waste()
    m.efficiency()
    m.caches()
    assert len(server.requests) == asked
    tar = m.save(tmp_path / "it.tar", progress=False).path
    assert didlab.open(str(tar)).waste()["path"].tolist() == ["/a"]


def test_an_image_of_nothing(server: FaultServer) -> None:
    m = opened(server, {})
    assert (len(m.waste()), m.efficiency(), len(m.duplicates()), len(m.caches())) == (0, 1.0, 0, 0)
    server.add_image("lab/app", "2", make_artifact(b"{}", "application/x", [], {}))
    artifact = didlab.open(f"{server.host}/lab/app:2", trust_env=False)
    for ask in (artifact.waste, artifact.efficiency, artifact.duplicates, artifact.caches):
        with pytest.raises(errors.NotAnImage):
            ask()
