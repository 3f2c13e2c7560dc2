"""Where things go: numbers in, numbers out, nothing of matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Cells of a treemap below this part of the whole are drawn together.
SPECK = 0.002


class Rect(NamedTuple):
    """A rectangle: its lower left corner, width and height."""

    x: float
    y: float
    width: float
    height: float


def squarify(values: Sequence[float], rect: Rect) -> list[Rect]:
    """Divide a rectangle by the values, as close to squares as it gets.

    The algorithm of Bruls, Huizing and van Wijk (2000): rows along the shorter side, each as long
    as its worst cell becomes no worse.

    Parameters
    ----------
    values : sequence of float
        Positive; largest first gives the best shapes.

    Returns
    -------
    list of Rect
        One for each value, in their order; areas are in proportion.
    """
    left = float(sum(values))
    found: list[Rect] = []
    at = 0
    while at < len(values):
        scale = rect.width * rect.height / left
        short = min(rect.width, rect.height)
        count, total = 0, 0.0
        worst = float("inf")
        for value in values[at:]:
            row = values[at : at + count + 1]
            thick = (total + value) * scale / short
            sides = (max(row) * scale / thick, min(row) * scale / thick)
            ratio = max(max(thick / side, side / thick) for side in sides)
            if ratio > worst:
                break
            worst, count, total = ratio, count + 1, total + value
        # The last row takes what is left, whatever rounding made of it.
        whole = at + count == len(values)
        along = rect.width >= rect.height
        thick = (rect.width if along else rect.height) * (1.0 if whole else total / left)
        offset = 0.0
        for value in values[at : at + count]:
            side = short * value / total
            if along:
                found.append(Rect(rect.x, rect.y + offset, thick, side))
            else:
                found.append(Rect(rect.x + offset, rect.y, side, thick))
            offset += side
        if along:
            rect = Rect(rect.x + thick, rect.y, rect.width - thick, rect.height)
        else:
            rect = Rect(rect.x, rect.y + thick, rect.width, rect.height - thick)
        at += count
        left -= total
    return found


@dataclass(frozen=True, slots=True)
class Cell:
    """One rectangle of a treemap.

    Attributes
    ----------
    path : tuple of str
        Names from the top down; of what was too small to be drawn alone, those above it.
    more : int
        How many things it stands for, where they were too small; else 0.
    group : int
        Which of the things it belongs to that lie where paths first differ, the largest is 0.
    top : bool
        Whether it is one of these, or above them.
    leaf : bool
        Whether nothing is drawn in it.
    """

    rect: Rect
    path: tuple[str, ...]
    size: int
    group: int
    top: bool
    more: int = 0
    leaf: bool = True


def treemap(weights: Mapping[tuple[str, ...], int], rect: Rect) -> list[Cell]:
    """Lay out sizes by path: folders first, then what is in them.

    Areas are in proportion to the sizes over all levels. What has no size is not there.
    """
    seen = {path: size for path, size in weights.items() if size > 0}
    first = 0
    while len({path[: first + 1] for path in seen}) == 1 and all(len(p) > first + 1 for p in seen):
        first += 1
    return list(_cells(seen, (), rect, 0, first, SPECK * sum(seen.values())))


def _cells(
    weights: Mapping[tuple[str, ...], int],
    above: tuple[str, ...],
    rect: Rect,
    group: int,
    first: int,
    smallest: float,
) -> Iterator[Cell]:
    level = len(above)
    within: dict[str, dict[tuple[str, ...], int]] = {}
    for path, size in weights.items():
        within.setdefault(path[level], {})[path] = size
    sizes = {name: sum(inside.values()) for name, inside in within.items()}
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
    drawn = [name for name in ordered if sizes[name] >= smallest]
    specks = ordered[len(drawn) :]
    if len(specks) == 1:
        drawn, specks = ordered, []
    rest = sum(sizes[name] for name in specks)
    areas = [sizes[name] for name in drawn] + [rest] * bool(specks)
    for at, place in enumerate(squarify(areas, rect)):
        number, top = (group, False) if level > first else (at, True)
        if at == len(drawn):
            yield Cell(place, above, rest, number, top, more=len(specks))
            continue
        path, inside = (*above, drawn[at]), within[drawn[at]]
        leaf = path in inside
        yield Cell(place, path, sizes[drawn[at]], number, top, leaf=leaf)
        if not leaf:
            yield from _cells(inside, path, place, number, first, smallest)


def fold(sizes: Sequence[int], most: int) -> list[range]:
    """Put runs of small things together until there are no more than ``most``; order stays.

    >>> fold([9, 1, 1, 8], 3)
    [range(0, 1), range(1, 3), range(3, 4)]
    """
    if len(sizes) <= most:
        return [range(at, at + 1) for at in range(len(sizes))]
    largest = sorted(range(len(sizes)), key=lambda at: (-sizes[at], at))
    found = [range(len(sizes))]
    for count in range(most - 1, 0, -1):
        found = []
        before = 0
        for at in sorted(largest[:count]):
            if at > before:
                found.append(range(before, at))
            found.append(range(at, at + 1))
            before = at + 1
        if before < len(sizes):
            found.append(range(before, len(sizes)))
        if len(found) <= most:
            break
        found = [range(len(sizes))]
    return found


def spread(places: Sequence[float], weights: Sequence[float], apart: float) -> list[int]:
    """Choose which of many points get a label: the heaviest, none closer than ``apart``.

    >>> spread([0, 1, 10], [1, 2, 1], 3)
    [1, 2]
    """
    chosen: list[int] = []
    for at in sorted(range(len(places)), key=lambda at: (-weights[at], -at)):
        if all(abs(places[at] - places[other]) >= apart for other in chosen):
            chosen.append(at)
    return sorted(chosen)
