"""packages(): what holds in the end, who brought it, and what it costs; against dpkg itself."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer, Request
from rig.images import (
    BuiltImage,
    gzipped,
    hardlink,
    make_artifact,
    make_image,
    push_image,
    symlink,
)
from rig.loaders import require_root
from rig.processes import clean_environ, require, run
from rig.registries import Registry

import didlab
from didlab.audits.ecosystems.look import PackagesLook
from didlab.blobs.store import BlobStore
from didlab.errors import InvalidArgument, NotAnImage
from didlab.files import blocks, kept
from didlab.sources.cached import shared

COLUMNS = [
    "ecosystem", "name", "version", "architecture", "source", "license", "purl", "path", "layer",
]  # fmt: skip
OS = b'ID=debian\nVERSION_ID="12"\n'
#: States in which dpkg has a package's files.
THERE = {"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, *layers: dict[str, Any], tag: str = "1") -> didlab.Manifest:
    image = make_image(layers)
    server.add_image("lab/app", tag, image)
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)


def blobs(server: FaultServer) -> list[Request]:
    return [one for one in server.requests if "/blobs/" in one.path]


def paragraph(name: str, version: str, **fields: str) -> bytes:
    told = {"Package": name, "Status": "install ok installed", "Architecture": "amd64"}
    told |= {"Version": version, **fields}
    return "".join(f"{key}: {value}\n" for key, value in told.items()).encode() + b"\n"


def metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n".encode()


def rows(df: pd.DataFrame, *columns: str) -> set[tuple[Any, ...]]:
    return set(df[list(columns)].itertuples(index=False, name=None))


# --- dpkg says the same ---------------------------------------------------------------------------


def query(*options: str | Path) -> dict[tuple[str, str], tuple[str, str]]:
    """What dpkg lists: version and source by name and architecture."""
    form = "${Package}\t${Architecture}\t${Version}\t${source:Package}\t${db:Status-Status}\n"
    listed = run(require("dpkg-query", "dpkg"), *options, "-W", f"--showformat={form}")
    found = [line.split("\t") for line in listed.splitlines()]
    return {(row[0], row[1]): (row[2], row[3]) for row in found if row[4] in THERE}


def packages(df: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (one.name, one.architecture): (one.version, one.source)
        for one in df.itertuples(index=False)
    }


def test_a_real_database(registry: Registry) -> None:
    """The packages of the system that this runs on."""
    require("dpkg-query", "dpkg")
    status = Path("/var/lib/dpkg/status").read_bytes()
    files = {"etc/os-release": OS, "var/lib/dpkg/status": status}
    push_image(registry.host, "audits/debian", "1", make_image([files, {"later": b"x"}]))
    m = didlab.open(f"{registry.host}/audits/debian:1", trust_env=False)
    m.files()
    assert m.registry is not None
    before = len(m.registry.requests())
    df = m.packages()
    assert len(m.registry.requests()) == before, "it came with the listing"
    assert packages(df) == query()
    assert len(df) == len(packages(df)) > 50
    assert set(df["layer"]) == {0}
    assert df["purl"].str.startswith("pkg:deb/debian/").all()
    assert df["purl"].str.contains("distro=debian-12", regex=False).all()


def deb(folder: Path, name: str, version: str, **fields: str) -> Path:
    """A package with one file in it."""
    tree = folder / f"{name}-{version.replace(':', '.')}"
    (tree / "DEBIAN").mkdir(parents=True)
    told = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "rig <r@r>"}
    told |= {"Description": "of a test", **fields}
    (tree / "DEBIAN/control").write_text("".join(f"{k}: {v}\n" for k, v in told.items()))
    (tree / "usr/share/rig").mkdir(parents=True)
    (tree / f"usr/share/rig/{name}").write_text(version)
    target = folder / f"{tree.name}.deb"
    run(require("dpkg-deb", "dpkg"), "--root-owner-group", "--build", tree, target)
    return target


def test_layers_that_dpkg_itself_made(registry: Registry, tmp_path: Path) -> None:
    require_root("dpkg in a folder")
    program = require("dpkg", "dpkg")
    root = tmp_path / "root"
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    (root / "var/lib/dpkg/updates").mkdir()
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()

    def dpkg(*arguments: str | Path) -> dict[str, bytes]:
        """Do something; the database is what the layer has of it."""
        argv = [program, f"--root={root}", "--force-bad-path", *arguments]
        environ = clean_environ() | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(argv, check=True, capture_output=True, env=environ)
        return {"var/lib/dpkg/status": (root / "var/lib/dpkg/status").read_bytes()}

    layers = [
        dpkg("-i", deb(tmp_path, "one", "1.0-1"), deb(tmp_path, "two", "1:2", Source="both (7)")),
        dpkg("-i", deb(tmp_path, "three", "3")),
        {"unrelated": b"x"},
        dpkg("-i", deb(tmp_path, "one", "1.1-1")),
        dpkg("--unpack", deb(tmp_path, "four", "4~rc1", Depends="nowhere")),
        dpkg("-r", "three"),
    ]
    push_image(registry.host, "audits/dpkg", "1", make_image(layers))
    df = didlab.open(f"{registry.host}/audits/dpkg:1", trust_env=False).packages()
    assert packages(df) == query(f"--admindir={root}/var/lib/dpkg")
    assert rows(df, "name", "version", "source", "layer") == {
        ("one", "1.1-1", "one", 3),
        ("two", "1:2", "both", 0),
        ("four", "4~rc1", "four", 4),
    }


# --- what holds, and since when -------------------------------------------------------------------


def test_who_brought_it(server: FaultServer) -> None:
    one, two, new = paragraph("one", "1"), paragraph("two", "2"), paragraph("one", "1.1")
    m = opened(
        server,
        {"var/lib/dpkg/status": one},
        {"var/lib/dpkg/status": one + two},
        {"var/lib/dpkg/status": new + two},
        {"var/lib/dpkg/status": one + two + paragraph("gone", "1").replace(b"ok i", b"ok not-i")},
    )
    assert rows(m.packages(), "name", "version", "layer") == {("one", "1", 3), ("two", "2", 1)}


def test_files_that_were_deleted_replaced_or_touched(server: FaultServer) -> None:
    site = "usr/lib/python3/site-packages"
    m = opened(
        server,
        {
            f"{site}/a-1.dist-info/METADATA": metadata("a", "1"),
            f"{site}/b-1.dist-info/METADATA": metadata("b", "1"),
            f"{site}/c-1.dist-info/METADATA": metadata("c", "1"),
            f"{site}/d-1.dist-info/METADATA": metadata("d", "1"),
            "app/node_modules/@x/y/package.json": b'{"name": "@x/y", "version": "1.0.0"}',
        },
        {
            f"{site}/.wh.a-1.dist-info": b"",
            f"{site}/b-1.dist-info/METADATA": metadata("b", "1"),
            f"{site}/c-1.dist-info/METADATA": metadata("c", "2"),
            f"{site}/d-1.dist-info/METADATA": symlink("elsewhere"),
        },
    )
    assert rows(m.packages(), "ecosystem", "name", "version", "layer") == {
        ("pypi", "b", "1", 0),
        ("pypi", "c", "2", 1),
        ("npm", "@x/y", "1.0.0", 0),
    }


def test_folders_that_are_links(server: FaultServer) -> None:
    """Alpine's database under /lib, which later images have as a link."""
    one = b"P:one\nV:1-r0\nA:x86_64\nL:MIT\no:src\n\n"
    m = opened(
        server,
        {"usr/lib/apk/db/installed": one, "lib": symlink("usr/lib")},
        {"lib/apk/db/installed": one + b"P:two\nV:2-r0\nA:x86_64\n\n"},
    )
    df = m.packages()
    assert rows(df, "name", "version", "path") == {
        ("one", "1-r0", "/usr/lib/apk/db/installed"),
        ("two", "2-r0", "/usr/lib/apk/db/installed"),
    }
    assert df.loc[df["name"] == "one", "license"].tolist() == ["MIT"]
    assert df.loc[df["name"] == "one", "source"].tolist() == ["src"]


def test_hard_links(server: FaultServer) -> None:
    """A cache beside what is installed from it, as uv and pnpm have them."""
    m = opened(
        server,
        {
            "cache/9f": metadata("a", "1"),
            "site/a-1.dist-info/METADATA": hardlink("cache/9f"),
            "cache/b-1.dist-info/METADATA": metadata("b", "1"),
            "site/b-1.dist-info/METADATA": hardlink("cache/b-1.dist-info/METADATA"),
        },
        {"cache/.wh.b-1.dist-info": b"", "cache/.wh.9f": b""},
    )
    for _ in range(2):
        df = m.packages()
        assert rows(df, "name", "path", "layer") == {
            ("a", "/site/a-1.dist-info/METADATA", 0),
            ("b", "/site/b-1.dist-info/METADATA", 0),
        }
        m.files()


def test_a_file_for_each_package(server: FaultServer) -> None:
    m = opened(
        server,
        {
            "usr/lib/os-release": OS,
            "etc/os-release": symlink("../usr/lib/os-release"),
            "var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 12\nArchitecture: all\n",
        },
        {"var/lib/dpkg/status.d/tz": b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n"},
    )
    df = m.packages()
    assert rows(df, "name", "layer", "path") == {
        ("base-files", 0, "/var/lib/dpkg/status.d/base"),
        ("tzdata", 1, "/var/lib/dpkg/status.d/tz"),
    }
    assert df["purl"].iloc[0] == "pkg:deb/debian/base-files@12?arch=all&distro=debian-12"


def test_the_frame(server: FaultServer) -> None:
    status = paragraph("zz", "1") + paragraph("aa", "1")
    files = {"var/lib/dpkg/status": status, "s/p-1.dist-info/METADATA": metadata("p", "1")}
    m = opened(server, files)
    df = m.packages()
    assert list(df.columns) == COLUMNS
    assert list(df["name"]) == ["aa", "zz", "p"]
    assert df.attrs == {"reference": str(m.reference)}
    assert list(m.packages("pypi")["name"]) == ["p"]
    assert list(m.packages("rpm")["name"]) == []
    with pytest.raises(InvalidArgument, match="npm"):
        m.packages("debian")
    nothing = opened(server, {"a": b"a"}, tag="2").packages()
    assert list(nothing.columns) == COLUMNS
    assert nothing["layer"].dtype == "int64"
    server.add_image("lab/app", "3", make_artifact(b"{}", "application/x", [], {}))
    with pytest.raises(NotAnImage):
        didlab.open(f"{server.host}/lab/app:3", trust_env=False).packages()


def test_what_cannot_be_read_hides_nothing(
    server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    m = opened(
        server,
        {
            "var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + bytes(5000),
            "var/lib/dpkg/status": b"no: package\x1b[31m\n\n" + paragraph("one", "1"),
            "etc/os-release": symlink("os-release"),
        },
    )
    df = m.packages()
    assert list(df["name"]) == ["one"]
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(told) == 2
    assert any("/var/lib/rpm/rpmdb.sqlite of layer 0" in one for one in told)
    assert "\x1b" not in "".join(told)


# --- what it costs --------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Paths whose content was parsed."""
    parsed: list[bytes] = []
    original = PackagesLook.facts

    def facts(self: PackagesLook, path: bytes, content: bytes) -> Any:
        parsed.append(path)
        return original(self, path, content)

    monkeypatch.setattr(PackagesLook, "facts", facts)
    return parsed


BASE = {"etc/os-release": OS, "var/lib/dpkg/status": paragraph("one", "1")}


def test_shared_layers_are_parsed_once(server: FaultServer, counted: list[bytes]) -> None:
    first = opened(server, BASE, {"a-1.dist-info/METADATA": metadata("a", "1")}, tag="1")
    second = opened(server, BASE, {"b-1.dist-info/METADATA": metadata("b", "1")}, tag="2")
    assert list(first.packages()["name"]) == ["one", "a"]
    assert list(second.packages()["name"]) == ["one", "b"]
    first.changes()
    second.packages()
    assert sorted(counted) == sorted(
        [b"/var/lib/dpkg/status", b"/a-1.dist-info/METADATA", b"/b-1.dist-info/METADATA"]
    )


def test_in_another_process(server: FaultServer, store: BlobStore, counted: list[bytes]) -> None:
    m = opened(server, BASE)
    m.files()
    assert counted == [b"/var/lib/dpkg/status"]
    kept.forget()
    before = len(blobs(server))
    assert list(m.packages()["name"]) == ["one"]
    assert counted == [b"/var/lib/dpkg/status"]
    offline = didlab.open(str(m.reference), trust_env=False, offline=True)
    kept.forget()
    assert list(offline.packages()["name"]) == ["one"]
    assert len(blobs(server)) == before
    for path in (store.root / "v1" / "derived").iterdir():
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
    kept.forget()
    assert list(m.packages()["name"]) == ["one"]
    assert len(counted) == 2


def test_layers_that_were_listed_without(server: FaultServer, counted: list[bytes]) -> None:
    """By a version that did not look: the few files are read, and no layer whole."""
    import random

    big = random.Random(1).randbytes(6_000_000)
    image: BuiltImage = make_image(
        [{**BASE, "big.bin": big, "x-1.dist-info/METADATA": metadata("x", "1")}, BASE],
        compress=lambda tar: gzipped(tar, 1),
    )
    server.add_image("lab/app", "1", image)
    m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
    m.files()
    kept._facts.clear()
    blocks.forget()
    counted.clear()
    asked = len(blobs(server))
    assert list(m.packages()["name"]) == ["one", "x"]
    more = blobs(server)[asked:]
    assert 1 <= len(more) <= 4
    assert sum(one.sent for one in more) < image.layers[0]["size"] / 3
    assert len(counted) == 3
