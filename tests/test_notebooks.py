"""Every notebook runs in a real kernel, without errors, and stores the outputs that came."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from shown import comparable

from didlab.demo.server import DemoServer

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: What must be seen, whatever the stored outputs say: guards against storing a wrong run.
SEEN = {
    "01-first-look.ipynb": (
        "linux/arm64/v8",
        "COPY dir:assets in /srv/www/assets",
        "('/usr/bin/demo-web',)",
        'PRETTY_NAME="Didlab Demo Linux 12"',
        "DEMO_WEB_VERSION",
        "('demo_web_1.27_linux_arm64_v8.tar', 'linux/arm64/v8', True)",
        "(['oci-layout', 'index.json', 'manifest.json'], True)",
    ),
    "02-where-did-the-space-go.ipynb": (
        "/srv/www/assets/photos.bin",
        "draw the files",
        "/usr/lib/x86_64-linux-gnu",
        "3% of all bytes in the layers are never seen",
        "('/var/cache/apt/archives/demo-web_1.27-1_amd64.deb', 'deleted', False)",
        "/usr/sbin/nologin",
        "read the end of the largest",
    ),
    "03-what-changed.ipynb": (
        "pillow     added",
        "requests  upgraded  2.32.4  2.32.5",
        "+workers = 8",
        "/root/.cache/pip  ",
        "[1.0, 0.79]",
        "RUN /bin/sh -c chown -R app:app /app # buildkit",
        "removed       210000",
    ),
    "04-audit-a-fleet.ipynb": (
        "<Report 22 images · config, layers, os, packages, secrets, setuid, waste>",
        "RepositoryNotFound: ",
        "Debian GNU/Linux 10 (buster) True       5   shop/api, shop/base, shop/batch",
        "ghp_…(40)     True",
        "/usr/local/bin/as-root     2",
        "libssl3t64  3.0.13-0ubuntu3.6     shop/base, shop/tools, shop/web",
        "url-password in DATABASE_URL",
        "telnet 0.17-41.2",
        "('CycloneDX', '1.6', 16)",
        "['audit.jsonl', 'bill.cdx.json', 'packages.csv', 'policy.csv']",
    ),
    "05-proxies-mirrors-offline.ipynb": (
        "['GET 127.0.0.1:",
        "ProxyError · check proxy=",
        "AuthRequired · pass username= and password=",
        "stopped; no web.tar",
        "[('1.26', ('linux/amd64',)), ('1.27', ('linux/amd64',))]",
        "'linux/amd64, linux/arm64/v8'",
        'PRETTY_NAME="Didlab Demo Linux 12"',
        "['containerd', 'crane', 'ctr', 'docker', 'podman', 'skopeo']",
    ),
    "06-shared-layers.ipynb": (
        "[hello:1.0, hello:1.1, oci:1.0]",
        "[web:1.26, web:1.27]",
        "added",
    ),
}


#: What a bar leaves behind. One shows where something takes longer than half a second.
_BAR = re.compile(r".+: \d+% · .*")
#: Bytes of the pictures that one notebook stores.
_PICTURES = 150_000


def _outputs(cell: Any) -> str:
    texts = []
    for output in cell.get("outputs", ()):
        assert output.output_type != "error", "\n".join(output.traceback)
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if output.output_type == "display_data" and _BAR.fullmatch(text):
            continue
        texts.append(text)
    return "\n".join(texts)


def _pictures(notebook: Any) -> list[list[bytes]]:
    """The pictures that each cell has as output."""
    return [
        [
            base64.b64decode(output.data["image/png"])
            for output in cell.get("outputs", ())
            if "image/png" in output.get("data", {})
        ]
        for cell in notebook.cells
    ]


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
    drawn = [len(pictures) for pictures in _pictures(executed)[1:]]
    assert drawn == [len(pictures) for pictures in _pictures(stored)]
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
    home = f"{Path.home()}/"
    homes = [] if home == "/root/" else [home]  # that one is a folder of images, too
    for trace in (str(ROOT), *homes, "/tmp/", "/home/", "C:\\\\Users"):
        assert trace not in text
    nbformat.validate(notebook)
    pictures = [picture for cell in _pictures(notebook) for picture in cell]
    assert sum(map(len, pictures)) <= _PICTURES
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


#: What the reader of each notebook changes in its first cell, to look at another place.
ELSEWHERE = {
    "01-first-look.ipynb": (
        ("didlab.sandbox()", 'didlab.Registry("HOST", trust_env=False)'),
        ('"demo/web", "1.27"', '"demo/web", "1.26"'),
    ),
    "03-what-changed.ipynb": (
        ('f"{hub.host}/shop/api:2.0"', '"HOST/demo/web:1.26"'),
        ('f"{hub.host}/shop/api:2.1"', '"HOST/demo/web:1.27"'),
    ),
    "04-audit-a-fleet.ipynb": (
        ('f"{hub.host}/shop/{name}:*"', 'f"HOST/demo/{name}:*"'),
        (
            '("base", "api", "worker", "web", "proxy", "batch", "tools")',
            '("web", "hello", "single")',
        ),
    ),
    "05-proxies-mirrors-offline.ipynb": (
        ('f"{hub.host}/demo/web:1.26"', '"HOST/demo/hello:1.1"'),
        ('f"{hub.host}/demo/web:1.27"', '"HOST/demo/web:1.26"'),
        ('[f"http://{mirror.host}"]', '["http://127.0.0.1:1"]'),
    ),
    "06-shared-layers.ipynb": (
        (
            'f"{hub.host}/demo/{name}"',
            'f"HOST/demo/{name}"',
        ),
        ('"web:1.26", "web:1.27"', '"single:1.0", "web:1.27"'),
    ),
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_runs_elsewhere_when_its_first_cell_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with DemoServer() as server:
        for old, new in ELSEWHERE[name]:
            assert first.source.count(old) == 1, old
            first.source = first.source.replace(old, new.replace("HOST", server.host))
        _run(notebook, tmp_path)
        asked = [path for _, path, _ in server.requests]
    assert any("/manifests/" in path for path in asked)
    assert any("/blobs/" in path for path in asked)


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
    assert len(costs) == 7
    requests, size = costs["list all files"]
    assert requests == 3 + 7  # index, manifest, config; each layer once
    assert 2_000_000 < size < 2_200_000
    assert costs["list the changes"] == costs["read os-release and passwd"] == (0, 0)
    assert costs["draw the files"] == (0, 0)
    assert costs["read what is gone"][0] == 1
    assert costs["list all files again"][0] == 1
