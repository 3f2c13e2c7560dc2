"""What images have in common, as a heatmap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from didlab.views.plots import canvas, fitted
from didlab.views.plots.labels import Lettering, size
from didlab.views.text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 0.25
#: With more images no number would be readable: the colours are left.
_NUMBERS = 30


def shared(
    images: Sequence[tuple[str, Mapping[str, int]]], *, share: bool, ax: Axes | None = None
) -> Axes:
    """Draw for each pair of images what their layers have in common.

    Parameters
    ----------
    images : sequence of (str, mapping of str to int)
        Name, and digest and size of each layer, once.
    share : bool
        As a part of the row's image, not in bytes.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    number = len(images)
    ax = canvas.axes(ax, min(3.4 + 0.75 * (number + 1), 16), min(1.2 + 0.4 * (number + 1), 14))
    names = _without_common_host([name for name, _ in images])
    letters = Lettering.of(names)
    every = {digest: amount for _, layers in images for digest, amount in layers.items()}
    apart = sum(sum(layers.values()) for _, layers in images)
    facts = f"{size(sum(every.values()))} together, {size(apart)} one by one"
    canvas.title(ax, f"Layers in common: {count(number, 'image')}", [facts], letters)
    if not images:
        return canvas.nothing(ax, "no images")
    matrix = _matrix([layers for _, layers in images], share=share)
    # Bounds of columns: the images, a gap, and what a row has alone.
    columns = [*range(number + 1), number + _GAP, number + _GAP + 1]
    values = [[*row[:-1], float("nan"), row[-1]] for row in matrix]
    colour = to_rgb(canvas.colours()[0])
    tints = LinearSegmentedColormap.from_list(
        "didlab", [(*colour, 0.03), (*colour, canvas.TINT + 0.1)]
    )
    most = 1.0 if share else max(max(row) for row in matrix) or 1.0
    ax.pcolormesh(
        columns, range(number + 1), values, cmap=tints, vmin=0, vmax=most,
        edgecolors=[ax.get_facecolor()], linewidth=1.0,
    )  # fmt: skip
    wide = max(2.2, 0.45 * number)
    ax.set_xlim(-wide, columns[-1])
    ax.set_ylim(number, -1)
    ax.set_axis_off()
    heads = [(float(at), [str(at + 1)]) for at in range(number)]
    heads.append((columns[-2], ["only here"]))
    for left, forms in heads:
        box = (left, -1, left + 1, 0)
        fitted.add(ax, forms, box, letters, ha="center", whole=True, alpha=0.7)
    starts = [*range(number), columns[-2]]
    for row, name in enumerate(names):
        box = (-wide, row, 0, row + 1)
        fitted.add(ax, [f"{letters(name)}  {row + 1}"], box, letters, ha="right", cut_start=True)
        if number > _NUMBERS:
            continue
        for left, value in zip(starts, matrix[row], strict=True):
            text = f"{value:.0%}" if share else size(value)
            box = (left, row, left + 1, row + 1)
            fitted.add(ax, [text if value else "–"], box, letters, ha="center", whole=True)
    return ax


def _matrix(images: Sequence[Mapping[str, int]], *, share: bool) -> list[list[float]]:
    """Return what each has in common with each, and last what it has alone."""
    found = []
    for at, own in enumerate(images):
        row: list[float] = [
            sum(amount for digest, amount in own.items() if digest in other) for other in images
        ]
        others = {digest for place, one in enumerate(images) if place != at for digest in one}
        row.append(sum(amount for digest, amount in own.items() if digest not in others))
        total = sum(own.values())
        found.append([value / total if total else 0.0 for value in row] if share else row)
    return found


def _without_common_host(names: Sequence[str]) -> list[str]:
    """Leave out a registry that all have in common: it tells nothing apart.

    >>> _without_common_host(["r.example/a:1", "r.example/b:1"])
    ['a:1', 'b:1']
    """
    hosts = {name.partition("/")[0] if "/" in name else "" for name in names}
    host = hosts.pop() if len(hosts) == 1 else ""
    # Docker Hub's first folder is no host.
    if "." in host or ":" in host or host == "localhost":
        return [name.partition("/")[2] for name in names]
    return list(names)
