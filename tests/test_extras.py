"""A missing extra is told with the exact command, at the call."""

from __future__ import annotations

import sys
import tomllib
import traceback
from pathlib import Path

import pytest

from didlab import _extras


def test_what_is_there_is_imported() -> None:
    assert _extras.need("xml.etree", "any") is sys.modules["xml.etree"]


def test_what_is_missing_is_told_with_the_command() -> None:
    with pytest.raises(ImportError) as caught:
        _extras.need("didlab_no_such_package.figure", "plot", "m.plot.layers()")
    assert str(caught.value) == (
        'm.plot.layers() needs didlab_no_such_package: pip install "didlab[plot]"'
    )
    assert caught.value.name == "didlab_no_such_package"
    # One error, in two frames: this call's and need's.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 2


def test_a_package_that_is_blocked_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r'^this needs fsspec: pip install "didlab\[fs\]"$'):
        _extras.need("fsspec", "fs")


def test_a_package_that_is_broken_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "didlab_broken_package.py").write_text("import didlab_it_lacks_this\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="didlab_it_lacks_this") as caught:
        _extras.need("didlab_broken_package", "plot")
    assert "pip install" not in str(caught.value)


def test_every_extra_that_the_code_names_exists() -> None:
    root = Path(_extras.__file__).parent
    project = tomllib.loads((root.parent / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    named = {
        part.partition("]")[0]
        for path in root.rglob("*.py")
        for part in path.read_text("utf-8").split("didlab[")[1:]
        if part[0].isalpha()
    }
    assert "fs" in named
    assert named <= set(extras)
