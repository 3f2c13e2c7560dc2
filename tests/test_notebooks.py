"""Every notebook runs in a real kernel, without errors, and stores the outputs that came."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from shown import comparable

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: What must be seen, whatever the stored outputs say: guards against storing a wrong run.
SEEN = {
    "01-first-look.ipynb": (
        "linux/arm64/v8",
        "COPY dir:assets in /srv/www/assets",
        "('/usr/bin/demo-web',)",
        "DEMO_WEB_VERSION",
        "('demo_web_1.27_linux_arm64_v8.tar', 'linux/arm64/v8', True)",
        "(['oci-layout', 'index.json', 'manifest.json'], True)",
    ),
    "05-slow-links-and-bundles.ipynb": (
        "[('web:1.26', ('linux/amd64',)), ('web:1.27', ('linux/amd64',))]",
        "(True, ())",
        "('linux/amd64, linux/arm64/v8', True)",
        "(['blobs', 'index.json', 'oci-layout'], True)",
        "['1.26', '1.27']",
    ),
}


def _outputs(cell: Any) -> str:
    texts = []
    for output in cell.get("outputs", ()):
        assert output.output_type != "error", "\n".join(output.traceback)
        texts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "\n".join(texts)


def _run(notebook: Any, folder: Path) -> None:
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()  # raises CellExecutionError with the traceback


def test_there_are_notebooks() -> None:
    assert {path.name for path in NOTEBOOKS} == set(SEEN)


@pytest.mark.filterwarnings("default")  # those of Jupyter's own machinery are not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_it_stores(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = nbformat.read(path, as_version=4)
    executed = nbformat.read(path, as_version=4)
    probe = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    executed.cells.insert(0, probe)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    _run(executed, tmp_path)

    assert _outputs(probe).strip() == sys.executable
    for before, after in zip(stored.cells, executed.cells[1:], strict=True):
        if before.cell_type == "code":
            assert comparable(_outputs(after)) == comparable(_outputs(before)), before.source
    everything = "\n".join(_outputs(cell) for cell in executed.cells[1:])
    for text in SEEN[path.name]:
        assert text in everything
    assert list(tmp_path.glob("*.tar")) == []  # nothing is left where the reader works


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stores_outputs_without_traces_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(bool(cell.outputs) for cell in code) > len(code) / 2
    # A rerun in order: 1, 2, 3 …
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    text = path.read_text(encoding="utf-8")
    for trace in (str(ROOT), str(Path.home()) + "/", "/tmp/", "/home/", "C:\\\\Users"):
        assert trace not in text
    nbformat.validate(notebook)
