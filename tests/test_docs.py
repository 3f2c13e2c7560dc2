"""The documentation says what the code does: made pages are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import didlab
from didlab.views.frames import SCHEMAS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["api.md", "cli.md", "errors.md", "frames.md", "options.md"])
def test_reference_is_current(page: str) -> None:
    expected = _tool().pages()[page]
    found = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert found == expected, "run: python3 tools/reference.py"


def test_reference_has_everything() -> None:
    pages = _tool().pages()
    for name in didlab.__all__:
        assert name in ("__version__", "errors") or re.search(rf"\b{name}\b", pages["api.md"])
    for columns in SCHEMAS.values():
        for column in columns:
            assert f"| `{column.name}` |" in pages["frames.md"]
    for name in didlab.errors.__all__:
        assert f"| `{name}` |" in pages["errors.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in _LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_every_page_is_reachable_from_the_index() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop().resolve()
        if page in seen:
            continue
        seen.add(page)
        if page.is_dir():
            ahead += page.glob("*.md")
        elif page.suffix == ".md":
            links = _LINK.findall(page.read_text(encoding="utf-8"))
            ahead += [page.parent / target for target, _ in links if "://" not in target]
    assert not {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - seen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_in_pages_is_python_and_names_what_is_there(page: Path) -> None:
    for code in _PYTHON.findall(page.read_text(encoding="utf-8")):
        compile(code, str(page), "exec")
        for name in re.findall(r"\bdidlab\.(\w+)", code):
            assert hasattr(didlab, name)
