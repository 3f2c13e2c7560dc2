"""The site builds without a warning and without the network, and a reader finds everything."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from rig import processes

import didlab

ROOT = Path(__file__).parent.parent
#: What a browser fetches by itself, by element; links are followed by people.
FETCHED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "input": "src",
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("sphinx", "myst_nb", "pydata_sphinx_theme", "numpydoc", "sphinx_copybutton"):
        if importlib.util.find_spec(module) is None:
            processes.missing(f"the site, {module} is not there: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees", "-c", "docs"]
    nobody = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, *command, ".", folder / "html"],
        cwd=ROOT,
        env={**os.environ, "HTTP_PROXY": nobody, "HTTPS_PROXY": nobody, "ALL_PROXY": nobody},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


class _Page(HTMLParser):
    """Links, what is fetched, ids, and the text of inline scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.ids: set[str] = set()
        self.inline = ""
        self._in: str | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in = tag if tag in ("script", "style") else None
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if values.get(FETCHED.get(tag, "")):
            self.fetched.add(values[FETCHED[tag]])
        self.inline += values.get("style", "") + values.get("srcset", "")

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in is not None:
            self.inline += data


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, _Page]:
    # Not templates of the theme's, which it copies along.
    return {path: _Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def _local(page: Path, target: str) -> Path | None:
    """The file that a link leads to; None for other places."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page


def test_every_page_is_reachable_from_the_index(site: Path, pages: dict[Path, _Page]) -> None:
    sources = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    expected = {(site / path.relative_to(ROOT)).with_suffix(".html") for path in sources}
    assert len(expected) > 40
    seen: set[Path] = set()
    ahead = [site / "index.html"]
    while ahead:
        page = ahead.pop()
        if page in seen or page not in pages:
            continue
        seen.add(page)
        ahead += [found for link in pages[page].links if (found := _local(page, link))]
    assert not expected - seen


def test_links_and_files_of_pages_are_there(pages: dict[Path, _Page]) -> None:
    for path, page in pages.items():
        for target in page.links | page.fetched:
            found = _local(path, target)
            assert found is None or found.is_file(), (path, target)
            name = unquote(urlsplit(target).fragment)
            if name and found in pages and target in page.links:
                assert name in pages[found].ids, (path, target)


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, _Page]) -> None:
    fetched = 0
    for path, page in pages.items():
        for target in page.fetched:
            assert target.startswith("data:") or _local(path, target) is not None, (path, target)
            fetched += 1
        assert not re.search(r"https?://", page.inline), path
    assert fetched > len(pages)
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"""(url\(|@import)\s*['"]?(https?:)?//""", text), style


def test_reference_has_every_public_name(pages: dict[Path, _Page], site: Path) -> None:
    folder = site / "docs" / "reference"
    ids = pages[folder / "functions.html"].ids | pages[folder / "objects.html"].ids
    names = {*didlab.__all__, *dir(didlab)} - {"__version__", "errors"}
    assert len(names) > 20
    modules = {name for name in names if inspect.ismodule(getattr(didlab, name))}
    expected = {f"{'module-' if name in modules else ''}didlab.{name}" for name in names}
    assert not expected - ids
    assert "didlab.Manifest.save" in ids
    text = (folder / "errors.html").read_text(encoding="utf-8")
    for name in didlab.errors.__all__:
        assert f">{name}<" in text


def test_search_knows_every_page(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f'"{page.relative_to(ROOT).with_suffix("").as_posix()}"' in index
    assert '"whiteout"' in index or "whiteout:" in index
    assert (site / "search.html").is_file()


def test_both_languages_of_a_page_have_the_same_code_links_and_rows() -> None:
    folder = ROOT / "docs" / "how-to"
    english, chinese = (
        (folder / name).read_text(encoding="utf-8") for name in ("china.md", "china.zh-CN.md")
    )
    for pattern in (r"^```\w+\n.*?^```$", r"\]\((?!china)[^)]+\)", r"`[^`\n]*[./:][^`\n]*`"):
        found = [
            sorted(re.findall(pattern, text, re.MULTILINE | re.DOTALL))
            for text in (english, chinese)
        ]
        assert found[0] == found[1]
        assert len(found[0]) >= 2
    for pattern in (r"^#+ ", r"^\|.*\|$", r"^- "):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert count[0] == count[1], pattern
