"""Notebooks run from the first cell to the last as their readers run them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize(
    ("name", "app"), [("01-first-look", "lab"), ("02-where-did-the-space-go", "notebook")]
)
def test_all_cells_run(jupyter, name, app):
    """In a browser these two, which draw, explore and save; `test_notebooks` runs all of them."""
    document = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    with jupyter.notebook(document, app=app) as page:
        page.run()
        assert page.output("table").count() >= 3
        assert page.output("img").count() >= 1
        done = page.page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        assert done == [f"[{number}]:" for number in range(1, len(cells) + 1)]
        page.picture(name)
