"""The site: ``sphinx-build -W -c docs . build/site``, from the root of a checkout or sdist.

The source folder is the root, not ``docs``: the notebooks are pages where they lie, and links
between pages are the same here and where people browse the files. Nothing of a page is asked for
over the network, neither while building nor while reading.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import reference  # noqa: E402

import didlab  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "didlab"
author = "The didlab developers"
version = release = didlab.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "notebooks/*.ipynb",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.zh-CN.md",
]
# Folders that are not even walked through.
exclude_patterns = [".*", "build", "dist", "didlab", "examples", "tests", "tools", "**/.*"]
templates_path = ["_templates"]

# --- pages ---------------------------------------------------------------------------------------

# Notebooks carry their outputs; CI runs them apart.
nb_execution_mode = "off"
# Without this, a page with a widget would load require.js and the widgets from a CDN.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["mystnb.mime_priority"]
pygments_style = "default"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

# --- the API -------------------------------------------------------------------------------------

# A name in single backticks is a link where didlab has such a name, else just code.
default_role = "py:obj"
# Docstrings say types in words ("Int64", "DataFrame"); signatures would repeat them longer.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "inherited-members": "Mapping,tuple,AbstractFileSystem"}
numpydoc_show_class_members = False
numpydoc_use_plots = False
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# --- looks ---------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "didlab"
html_favicon = "images/icon.svg"
html_domain_indices = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_additional_pages = {"index": "to_docs.html"}
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_center": [],
    "footer_end": [],
    "search_bar_text": "Search",
}

_LINK = re.compile(r"\]\(([^)#\s:]+)")
_MADE = re.compile(r"<!-- didlab: (\w+) -->")


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """Write what only the site has: sections for links to their folders, and the API in full."""
    folder = (ROOT / page).parent

    def target(match: re.Match[str]) -> str:
        path = folder / match[1]
        if path == ROOT / "README.md":
            return "](docs/index.md"
        if path.is_dir() and (path / "index.md").is_file():
            return f"]({match[1].rstrip('/')}/index.md"
        return match[0]

    source[0] = _MADE.sub(lambda match: _api(match[1]), _LINK.sub(target, source[0]))


def _api(kind: str) -> str:
    """Give a directive for each public name: of functions, or of classes and what calls return."""
    public = {
        name: getattr(didlab, name)
        for name in sorted({*didlab.__all__, *dir(didlab)} - {"__version__"})
    }
    rank = {"Registry": 0, "Repository": 1, "Manifest": 2, "Layer": 3}
    classes = [name for name, value in public.items() if inspect.isclass(value)]
    classes.sort(key=lambda name: rank.get(name, len(rank)))
    functions = [name for name, value in public.items() if inspect.isroutine(value)]
    modules = {n: m for n, m in public.items() if inspect.ismodule(m) and n != "errors"}
    for name, module in modules.items():
        inside = sorted(key for key in module.__all__ if inspect.isroutine(getattr(module, key)))
        functions += [f"{name}.{key}" for key in inside]
    returned = [f"{cls.__module__}.{cls.__name__}" for cls in reference._returned()]
    made = {
        "functions": [
            *(f"autofunction:: didlab.{name}" for name in functions),
            *(f"py:module:: didlab.{name}" for name in modules),
        ],
        "classes": [f"autoclass:: didlab.{name}" for name in classes],
        "returned": [f"autoclass:: {name}" for name in returned],
    }
    return "".join(f"```{{eval-rst}}\n.. {directive}\n```\n\n" for directive in made[kind])


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", _read)
