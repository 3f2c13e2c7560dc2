"""What ``import didlab`` loads, and that the façade offers what it says."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest

import didlab
from didlab import versions

HEAVY = ("requests", "urllib3", "pandas", "numpy", "ipywidgets", "tqdm", "fsspec", "IPython")


def loaded(code: str) -> set[str]:
    """Top-level modules and didlab's own after ``code`` ran in a fresh interpreter."""
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    root = str(Path(didlab.__file__).parent.parent)
    # -I: neither the working directory nor the environment has a say; -W error: nor is it noisy.
    script = f"import sys; sys.path.insert(0, {root!r})\n{script}"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = set(json.loads(done.stdout.splitlines()[-1]))
    return {name for name in names if name.startswith("didlab")} | {
        name.partition(".")[0] for name in names
    }


def test_import_loads_nothing_heavy() -> None:
    found = loaded("import didlab")
    assert found.isdisjoint(HEAVY)
    assert {name for name in found if name.startswith("didlab")} == {"didlab"}


def test_dir_and_errors_and_options_stay_cheap() -> None:
    code = "import didlab\ndir(didlab); didlab.errors; didlab.set_options(progress=False)"
    assert loaded(code).isdisjoint(HEAVY)


def test_reference_needs_the_standard_library_only() -> None:
    assert loaded("import didlab\ndidlab.Reference.parse('nginx')").isdisjoint(HEAVY)


def test_open_and_repr_load_no_pandas() -> None:
    code = (
        "import didlab\nm = didlab.open('nginx')\nrepr(m), repr(m.repository), repr(m.registry)\n"
        "m['linux/arm64'], m == m, hash(m)"
    )
    found = loaded(code)
    assert found.isdisjoint({"pandas", "numpy", "ipywidgets", "tqdm", "fsspec", "IPython"})
    assert "didlab.model.manifest" in found  # the snippet did run


# --- the table of public names ----------------------------------------------------------------


def type_checking_names() -> dict[str, str]:
    """Public name -> module, as type checkers see it."""
    tree = ast.parse(Path(didlab.__file__).read_text("utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            # "import a as a" is what makes a name public for a type checker.
            assert alias.asname == alias.name
            found[alias.name] = str(node.module)
    return found


def test_the_table_is_what_type_checkers_see() -> None:
    assert type_checking_names() == {**didlab._PUBLIC, "errors": "didlab", "plot": "didlab"}


def test_all_and_dir_list_the_public_names() -> None:
    public = {*didlab._PUBLIC, "errors", "plot", "__version__"}
    # What needs an extra is no part of "import *", which would fail without it.
    assert set(didlab.__all__) == public - {"ImageFileSystem"}
    assert set(dir(didlab)) == public
    assert len(didlab.__all__) == len(public) - 1
    assert {"open", "Registry", "Reference", "set_options", "show_versions"} <= public


@pytest.mark.parametrize("name", sorted(dir(didlab)))
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(didlab, name)
    assert value is getattr(didlab, name)
    if name in didlab._PUBLIC:
        module = import_module(didlab._PUBLIC[name])
        assert value is getattr(module, name)
        assert value.__module__ == module.__name__, "the table names another module than its home"
        assert value.__doc__


def test_other_names_are_attribute_errors() -> None:
    # IPython probes names like this one some twenty times for each display.
    for name in ("nonsense", "_ipython_canary_method_should_not_exist_", "_repr_html_"):
        with pytest.raises(AttributeError, match=name):
            getattr(didlab, name)


def test_star_import_gives_the_public_names() -> None:
    names: dict[str, Any] = {}
    exec("from didlab import *", names)
    assert set(didlab.__all__) <= set(names)


# --- show_versions ----------------------------------------------------------------------------


def test_show_versions_prints_what_versions_returns() -> None:
    out = io.StringIO()
    assert didlab.show_versions(out) is None
    rows = dict(line.split("  ", 1) for line in out.getvalue().splitlines())
    printed = {name.strip(): value.strip() for name, value in rows.items()}
    assert printed == versions.versions()
    assert printed["didlab"] == didlab.__version__
    assert printed["pandas"] == metadata.version("pandas")
    assert printed["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")


def test_show_versions_prints_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    didlab.show_versions()
    assert capsys.readouterr().out.startswith("didlab  ")


def test_proxies_are_named_and_never_shown() -> None:
    found = versions.versions(
        {
            "https_proxy": "http://alice:s3cret@proxy.example:3128",
            "NO_PROXY": "internal.example",
            "HTTP_PROXY": "",
            "DIDLAB_WORKERS": "8",
            "DOCKER_AUTH_CONFIG": '{"auths": {"r.example": {"auth": "c2VjcmV0"}}}',
            "PATH": "/bin",
        }
    )
    assert found["proxies set"] == "NO_PROXY, https_proxy"
    assert found["also set"] == "DIDLAB_WORKERS, DOCKER_AUTH_CONFIG"
    text = repr(found)
    for secret in ("s3cret", "alice", "proxy.example", "internal.example", "c2VjcmV0", "r.example"):
        assert secret not in text


def test_an_empty_environment_is_said_so() -> None:
    found = versions.versions({})
    assert found["proxies set"] == found["also set"] == "none"


def test_a_missing_dependency_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions.metadata, "version", missing)
    found = versions.versions({})
    assert found["requests"] == "not installed"
    assert "ipython" not in found
