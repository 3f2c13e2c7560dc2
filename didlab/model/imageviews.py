"""The calls of a Manifest that show it: plots, and exploring with a mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from didlab.model.manifest import Manifest
    from didlab.model.plotting import ImagePlots


class ImageViews:
    """An image to look at."""

    @property
    def plot(self) -> ImagePlots:
        """Plots of the image, by matplotlib: ``m.plot.layers()``, ``m.plot.treemap()``."""
        from didlab.model.plotting import ImagePlots

        return ImagePlots(cast("Manifest", self))

    def explore(self, *, tree: bool | None = None) -> Any:
        """Return an explorer of the image: files, layers, config, search and saving by mouse.

        Parameters
        ----------
        tree : bool, optional
            Show files as one tree (``didlab[tree]``) instead of folder by folder; None: where
            anywidget is installed and the frontend has what it needs at hand.

        Returns
        -------
        widget
            Shown where it is a cell's last line. Where no widget can be shown (no notebook, no
            ipywidgets), the image's card with a line that says why.

        Raises
        ------
        ImportError
            ``tree=True`` without anywidget: with the command that installs it.

        Notes
        -----
        Nothing waits in the kernel: requests run in the background and can be stopped. Asks for
        the manifest and config at once; layers are read when files are listed, which is a button
        where it costs something, and a file's preview costs what `open` does.
        """
        from didlab.widgets.exploring import of_manifest

        return of_manifest(cast("Manifest", self), tree=tree)
