"""What the project promises about itself: dependencies, licence, types, and what it leaves out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import didlab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SKIPPED = {".git", ".venv", ".hypothesis", "build", "dist", "node_modules", "__pycache__"}


def test_dependencies_are_the_agreed_ones() -> None:
    names = {re.split(r"[\[><=~! ]", item)[0] for item in PROJECT["project"]["dependencies"]}
    assert names == {
        "requests",
        "urllib3",
        "pandas",
        "ipywidgets",
        "tqdm",
        "publicsuffixlist",
        "platformdirs",
        "zlib-ng",
        "backports.zstd",
    }
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["build-system"]["build-backend"] == "hatchling.build"


def test_oldest_versions_are_those_that_are_promised() -> None:
    promised = {
        re.split(r"[\[><=]", item)[0]: re.findall(r">=([\d.]+)", item)[0]
        for item in PROJECT["project"]["dependencies"]
    }
    lines = (ROOT / "tools" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    held = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert held.keys() == promised.keys()
    for name, version in held.items():
        assert version.startswith(promised[name]), name


def test_licence_is_apache() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_changelog_has_unreleased_or_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text or f"## [{didlab.__version__}]" in text


def test_hooks_are_local() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"- repo: *(\S+)", text) == ["local"]


def test_wheel_has_types_and_licence_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        text = file.read(metadata).decode()
    assert "didlab/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert f"Version: {didlab.__version__}" in text
    assert "License-Expression: Apache-2.0" in text
    tops = {name.split("/")[0] for name in names}
    assert tops == {"didlab", f"didlab-{didlab.__version__}.dist-info"}
    assert {f"didlab/{path.name}" for path in (ROOT / "didlab").glob("*.py")} <= names


def _texts() -> list[Path]:
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".ipynb", ".cfg", ""}
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and path.suffix in kinds
        and not SKIPPED & set(path.relative_to(ROOT).parts)
        and not any(part.endswith("_cache") for part in path.parts)
    ]


def test_no_file_knows_this_machine_or_a_package_index() -> None:
    texts = _texts()
    assert ROOT / ".ci" / "run" in texts
    index = re.compile(r"--(extra-)?index-url|PIP_(EXTRA_)?INDEX_URL|trusted-host")
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert f"{ROOT}/" not in text, path
        assert path == Path(__file__) or not index.search(text), path
