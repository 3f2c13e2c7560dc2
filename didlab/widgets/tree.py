"""A tree of a hundred thousand files, with `didlab[tree]` (anywidget); works in marimo as well.

The browser asks for pages of a folder as they come into sight (`tree.js`), by traits that are
always sent whole: messages that are held back while a kernel works, and merged, lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didlab._extras import need
from didlab.errors import printable
from didlab.files.table import HARDLINK, SYMLINK
from didlab.model.listing import shown
from didlab.sizes import human
from didlab.widgets.folders import ROOT, Folders
from didlab.widgets.state import State

if TYPE_CHECKING:
    from didlab.model.manifest import Manifest

#: Children that one answer brings of a folder, and pages of them; as in tree.js.
PAGE, PAGES = 500, 40

#: A child: its row, name, size, and how many children it has itself (-1: it is no folder).
Child = tuple[int, str, str, int]


def page(folders: Folders, row: int, number: int) -> list[Child]:
    """Return one page of the children of a folder's row; none where there is no such page."""
    if number < 0 or not (row == ROOT or 0 <= row < len(folders)) or not folders.is_folder(row):
        return []
    rows = folders.children(folders.path(row))[number * PAGE : (number + 1) * PAGE]
    return [_child(folders, child) for child in rows]


def _child(folders: Folders, row: int) -> Child:
    kind = folders.table.types[row]
    name = printable(shown(folders.name(row)), 300)
    if kind in (SYMLINK, HARDLINK):
        arrow = "→" if kind == SYMLINK else "="
        name += f" {arrow} {printable(shown(folders.table.links[row]), 200)}"
    folder = folders.is_folder(row)
    count = len(folders.children(folders.path(row))) if folder else -1
    return row, name, "" if kind == SYMLINK else human(folders.size(row)), count


@cache
def _widget() -> Any:
    """Return the class: it needs anywidget to be made."""
    anywidget = need("anywidget", "tree", "the tree")
    import traitlets

    here = Path(__file__).parent
    base: Any = anywidget.AnyWidget

    class Tree(base):  # type: ignore[misc]
        """A tree of files. ``selected`` is the row that was chosen."""

        _esm = (here / "tree.js").read_text("utf-8")
        _css = (here / "tree.css").read_text("utf-8")

        count = traitlets.Int(0).tag(sync=True)
        generation = traitlets.Int(0).tag(sync=True)
        wanted: Any = traitlets.List().tag(sync=True)
        pages: Any = traitlets.List().tag(sync=True)
        selected = traitlets.Int(-1).tag(sync=True)
        preview = traitlets.Dict().tag(sync=True)

        def __init__(self, folders: Folders | None, chosen: Callable[[int], object]) -> None:
            self._folders = folders
            super().__init__(preview={"kind": "", "title": "", "text": "", "note": ""})
            self.observe(self._answer, "wanted")
            self.observe(lambda change: chosen(change["new"]), "selected")
            self.show(folders)

        def show(self, folders: Folders | None) -> None:
            """Show other files."""
            if folders is self._folders and self.generation:
                return
            self._folders = folders
            self.count = 0 if folders is None else len(folders.children(b"/"))
            self.pages = []
            self.generation += 1

        def _answer(self, change: Any) -> None:
            folders = self._folders
            if folders is None:
                return
            made = []
            for asked in change["new"][:PAGES]:
                row, number = (int(one) for one in asked)
                made.append([row, number, [list(one) for one in page(folders, row, number)]])
            self.pages = made

    return Tree


def embedded() -> Callable[[State], Any]:
    """Return what makes the tree of an explorer's state."""
    made = _widget()

    return lambda state: made(None, lambda row: _look(state, row))


def alone(manifest: Manifest) -> Any:
    """Return the tree by itself, with a preview below it: for places without other widgets."""

    def told(part: str) -> None:
        if part == "files":
            tree.show(state.files)
        elif part in ("preview", "listing", "error"):
            tree.preview = _shown(state, part)
        elif part == "image" and state.to_list:
            state.list()  # there is no button to ask for it

    state = State(manifest, told)
    tree = _widget()(None, lambda row: _look(state, row))
    tree.state = state
    state.load()
    return tree


def _look(state: State, row: int) -> None:
    files = state.files
    if files is not None and 0 <= row < len(files):
        state.look(row)


def _shown(state: State, part: str) -> dict[str, str]:
    found, files, row = state.preview, state.files, state.selected
    if part == "preview" and found is not None and files is not None and row is not None:
        text = found.text
        if found.kind != "picture":
            text = "\n".join(printable(line.expandtabs(8), 2000) for line in text.split("\n"))
        title = printable(shown(files.path(row)), 400)
        return {"kind": found.kind, "title": title, "text": text, "note": printable(found.note)}
    note = state.error or (state.listing.text if state.listing.state != "done" else "")
    kind = "note" if note else ""
    return {"kind": kind, "title": "", "text": "", "note": printable(note)}
