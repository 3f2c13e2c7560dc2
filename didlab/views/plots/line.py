"""How a repository's images grew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.views.plots import canvas, fitted
from didlab.views.plots.labels import Lettering, size
from didlab.views.plots.layout import spread
from didlab.views.text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Builds that want to be reproducible date themselves 1970 or 1980; Docker came in 2013. And
#: nothing that we meet is from after the last of these years.
_MEANT = range(2013, 2101)
#: The part of the plot's width that a label needs.
_LABEL = 0.09


class Point(NamedTuple):
    """An image: the tags that name it, when it was made, and its size."""

    tags: tuple[str, ...]
    created: datetime | None
    size: int


def growth(
    points: Sequence[Point],
    name: str,
    *,
    unread: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw size over time; what has no date that can be meant, or ``unread``, is named above."""
    from matplotlib import dates as untyped

    dates: Any = untyped
    ax = canvas.axes(ax, 8, 4)
    letters = Lettering.of([name, *unread, *(tag for point in points for tag in point.tags)])
    dated = sorted(
        (p for p in points if p.created is not None and p.created.year in _MEANT),
        key=lambda point: (point.created, point.tags),
    )
    undated = [tag for point in points if point not in dated for tag in point.tags]
    facts = count(sum(len(point.tags) for point in dated), "tag")
    if len(dated) == 1:
        facts += f", {size(dated[0].size)}"
    elif dated:
        change = dated[-1].size - dated[0].size
        sign = "+" if change >= 0 else "−"
        facts += f", {size(dated[0].size)} to {size(dated[-1].size)} ({sign}{size(abs(change))})"
    missing = _said("without a date", undated), _said("not read", unread)
    canvas.title(ax, name, [facts, *filter(None, missing)], letters)
    if not dated:
        return canvas.nothing(ax, "no image with a date")
    days = [float(dates.date2num(point.created)) for point in dated]
    sizes = [point.size for point in dated]
    colour = canvas.colours()[0]
    ax.plot(days, sizes, drawstyle="steps-post", color=colour, alpha=0.5)
    ax.plot(days, sizes, linestyle="none", marker="o", color=colour)
    span = (days[-1] - days[0]) or 1.0
    start, end = days[0] - 0.07 * span, days[-1] + 0.07 * span
    highest = max(*sizes, 1)
    ax.set_xlim(start, end)
    ax.set_ylim(0, highest * 1.2)
    locator = dates.AutoDateLocator(maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    canvas.size_axis(ax.yaxis, highest)
    canvas.bare(ax, "left", "bottom")
    _names(ax, dated, days, letters)
    return ax


def _said(what: str, tags: Sequence[str]) -> str:
    if not tags:
        return ""
    return f"{what}: {', '.join(tags[:3])}" + (f" and {len(tags) - 3} more" * (len(tags) > 3))


def _names(ax: Axes, points: Sequence[Point], days: Sequence[float], letters: Lettering) -> None:
    """Name the points where there is room: the last, the first, and where most changed."""
    sizes = [point.size for point in points]
    changes = [abs(after - before) for before, after in pairwise(sizes)]
    weights: list[float] = [0.0, *changes]
    weights[0] = float("inf")
    weights[-1] = float("inf")
    start, end = ax.get_xlim()
    high = ax.get_ylim()[1]
    chosen = spread(days, weights, _LABEL * (end - start))
    for at, here in enumerate(chosen):
        day = days[here]
        before = days[chosen[at - 1]] if at else 2 * start - day
        after = days[chosen[at + 1]] if at + 1 < len(chosen) else 2 * end - day
        half = min(day - before, after - day) / 2
        low = points[here].size + 0.03 * high
        text = letters(", ".join(points[here].tags))
        box = (day - half, low, day + half, low + 0.09 * high)
        fitted.add(ax, [text, letters(points[here].tags[0])], box, letters, ha="center")
