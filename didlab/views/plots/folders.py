"""Folders as a treemap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from didlab.views.plots import canvas, fitted, layout
from didlab.views.plots.labels import Lettering, size
from didlab.views.plots.layout import Cell, Rect

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def treemap(
    weights: Mapping[tuple[str, ...], int],
    name: str,
    below: str,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw sizes by path below a folder: one colour for each folder where paths first differ.

    Parameters
    ----------
    weights : mapping of tuple of str to int
        Names from the folder down, and bytes.
    name, below : str
        The image, and the folder.
    """
    from matplotlib.patches import Rectangle

    ax = canvas.axes(ax, 8, 5)
    letters = Lettering.of([name, below, *(part for path in weights for part in path)])
    total = sum(weights.values())
    canvas.title(ax, name, [f"{size(total)} in files below {below}"], letters)
    if not total:
        return canvas.nothing(ax, "no files with content")
    seen = ax.get_window_extent()
    # In its own proportions, for what is nearly square to look so.
    whole = Rect(0.0, 0.0, max(seen.width / max(seen.height, 1.0), 0.1), 1.0)
    ax.set_xlim(0, whole.width)
    ax.set_ylim(1, 0)
    ax.set_axis_off()
    palette = canvas.colours()
    ground = ax.get_facecolor()
    cells = layout.treemap(weights, whole)
    for cell in cells:
        x, y, width, height = cell.rect
        colour = palette[cell.group % len(palette)]
        edge: dict[str, Any] = {
            "edgecolor": ground,
            "linewidth": 2.5 if cell.top else 0.8,
        }
        if cell.leaf:
            face = (colour, canvas.TINT * (0.6 if cell.more else 1.0))
            ax.add_patch(Rectangle((x, y), width, height, facecolor=face, zorder=1, **edge))
            box = (x, y, x + width, y + height)
            fitted.add(ax, _forms(cell, letters), box, letters, ha="center", zorder=4)
        elif cell.top:
            # Over what is in it: a wider gap between what has different colours.
            ax.add_patch(Rectangle((x, y), width, height, fill=False, zorder=2, **edge))
    return ax


def _forms(cell: Cell, letters: Lettering) -> list[str]:
    """Return what a cell says, from much to little."""
    if cell.more:
        return [f"{cell.more} more\n{size(cell.size)}", f"{cell.more} more", f"{cell.more}"]
    parts = [letters(part) for part in cell.path]
    whole = "/".join(parts)
    short = [whole, parts[-1]] if len(parts) > 1 else [whole]
    return [*(f"{text}\n{size(cell.size)}" for text in short), *short]
