"""Imports point one way: the table in the design, held by reading every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import didlab

ROOT = Path(didlab.__file__).parent

#: Everybody may use these; they use the standard library and the errors.
COMMON = {"errors", "sizes", "settings", "userconfig", "_once", "_pausing"}

#: Part -> the parts of didlab that it may import at module level (itself always).
#: ``sources.base`` allows that module alone. A longer name goes before a shorter one.
TABLE: dict[str, set[str]] = {
    "errors": set(),
    "sizes": set(),
    "userconfig": {"errors", "oci"},
    "settings": {"errors", "userconfig"},
    "_once": {"errors"},
    "_extras": set(),
    "_pausing": {"errors"},
    "oci": {"errors"},
    "transport": COMMON | {"oci"},
    "blobs": COMMON | {"oci"},
    "sources": COMMON | {"oci", "transport", "blobs"},
    "sources.base": COMMON | {"oci"},
    # Archives are tars, read by what reads layers; files itself knows of no source but the port.
    "sources.local": COMMON | {"oci", "blobs", "sources.base", "files"},
    "files": COMMON | {"oci", "blobs", "sources.base"},
    "export": COMMON | {"oci", "blobs", "sources.base"},
    # Decoders are files' own; what writes layers anew needs them.
    "export.recode": COMMON | {"oci", "blobs", "sources.base", "files", "export"},
    "export.push": COMMON | {"oci", "blobs", "sources.base", "transport", "export"},
    "views": {"errors", "oci", "sizes", "settings"},
    "model": COMMON | {"oci", "transport", "blobs", "sources", "files", "export", "views"},
}
#: Consumers: they may import everything below, and each other; nothing below imports them.
LAST = {"", "audits", "cli", "demo", "filesystem", "plot", "versions", "widgets", "__main__"}

#: Where third parties may be imported at module level: everywhere else inside functions only.
THIRD_PARTIES = {
    "transport": {"requests", "urllib3", "publicsuffixlist"},
    "widgets": {"ipywidgets"},
    "filesystem": {"fsspec"},
}


def imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of what runs on import; functions and TYPE_CHECKING do not."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        waiting += ast.iter_child_nodes(node)


def module_name(path: Path) -> str:
    """``oci.digest`` of ``didlab/oci/digest.py``; "" of the façade."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def longest(name: str, table: dict[str, set[str]] | set[str]) -> str | None:
    """The entry that a module falls under: ``export.push`` before ``export``."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in table:
            return ".".join(parts[:count])
    return "" if name == "" and "" in table else None


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def violations(source: str, name: str, *, package: bool = False) -> list[str]:
    """What a module imports and should not; ``name`` without the leading ``didlab.``."""
    full = f"didlab.{name}".rstrip(".")
    home = full if package else full.rpartition(".")[0]
    own = longest(name, TABLE)
    if own is None and longest(name, LAST) is None:
        return [f"{full} has no row in the table"]
    top = name.partition(".")[0]
    found = []
    for line, target in imports(ast.parse(source), home):
        root, _, rest = target.partition(".")
        if root in sys.stdlib_module_names:
            continue
        if root != "didlab":
            allowed = THIRD_PARTIES.get(top, set())
            if root not in allowed:
                found.append(f"{full}:{line} imports {root} at module level")
            continue
        if own is None:  # a consumer
            continue
        if within(rest, own) and own != "sources.base":
            continue
        if own != top and within(rest, own):
            continue
        if not any(within(rest, part) for part in TABLE[own]):
            found.append(f"{full}:{line} imports {target}")
    return found


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: module_name(path) or "didlab")
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    package = path.name == "__init__.py"
    assert violations(path.read_text("utf-8"), module_name(path), package=package) == []


def test_every_module_was_seen() -> None:
    names = {module_name(path) for path in MODULES}
    assert {"", "errors", "oci.digest", "transport.wire", "model.manifest", "views.html"} <= names


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("oci.x", "import requests"),
        ("oci.x", "from didlab.transport import wire"),
        ("oci.x", "from didlab import settings"),
        ("oci.x", "from ..transport import wire"),
        ("errors", "from didlab.oci import digest"),
        ("settings", "from didlab.oci import digest"),
        ("transport.x", "from didlab.sources import base"),
        ("transport.x", "import pandas"),
        ("sources.base", "from didlab.sources.registry import RegistrySource"),
        ("sources.base", "from didlab.transport import wire"),
        ("sources.x", "from didlab.model.manifest import Manifest"),
        ("export.x", "from didlab.transport import retry"),
        ("export.x", "from didlab.sources.registry import RegistrySource"),
        ("export.x", "from didlab.sources import registry"),
        ("files.x", "import didlab.transport.wire"),
        ("views.x", "from didlab.model.config import Config"),
        ("views.x", "from didlab.sources.base import Source"),
        ("views.x", "import pandas as pd"),
        ("model.x", "from didlab.demo import sandbox"),
        ("model.x", "from didlab import cli"),
        ("model.x", "import didlab"),
        ("model.x", "import requests"),
        ("model.x", "try:\n    import tqdm\nexcept ImportError:\n    pass"),
        ("model.x", "class A:\n    import ipywidgets"),
        ("model.x", "if True:\n    import fsspec"),
        ("cli", "import pandas"),
        ("nowhere.x", ""),
    ],
)
def test_the_table_refuses(name: str, source: str) -> None:
    assert violations(source, name)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("oci.x", "import re\nfrom didlab.errors import printable\nfrom didlab.oci import digest"),
        ("oci.x", "from . import digest\nfrom .digest import of"),
        ("sources.base", "from didlab.oci.digest import of\nfrom didlab.errors import NotFound"),
        ("export.x", "from didlab.sources.base import Source\nfrom didlab import _pausing"),
        ("export.push", "from didlab.transport.client import connect"),
        ("transport.x", "import requests.adapters"),
        ("views.x", "def f():\n    import pandas\n    from didlab.model import manifest"),
        ("views.x", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("model.x", "from didlab.views import frames\nfrom didlab.export import archive"),
        ("cli", "import didlab\nfrom didlab.model.manifest import Manifest"),
    ],
)
def test_the_table_allows(name: str, source: str) -> None:
    assert violations(source, name) == []
