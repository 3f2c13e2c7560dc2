"""JupyterLab and Notebook 7 in a real browser, on this machine alone.

::

    def test_it(jupyter):
        with jupyter.notebook(["1 + 1"], app="notebook") as page:
            page.run()
            page.output("2").wait_for()

Debian's chromium does it; nothing is downloaded. What a page writes to its console as an error, and
every request that leaves the machine, fails the test that opened it. Pictures lie in the test's own
temporary folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from rig import processes

ROOT = Path(__file__).parents[2]
#: Milliseconds after which a page is given up: a loaded machine takes its time.
PATIENCE = 90_000

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
#: No news, no updates, no hidden cells, nothing saved behind the test's back.
_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
_READY = """() => {
  const widget = window.jupyterapp?.shell?.currentWidget;
  const kernel = (widget?.sessionContext ?? widget?.content?.sessionContext)?.session?.kernel;
  return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
}"""
#: What Jupyter's own pages complain about: a server of both Lab and Notebook takes the one's fonts
#: for the other's.
_NOT_OURS = ("favicon", ".woff2")


class Page:
    """One notebook in the browser. ``page`` is playwright's own."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._console)
        page.on("pageerror", self._page_error)
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self._complained(f"{message.text} ({message.location.get('url')})")

    def _page_error(self, error: Any) -> None:
        stack = error.stack or str(error)
        frames = [line for line in stack.splitlines() if line.strip().startswith("at ")]
        # Notebook trips over its own plugins while it starts; ours, and widgets, lie elsewhere.
        if not frames or not all(
            "/static/notebook/" in frame or "Promise.all" in frame for frame in frames
        ):
            self._complained(stack)

    def _complained(self, text: str) -> None:
        if not any(part in text for part in _NOT_OURS):
            self.errors.append(text)

    def _request(self, request: Any) -> None:
        if request.url.partition(":")[0] in ("http", "https", "ws", "wss") and (
            "://127.0.0.1:" not in request.url
        ):
            self.outside.append(request.url)

    @contextlib.contextmanager
    def dark(self) -> Iterator[None]:
        """Use JupyterLab's dark theme for a while."""
        self.page.wait_for_function(_READY)
        change = """async (theme) => await window.jupyterapp.commands.execute(
            'apputils:change-theme', {theme})"""
        self.page.evaluate(change, "JupyterLab Dark")
        try:
            yield
        finally:
            self.page.evaluate(change, "JupyterLab Light")

    def run(self) -> None:
        """Run all cells, and return when they are done; no output of theirs is an error."""
        self.page.wait_for_function(_READY)
        run = "async () => await window.jupyterapp.commands.execute('notebook:run-all-cells')"
        assert self.page.evaluate(run) is not False
        self.page.wait_for_function(_READY)
        errors = self.page.locator(
            '[data-mime-type="application/vnd.jupyter.stderr"], .jp-mod-error'
        )
        shown = self.page.locator(".jp-OutputArea-output").filter(has_text="Traceback")
        assert (errors.count(), shown.count()) == (0, 0), shown.all_inner_texts()

    def begin(self, number: int) -> None:
        """Begin to run one cell, and return at once."""
        self.page.wait_for_function(_READY)
        self.page.evaluate(
            """(number) => {
              window.jupyterapp.shell.currentWidget.content.activeCellIndex = number;
              void window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            number,
        )

    def output(self, selector: str) -> Any:
        """Elements inside outputs: a search for text would find a cell's source."""
        return self.page.locator(f".jp-OutputArea-output {selector}")

    def picture(self, name: str) -> Path:
        """Take a picture of the page, and return where it lies."""
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def check(self) -> None:
        """Raise where the page complained, or asked somebody outside."""
        assert self.errors == []
        assert self.outside == []


class Jupyter:
    """A Jupyter server and a browser."""

    def __init__(self, browser: Any, base: str, root: Path) -> None:
        self.browser = browser
        self.base = base
        self.root = root
        self._made = 0

    @contextlib.contextmanager
    def notebook(self, cells: Sequence[str] | Any, *, app: str = "lab") -> Iterator[Page]:
        """Open a notebook made of code cells, or an nbformat document, in ``lab`` or ``notebook``.

        ``page.folder`` is where the notebook lies and its kernel runs.
        """
        document = cells
        if isinstance(cells, list | tuple):
            document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
            document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        self._made += 1
        folder = self.root / f"n{self._made}"
        folder.mkdir()
        nbformat.write(document, folder / "nb.ipynb")
        where = f"{folder.name}/nb.ipynb"
        where = f"lab/tree/{where}?reset" if app == "lab" else f"notebooks/{where}"
        context = self.browser.new_context(viewport={"width": 1280, "height": 1100})
        try:
            page = Page(context.new_page(), folder)
            page.page.goto(f"{self.base}/{where}")
            try:
                yield page
            except BaseException:
                page.picture("failure")
                raise
            page.check()
        finally:
            context.close()


# Not for the session: as long as playwright runs, no other event loop can in this thread.
@pytest.fixture(scope="package")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """JupyterLab and Notebook 7 on a port of their own, and a browser; all ends with the tests."""
    with running(tmp_path_factory.mktemp("jupyter")) as made:
        yield made


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Jupyter]:
    """Start a server and a browser, with all that they write below a folder."""
    if sys.platform == "win32":
        pytest.skip("chromium is looked for as Debian has it")
    chromium = processes.require("chromium", "chromium")
    for module in ("playwright", "jupyterlab", "notebook"):
        if importlib.util.find_spec(module) is None:
            processes.missing(f"{module} is missing: pip install {module}")
    root = folder / "root"
    root.mkdir()
    server, base = _server(folder, root)
    server.start()
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=list(_FLAGS))
            try:
                yield Jupyter(browser, base, root)
            finally:
                browser.close()
    finally:
        server.stop()


def _server(folder: Path, root: Path) -> tuple[processes.Service, str]:
    own = {}
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        own[f"JUPYTER_{name}"] = folder / name.lower()
    own |= {
        "IPYTHONDIR": folder / "ipython",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "XDG_DATA_HOME": folder / "data",
        "DIDLAB_CACHE": folder / "cache",
        "DIDLAB_CONFIG": folder / "none.toml",
        "PYTHONPATH": ROOT,
    }
    settings = folder / "app_settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(_SETTINGS))
    port = processes.free_port()
    base = f"http://127.0.0.1:{port}"
    argv = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--port-retries=0", f"--ServerApp.root_dir={root}"),
        *("--IdentityProvider.token=", "--ServerApp.password="),
        *("--ServerApp.disable_check_xsrf=True", "--ServerApp.terminals_enabled=False"),
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        *("--LabApp.news_url=", "--LabApp.extension_manager=readonly"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--LabApp.app_settings_dir={settings}",
        f"--JupyterNotebookApp.app_settings_dir={settings}",
    ]
    environ = processes.clean_environ("JUPYTER", "DIDLAB_")
    environ |= {name: str(value) for name, value in own.items()}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{base}/api/status", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    return processes.Service("jupyter", argv, folder=folder, ready=ready, environ=environ), base
