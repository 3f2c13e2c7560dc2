"""users(): as libc reads the same files, and never a hash."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.faults import FaultServer
from rig.images import make_image, push_image, symlink
from rig.registries import Registry

import didlab
from didlab.audits import accounts
from didlab.blobs.store import BlobStore
from didlab.files import blocks, kept
from didlab.sources.cached import shared

HASH = b"$6$salt$" + b"h4Sh" * 20


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def users(server: FaultServer, *layers: dict[str, Any], tag: str = "1") -> pd.DataFrame:
    server.add_image("lab/app", tag, make_image(layers))
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False).users()


def rows(df: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in df.astype(object).where(df.notna(), None).to_numpy()]


def test_libc_says_the_same(registry: Registry) -> None:
    files = {name: Path("/", name).read_bytes() for name in ("etc/passwd", "etc/group")}
    push_image(registry.host, "audits/users", "1", make_image([files]))
    df = didlab.open(f"{registry.host}/audits/users:1", trust_env=False).users()
    expected = {}
    for one in pwd.getpwall():
        first = grp.getgrgid(one.pw_gid).gr_name
        more = [group.gr_name for group in grp.getgrall() if one.pw_name in group.gr_mem]
        names = ",".join(dict.fromkeys([first, *more]))
        expected[one.pw_name] = (one.pw_uid, one.pw_gid, names, one.pw_dir, one.pw_shell or None)
    assert {row[0]: row[1:6] for row in rows(df)} == expected
    assert set(df["password"]) <= {"none", "locked"}
    assert set(df["layer"]) == {0}


def test_passwords_and_layers(server: FaultServer, store: BlobStore) -> None:
    base = (
        b"root:x:0:0:root:/root:/bin/bash\nold:" + HASH + b":1:1::/:\nopen::2:2::/:\n"
        b"star:*:3:3::/:\n"
    )
    df = users(
        server,
        {"etc/passwd": base, "etc/shadow": b"root:*:1::::::\n"},
        {"app": b"x"},
        {
            "etc/passwd": base
            + b"app:x:1000:1000::/app:/bin/sh\nlone:x:7:7::/:\nempty:x:8:8::/:\n",
            "etc/group": b"app:x:1000:\nwheel:x:10:app,nobody,app\nroot:x:0:app\n",
            "etc/shadow": b"root:"
            + HASH
            + b":1::::::\napp:!"
            + HASH
            + b":1::::::\nempty::1::::::\n",
        },
    )
    assert rows(df) == [
        ("root", 0, 0, "root", "/root", "/bin/bash", "hashed", 0),
        ("old", 1, 1, None, "/", None, "hashed", 0),
        ("open", 2, 2, None, "/", None, "empty", 0),
        ("star", 3, 3, None, "/", None, "locked", 0),
        ("app", 1000, 1000, "app,wheel,root", "/app", "/bin/sh", "locked", 2),
        ("lone", 7, 7, None, "/", None, "none", 2),
        ("empty", 8, 8, None, "/", None, "empty", 2),
    ]
    assert HASH.decode() not in df.to_csv()
    # The listing brings passwd with it, and keeps it; shadow it does not keep.
    digest = store.root / "v1/derived"
    assert list(digest.iterdir())
    kept.forget()
    m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
    for row in m.layers().itertuples():
        index = kept.index(row.digest, row.size)
        assert index is not None
        assert b"/etc/shadow" not in index.captured
    assert rows(m.users()) == rows(df)


def test_without(server: FaultServer) -> None:
    assert rows(users(server, {"a": b"a"})) == []
    loop = {"etc/passwd": symlink("passwd"), "etc/group": None}
    assert rows(users(server, loop, tag="2")) == []


def test_other_folders(server: FaultServer) -> None:
    df = users(
        server,
        {"usr/etc/passwd": b"a:x:1:1::/:\n", "etc/passwd": symlink("../usr/etc/passwd")},
    )
    assert rows(df) == [("a", 1, 1, None, "/", None, "none", 0)]


def test_garbage(server: FaultServer) -> None:
    content = (
        b"# a comment\n\n:x:0:0:::\nshort:x:0\n+::::::\n-@x::::::\nroot:x:zero:-1::/:\xff\n"
        b"big:x:99999999999:4294967295::/:\nroot:x:0:0::/second:\n\0\0\0\nx\x1b[31m:x:1:1::/:\r\n"
    )
    found = rows(
        users(
            server, {"etc/passwd": content, "etc/group": b"\xff:\n:::\n", "etc/shadow": b"root\n"}
        )
    )
    assert [row[:3] for row in found] == [
        ("root", None, None),
        ("big", None, 4294967295),
        ("x\x1b[31m", 1, 1),
    ]


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    for read in (accounts.accounts, accounts.groups, accounts.shadow):
        read(content)


def test_bounds() -> None:
    assert len(accounts.accounts(b"a:x:1:1::/:\n" * 300_000)) == 1
    many = b"".join(b"u%d:x:1:1::/:\n" % number for number in range(150_000))
    assert len(accounts.accounts(many)) == 100_000
    (one,) = accounts.accounts(b"a:x:1:1::" + b"/" * 1_000_000 + b":/bin/sh").values()
    assert len(one.home) == 4096
