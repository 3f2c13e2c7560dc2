"""Layers as rows of a table whose bars are their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from didlab.views.commands import clean
from didlab.views.plots import canvas, fitted
from didlab.views.plots.labels import Lettering, size
from didlab.views.plots.layout import fold
from didlab.views.text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches of a row, and of what stands above and below the rows.
_ROW, _AROUND = 0.27, 1.05


def layers(
    sizes: Sequence[int],
    commands: Sequence[str | None],
    name: str,
    *,
    rows: int,
    ax: Axes | None = None,
) -> Axes:
    """Draw a bar for each layer, the base uppermost; small neighbours together beyond ``rows``."""
    facts = f"{count(len(sizes), 'layer')}, {size(sum(sizes))}"
    numbers = [str(at) for at in range(len(sizes))]
    return _draw(sizes, numbers, commands, name, (facts, "no layers"), rows, ax)


def waste(
    wasted: Sequence[tuple[int, int, int, str | None]],
    name: str,
    *,
    rows: int,
    ax: Axes | None = None,
) -> Axes:
    """Draw a bar for each layer that another one makes carry bytes for nothing.

    ``wasted`` has the position of the one that stores them, of the one that took them away, the
    bytes, and the command of the latter.
    """
    sizes = [found[2] for found in wasted]
    numbers = [f"{stores} ← {takes}" for stores, takes, _, _ in wasted]
    facts = f"{size(sum(sizes))} stored in vain, uncompressed: in layer ← by layer"
    commands = [found[3] for found in wasted]
    told = (facts, "nothing is stored in vain")
    return _draw(sizes, numbers, commands, name, told, rows, ax)


def _draw(
    sizes: Sequence[int],
    numbers: Sequence[str],
    commands: Sequence[str | None],
    name: str,
    told: tuple[str, str],
    rows: int,
    ax: Axes | None,
) -> Axes:
    runs = fold(sizes, rows)
    ax = canvas.axes(ax, 8, _AROUND + _ROW * max(len(runs), 2))
    total = sum(sizes)
    letters = Lettering.of([name, *numbers, *(text or "" for text in commands)])
    canvas.title(ax, name, [told[0]], letters)
    if not sizes:
        return canvas.nothing(ax, told[1])
    widths = [sum(sizes[at] for at in run) for run in runs]
    colour = canvas.colours()[0]
    end = max(*widths, 1)
    bars = ax.barh(range(len(runs)), widths, height=0.82, color=(colour, canvas.TINT), linewidth=0)
    for bar, width in zip(bars, widths, strict=True):
        if width < 0.004 * end:
            # The edge is what is seen of a layer of a few bytes.
            bar.set(edgecolor=colour, linewidth=1.2)
    ax.set_xlim(0, end)
    ax.set_ylim(len(runs) - 0.5, -0.5)
    ax.margins(0)
    for row, (run, width) in enumerate(zip(runs, widths, strict=True)):
        box = (0.0, row - 0.41, float(end), row + 0.41)
        share = width / total if total else 0
        right = [f"{share:.0%} · {size(width)}", size(width)] if share >= 0.005 else [size(width)]
        amount = fitted.add(ax, right, box, letters, ha="right", whole=True)
        text = f"{numbers[run[0]]}  {letters(clean(commands[run[0]] or '')) or '–'}"
        if len(run) > 1:
            between = "–" if numbers[run[0]].isdigit() else " … "
            text = f"{numbers[run[0]]}{between}{numbers[run[-1]]}  {len(run)} small layers"
        fitted.add(ax, [text], box, letters, ha="left", beside=amount)
    canvas.size_axis(ax.xaxis, end)
    canvas.bare(ax, "bottom")
    ax.set_yticks([])
    return ax
