"""An Axes to draw on, its title, and an axis of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from didlab.views.plots.labels import Lettering, end_of, start_of, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How much of a style's colour lies under text, so that the text is read on it.
TINT = 0.45


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the Axes that was given, or that of a new figure of so many inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()


def title(ax: Axes, name: str, facts: Sequence[str], letters: Lettering) -> None:
    """Say what is shown: a name, its beginning cut where it is too long; facts in lines below.

    A title is matplotlib's own, for people to change: it is cut once, for the size of the moment.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    points = FontProperties(size=rcParams["axes.titlesize"]).get_size_in_points()
    inches = ax.get_window_extent().width / ax.figure.dpi
    spec = ax.get_subplotspec()
    if spec is not None and ax.figure.get_layout_engine() is not None:
        # Not laid out yet: about what its columns of the grid will get.
        part = len(spec.colspan) / spec.get_gridspec().ncols
        inches = max(inches, 0.88 * part * ax.figure.bbox.width / ax.figure.dpi)
    room = max(20, int(inches * 72 / (0.6 * points)))
    ax.set_title(
        "\n".join([end_of(letters(name), room), *(start_of(letters(f), room) for f in facts)]),
        loc="left",
        fontfamily=list(letters.families),
        parse_math=False,
        usetex=False,
    )


def size_axis(axis: Any, largest: float) -> None:
    """Let an axis count from 0 in a unit that fits."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    factor, name = unit(largest)
    # By factor: round numbers of MB, not of bytes.
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / factor:.3g} {name}"))


def bare(ax: Axes, *kept: str) -> None:
    """Take away the frame but for some sides, and the ticks of the other axis."""
    for side in ("left", "right", "top", "bottom"):
        ax.spines[side].set_visible(side in kept)
    ax.grid(visible=False)


def nothing(ax: Axes, text: str) -> Axes:
    """Say that there is nothing to show."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, parse_math=False)
    return ax


def colours() -> list[str]:
    """Return the style's colours."""
    from matplotlib import rcParams

    found: list[str] = rcParams["axes.prop_cycle"].by_key().get("color", ["C0"])
    return found
