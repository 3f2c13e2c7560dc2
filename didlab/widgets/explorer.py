"""The explorer: `state` drawn with the widgets that ipywidgets 7 and 8 both have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from didlab.errors import printable
from didlab.export.names import archive_name
from didlab.model.listing import shown
from didlab.sizes import human
from didlab.views.text import count, moment, short
from didlab.widgets import parts, told
from didlab.widgets.state import PAGE, ROOT, State

if TYPE_CHECKING:
    from didlab.model.manifest import Manifest

#: What the first and last lines of a list stand for, beside rows.
UP, NEXT, BEFORE = -2, -3, -4
_CRUMBS = 12
_TABS = ("Files", "Search", "Changed", "Config", "History")


class Explorer(w.VBox):  # type: ignore[misc]
    """An image to explore with a mouse. Made by `Manifest.explore`.

    Attributes
    ----------
    state : State
        What is shown, and the calls behind the buttons.
    """

    def __init__(self, manifest: Manifest, tree: Any = None) -> None:
        self._filling = False
        self._drawn: dict[str, Any] = {}
        self.state = State(manifest, self._changed)
        #: The tree of `didlab.widgets.tree`, where it takes the list's place.
        self.tree = tree(self.state) if tree is not None else None
        self._make()
        super().__init__(children=self._rows())
        self.add_class("didlab-explorer")
        self.layout.max_width = "1100px"
        for part in _DRAWS:
            self._changed(part)
        self.state.load()

    def __repr__(self) -> str:
        return f"<Explorer {self.state.manifest.reference} · a widget: run the cell to use it>"

    def close(self) -> None:
        """Call off what is under way, and remove the widgets."""
        self.state.close()
        super().close()

    # --- widgets -----------------------------------------------------------------------------

    def _make(self) -> None:
        wide = {"width": "auto"}
        self.head = w.HTML()
        self.traffic = w.HTML()
        self.platform = w.Dropdown(description="platform", options=[])
        self.layers = w.Select(options=[], rows=5, layout=wide)
        self.listed = w.HTML()
        self.bar = w.FloatProgress(min=0.0, max=1.0, layout={"width": "220px", "height": "16px"})
        self.list = w.Button(description="List the files", button_style="primary", layout=wide)
        self.stop_list = w.Button(description="Stop", icon="stop", layout=wide)
        self.crumbs = w.HBox(layout={"flex": "1 1 auto", "flex_flow": "row wrap"})
        self._crumbs = [self._crumb() for _ in range(_CRUMBS)]
        self.filter = w.Text(placeholder="filter this folder", layout={"width": "200px"})
        self.entries = w.Select(options=[], rows=18, layout=wide)
        self.count = w.HTML()
        self.about = w.HTML()
        self.preview = w.HTML()
        self.query = w.Text(
            placeholder="name, part of one, or *.so*; Enter searches",
            continuous_update=False,
            layout={"width": "340px"},
        )
        self.find = w.Button(description="Search", icon="search", layout=wide)
        self.found = w.Select(options=[], rows=16, layout=wide)
        self.count_found = w.HTML()
        self.compare = w.Button(description="Show", layout=wide)
        self.changes = w.HTML()
        self.config = w.HTML()
        self.history = w.HTML()
        self.path = w.Text(
            placeholder="folder or file to save to", layout={"flex": "1 1 auto", "width": "auto"}
        )
        self.save = w.Button(description="Save", icon="download", button_style="primary")
        self.save.layout.width = "auto"
        self.stop_save = w.Button(description="Stop", icon="stop", layout=wide, disabled=True)
        self.saved_bar = w.FloatProgress(
            min=0.0, max=1.0, layout={"width": "220px", "height": "16px"}
        )
        self.saved = w.HTML()
        self.error = w.HTML()
        self.again = w.Button(description="Try again", icon="refresh", layout=wide)
        self.again.layout.align_self = "flex-start"
        for widget, name in (
            (self.entries, "entries"),
            (self.preview, "preview"),
            (self.layers, "layers"),
            (self.found, "found"),
            (self.saved, "saved"),
            (self.listed, "listed"),
            (self.traffic, "traffic"),
            (self.changes, "changes"),
            (self.error, "error"),
            (self.config, "config"),
        ):
            widget.add_class(f"didlab-{name}")
        for pane in (self.preview, self.changes, self.history):
            pane.add_class("didlab-pane")
        self.preview.layout.height = "290px"
        for pane in (self.changes, self.config, self.history):
            pane.layout.max_height = "380px"
        self._connect()

    def _crumb(self) -> Any:
        button = w.Button(layout={"width": "auto"})
        button.add_class("didlab-crumb")
        return button

    def _rows(self) -> list[Any]:
        between = {"justify_content": "space-between", "align_items": "center"}
        left: list[Any] = [self.entries, self.count]
        top: list[Any] = [w.HBox([self.crumbs, self.filter], layout=between)]
        if self.tree is not None:
            left, top = [self.tree], []
            self.preview.layout.height = "330px"
        files = w.VBox(
            [
                *top,
                w.HBox(
                    [
                        w.VBox(left, layout={"width": "46%", "padding": "0 8px 0 0"}),
                        w.VBox([self.about, self.preview], layout={"width": "54%"}),
                    ]
                ),
            ]
        )
        search = w.VBox([w.HBox([self.query, self.find, self.count_found]), self.found])
        changed = w.VBox([self.compare, self.changes])
        self.tabs = w.Tab([files, search, changed, self.config, self.history])
        for number, title in enumerate(_TABS):
            self.tabs.set_title(number, title)
        self._listing = w.HBox(
            [self.list, self.bar, self.stop_list, self.listed], layout={"align_items": "center"}
        )
        self._save_row = w.HBox(
            [self.path, self.save, self.stop_save], layout={"align_items": "center"}
        )
        return [
            w.HTML(parts.STYLE, layout={"display": "none"}),
            w.HBox([self.head, self.traffic], layout=between),
            self.error,
            self.again,
            self.platform,
            self.layers,
            self._listing,
            self.tabs,
            self._save_row,
            w.HBox([self.saved_bar, self.saved], layout={"align_items": "center"}),
        ]

    # --- from the user -----------------------------------------------------------------------

    def _connect(self) -> None:
        state = self.state
        on = self._on
        on(self.platform, state.choose_platform)
        on(self.layers, lambda layer: state.choose_layer(None if layer == ROOT else layer))
        on(self.filter, state.set_filter)
        on(self.entries, self._picked)
        on(self.query, state.search)
        on(self.found, self._reveal)
        self._press(self.again, state.load)
        self._press(self.find, lambda: state.search(self.query.value))
        self._press(self.list, state.list)
        self._press(self.stop_list, state.stop_listing)
        self._press(self.compare, state.show_changes)
        self._press(self.save, self._save)
        self._press(self.stop_save, state.stop_saving)
        for number, button in enumerate(self._crumbs):
            self._press(button, partial(self._climb, number))
        self._crumb_paths: list[bytes] = []

    def _on(self, widget: Any, call: Callable[[Any], object]) -> None:
        def changed(change: Any) -> None:
            # None: nothing is chosen any more.
            if not self._filling and change["new"] is not None:
                self._safely(lambda: call(change["new"]))

        widget.observe(changed, "value")

    def _press(self, button: Any, call: Callable[[], object]) -> None:
        button.on_click(lambda _: self._safely(call))

    def _safely(self, call: Callable[[], object]) -> None:
        """Show what a click brings about in the widget: nobody reads a kernel's log."""
        try:
            call()
        except Exception as error:  # noqa: BLE001
            self.error.value = parts.problem(told.line(error))

    def _picked(self, value: int) -> None:
        if value == UP:
            self.state.up()
        elif value in (NEXT, BEFORE):
            self.state.turn(1 if value == NEXT else -1)
        else:
            self.state.select(value)

    def _climb(self, number: int) -> None:
        self.state.open_folder(self._crumb_paths[number])

    def _reveal(self, row: int) -> None:
        self.state.reveal(row)
        self.tabs.selected_index = 0

    def _save(self) -> None:
        # The second press on what is there already says that it may go.
        again = self.state.saving.exists and self._drawn.get("refused") == self.path.value
        self._drawn["refused"] = self.path.value
        self.state.save(self.path.value, overwrite=again)

    # --- to the user -------------------------------------------------------------------------

    def _changed(self, part: str) -> None:
        """Draw a part anew; comes from any thread."""
        with self.state._lock, self._fill():
            _DRAWS[part](self)
            if part != "folder":
                self._set(self.traffic, "value", parts.traffic(self.state.traffic()))

    @contextmanager
    def _fill(self) -> Iterator[None]:
        """Take nothing that is set meanwhile for a choice of the user's."""
        before, self._filling = self._filling, True
        try:
            yield
        finally:
            self._filling = before

    @staticmethod
    def _set(widget: Any, name: str, value: Any) -> None:
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    @staticmethod
    def _options(select: Any, options: list[tuple[str, Any]], value: Any = None) -> None:
        select.index = None
        select.options = options
        values = [one for _, one in options]
        select.index = values.index(value) if value in values else None

    def _draw_image(self) -> None:
        state = self.state
        facts = []
        if state.image:
            config = state.config
            size = sum({digest: size for digest, size, _ in state.layers}.values())
            facts = [
                state.platform or (config._facts()["platform"] if config else ""),
                short(state.manifest.digest()),
                f"{count(len(state.layers), 'layer')}, {human(size)}",
            ]
            if config is not None and config.created:
                facts.append(f"created {moment(config.created)[:10]}")
        asked = "not known" if state.trouble else "asking …"
        self.head.value = parts.header(state.manifest.reference.familiar(), facts or [asked])
        # Of an image that is not known there is nothing to show and nothing to save.
        self.again.layout.display = None if state.trouble else "none"
        for part in (self.layers, self.tabs, self._save_row):
            part.layout.display = "none" if state.trouble else None
        self._options(self.platform, [(name, name) for name in state.platforms], state.platform)
        self.platform.layout.display = None if len(state.platforms) > 1 else "none"
        lines = parts.layer_lines(state.layers)
        whole = parts._plain(f"all  {'':>9}  {'':<10}  what a container sees")
        self._options(
            self.layers,
            [(whole, ROOT), *((line, number) for number, line in enumerate(lines))],
            ROOT if state.layer is None else state.layer,
        )
        self.layers.rows = min(7, max(2, len(lines) + 1))
        self.config.value = state.config._repr_html_() if state.config is not None else ""
        self.history.value = parts.history(state.history)
        if state.image and state.config is not None:
            named = archive_name(state.manifest.reference, _platform_of(state))
            if self.path.value in ("", self._drawn.get("path")):
                self._drawn["path"] = self.path.value = named
        self._draw_listing()

    def _draw_listing(self) -> None:
        stand = self.state.listing
        running = stand.state == "running"
        unknown = self.state.image and self.state.config is not None and self.state.files is None
        self.list.layout.display = None if unknown and not running else "none"
        self.stop_list.layout.display = self.bar.layout.display = None if running else "none"
        self.bar.value = stand.share
        text = stand.text if stand.state in ("running", "failed", "stopped") else ""
        if unknown and not running:
            cost = human(self.state.cost())
            text = f"{text} · " if text else ""
            text += f"{cost} of layers are read once; afterwards they are known"
        show = parts.problem if stand.state == "failed" else parts.note
        self.listed.value = show(text) if text else ""
        self._listing.layout.display = None if text or running or unknown else "none"

    def _draw_files(self) -> None:
        self._set(self.filter, "disabled", self.state.files is None)
        if self.tree is not None:
            self.tree.show(self.state.files)

    def _draw_folder(self) -> None:
        state = self.state
        self._draw_crumbs()
        self._set(self.filter, "value", state.filter)
        if self.tree is not None:
            return
        files, rows = state.files, state.rows
        if files is None:
            self._options(self.entries, [])
            self.count.value = ""
            return
        start = state.page * PAGE
        options: list[tuple[str, int]] = []
        if state.folder != b"/":
            options.append((parts._plain(f"{'':>9}  .."), UP))
        if state.page:
            options.append((parts._plain(f"{'':>9}  ↑ the {PAGE:,} before"), BEFORE))
        options += [(parts.entry_line(files, row), row) for row in rows[start : start + PAGE]]
        rest = len(rows) - start - PAGE
        if rest > 0:
            options.append((parts._plain(f"{'':>9}  ↓ {rest:,} more"), NEXT))
        self._options(self.entries, options, state.selected)
        whole = f" of {len(files.children(state.folder)):,}" if state.filter else ""
        page = f", page {state.page + 1} of {state.pages}" if state.pages > 1 else ""
        own = files.row(state.folder)
        size = human(files.size(own)) if own is not None else ""
        noun = "entry" if len(rows) == 1 and not whole else "entries"
        line = f"{len(rows):,}{whole} {noun}{page} · {size} in here"
        if not len(files):
            line = "nothing: this layer only deletes, see Changed"
        self.count.value = parts.note(line)

    def _draw_crumbs(self) -> None:
        names = [part for part in self.state.folder.split(b"/") if part]
        paths = [b"/" + b"/".join(names[:count]) for count in range(len(names) + 1)]
        if len(paths) > _CRUMBS:
            paths = [paths[0], *paths[-_CRUMBS + 1 :]]
        self._crumb_paths = paths
        for button, path in zip(self._crumbs, paths, strict=False):
            name = path.rpartition(b"/")[2] if path != b"/" else b"/"
            text = printable(shown(name), 40)
            self._set(button, "description", text if path == b"/" else f"{text} /")
        self.crumbs.children = self._crumbs[: len(paths)]

    def _draw_preview(self) -> None:
        state = self.state
        if state.files is None or state.selected is None:
            first = "list the files first" if state.files is None else "choose a file to look at it"
            self.about.value = parts.note(first)
            self.preview.value = ""
            return
        self.about.value = parts.entry(state.files, state.selected)
        self.preview.value = parts.preview(state.preview)

    def _draw_search(self) -> None:
        state = self.state
        files = state.files
        lines = [] if files is None else [
            (parts.entry_line(files, row, whole=True), row) for row in state.found
        ]  # fmt: skip
        self._options(self.found, lines)
        text = f"{len(lines):,}{'+' if state.more else ''} found" if state.query.strip() else ""
        if files is None:
            text = "list the files first"
        self.count_found.value = parts.note(text)

    def _draw_changed(self) -> None:
        state = self.state
        known = None if state.layer is None else state.changes.get(state.layer)
        self.compare.layout.display = "none" if state.layer is None or known else None
        if state.layer is None:
            self.changes.value = parts.note("choose a layer above: what it did is shown here")
        elif known is None:
            self.compare.description = f"What did layer {state.layer} do?"
            self.changes.value = parts.note("compares the layer with those below it")
        else:
            self.changes.value = parts.changes(known)

    def _draw_saving(self) -> None:
        stand = self.state.saving
        running = stand.state == "running"
        self.saved_bar.value = stand.share
        style = {"done": "success", "failed": "danger", "stopped": "warning"}.get(stand.state, "")
        self._set(self.saved_bar, "bar_style", style)
        self.saved_bar.layout.display = "none" if stand.state == "idle" else None
        self._set(self.save, "disabled", running)
        self._set(self.stop_save, "disabled", not running)
        self._set(self.save, "description", "Replace the file" if stand.exists else "Save")
        show = parts.problem if stand.state == "failed" else parts.note
        self.saved.value = show(stand.text) if stand.text else ""

    def _draw_error(self) -> None:
        self.error.value = parts.problem(self.state.error)


def _platform_of(state: State) -> Any:
    from didlab.model.snapshot import config_platform

    return config_platform(state.config._inner) if state.config is not None else None


_DRAWS: dict[str, Callable[[Explorer], None]] = {
    "image": Explorer._draw_image,
    "listing": Explorer._draw_listing,
    "files": Explorer._draw_files,
    "folder": Explorer._draw_folder,
    "preview": Explorer._draw_preview,
    "search": Explorer._draw_search,
    "changed": Explorer._draw_changed,
    "saving": Explorer._draw_saving,
    "error": Explorer._draw_error,
}
