"""`Manifest.explore` and `didlab.explore`: which explorer this place can show."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument
from didlab.export.progress import in_notebook

if TYPE_CHECKING:
    from didlab.model.manifest import Manifest
    from didlab.oci.reference import Reference


def explore(
    what: str | os.PathLike[str] | Reference | Manifest | None = None,
    *,
    tree: bool | None = None,
    **options: Any,
) -> Any:
    """Open a window in the notebook: name an image, look inside, save it.

    Parameters
    ----------
    what : str, path, Reference or Manifest, optional
        The image, as `didlab.open` takes it, shown at once. Without it the window begins with a
        field for the name, settings for its registry, and the names opened last (kept in the
        user's data folder: names only, never a login).
    tree : bool, optional
        As for `Manifest.explore`.
    **options
        As `didlab.open` takes them.

    Returns
    -------
    widget
        Shown where it is a cell's last line. Where no widget can be shown, the image's card with
        a line that says why.

    Raises
    ------
    InvalidReference, InvalidArgument

    Notes
    -----
    Asks for the manifest and config when it is shown. Layers are read when files are listed,
    which is a button where it costs something.
    """
    from didlab.model.manifest import Manifest
    from didlab.model.opening import open as open_image

    if isinstance(what, Manifest):
        return of_manifest(what, tree=tree)
    if what is not None:
        return of_manifest(open_image(what, **options), tree=tree)
    _check(tree)
    why = lacking()
    if _in_marimo():
        why = 'marimo shows an image, not the window to name one: didlab.explore("nginx:1.27")'
    if why is not None:
        return Static(None, why)
    from didlab.widgets.window import Window

    return Window(_tree(tree), options)


def of_manifest(manifest: Manifest, *, tree: bool | None = None) -> Any:
    """Return what `Manifest.explore` shows here."""
    _check(tree)
    if _in_marimo():
        if not _has("anywidget"):
            return Static(manifest, 'marimo shows the tree only: pip install "didlab[tree]"')
        if tree is False:
            return Static(manifest, "marimo shows the tree only: leave out tree=False")
        from didlab.widgets.tree import alone

        return alone(manifest)
    why = lacking()
    if why is not None:
        return Static(manifest, why)
    from didlab.widgets.explorer import Explorer

    return Explorer(manifest, _tree(tree))


def lacking() -> str | None:
    """Return why no widget can be shown here; None where it can."""
    if not (in_notebook() or _in_marimo()):
        return "the explorer needs a notebook (JupyterLab, Notebook, VS Code, Colab)"
    if not _has("ipywidgets"):
        return "the explorer needs ipywidgets: pip install ipywidgets"
    return None


class Static:
    """An image's card where the explorer cannot be shown, and why."""

    def __init__(self, manifest: Manifest | None, why: str) -> None:
        self.manifest = manifest
        self.why = why

    def __repr__(self) -> str:
        shown = "" if self.manifest is None else f"{self.manifest!r}\n"
        return f"{shown}{self.why}"

    def _repr_html_(self) -> str:
        from didlab.views import html

        shown = "" if self.manifest is None else self.manifest._repr_html_()
        return shown + html.wrap(html.note(self.why))


def _check(tree: bool | None) -> None:
    if tree is not None and not isinstance(tree, bool):
        raise InvalidArgument("tree= takes True, False or None (where it can be shown)")


def _tree(wanted: bool | None) -> Any:
    """Return what makes the tree, or None for the list."""
    if wanted is False or (wanted is None and not (_has("anywidget") and _fit())):
        return None
    from didlab.widgets.tree import embedded

    return embedded()


def _fit() -> bool:
    """Whether the browser can be trusted to load anywidget's own part without a network.

    VS Code and Colab fetch it from afar: there the tree comes on request only.
    """
    afar = "google.colab" in sys.modules or any(name.startswith("VSCODE_") for name in os.environ)
    return not afar


def _has(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    from importlib.util import find_spec

    return find_spec(module) is not None


def _in_marimo() -> bool:
    marimo = sys.modules.get("marimo")
    running = getattr(marimo, "running_in_notebook", None)
    return bool(running is not None and running())
