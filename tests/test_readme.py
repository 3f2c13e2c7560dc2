"""The README's Python runs, and what it shows is what comes; both languages say the same."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from shown import comparable

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(name: str) -> list[tuple[str, str]]:
    return _BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


def _examples(name: str) -> Iterator[tuple[str, str | None]]:
    """Each Python block, with the output that is shown right after it."""
    blocks = _blocks(name)
    for (language, code), (then, text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            yield code, text if then == "text" else None


def _type_in(code: str, names: dict[str, object]) -> str:
    """What an interactive session shows for ``code``."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for statement in ast.parse(code).body:
            exec(compile(ast.Interactive([statement]), "README", "single"), names)
    return shown.getvalue()


@pytest.mark.parametrize("readme", READMES)
def test_python_blocks_show_what_they_say(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    names: dict[str, object] = {}
    compared = 0
    with pd.option_context("display.width", 80, "display.max_colwidth", 50):
        for code, expected in _examples(readme):
            got = _type_in(code, names)
            if expected is not None:
                assert comparable(got) == comparable(expected)
                compared += 1
    assert compared == 4
    assert (tmp_path / "web.tar").stat().st_size > 2_000_000


def test_both_readmes_have_the_same_blocks_links_and_rows() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    assert _blocks("README.md") == _blocks("README.zh-CN.md")
    for pattern in (r"^#+ ", r"^\|.*\|$", r"^- "):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert count[0] == count[1], pattern
    links = [
        sorted(set(re.findall(r"\]\(([^)]+)\)", text)) - set(READMES))
        for text in (english, chinese)
    ]
    assert links[0] == links[1]


def test_the_two_commands_exist_and_ci_runs_the_second() -> None:
    (commands,) = (code for kind, code in _blocks("README.md") if "tools/" in code)
    demo, tests = (line.split("#")[0].split() for line in commands.splitlines())
    assert (demo, tests) == (["python3", "tools/demo.py"], ["python3", "tools/test.py"])
    assert (ROOT / demo[1]).is_file()
    assert (ROOT / tests[1]).is_file()
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert ci[-1] == " ".join(tests)
