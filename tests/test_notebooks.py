"""Every notebook runs in a real kernel, without errors, and stores the outputs that came."""

from __future__ import annotations

import re
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
    "02-where-did-the-space-go.ipynb": (
        "/srv/www/assets/photos.bin",
        "/usr/lib/x86_64-linux-gnu",
        "3% of all bytes in the layers are never seen",
        "('/var/cache/apt/archives/demo-web_1.27-1_amd64.deb', 'deleted', False)",
        "/usr/sbin/nologin",
        "read the end of the largest",
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


def _costs(notebook: Any) -> dict[str, tuple[int, int]]:
    """The table of steps at the end of notebook 02: requests and bytes of each."""
    text = [_outputs(cell) for cell in notebook.cells if cell.get("outputs")][-1]
    rows = re.findall(r"^(\w[\w -]+?) +(\d+) +(\d+)$", text, re.MULTILINE)
    return {step: (int(requests), int(size)) for step, requests, size in rows}


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


@pytest.mark.filterwarnings("default")
def test_where_did_the_space_go_holds_for_another_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another reference alone, as its reader is told: no cell knows the demo image."""
    notebook = nbformat.read(ROOT / "notebooks" / "02-where-did-the-space-go.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.count("demo/web:1.27") == 1
    assert sum(cell.source.count("demo/") for cell in notebook.cells) == 1
    first.source = first.source.replace("demo/web:1.27", "demo/web:1.26")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    _run(notebook, tmp_path)

    text = "\n".join(_outputs(cell) for cell in notebook.cells)
    assert "demo-web_1.26-1_arm64.deb" in text
    costs = _costs(notebook)
    assert len(costs) == 6
    requests, size = costs["list all files"]
    assert requests == 3 + 7  # index, manifest, config; each layer once
    assert 2_000_000 < size < 2_200_000
    assert costs["list the changes"] == costs["read os-release and passwd"] == (0, 0)
    assert costs["read what is gone"][0] == 1
    assert costs["list all files again"][0] == 1
