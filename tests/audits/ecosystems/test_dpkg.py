"""dpkg's status, against dpkg-query."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from audits.ecosystems.databases import STATUS
from rig.processes import CommandFailed, clean_environ, require, run

from didlab.audits.ecosystems import dpkg
from didlab.audits.ecosystems.package import Package
from didlab.errors import PackagesInvalid

FORMAT = "\t".join(
    ["${db:Status-Status}", "${Package}", "${Version}", "${Architecture}", "${source:Package}",
     "${source:Version}"]
) + "\n"  # fmt: skip


def told(admin: Path) -> dict[str, list[tuple[str, ...]]]:
    """By state."""
    require("dpkg-query", "dpkg")
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in run("dpkg-query", f"--admindir={admin}", "-W", "-f", FORMAT).splitlines():
        state, *fields = line.split("\t")
        found.setdefault(state, []).append(tuple(fields))
    return found


def as_dpkg_says(content: bytes) -> list[tuple[str | None, ...]]:
    return sorted(
        (p.name, p.version, p.architecture, p.source, p.source_version)
        for p in dpkg.packages(content)
    )


def test_this_system_is_as_dpkg_lists_it() -> None:
    status = Path("/var/lib/dpkg/status")
    require("dpkg-query", "dpkg")
    expected = told(status.parent)
    counted = [
        row
        for state, rows in expected.items()
        if state not in ("config-files", "half-installed", "not-installed")
        for row in rows
    ]
    assert len(counted) > 50
    assert as_dpkg_says(status.read_bytes()) == sorted(counted)


def deb(folder: Path, name: str, *fields: str, postinst: str | None = None) -> Path:
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc" / f"{name}.conf").write_text("x\n")
    control = [f"Package: {name}", "Architecture: all", "Maintainer: A <a@example.com>", *fields]
    (root / "DEBIAN" / "control").write_text("\n".join([*control, "Description: d", ""]))
    (root / "DEBIAN" / "conffiles").write_text(f"/etc/{name}.conf\n")
    if postinst:
        (root / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\n{postinst}\n")
        (root / "DEBIAN" / "postinst").chmod(0o755)
    run("dpkg-deb", "--build", "--root-owner-group", root, folder / f"{name}.deb")
    return folder / f"{name}.deb"


def test_states_that_dpkg_writes(tmp_path: Path) -> None:
    require("dpkg-deb", "dpkg")
    system = tmp_path / "system"
    (system / "var/lib/dpkg/info").mkdir(parents=True)
    (system / "var/lib/dpkg/updates").mkdir()
    (system / "var/lib/dpkg/status").touch()
    environ = {**clean_environ(), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def install(action: str, *packages: str | Path) -> None:
        run("dpkg", f"--root={system}", "--force-not-root", "--force-script-chrootless",
            "--log=/dev/null", action, *packages, environ=environ)  # fmt: skip

    install("--install", deb(tmp_path, "good", "Version: 1:1.0-1+b2", "Source: src (1:1.0-1)"))
    install("--unpack", deb(tmp_path, "unpacked", "Version: 2"))
    with pytest.raises(CommandFailed):
        install("--install", deb(tmp_path, "half", "Version: 3~rc", postinst="exit 1"))
    install("--install", deb(tmp_path, "removed", "Version: 4"))
    install("--remove", "removed")
    install("--install", deb(tmp_path, "purged", "Version: 5"))
    install("--purge", "purged")

    by_state = told(system / "var/lib/dpkg")
    assert set(by_state) == {"installed", "unpacked", "half-configured", "config-files"}
    counted = sorted(
        row for state in by_state if state != "config-files" for row in by_state[state]
    )
    assert [row[0] for row in counted] == ["good", "half", "unpacked"]
    assert as_dpkg_says((system / "var/lib/dpkg/status").read_bytes()) == counted


def test_fields() -> None:
    assert list(dpkg.packages(STATUS)) == [
        Package("deb", "libc6", "2.36-9+deb12u9", "amd64", "glibc", "2.36-9+deb12u9"),
        Package("deb", "bash", "5.2.15-2+b7", "amd64", "bash", "5.2.15-2"),
    ]


@pytest.mark.parametrize(
    ("state", "counts"),
    [("installed", True), ("unpacked", True), ("half-configured", True),
     ("triggers-awaited", True), ("triggers-pending", True), ("half-installed", False),
     ("config-files", False), ("not-installed", False), ("nonsense", False)],
)  # fmt: skip
def test_states(state: str, counts: bool) -> None:
    content = f"Package: a\nVersion: 1\nStatus: install ok {state}\n".encode()
    assert bool(list(dpkg.packages(content))) is counts


def test_distroless_has_no_states() -> None:
    content = b"Package: base-files\nVersion: 12.4\nArchitecture: amd64\nDescription: x\n"
    assert list(dpkg.packages(content)) == []
    assert [p.name for p in dpkg.packages(content, states=False)] == ["base-files"]


@pytest.mark.parametrize("content", [b"", b"\n\n\n"])
def test_an_empty_one(content: bytes) -> None:
    assert list(dpkg.packages(content)) == []


@pytest.mark.parametrize(
    "broken", [b"\x00\xff", b"Package: a b\nVersion: 1", b"Version: 1",
               b"Package: x\nStatus: install ok installed\n"]
)  # fmt: skip
def test_a_broken_paragraph_hides_no_other(broken: bytes) -> None:
    names = []
    with pytest.raises(PackagesInvalid, match="1 paragraphs"):
        for package in dpkg.packages(broken + b"\n\n" + STATUS):
            names.append(package.name)
    assert names == ["libc6", "bash"]
