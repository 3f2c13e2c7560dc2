"""Python's metadata, against pip."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
from pathlib import Path

import pytest
from audits.ecosystems.databases import walked, write
from rig.processes import missing, run

from didlab.audits.ecosystems import python
from didlab.audits.ecosystems.look import PackagesLook
from didlab.errors import PackagesInvalid


def told(folder: Path) -> list[tuple[str, str]]:
    if importlib.util.find_spec("pip") is None:
        missing("pip is missing in this environment")
    listed = run(sys.executable, "-m", "pip", "--disable-pip-version-check", "list",
                 "--format=json", "--path", folder)  # fmt: skip
    return sorted((row["name"], row["version"]) for row in json.loads(listed))


def found(folder: Path) -> list[tuple[str, str | None]]:
    """Of the folder itself: pip, as Python, does not look below."""
    look = PackagesLook()
    return sorted(
        (package.name, package.version)
        for path, size, place in walked(folder)
        if path.count(b"/") <= 2 and look.wants(path, size)
        for package in python.packages(place.read_bytes())
    )


def test_this_environment_is_as_pip_lists_it() -> None:
    folder = Path(sysconfig.get_path("purelib"))
    expected = told(folder)
    assert len(expected) > 20
    assert found(folder) == expected


def test_debian_python_is_as_pip_lists_it() -> None:
    folder = Path("/usr/lib/python3/dist-packages")
    if not any(folder.glob("*-info")):
        pytest.skip("NOT TESTED: no Debian package of Python's here")
    # Some are described in both forms there; pip lists the first of a name.
    assert sorted(set(found(folder))) == told(folder)


def test_all_forms_are_as_pip_lists_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "A_b.c-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: A_b.c\nVersion: 1.0\n",
            "old-2.0.egg-info/PKG-INFO": b"Metadata-Version: 1.0\nName: old\nVersion: 2.0\n",
            "file-3.0.egg-info": b"Metadata-Version: 1.0\nName: file\nVersion: 3.0.dev1+x\n",
            "crlf-1!4.dist-info/METADATA":
                b"Metadata-Version: 2.1\r\nName: crlf\r\nVersion: 1!4\r\n\r\nName: no\r\n",
            "a/EGG-INFO/other": b"Name: x\n",
        },
    )  # fmt: skip
    assert found(tmp_path) == told(tmp_path) == [
        ("A_b.c", "1.0"), ("crlf", "1!4"), ("file", "3.0.dev1+x"), ("old", "2.0"),
    ]  # fmt: skip


def test_licenses_are_those_of_importlib() -> None:
    seen = 0
    for dist in importlib.metadata.distributions():
        raw = dist.read_text("METADATA")
        if raw is None:
            continue
        (package,) = python.packages(raw.encode())
        expression = dist.metadata.get("License-Expression")
        if expression:
            assert package.license == expression
            seen += 1
    assert seen > 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("License: MIT", "MIT"),
        ("License: old\nLicense-Expression: Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
        ("License: UNKNOWN", None),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: " + "text " * 100 + "\nClassifier: License :: Public Domain", "Public Domain"),
        ("Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: A\n"
         "Classifier: Programming Language :: Python\nClassifier: License :: B", "A; B"),
        ("\nLicense: in the description", None),
    ],
)  # fmt: skip
def test_licenses(headers: str, expected: str | None) -> None:
    (package,) = python.packages(f"Name: x\nVersion: 1\n{headers}\n".encode())
    assert package.license == expected


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0", b"Version: 1\n", b"\nName: below\n", b"Name: a b\n", b"Name:\n"]
)
def test_no_metadata(content: bytes) -> None:
    with pytest.raises(PackagesInvalid):
        list(python.packages(content))


def test_a_description_in_the_headers_says_nothing() -> None:
    content = b"Name: x\nDescription: a\n        Name: y\n        Version: 9\nVersion: 1\n"
    assert [(p.name, p.version) for p in python.packages(content)] == [("x", "1")]
