"""diff(): what changed between two images, against what umoci unpacks; and what it costs."""

from __future__ import annotations

import os
import pickle
import random
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from rig.faults import FaultServer, Request
from rig.images import (
    Member,
    gzipped,
    hardlink,
    make_artifact,
    make_image,
    make_index,
    make_tar,
    push_image,
    symlink,
    write_layout,
)
from rig.registries import Registry
from rig.stacks import describe, stacks
from rig.unpacked import umoci_facts
from views.examples import poisoned
from views.hostile import HARMLESS, PAYLOADS, read, skeleton
from views.test_frames_contract import CONTRACT, check

import didlab
from didlab import errors
from didlab.audits.diff import texts
from didlab.audits.diff.difference import Diff
from didlab.files import blocks, kept
from didlab.sources.cached import shared
from didlab.views.cards import difference as card

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


def opened(server: FaultServer, tag: str, *layers: Any, **config: Any) -> didlab.Manifest:
    server.add_image("lab/app", tag, make_image(layers, **config))
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)


def blobs(server: FaultServer) -> list[Request]:
    return [one for one in server.requests if "/blobs/" in one.path]


def file(content: bytes, mtime: int = 1_700_000_000, mode: int = 0o644, uid: int = 0) -> Member:
    entry = tarfile.TarInfo()
    entry.mtime, entry.mode, entry.uid = mtime, mode, uid
    return entry, content


#: Later than all others of its layer: what comes before it has a time that tells.
LATER = {"zz-later": file(b"", 1_800_000_000)}


def told(df: pd.DataFrame) -> dict[str, tuple[str, Any]]:
    """Change and what changed, by path."""
    changed = df["changed"].astype(object).where(df["changed"].notna(), None)
    return dict(zip(df["path"], zip(df["change"], changed, strict=True), strict=True))


# --- files, against a disk ------------------------------------------------------------------------


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(one=stacks(), two=stacks(), shared_layers=st.integers(0, 4))
def test_as_the_disks_differ(tmp_path_factory: Any, one: Any, two: Any, shared_layers: int) -> None:
    two = [*one[:shared_layers], *two]
    note(describe(one))
    note(describe(two))
    folder = tmp_path_factory.mktemp("diff")
    images = {
        tag: make_image([make_tar(layer) for layer in stack], compress=False)
        for tag, stack in (("1", one), ("2", two))
    }
    layout = write_layout(folder / "layout", images)
    disks = [umoci_facts(layout, tag, folder / tag, OWNERS) for tag in images]
    if any(isinstance(disk, str) for disk in disks):
        event("refused")
        return
    event("compared")
    before, after = disks
    assert not isinstance(before, str)
    assert not isinstance(after, str)
    d = didlab.diff(f"oci:{layout}:1", f"oci:{layout}:2")
    try:
        found = told(d.files(content=True))
    except errors.LinkLoop:
        # A whiteout below a link that leads to itself: umoci takes it, the merge does not.
        event("refused by us")
        return
    # Parents that nobody states: whoever unpacks them gives them mode and owner.
    implied = {
        path
        for image in (d.before, d.after)
        for path, mtime in zip(image.files()["path"], image.files()["mtime"], strict=True)
        if pd.isna(mtime)
    }
    expected: dict[str, tuple[str, Any]] = {}
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            expected[path.decode()] = ("added" if old is None else "removed", None)
            continue
        alike = old.type == new.type
        parts = {
            "type": not alike,
            "content": alike and old.content != new.content,
            "mode": alike and old.mode != new.mode,
            "owner": old.owner != new.owner,
            "link": alike and old.link != new.link,
        }
        expected[path.decode()] = ("changed", ", ".join(name for name in parts if parts[name]))
    assert open_ends(found, implied) == open_ends(expected, implied)


def open_ends(found: dict[str, tuple[str, Any]], implied: set[str]) -> dict[str, tuple[str, Any]]:
    """Without what depends on who unpacks, and without what does not differ then."""
    kept_: dict[str, tuple[str, Any]] = {}
    for path, (change, parts) in found.items():
        told_of = set((parts or "").split(", ")) - {""}
        told_of -= {"owner", "mode"} if path in implied else set() if OWNERS else {"owner"}
        if change != "changed" or told_of:
            kept_[path] = (change, ", ".join(sorted(told_of)))
    return kept_


# --- what is read, and what is said where nothing is ----------------------------------------------


def test_equal_size_is_no_proof(server: FaultServer) -> None:
    before = {
        "same": file(b"s"), "quick": file(b"q"), "touched": file(b"t"), "epoch": file(b"e", 1),
        "size": file(b"xx"), "empty": file(b"", 5), "late": file(b"l", 1_800_000_000),
    }  # fmt: skip
    after = {
        **before,
        "quick": file(b"Q"), "touched": file(b"t", 1_700_000_009), "epoch": file(b"E", 1),
        "size": file(b"xxx"), "empty": file(b"", 6), "late": file(b"L", 1_800_000_000),
    }  # fmt: skip
    d = opened(server, "1", before).diff(opened(server, "2", after))
    df = d.files()
    assert told(df) == {
        "/epoch": ("maybe", None),
        "/late": ("maybe", None),
        "/size": ("changed", "content"),
        "/touched": ("maybe", None),
    }
    assert df.attrs["unverified"] == 5  # /same and /quick, too
    assert set(df["content"]) == {"unknown", "different"}
    df = d.files(content=True)
    assert told(df) == {
        "/epoch": ("changed", "content"),
        "/late": ("changed", "content"),
        "/quick": ("changed", "content"),
        "/size": ("changed", "content"),
    }
    assert df.attrs["unverified"] == 0
    # What was read once is known from now on.
    asked = len(server.requests)
    assert told(d.files()) == told(df)
    times = told(d.files(times=True))
    assert times["/touched"] == times["/empty"] == ("changed", "mtime")
    assert len(server.requests) == asked


def test_everything_that_may_differ(server: FaultServer) -> None:
    def device(major: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo()
        entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, major, 3
        return entry

    def attributed(value: str) -> Member:
        entry = tarfile.TarInfo()
        entry.pax_headers = {"SCHILY.xattr.user.a": value}
        return entry, b""

    def folder(mode: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo()
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        return entry

    d = opened(
        server,
        "1",
        {
            "mode": file(b"m"), "owner": file(b"o"), "both": file(b"b"), "type": file(b"t"),
            "link": symlink("a"), "device": device(1), "xattrs": attributed("1"),
            "folder": folder(0o755), "gone": file(b"gone"),
            "copy": file(b"c"), "linked": file(b"l"), "name": hardlink("linked"), **LATER,
        },
    ).diff(
        opened(
            server,
            "2",
            {
                "mode": file(b"m", mode=0o755), "owner": file(b"o", uid=7),
                "both": file(b"B!", uid=7, mode=0o600), "type": symlink("t"),
                "link": symlink("b"), "device": device(2), "xattrs": attributed("2"),
                "folder": folder(0o700), "new": file(b"new"),
                # which of two names is the file tells nothing
                "copy": file(b"c"), "name": file(b"l"), "linked": hardlink("name"), **LATER,
            },
        )
    )  # fmt: skip
    df = d.files()
    assert told(df) == {
        "/both": ("changed", "content, mode, owner"),
        "/device": ("changed", "device"),
        "/folder": ("changed", "mode"),
        "/gone": ("removed", None),
        "/link": ("changed", "link"),
        "/mode": ("changed", "mode"),
        "/new": ("added", None),
        "/owner": ("changed", "owner"),
        "/type": ("changed", "type"),
        "/xattrs": ("changed", "xattrs"),
    }
    rows = df.set_index("path")
    assert tuple(rows.loc["/both", ["size_before", "size_after"]]) == (1, 2)
    assert tuple(rows.loc["/both", ["permissions_before", "permissions_after"]]) == (
        "-rw-r--r--",
        "-rw-------",
    )
    assert tuple(rows.loc["/owner", ["owner_before", "owner_after"]]) == ("0:0", "7:0")
    assert rows.loc["/gone", "layer_before"] == 0
    assert pd.isna(rows.loc["/gone", "layer_after"])
    assert pd.isna(rows.loc["/gone", "permissions_after"])
    assert list(rows["type"].loc[["/type", "/link"]]) == ["symlink", "symlink"]
    assert df.attrs["before"] == str(d.before.reference)


def test_whiteouts_of_a_shared_base(server: FaultServer) -> None:
    base = {"a/x": b"x", "a/y": b"y", "b": b"b"}
    one = opened(server, "1", base, {"a/.wh.x": b""})
    two = opened(server, "2", base, {"a/.wh..wh..opq": b"", "a/z": b"z"}, {"b": b"bb"})
    assert told(one.diff(two).files()) == {
        "/a/y": ("removed", None),
        "/a/z": ("added", None),
        "/b": ("changed", "content"),
    }


def test_content_of_a_name_that_comes_twice(server: FaultServer) -> None:
    """A link to the first of them; facts by path are about the last."""
    first: list[tuple[str, Member]] = [
        ("p", file(b"1" * 600)), ("h", hardlink("p")), ("p", file(b"2" * 600)),
    ]  # fmt: skip
    second: list[tuple[str, Member]] = [("h", file(b"2" * 600)), ("p", file(b"2" * 600))]
    one = opened(server, "1", make_tar(first), {"other": b"1"})
    two = opened(server, "2", make_tar(second), {"other": b"2"})
    found = told(one.diff(two).files(content=True))
    assert found == {"/h": ("changed", "content"), "/other": ("changed", "content")}


@pytest.mark.parametrize("latest", [1, 2])
def test_the_latest_time_of_a_layer_tells_nothing(server: FaultServer, latest: int) -> None:
    """In either image: a build that clamps times gives it to whatever it made."""
    sides = [{"x": file(content), **(LATER if latest != at else {})} for at, content in
             ((1, b"1"), (2, b"2"))]  # fmt: skip
    d = opened(server, "1", sides[0]).diff(opened(server, "2", sides[1]))
    assert told(d.files())["/x"] == ("maybe", None)


def test_other_content_of_the_same_layer(server: FaultServer) -> None:
    """A layer that both have, and links to two files of it."""
    base = {"a": file(b"1"), "b": file(b"2"), **LATER}
    one = opened(server, "1", base, {"h": hardlink("a")})
    two = opened(server, "2", base, {"h": hardlink("b")})
    assert told(one.diff(two).files(content=True)) == {"/h": ("changed", "content")}


def test_reading_is_bounded(server: FaultServer) -> None:
    """A few files of a large layer cost a few ranges; a second time nothing."""
    noise = random.Random(1).randbytes
    images = []
    for tag, when in (("1", 100), ("2", 200)):
        layer = {f"big/{number}": file(noise(400_000 + when), number) for number in range(20)}
        layer |= {"a": file(noise(900), when), "b": file(b"b", when)}
        images.append(make_image([layer], compress=lambda tar: gzipped(tar, 1)))
        server.add_image("lab/app", tag, images[-1])
    one, two = (didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False) for tag in "12")
    d = one.diff(two)
    d.files()
    before = len(blobs(server))
    found = told(d.files(content=True))
    more = blobs(server)[before:]
    assert 1 <= len(more) <= 4
    assert sum(one.sent for one in more) < sum(one.layers[0]["size"] for one in images) / 4
    assert found["/a"] == ("changed", "content")
    assert "/b" not in found
    assert len(found) == 21
    assert told(d.files(content=True)) == found
    assert len(blobs(server)) == before + len(more)


def test_equal_images_cost_no_layer(server: FaultServer) -> None:
    layers = [{"a": b"a"}, {"b": b"b"}]
    d = opened(server, "1", *layers, Env=["A=1"]).diff(opened(server, "2", *layers, Env=["A=2"]))
    assert len(d.files()) == 0
    configs = len(blobs(server))
    assert configs == 2
    assert list(d.layers()["status"]) == ["shared", "shared"]
    assert told(d.files(content=True)) == {}
    assert len(blobs(server)) == configs


def test_shared_layers_are_read_once(registry: Registry) -> None:
    base = {"base/a": b"a" * 5000, "base/b": b"b"}
    push_image(registry.host, "audits/diff", "1", make_image([base, {"x": b"1"}]))
    push_image(registry.host, "audits/diff", "2", make_image([base, {"x": b"22"}, {"y": b"y"}]))
    repo = didlab.Registry(registry.host, trust_env=False)["audits/diff"]
    d = repo["1"].diff(f"{registry.host}/audits/diff:2")
    assert told(d.files()) == {"/x": ("changed", "content"), "/y": ("added", None)}
    requests = repo.registry.requests()
    asked = Counter(requests[requests["path"].str.contains("/audits/diff/blobs/")]["path"])
    assert max(asked.values()) == 1
    assert len(asked) == 4 + 2  # layers and configs


def test_the_frames_keep_their_contract(server: FaultServer) -> None:
    one, two = (
        opened(server, "1", {"a": b"a"}),
        opened(server, "2", {"a": b"bb", "c": symlink("a")}),
    )
    for d in (one.diff(two), two.diff(one), one.diff(one)):
        for name in ("files", "packages", "config", "layers", "sizes"):
            df = getattr(d, name)()
            check(df, CONTRACT[f"diff_{name}"])
            assert df.attrs["reference"] == str(d.after.reference)
            assert df.attrs["before"] == str(d.before.reference)
    for name in ("waste", "duplicates", "caches"):
        check(getattr(two, name)(), CONTRACT[name])


# --- which images ---------------------------------------------------------------------------------


def test_the_same_in_another_form(server: FaultServer, tmp_path: Path) -> None:
    """A tar, another compression, another registry: nothing differs, and nothing may."""
    layers = [{"a": b"a", "b": b"b"}, {"c": b"c"}]
    m = opened(server, "1", *layers)
    tar = m.save(tmp_path / "it.tar", progress=False)
    assert len(m.diff(tar.path).files()) == 0
    server.add_image("lab/app", "plain", make_image(layers, compress=False))
    d = m.diff(f"{server.host}/lab/app:plain")
    assert list(d.layers()["status"]) == ["recompressed"] * 2
    df = d.files()
    assert len(df) == 0
    assert df.attrs["unverified"] == 0
    with FaultServer() as other:
        far = opened(other, "1", *layers)
        assert len(m.diff(far).files()) == 0


def test_platforms(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")

    def index(content: bytes) -> Any:
        return make_index(
            [
                make_image([{"amd64": b"a" + content}]),
                make_image([{"arm64": b"b" + content}], "linux/arm64"),
            ]
        )

    server.add_image("lab/app", "1", index(b"1"))
    server.add_image("lab/app", "2", index(b"22"))
    m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
    name = f"{server.host}/lab/app:2"
    assert list(m.diff(name).files()["path"]) == ["/amd64"]
    assert list(m["linux/arm64"].diff(name).files()["path"]) == ["/arm64"]
    assert list(didlab.diff(m, name, "linux/arm64", trust_env=False).files()["path"]) == ["/arm64"]
    across = m["linux/amd64"].diff(m["linux/arm64"])
    assert told(across.files()) == {"/amd64": ("removed", None), "/arm64": ("added", None)}
    assert "architecture" in set(across.config()["key"])
    assert "linux/amd64" in repr(across)
    assert "linux/arm64" in repr(across)


def test_asked_for_in_the_same_way(server: FaultServer) -> None:
    m = opened(server, "1", {"a": b"a"})
    assert m.registry is not None
    d = m.diff(f"{server.host}/lab/app:1")
    assert d.after.registry == m.registry
    assert d.after._snapshot.source.location == m._snapshot.source.location
    with pytest.raises(errors.InvalidArgument, match="int"):
        m.diff(5)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidReference):
        m.diff("no such:name:")


def test_what_it_is(server: FaultServer) -> None:
    one, two = opened(server, "1", {"a": b"a"}), opened(server, "2", {"a": b"b"})
    d = one.diff(two)
    assert d == didlab.diff(one, two)
    assert d != two.diff(one)
    assert d.__eq__("x") is NotImplemented
    assert hash(d) == hash(one.diff(two))
    assert bool(d)
    again = pickle.loads(pickle.dumps(d))
    assert (again, again.before, again.after) == (d, one, two)
    asked = len(server.requests)
    assert repr(d) == f"<Diff {server.host}/lab/app:1 → {server.host}/lab/app:2 · not fetched>"
    assert len(server.requests) == asked
    server.add_image("lab/app", "3", make_artifact(b"{}", "application/x", [], {}))
    with pytest.raises(errors.NotAnImage):
        one.diff(f"{server.host}/lab/app:3").files()


# --- packages, config, layers, sizes --------------------------------------------------------------


def paragraph(name: str, version: str, size: int = 1, architecture: str = "amd64") -> bytes:
    told = {"Package": name, "Status": "install ok installed", "Architecture": architecture}
    told |= {"Version": version, "Installed-Size": str(size)}
    return "".join(f"{key}: {value}\n" for key, value in told.items()).encode() + b"\n"


def test_packages(server: FaultServer) -> None:
    npm = "app/node_modules/{}/package.json"
    one = opened(
        server,
        "1",
        {
            "var/lib/dpkg/status": paragraph("up", "1.0~rc1-1")
            + paragraph("down", "2")
            + paragraph("gone", "1")
            + paragraph("same", "1")
            + paragraph("arch", "1", architecture="i386")
        },
        {
            npm.format("a"): b'{"name": "a", "version": "1.0.0"}',
            npm.format("b/node_modules/a"): b'{"name": "a", "version": "2.0.0"}',
        },
    )
    two = opened(
        server,
        "2",
        {
            "var/lib/dpkg/status": paragraph("up", "1.0-1")
            + paragraph("down", "1:1~")
            + paragraph("down", "1")
            + paragraph("new", "1")
            + paragraph("same", "1")
            + paragraph("arch", "1")
        },
        {
            npm.format("a"): b'{"name": "a", "version": "1.0.1"}',
            npm.format("b/node_modules/a"): b'{"name": "a", "version": "2.0.0"}',
            npm.format("c/node_modules/a"): b'{"name": "a", "version": "0.1.0"}',
        },
    )
    df = one.diff(two).packages()
    columns = ["ecosystem", "name", "change", "before", "after", "layer_before", "layer_after"]
    rows = df[columns].astype(object).where(df[columns].notna(), None)
    assert set(rows.itertuples(index=False, name=None)) == {
        ("deb", "arch", "added", None, "1", None, 0),
        ("deb", "arch", "removed", "1", None, 0, None),
        ("deb", "down", "upgraded", "2", "1:1~", 0, 0),
        ("deb", "down", "added", None, "1", None, 0),
        ("deb", "gone", "removed", "1", None, 0, None),
        ("deb", "new", "added", None, "1", None, 0),
        ("deb", "up", "upgraded", "1.0~rc1-1", "1.0-1", 0, 0),
        ("npm", "a", "added", None, "0.1.0", None, 1),
        ("npm", "a", "upgraded", "1.0.0", "1.0.1", 1, 1),
    }
    back = two.diff(one).packages()
    assert set(back[back["name"] == "up"]["change"]) == {"downgraded"}
    assert len(one.diff(one).packages()) == 0


def test_packages_of_two_platforms(server: FaultServer) -> None:
    """A package that is there for both machines is no difference; nor do others get lost."""

    def image(tag: str, platform: str, *paragraphs: bytes) -> didlab.Manifest:
        layers = [{"var/lib/dpkg/status": b"".join(paragraphs)}]
        server.add_image("lab/app", tag, make_image(layers, platform))
        return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)

    one = image(
        *("1", "linux/amd64"),
        *(paragraph("a", "1"), paragraph("b", "1"), paragraph("all", "1", architecture="all")),
        *(paragraph("both", "1"), paragraph("both", "1", architecture="i386")),
    )
    two = image(
        *("2", "linux/arm64"),
        *(paragraph("a", "1", architecture="arm64"), paragraph("b", "2", architecture="arm64")),
        *(paragraph("all", "2", architecture="all"), paragraph("c", "1", architecture="arm64")),
        paragraph("both", "1", architecture="arm64"),
    )
    df = one.diff(two).packages()
    rows = df[["name", "architecture", "change"]].astype(object)
    assert set(rows.itertuples(index=False, name=None)) == {
        ("all", "all", "upgraded"),
        ("b", "arm64", "upgraded"),
        ("c", "arm64", "added"),
        ("both", "amd64", "removed"),
        ("both", "i386", "removed"),
        ("both", "arm64", "added"),
    }


def test_several_versions_of_a_package(server: FaultServer) -> None:
    def image(tag: str, *versions: str) -> didlab.Manifest:
        where = "app/{}/node_modules/a/package.json"
        return opened(
            server,
            tag,
            {where.format(v): f'{{"name": "a", "version": "{v}"}}'.encode() for v in versions},
        )

    df = image("1", "1.0.0", "2.0.0", "9.0.0").diff(image("2", "3.0.0", "9.0.0")).packages()
    rows = df[["change", "before", "after"]].astype(object).where(df.notna(), None)
    assert set(rows.itertuples(index=False, name=None)) == {
        ("upgraded", "2.0.0", "3.0.0"),
        ("removed", "1.0.0", None),
    }


def test_config(server: FaultServer) -> None:
    one = opened(
        server, "1", {"a": b"a"}, Env=["PATH=/bin", "TOKEN=ghp_0123456789abcdefghij", "OLD=1"],
        Labels={"v": "1", "db.password": "hunter2"}, Cmd=["/a"], ExposedPorts={"80/tcp": {}},
        User="", Entrypoint=None,
    )  # fmt: skip
    two = opened(
        server, "2", {"a": b"b"}, Env=["PATH=/usr/bin", "TOKEN=ghp_9876543210abcdefghij", "NEW="],
        Labels={"v": "2", "db.password": "hunter3"}, Cmd=["/a", "b"], ExposedPorts={"81/tcp": {}},
        User="www", Volumes={},
    )  # fmt: skip
    df = one.diff(two).config()
    rows = df.astype(object).where(df.notna(), None).itertuples(index=False, name=None)
    assert list(rows) == [
        ("Env.PATH", "changed", "/bin", "/usr/bin"),
        ("Env.TOKEN", "changed", "••••", "••••"),
        ("Env.OLD", "removed", "1", None),
        ("Labels.v", "changed", "1", "2"),
        ("Labels.db.password", "changed", "••••", "••••"),
        ("Cmd", "changed", '["/a"]', '["/a", "b"]'),
        ("ExposedPorts.80/tcp", "removed", "", None),
        ("Env.NEW", "added", None, ""),
        ("ExposedPorts.81/tcp", "added", None, ""),
        ("User", "added", None, "www"),
    ]
    assert len(one.diff(one).config()) == 0


def test_layers(server: FaultServer) -> None:
    empty: dict[str, bytes] = {"e": b""}
    one = opened(server, "1", {"a": b"a"}, empty, {"b": b"b"}, empty)
    two = opened(server, "2", empty, {"a": b"a"}, {"c": b"c"})
    df = one.diff(two).layers()
    columns = ["status", "position_before", "position_after"]
    rows = df[columns].astype(object).where(df[columns].notna(), None)
    assert list(rows.itertuples(index=False, name=None)) == [
        ("shared", 0, 1),
        ("shared", 1, 0),
        ("removed", 2, None),
        ("removed", 3, None),
        ("added", None, 2),
    ]
    digests = set(one.layers()["digest"]) | set(two.layers()["digest"])
    assert set(df["digest"]) == digests
    three = opened(server, "3", {"b": b"b"})
    assert list(one.diff(three).layers()["status"]) == ["removed", "removed", "shared", "removed"]


def test_sizes(server: FaultServer) -> None:
    base = {"usr/lib/a/x": b"1" * 100, "etc/p": b"22", "r": b"333", "usr/l": hardlink("etc/p")}
    one = opened(server, "1", {**base, "var/lib/dpkg/status": paragraph("p", "1", 5)})
    two = opened(
        server,
        "2",
        {**base, "usr/lib/b": b"4" * 50, "etc/p": b"5", "q": b"6",
         "var/lib/dpkg/status": paragraph("p", "1", 7)},
        {"usr/.wh.l": b""},
    )  # fmt: skip
    d = one.diff(two)
    df = d.sizes()
    rows = list(df.itertuples(index=False, name=None))
    assert rows == [("/usr/lib", 100, 150, 50), ("/", 3, 4, 1), ("/etc", 2, 1, -1)]
    total = [image.files().query("type == 'file'")["size"].sum() for image in (one, two)]
    assert df["delta"].sum() == total[1] - total[0]
    assert list(d.sizes(depth=1)["name"]) == ["/usr", "/", "/etc"]
    assert list(d.sizes(depth=9)["name"]) == ["/usr/lib", "/", "/etc"]
    packages = list(d.sizes("package").itertuples(index=False, name=None))
    assert packages == [("p", 5 * 1024, 7 * 1024, 2 * 1024)]
    by = d.sizes("layer")
    assert set(by["name"]) == {"rig: layer 0", "rig: layer 1"}
    assert by["delta"].sum() == two.layers()["size"].sum() - one.layers()["size"].sum()
    for bad in ("folder", None, 1):
        with pytest.raises(errors.InvalidArgument, match="directory"):
            d.sizes(bad)  # type: ignore[arg-type]
    for depth in (0, -1, True, 1.5):
        with pytest.raises(errors.InvalidArgument, match="depth"):
            d.sizes(depth=depth)  # type: ignore[arg-type]


# --- text -----------------------------------------------------------------------------------------


def test_text(server: FaultServer) -> None:
    lines = [f"line {number}\n".encode() for number in range(30)]
    other = [*lines[:10], b"\x1b[31mred\t\xe9\n", *lines[11:]]
    one = opened(
        server, "1",
        {"c": b"".join(lines), "same": b"s", "bin": b"\0a", "end": b"x", "gone": b"1\n2\n",
         "l": symlink("c"), "big": b"1" * 100},
    )  # fmt: skip
    two = opened(
        server, "2",
        {"c": b"".join(other), "same": b"s", "bin": b"\0b", "end": b"x\n", "new": b"1\n",
         "l": symlink("c"), "big": b"2" * 100, "d": None},
    )  # fmt: skip
    d = one.diff(two)
    head = [f"--- {server.host}/lab/app:1 /c", f"+++ {server.host}/lab/app:2 /c"]
    shown = d.text("c")
    assert shown.split("\n") == [
        *head, "@@ -8,7 +8,7 @@", " line 7", " line 8", " line 9", "-line 10",
        "+\\x1b[31mred\t\\xe9", " line 11", " line 12", " line 13",
    ]  # fmt: skip
    assert repr(shown) == str(shown)
    assert d.text("/l").split("\n")[2:] == shown.split("\n")[2:]
    assert d.text("/same") == ""
    assert d.text("/bin").startswith("Binary files ")
    assert d.text("/end").split("\n")[2:] == [
        "@@ -1 +1 @@", "-x", "\\ No newline at end of file", "+x",
    ]  # fmt: skip
    assert d.text("/gone").split("\n")[1:] == ["+++ /dev/null", "@@ -1,2 +0,0 @@", "-1", "-2"]
    assert d.text("/new").split("\n")[::2] == ["--- /dev/null", "@@ -0,0 +1 @@"]
    with pytest.raises(errors.PathNotFound):
        d.text("/nowhere")
    with pytest.raises(errors.NotAFile):
        d.text("/d")


def test_text_is_bounded(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LARGEST", 50)
    monkeypatch.setattr(texts, "MOST", 4)
    m = opened(server, "1", {"big": b"1" * 51, "long": b"1\n" * 20})
    d = m.diff(opened(server, "2", {"big": b"2" * 50, "long": b"2\n" * 20}))
    with pytest.raises(errors.LimitExceeded) as raised:
        d.text("/big")
    assert (raised.value.seen, raised.value.limit) == (51, 50)
    assert d.text("/long").split("\n")[-1] == "… cut after 4 lines"
    assert len(d.text("/long").split("\n")) == 2 + 4 + 1


def applied(before: list[str], diff: list[str]) -> list[str]:
    """What a unified diff makes of lines."""
    made: list[str] = []
    at = 0
    for line in diff:
        if hunk := re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            start = int(hunk[1]) - (hunk[2] != "0")
            made += before[at:start]
            assert len(made) == int(hunk[3]) - (hunk[4] != "0")
            at = start
        elif line.startswith("+"):
            made.append(line[1:])
        else:
            assert before[at] == line[1:]
            at += 1
            if line.startswith(" "):
                made.append(line[1:])
    return made + before[at:]


LINES = st.lists(st.sampled_from("abc"), max_size=30)


@settings(max_examples=200, deadline=None)
@given(before=LINES, after=LINES, work=st.sampled_from([0, 60, 10**9]))
def test_a_unified_diff_leads_from_one_to_the_other(
    before: list[str], after: list[str], work: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_WORK", work)
        made = list(texts.unified(before, after))
    assert applied(before, made) == after
    assert bool(made) == (before != after)


def test_many_equal_lines_cost_no_square() -> None:
    """As they stand they would take difflib hours."""
    before, after = ["x", *["a", "b"] * 80_000, "y"], ["X", *["b", "a"] * 80_000, "Y"]
    assert list(texts._changes(before, after)) == [(0, len(before), 0, len(after))]
    # Between lines that come once the others are still told apart.
    before, after = [*before, "once", "p", "q"], [*after, "once", "q"]
    assert texts._changes(before, after)[1:] == [(160_003, 160_004, 160_003, 160_003)]
    assert applied(before, list(texts.unified(before, after))) == after


def test_what_moved_is_no_anchor() -> None:
    before, after = list("abcdefg"), list("gabXdef")
    assert texts._anchors(before, after) == [(0, 1), (1, 2), (3, 4), (4, 5), (5, 6)]
    assert texts._changes(before, after) == [(0, 0, 0, 1), (2, 3, 3, 4), (6, 7, 7, 7)]


# --- the card -------------------------------------------------------------------------------------

FACTS: dict[str, Any] = {
    "before": "team/app:1",
    "after": "team/app:2",
    "sizes": [120_000_000, 163_400_000],
    "layers": {"shared": 5, "removed": 2, "added": 3},
    "grown": [("RUN apt-get install", 40, 90, 50), ("COPY . /app", 3, 1, -2)],
    "config": [("Env.A", "changed", "1.26", "1.27"), ("Labels.b", "added", None, "x")],
    "unpacked": [340, 470],
    "files": {"added": 1203, "removed": 22, "changed": 310, "maybe": 14},
    "folders": [("/usr/lib", 100, 180, 80), ("/app", 3, 1, -2)],
    "packages": [
        ("deb", "libssl3", "amd64", "upgraded", "3.0.11", "3.0.15", 0, 3),
        ("deb", "gcc", "amd64", "added", None, "12", None, 3),
    ],
}


def drawn(facts: Any) -> str:
    return card.difference(lambda: facts, lambda: None, lambda: facts, seconds=60)


def test_every_payload_in_every_field() -> None:
    twins = {place: skeleton(drawn(changed)) for place, changed in poisoned(FACTS, HARMLESS)}
    assert len(twins) > 15
    for payload in PAYLOADS:
        for place, changed in poisoned(FACTS, payload):
            page = drawn(changed)
            assert "no card" not in page, (place, payload)
            # A setting's values are not shown where they are long.
            if not place.startswith(".config"):
                assert skeleton(page) == twins[place], (place, payload)
            else:
                assert set(skeleton(page)) <= set(twins[place]), (place, payload)


def test_the_line_is_one_line() -> None:
    for payload in PAYLOADS:
        line = card.line({**FACTS, "before": payload, "after": payload})
        assert errors.printable(line, 10_000) == line
        assert len(line) < 500


def test_very_much_of_everything() -> None:
    many = {
        **FACTS,
        "config": [("k" * 500, "added", None, "v" * 5000)] * 5000,
        "packages": [("deb", "p" * 5000, "amd64", "added", None, "1" * 500, None, 3)] * 5000,
        "folders": [("/f" * 3000, 1, 2, 1)] * 5000,
        "grown": [("RUN " * 5000, 1, 2, 1)] * 5000,
    }
    assert len(drawn(many).encode()) < 100_000


def test_what_the_card_tells(server: FaultServer) -> None:
    status = "var/lib/dpkg/status"
    one = opened(server, "1", {status: paragraph("p", "1")}, Env=["A=1"])
    d = one.diff(opened(server, "2", {status: paragraph("p", "2"), "new/x": b"x" * 2000}))
    page = read(d._repr_html_())
    asked = [request.path.rsplit("/", 2)[1:] for request in server.requests]
    assert sum("manifests" in path for path in asked) == 2
    assert len(blobs(server)) == 2, "manifests and configs only"
    assert "d.files() lists both" in page.text
    assert "Env.A" in page.text
    d.files()
    server_asked = len(server.requests)
    page = read(d._repr_html_())
    assert len(server.requests) == server_asked
    assert "/new +2.0 kB" in page.text.replace("\xa0", " ")
    assert "1 → 2" in page.text
    assert "1 upgraded" in page.text


def test_the_card_never_raises(server: FaultServer) -> None:
    m = opened(server, "1", {"a": b"a"})
    d = m.diff(f"{server.host}/lab/app:nowhere")
    assert "ManifestNotFound" in read(d._repr_html_()).text
    assert "no card" in drawn({"sizes": None})


def test_no_request_where_cards_may_not_ask(server: FaultServer) -> None:
    d = opened(server, "1", {"a": b"a"}).diff(opened(server, "2", {"a": b"b"}))
    with didlab.set_options(card=False):
        assert "d.layers()" in read(d._repr_html_()).text
    assert server.requests == []


#: Methods that ask, with what they take.
ASKING: list[Callable[[Diff], Any]] = [
    Diff.files, Diff.packages, Diff.config, Diff.layers, Diff.sizes, lambda d: d.text("/a"),
]  # fmt: skip


def test_offline_with_the_store(server: FaultServer, store: Any) -> None:
    one, two = opened(server, "1", {"a": b"a"}), opened(server, "2", {"a": b"b"})
    d = one.diff(two)
    online = [ask(d) for ask in ASKING]
    d.files(content=True)
    kept.forget()
    shared.clear()
    far = didlab.diff(str(one.reference), str(two.reference), trust_env=False, offline=True)
    asked = len(server.requests)
    for ask, known in zip(ASKING[:5], online[:5], strict=True):
        if ask is Diff.files:
            assert told(ask(far)) == {"/a": ("changed", "content")}
        else:
            pd.testing.assert_frame_equal(ask(far), known)
    assert len(server.requests) == asked
