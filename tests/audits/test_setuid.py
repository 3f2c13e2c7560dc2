"""setuid(): what runs with more rights; capabilities against getcap."""

from __future__ import annotations

import base64
import os
import re
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.faults import FaultServer
from rig.images import hardlink, make_image, push_image, symlink
from rig.loaders import require_root
from rig.processes import CommandFailed, missing, require, run
from rig.registries import Registry

import didlab
from didlab.audits.capabilities import capabilities


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def program(
    mode: int, content: bytes = b"x", capability: bytes | None = None, **fields: int
) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo()
    entry.mode = mode
    for name, value in fields.items():
        setattr(entry, name, value)
    if capability is not None:
        text = capability.decode("utf-8", "surrogateescape")
        entry.pax_headers = {"SCHILY.xattr.security.capability": text}
    return entry, content


def folder(mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def test_what_is_listed(server: FaultServer) -> None:
    image = make_image(
        [
            {
                "bin": folder(0o755),
                "bin/su": program(0o4755, b"abc"),
                "bin/both": program(0o6711, uid=0, gid=42),
                "bin/plain": program(0o755),
                "bin/ping": program(0o755, capability=NET_RAW),
                "bin/odd": program(0o755, capability=b"ab"),
                "bin/gone": program(0o4755),
                "bin/tamed": program(0o4755),
                "bin/link": symlink("su"),
                "var/mail": folder(0o2775),
                "tmp": folder(0o1777),
            },
            {"bin/.wh.gone": b"", "bin/tamed": program(0o755), "bin/other": hardlink("bin/su")},
            {"bin/late": program(0o2755, gid=7)},
        ]
    )
    server.add_image("lab/app", "1", image)
    df = didlab.open(f"{server.host}/lab/app:1", trust_env=False).setuid()
    rows = [tuple(row) for row in df.astype(object).where(df.notna(), None).to_numpy()]
    assert rows == [
        ("/bin/both", "setuid", "-rws--s--x", 0, 42, 1, None, 0),
        ("/bin/both", "setgid", "-rws--s--x", 0, 42, 1, None, 0),
        ("/bin/late", "setgid", "-rwxr-sr-x", 0, 7, 1, None, 2),
        ("/bin/odd", "capability", "-rwxr-xr-x", 0, 0, 1, "unreadable", 0),
        ("/bin/other", "setuid", "-rwsr-xr-x", 0, 0, 3, None, 1),
        ("/bin/ping", "capability", "-rwxr-xr-x", 0, 0, 1, "cap_net_raw=ep", 0),
        ("/bin/su", "setuid", "-rwsr-xr-x", 0, 0, 3, None, 0),
    ]


def test_the_system_at_hand(registry: Registry) -> None:
    """Debian's own setuid programs, by tar: the same as find says."""
    listed = [
        path
        for top in ("/usr/bin", "/usr/sbin")
        for path in sorted(Path(top).iterdir())
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000
    ]
    if not listed:
        missing("setuid programs in /usr/bin: apt-get install passwd")
    members: dict[str, Any] = {}
    for path in listed:
        status = path.stat()
        entry = program(status.st_mode & 0o7777, b"small", uid=status.st_uid, gid=status.st_gid)
        members[str(path)[1:]] = entry
    push_image(registry.host, "audits/setuid", "1", make_image([members]))
    df = didlab.open(f"{registry.host}/audits/setuid:1", trust_env=False).setuid()
    found = run(
        *(require("find", "findutils"), "/usr/bin", "/usr/sbin", "-type", "f"),
        *("-perm", "/6000", "-printf", "%p %M %U %G\\n"),
    )
    expected = {tuple(line.split()) for line in found.splitlines()}
    columns = df[["path", "permissions", "uid", "gid"]].astype(str)
    assert set(columns.itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cap_net_raw=ep",
        "cap_net_bind_service,cap_net_admin=ep",
        "cap_sys_admin=p",
        "cap_chown=ei",
        "cap_chown,cap_checkpoint_restore=eip",
        "cap_setuid=ep cap_setgid=eip",
    ],
)
def test_getcap_says_the_same(tmp_path: Path, text: str) -> None:
    require_root("setcap")
    path = tmp_path / "program"
    path.write_bytes(b"x")
    try:
        run(require("setcap", "libcap2-bin"), text, path)
        raw = os.getxattr(path, "security.capability")
    except (CommandFailed, OSError) as error:
        missing(f"capabilities cannot be set here: {error}")
    told = run(require("getcap", "libcap2-bin"), path).strip().partition(" ")[2]
    ours = capabilities(raw)
    assert ours is not None

    def meaning(shown: str) -> set[tuple[str, str]]:
        # getcap begins further clauses with a plus.
        clauses = [re.split("[=+]", clause) for clause in shown.split()]
        return {(name, flags) for names, flags in clauses for name in names.split(",")}

    assert meaning(ours) == meaning(told)


@given(st.binary(max_size=40))
def test_any_bytes(raw: bytes) -> None:
    told = capabilities(raw)
    assert told is None or len(told) < 3000


def test_revisions() -> None:
    assert capabilities(struct.pack("<3I", 0x01000000, 1, 2)) == "cap_chown=p cap_dac_override=i"
    assert (
        capabilities(struct.pack("<6I", 0x03000001, 1 << 21, 0, 0, 0, 1000)) == "cap_sys_admin=ep"
    )
    assert capabilities(struct.pack("<5I", 0x02000000, 0, 0, 1 << 20, 0)) == "52=p"
    assert capabilities(struct.pack("<5I", 0x04000000, 1, 0, 0, 0)) is None
    assert capabilities(base64.b64decode("AQAAAgAgAAAAAAAAAAAAAAAAAAA=")) == "cap_net_raw=ep"
