"""What users of notebooks expect of a library: seventeen rules, each with the tests that hold it.

Most are held where the thing lies; `TESTED` says where, and that those tests are there is held
here. What is nowhere else follows below.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model.sources import MemorySource
from rig.images import make_image, make_index

import didlab
from didlab import errors
from didlab.audits.diff.difference import Diff
from didlab.audits.distribution import OperatingSystem
from didlab.audits.fleet.report import Report
from didlab.audits.sbom.document import Sbom
from didlab.export.loaded import LoadReport
from didlab.export.push_report import CopyReport
from didlab.export.report import SaveReport
from didlab.files.extract import Extracted
from didlab.model.attestation import Attestation
from didlab.model.config import Config
from didlab.model.layer import Layer
from didlab.model.manifest import Manifest
from didlab.model.registry import Registry
from didlab.model.repository import Repository
from didlab.views import tracebacks

TESTS = Path(__file__).parents[1]
LIBRARY = Path(didlab.__file__).parent

#: Rule -> the tests that hold it, by file and function.
TESTED = {
    # one line, no I/O, what is known and what is not
    "C1": ["model/test_free.py::test_one_line_says_what_is_known"],
    # the card may fetch a little, within seconds, and never raises
    "C2": [
        "model/test_free.py::test_the_card_does_not_wait_for_a_stalling_registry",
        "model/test_free.py::test_the_card_never_raises",
        "views/test_conventions.py::test_a_card_asks_no_more_than_manifest_and_config",
        "views/test_cards.py::test_a_card_without_its_facts_says_so",
    ],
    # inline styles only, light and dark, capped
    "C3": [
        "views/test_cards.py::test_styles_survive_in_a_notebook_that_nobody_trusts",
        "views/test_cards.py::test_megabytes_do_not_make_a_card_grow",
        "views/test_cards.py::test_very_many_of_everything",
    ],
    # everything from an image is escaped
    "C4": [
        "views/test_cards.py::test_every_payload_in_every_field",
        "views/test_html.py::test_every_field_of_an_image",
        "views/test_html.py::test_one_line_texts",
    ],
    # text and HTML only; nothing that hides them
    "C5": [
        "model/test_free.py::test_no_formats_that_hide_the_html_or_render_remote_text",
        "views/test_conventions.py::test_what_ipython_shows_is_text_and_html",
    ],
    # JSON is a tree of our own; the viewer is asked for
    "C6": [
        "model/test_config.py::test_as_json_is_the_viewer_of_ipython",
        "views/test_html.py::test_any_tree_is_well_formed",
    ],
    # keys are completed: bounded, once a minute, never raising, to be switched off
    "C7": [
        "model/test_free.py::test_tags_and_platforms_are_offered",
        "model/test_free.py::test_keys_are_asked_for_once_a_minute",
        "model/test_free.py::test_keys_do_not_wait_for_a_stalling_registry",
        "model/test_free.py::test_keys_never_raise",
        "model/test_config.py::test_keys_are_completed",
        "views/test_conventions.py::test_keys_are_completed_where_there_are_keys",
    ],
    # no attributes made of remote names; probes are refused at once
    "C8": ["model/test_config.py::test_remote_names_are_keys_and_never_attributes"],
    "C9": ["model/test_free.py::test_looking_costs_nothing"],
    # no length, no iteration, always true
    "C10": ["model/test_free.py::test_lazy_objects_have_no_length_and_do_not_iterate"],
    # objects travel, compare and hash
    "C11": ["model/test_free.py::test_looking_costs_nothing"],
    # importing is cheap
    "C12": ["test_import_cost.py::test_import_loads_nothing_heavy"],
    # options with twins; versions
    "C13": [
        "test_settings.py::test_with_puts_them_back_whatever_happens",
        "test_settings.py::test_every_option_is_documented_with_its_twin",
        "test_import_cost.py::test_show_versions_prints_what_versions_returns",
    ],
    # a missing extra is told with its command, at the call
    "C14": ["test_extras.py::test_what_is_missing_is_told_with_the_command"],
    # paths are paths, sizes are numbers, times are aware
    "C15": [
        "views/test_frames_contract.py::*",
        "views/test_conventions.py::test_paths_sizes_and_times_are_values",
    ],
    # errors say what to do, and are short
    "C16": [
        "test_errors.py::test_one_line_in_a_traceback",
        "views/test_conventions.py::test_few_frames_are_left_of_a_traceback",
        "views/test_conventions.py::test_errors_are_short_in_a_real_kernel",
    ],
    # one logger, and nothing printed
    "C17": ["views/test_conventions.py::test_one_logger_and_nothing_printed"],
}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_rule_has_its_tests() -> None:
    assert list(TESTED) == [f"C{number}" for number in range(1, 18)]
    for rule, names in TESTED.items():
        for name in names:
            file, _, function = name.partition("::")
            found = {one for one in functions(TESTS / file) if one.startswith("test_")}
            assert function in found or (function == "*" and found), (rule, name)


# --- C2 ---------------------------------------------------------------------------------------

AMD64 = make_image([{"a": b"a"}, {"b": b"b"}], Env=["A=1"])
INDEX = make_index((AMD64, make_image([{"a": b"a"}], "linux/arm64")))


@pytest.mark.parametrize(
    ("tag", "asked"), [("single", ["resolve", "fetch"]), ("index", ["resolve", "fetch", "fetch"])]
)
def test_a_card_asks_no_more_than_manifest_and_config(
    tag: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    source = MemorySource(single=AMD64, index=INDEX)
    m = source.manifest(tag)
    first = m._repr_html_()
    assert "layers" in first
    assert source.asked == asked
    assert m._repr_html_() == first
    assert source.asked == asked


# --- C5 and C7 --------------------------------------------------------------------------------

SHOWN = (
    Registry,
    Repository,
    Manifest,
    Layer,
    Config,
    Attestation,
    SaveReport,
    LoadReport,
    CopyReport,
    Extracted,
    Diff,
    OperatingSystem,
    Sbom,
    Report,
)


def test_what_ipython_shows_is_text_and_html() -> None:
    core = pytest.importorskip("IPython.core.formatters")
    formatter = core.DisplayFormatter()
    m = MemorySource(single=AMD64).manifest("single")
    for thing in (m, m.layer(0), m.config(), Registry("registry.invalid")["lab/app"]):
        data, _ = formatter.format(thing)
        assert set(data) == {"text/plain", "text/html"}
        assert "\n" not in data["text/plain"]


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_every_object_is_shown_as_text_and_html(kind: type) -> None:
    assert kind.__repr__ is not object.__repr__
    assert callable(kind._repr_html_)  # type: ignore[attr-defined]
    for name in ("_repr_mimebundle_", "_repr_json_", "_repr_svg_", "_repr_png_"):
        assert not hasattr(kind, name)


def test_keys_are_completed_where_there_are_keys() -> None:
    for kind in SHOWN:
        if "__getitem__" in vars(kind):
            assert "_ipython_key_completions_" in vars(kind), kind


# --- C15 --------------------------------------------------------------------------------------


def test_paths_sizes_and_times_are_values(tmp_path: Path) -> None:
    m = MemorySource(single=AMD64).manifest("single")
    assert type(m.size()) is int
    assert type(m.layer(0).size) is int
    created = m.config().created
    assert created is None or created.utcoffset() is not None
    assert SaveReport.__dataclass_fields__["path"].type == "Path | None"
    assert Extracted.__dataclass_fields__["path"].type == "Path"


# --- C16 --------------------------------------------------------------------------------------


def calls() -> dict[str, Any]:
    m = MemorySource(index=INDEX, single=AMD64)
    return {
        "open": lambda: didlab.open("UPPER/case"),
        "options": lambda: didlab.set_options(nonsense=True),
        "missing tag": lambda: m.manifest("none").layers(),
        "missing platform": lambda: m.manifest("index", "linux/s390x").config(),
        "missing layer": lambda: m.manifest("single").layer(9),
        "missing file": lambda: didlab.open("/no/such/file.tar").layers(),
        "nobody there": lambda: didlab.open("127.0.0.1:1/a/b", trust_env=False).config(),
    }


@pytest.mark.parametrize("name", calls())
def test_few_frames_are_left_of_a_traceback(name: str) -> None:
    with pytest.raises(errors.DidlabError) as caught:
        calls()[name]()
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    all_of_them = list(frames(error.__traceback__))
    left = list(frames(tracebacks.pruned(error.__traceback__)))
    ours = [one for one in left if Path(one).is_relative_to(LIBRARY)]
    # This test and the lambda, what was called, and what raised.
    assert 1 <= len(ours) <= 2
    assert left[0] == __file__
    assert len(left) <= 5
    # The error itself keeps everything.
    assert list(frames(error.__traceback__)) == all_of_them


def frames(found: Any) -> Iterator[str]:
    while found is not None:
        yield found.tb_frame.f_code.co_filename
        found = found.tb_next


def test_a_callback_of_the_user_is_not_taken_out() -> None:
    def progress() -> None:
        raise errors.InvalidArgument("mine")

    # Between two frames of didlab: what pruning must not take for a part of it.
    from didlab._once import Once

    with pytest.raises(errors.InvalidArgument) as caught:
        Once(progress)()
    left = list(frames(tracebacks.pruned(caught.value.__traceback__)))
    assert left[-1] == __file__


def test_outside_of_ipython_it_is_pythons_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with pytest.raises(errors.DidlabError) as caught:
        didlab.open("UPPER/case")
    assert "InvalidReference" in "".join(tracebacks.render(caught.value))


def test_a_save_that_was_stopped_says_that_it_goes_on(tmp_path: Path) -> None:
    class Stopping:
        stopped = False

        def update(self, n: int) -> None:
            if not self.stopped:
                self.stopped = True
                raise KeyboardInterrupt

    with didlab.sandbox() as hub, pytest.raises(KeyboardInterrupt) as caught:
        hub["demo/web"]["1.27"]["linux/amd64"].save(tmp_path / "web.tar", progress=Stopping())
    assert "the same call goes on from there" in str(caught.value)
    shown = "".join(caught.value._render_traceback_())  # type: ignore[attr-defined]
    assert "the same call goes on from there" in shown
    # This test, what it called, what called it back, and where it was stopped: here.
    assert shown.count("File ") == 4


CELLS = [
    "import didlab",
    "didlab.open('UPPER/case')",
    "didlab.open('127.0.0.1:1/a/b', trust_env=False).layers()",
    "didlab.open('/no/such/file.tar').config()",
    "from didlab import _extras\n_extras.need('no_such_package_of_didlab', 'plot', 'm.plot')",
    "1/0",
]


def test_errors_are_short_in_a_real_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat.v4")
    nbclient = pytest.importorskip("nbclient")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(LIBRARY.parent))
    # This interpreter, whatever kernels there are.
    import json

    spec = tmp_path / "JUPYTER_DATA_DIR" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "here", "language": "python"}), "utf-8"
    )
    cells = [nbformat.new_code_cell(source) for source in CELLS]
    notebook = nbformat.new_notebook(cells=cells)
    client = nbclient.NotebookClient(
        notebook, allow_errors=True, timeout=200, startup_timeout=200, kernel_name="python3"
    )
    client.execute(cwd=str(tmp_path))
    assert notebook.cells[0].outputs == []
    names = ["InvalidReference", "ConnectFailed", "PathNotFound", "ImportError"]
    for cell, name in zip(notebook.cells[1:5], names, strict=True):
        (output,) = cell.outputs
        assert output.ename == name
        shown = "\n".join(output.traceback)
        assert "During handling" not in shown
        assert "direct cause" not in shown
        assert shown.count("File ") + shown.count("Cell ") <= 4, shown
    assert 'm.plot needs no_such_package_of_didlab: pip install "didlab[plot]"' in shown
    # Errors of others are as ever.
    assert notebook.cells[5].outputs[0].ename == "ZeroDivisionError"


# --- C17 --------------------------------------------------------------------------------------

#: What is there to print: commands, and what says so by its name.
PRINTING = ("cli/", "demo/", "versions.py", "export/progress")


def test_one_logger_and_nothing_printed() -> None:
    loggers, printed = set(), []
    for path in LIBRARY.rglob("*.py"):
        if path.relative_to(LIBRARY).as_posix().startswith(PRINTING):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name.endswith("getLogger"):
                loggers.add(ast.unparse(node.args[0]) if node.args else "the root")
            if name == "print":
                printed.append(f"{path.name}:{node.lineno}")
    # Those of urllib3 get a filter from the transport, which takes queries out.
    assert loggers - {"_name"} == {"'didlab'"}
    assert printed == []


def test_docstrings_need_no_request() -> None:
    # What `?` shows besides is held by model/test_free.py, over a source whose verbs raise.
    source = MemorySource(index=INDEX)
    source.exploding = True
    m = source.manifest("index")
    for name in dir(m):
        if not name.startswith("_"):
            assert inspect.getdoc(getattr(type(m), name)), name
    assert source.asked == []
