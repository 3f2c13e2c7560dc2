"""Run the notebooks and store their outputs: ``python3 tools/notebooks.py [NAME…]``.

Needs didlab with its extra ``test``. `tests/test_notebooks.py` holds the stored outputs equal to
those that come, but for what differs between machines.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parent.parent


def run(path: Path) -> None:
    """Run one notebook in a folder of its own, and write it with what came."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources=resources
        ).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    print(path.name, path.stat().st_size, "bytes")


def main() -> int:
    """Run those that are named, or all."""
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["DIDLAB_CACHE"] = "0"  # as on a reader's first day
    os.environ["DOCKER_DEFAULT_PLATFORM"] = "linux/amd64"
    wanted = sys.argv[1:]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not wanted or any(path.name.startswith(name) for name in wanted):
            run(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
