"""What an explorer shows of one image, apart from how: no widget is needed to use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didlab import _pausing as pausing
from didlab.errors import DestinationExists, DidlabError
from didlab.files import merge
from didlab.files.table import DIR, FILE, HARDLINK
from didlab.model import tables
from didlab.model.config import Config
from didlab.model.indexing import Manner, known_index
from didlab.model.inside import Layers
from didlab.sizes import human
from didlab.widgets import preview as previews
from didlab.widgets import told
from didlab.widgets.changed import Changed, changed
from didlab.widgets.folders import ROOT, Folders
from didlab.widgets.jobs import Halted, Jobs
from didlab.widgets.preview import Preview
from didlab.widgets.saving import Meter, Stand
from didlab.widgets.search import search

if TYPE_CHECKING:
    from didlab.model.manifest import Manifest

#: Entries of a folder that are shown at a time.
PAGE = 1000


class State:
    """One image being explored.

    Methods return at once; what costs a request runs in the background (`jobs`), and what changed
    is told to ``listener`` by name, from whichever thread it happened in: ``image``, ``files``,
    ``folder``, ``preview``, ``search``, ``changed``, ``listing``, ``saving``, ``error``.

    Attributes
    ----------
    manifest : Manifest
        The image of the platform chosen.
    platforms : list of str
        Those that can be chosen; empty until known, and for a single image.
    platform : str or None
        The one chosen; None: the default one.
    layers : list of (str, int, str or None)
        Digest, size and command of each, base first.
    layer : int or None
        The layer whose files are shown; None: all together.
    files : Folders or None
        The files; None until they are listed.
    folder : bytes
        The folder shown.
    filter : str
        Only names that hold this are shown.
    page : int
        Which thousand of the folder.
    selected : int or None
        Row of the entry looked at.
    trouble : str
        Why the image is not known; `load` tries again. Empty while there is nothing to say.
    """

    def __init__(
        self, manifest: Manifest, listener: Callable[[str], object] = lambda part: None
    ) -> None:
        self._opened = manifest
        self.listener = listener
        self.jobs = Jobs()
        self._lock = threading.RLock()
        self._began = time.time()
        self.platforms: list[str] = []
        self.error = ""
        self.saving = Stand()
        self._begin(manifest, str(manifest._platform) if manifest._platform else None)

    def _begin(self, manifest: Manifest, platform: str | None) -> None:
        self.manifest = manifest
        self.platform = platform
        self.layers: list[tuple[str, int, str | None]] = []
        self.layer: int | None = None
        self.config: Config | None = None
        self.history: Sequence[Sequence[Any]] = ()
        self.image = False
        self.trouble = ""
        self.to_list: int | None = None
        self.listing = Stand()
        self._seen: dict[int | None, Folders] = {}
        self.changes: dict[int, Changed] = {}
        self._forget_files()

    def _forget_files(self) -> None:
        self.files: Folders | None = None
        self.folder = b"/"
        self.filter = ""
        self.page = 0
        self.selected: int | None = None
        self.preview: Preview | None = None
        self.query = ""
        self.found: list[int] = []
        self.more = False

    def _tell(self, *parts: str) -> None:
        for part in parts:
            self.listener(part)

    def _failed(self, error: BaseException) -> None:
        self.error = "stopped" if isinstance(error, Halted) else told.line(error)
        self._tell("error")

    def _clear(self) -> None:
        if self.error:
            self.error = ""
            self._tell("error")

    def _do(
        self,
        kind: str,
        work: Callable[[pausing.Stop], Any],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run a job about the image chosen now; what comes after another was chosen is dropped."""
        manifest = self.manifest
        self._clear()

        def finish(result: Any) -> None:
            with self._lock:
                if self.manifest is manifest:
                    done(result)

        def broke(error: BaseException) -> None:
            with self._lock:
                if self.manifest is manifest:
                    (failed or self._failed)(error)

        self.jobs.start(kind, work, finish, broke)

    # --- the image ---------------------------------------------------------------------------

    def load(self) -> None:
        """Fetch platforms, manifest and config; list the files, where that costs nothing."""
        manifest = self.manifest
        if self.trouble:
            self.trouble = ""
            self._tell("image")

        def work(_: pausing.Stop) -> Any:
            names = manifest._platform_names() if self._opened._platform is None else []
            image = manifest._image()
            commands: list[str | None] = [None] * len(image.layers)
            config = None
            history: Sequence[Sequence[Any]] = ()
            if image.is_image:
                config = Config(manifest._config())
                commands = manifest._layers(Manner(False)).commands()
                history = tables.history(manifest._snapshot, image)
            layers = [
                (layer.digest, layer.size, command)
                for layer, command in zip(image.layers, commands, strict=True)
            ]
            return names, layers, config, history, _to_list(manifest) if config else None

        def done(result: Any) -> None:
            self.platforms, self.layers, self.config, self.history, self.to_list = result
            self.image = True
            if self.platform is None and self.config is not None:
                own = self.config._facts()["platform"]
                self.platform = own if own in self.platforms else None
            self._tell("image")
            if self.to_list == 0:
                self.list()

        def failed(error: BaseException) -> None:
            self.trouble = told.line(error)
            self._tell("image")
            self._failed(error)

        self._do("image", work, done, failed)

    def choose_platform(self, platform: str) -> None:
        """Show another platform's image."""
        with self._lock:
            if platform == self.platform:
                return
            try:
                manifest = self._opened[platform]
            except DidlabError as error:
                self._failed(error)
                return
            for kind in ("image", "list", "preview", "search", "changed"):
                self.jobs.drop(kind)
            self._begin(manifest, platform)
            self.saving = self.saving if self.saving.state == "running" else Stand()
        self._tell("image", "files", "folder", "preview", "search", "changed", "listing", "saving")
        self.load()

    def choose_layer(self, layer: int | None) -> None:
        """Show the files of one layer, or of all together (None)."""
        with self._lock:
            if layer == self.layer:
                return
            folder = self.folder
            for kind in ("list", "preview", "search"):
                self.jobs.drop(kind)
            self.layer = layer
            self._forget_files()
            self.folder = folder
            self.listing = Stand()
        self._tell("files", "folder", "preview", "search", "changed", "listing")
        if layer in self._seen or self.to_list == 0 or self._layer_known(layer):
            self.list()

    def _layer_known(self, layer: int | None) -> bool:
        if layer is None or not self.image:
            return False
        return known_index(self.manifest.layer(layer)._descriptor) is not None

    def cost(self) -> int:
        """Return the bytes that listing the files would read; 0 where they are known."""
        if self.layer in self._seen or self._layer_known(self.layer):
            return 0
        if self.layer is not None and self.to_list:
            return self.layers[self.layer][1]
        return self.to_list or 0

    # --- files -------------------------------------------------------------------------------

    def list(self) -> None:
        """List the files of the layer chosen, or of all; where they are not known, read layers."""
        manifest, layer = self.manifest, self.layer
        if layer in self._seen:
            self._listed(self._seen[layer])
            return

        def show(stand: Stand) -> None:
            if self.manifest is manifest and self.layer == layer:
                self.listing = stand
                self._tell("listing")

        def work(stop: pausing.Stop) -> Folders:
            layers = Layers(manifest, Manner(Meter(stop, show, "listing")))
            if layer is None:
                return Folders(layers.merged().table)
            return Folders(merge.merge([layers.index(layer).table]))

        def done(folders: Folders) -> None:
            self._seen[layer] = folders
            if layer is None:
                self.to_list = 0
            if self.layer == layer:
                self._listed(folders)

        def failed(error: BaseException) -> None:
            if self.layer == layer:
                self._not_listed(error)

        show(Stand("running", text="listing"))
        self._do("list", work, done, failed)

    def _listed(self, folders: Folders) -> None:
        with self._lock:
            self.files = folders
            if folders.row(self.folder) is None:
                self.folder = b"/"
            self.listing = Stand("done", text=f"{len(folders):,} entries")
        # The last two said that there are no files yet.
        self._tell("listing", "files", "folder", "preview", "search")

    def _not_listed(self, error: BaseException) -> None:
        stopped = isinstance(error, Halted)
        self.listing = Stand(
            "stopped" if stopped else "failed", text="stopped" if stopped else told.line(error)
        )
        self._tell("listing")

    def stop_listing(self) -> None:
        """Call the listing off; what was read of single layers to their end stays."""
        self.jobs.stop("list")
        self.jobs.stop("changed")

    def open_folder(self, path: bytes) -> None:
        """Show a folder."""
        if self.files is None or self.files.row(path) is None:
            return
        self.folder, self.filter, self.page = path, "", 0
        self._tell("folder")

    def up(self) -> None:
        """Show the folder above."""
        self.open_folder(self.folder.rpartition(b"/")[0] or b"/")

    def set_filter(self, text: str) -> None:
        """Show only names that hold a text."""
        self.filter, self.page = text, 0
        self._tell("folder")

    def turn(self, by: int) -> None:
        """Show the next page, or the one before."""
        self.page = max(0, min(self.page + by, self.pages - 1))
        self._tell("folder")

    @property
    def rows(self) -> Sequence[int]:
        """The entries of the folder that pass the filter."""
        return () if self.files is None else self.files.named(self.folder, self.filter)

    @property
    def pages(self) -> int:
        """How many pages they take."""
        return max(1, -(-len(self.rows) // PAGE))

    def select(self, row: int) -> None:
        """Look at an entry: open a folder, preview a file."""
        files = self.files
        if files is None:
            return
        target = files.target(row)
        if target is not None and files.is_folder(target):  # also through a link
            self.open_folder(files.path(target))
            return
        self.look(row)

    def reveal(self, row: int) -> None:
        """Show the folder that an entry lies in, and look at the entry."""
        if self.files is None:
            return
        if not self.files.is_folder(row):
            self.selected = row  # so that the list shows it chosen
            self.open_folder(self.files.path(row).rpartition(b"/")[0] or b"/")
        self.select(row)

    # --- preview -----------------------------------------------------------------------------

    def look(self, row: int) -> None:
        """Preview an entry: a request or two, where its content is not known."""
        files, layer = self.files, self.layer
        if files is None:
            return
        self.selected, self.preview = row, None
        self._tell("preview")
        manifest, path = self.manifest, files.path(row)
        target = files.target(row)
        if target is None:
            self._previewed(row, Preview("special", note="it leads to nothing in the image"))
            return
        if files.is_folder(target):
            note = "" if target == row else "a link to a folder"
            self._previewed(row, Preview("folder", note=note))
            return
        if files.table.types[target] not in (FILE, HARDLINK):
            self._previewed(row, Preview("special", note="a device or fifo has no content"))
            return
        size = files.table.sizes[target]

        def work(_: pausing.Stop) -> Preview:
            if not size:
                return previews.preview(b"", 0)
            place = manifest if layer is None else manifest.layer(layer)
            with place.open(path, progress=False) as file:
                data = file.read(min(size, previews.HEX))
                data += file.read(previews.wanted(data, size) - len(data))
            return previews.preview(data, size)

        def failed(error: BaseException) -> None:
            self._previewed(row, Preview("failed", note=told.line(error)))

        self._do("preview", work, lambda found: self._previewed(row, found), failed)

    def _previewed(self, row: int, found: Preview) -> None:
        if self.selected == row:
            self.preview = found
            self._tell("preview")

    # --- search ------------------------------------------------------------------------------

    def search(self, text: str) -> None:
        """Find entries by name: see `didlab.widgets.search`."""
        files = self.files
        self.query = text
        if files is None or not text.strip():
            self.found, self.more = [], False
            self._tell("search")
            return

        def done(result: tuple[list[int], bool]) -> None:
            if self.files is files and self.query == text:
                self.found, self.more = result
                self._tell("search")

        self._do("search", lambda _: search(files.table, text), done)

    # --- what a layer did --------------------------------------------------------------------

    def show_changes(self) -> None:
        """Find what the layer chosen did to the layers below; costs what `list` of all costs."""
        manifest, layer = self.manifest, self.layer
        if layer is None or layer in self.changes:
            self._tell("changed")
            return

        def show(stand: Stand) -> None:
            self.listing = stand
            self._tell("listing")

        def work(stop: pausing.Stop) -> Changed:
            layers = Layers(manifest, Manner(Meter(stop, show, "listing")))
            # Only those below: what comes above changes nothing of it.
            return changed([layers.index(number).table for number in range(layer + 1)], layer)

        def done(found: Changed) -> None:
            self.changes[layer] = found
            self.listing = Stand("done")
            self._tell("listing", "changed")

        self._do("changed", work, done, self._not_listed)

    # --- saving ------------------------------------------------------------------------------

    def save(self, path: str, *, overwrite: bool = False) -> None:
        """Save the image of the platform chosen; what a stopped save brought is not fetched anew.

        ``path`` as `Manifest.save` takes it; empty: the current folder.
        """
        if self.jobs.busy("save"):
            return
        manifest = self.manifest
        target = path.strip() or "."
        last: list[Meter] = []

        def show(stand: Stand) -> None:
            self.saving = stand
            self._tell("saving")

        def work(stop: pausing.Stop) -> Any:
            meter = Meter(stop, show, "saving")
            last.append(meter)
            return manifest.save(target, overwrite=overwrite, progress=meter)

        def done(report: Any) -> None:
            where = Path(report)
            how = f"{human(report.downloaded)} downloaded"
            if report.reused:
                how += f", {human(report.reused)} reused"
            show(
                Stand("done", 1, 1, f"saved {where} · {human(report.size)} · {how} · "
                      f"{report.seconds:.1f} s")
            )  # fmt: skip

        def failed(error: BaseException) -> None:
            got = last[-1] if last else None
            so_far = (got.done, got.total) if got is not None else (0, 0)
            if isinstance(error, Halted):
                how = f" at {human(so_far[0])} of {human(so_far[1])}" if so_far[1] else ""
                show(Stand("stopped", *so_far, f"stopped{how}; Save goes on from there"))
                return
            exists = isinstance(error, DestinationExists)
            show(Stand("failed", *so_far, told.line(error), exists))

        self._clear()
        show(Stand("running", text="asking for the manifest"))
        self.jobs.start("save", work, done, failed)

    def stop_saving(self) -> None:
        """Call the save off; the partial file stays, so that the next one goes on."""
        self.jobs.stop("save")

    # --- what it cost ------------------------------------------------------------------------

    def traffic(self) -> tuple[int, int] | None:
        """Return requests and bytes since this was opened; None for what lies on this machine."""
        registry = self.manifest.registry
        if registry is None:
            return None
        rows = [row for row in registry._client.log if row.started >= self._began]
        return len(rows), sum(row.bytes for row in rows)

    def close(self) -> None:
        """Call everything off."""
        self.jobs.close()


def _to_list(manifest: Manifest) -> int:
    """Return the bytes of the layers that have to be read before the files can be listed."""
    layers = Layers(manifest, Manner(False))
    if layers.listed():
        return 0
    missing = {one.digest: one.size for one in manifest._image().layers if known_index(one) is None}
    return sum(missing.values())


__all__ = ["DIR", "PAGE", "ROOT", "State"]
