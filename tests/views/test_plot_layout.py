"""Layouts of plots: areas exact, nothing overlaps, nothing outside; runs of small things."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from didlab.views.plots.layout import Cell, Rect, fold, spread, squarify, treemap

SIDES = st.floats(0.1, 100)
SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=60)
NAMES = st.text("abc", min_size=1, max_size=2)


def overlap(one: Rect, other: Rect) -> float:
    """The area that two rectangles share."""
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    up = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(across, 0) * max(up, 0)


def check(rects: list[Rect], sizes: list[int], frame: Rect) -> None:
    area = frame.width * frame.height
    total = sum(sizes)
    for rect, size in zip(rects, sizes, strict=True):
        assert math.isclose(
            rect.width * rect.height, area * size / total, rel_tol=1e-6, abs_tol=area * 1e-12
        )
        slack = 1e-9 * max(frame.width, frame.height)
        assert rect.x >= frame.x - slack
        assert rect.y >= frame.y - slack
        assert rect.x + rect.width <= frame.x + frame.width + slack
        assert rect.y + rect.height <= frame.y + frame.height + slack
    for at, one in enumerate(rects):
        for other in rects[at + 1 :]:
            assert overlap(one, other) <= area * 1e-9


@given(SIZES, SIDES, SIDES)
def test_squares_have_exact_areas_within_the_frame_and_apart(
    sizes: list[int], width: float, height: float
) -> None:
    frame = Rect(-3.0, 7.0, width, height)
    check(squarify(sizes, frame), sizes, frame)


def test_squares_of_the_paper() -> None:
    # Bruls et al., figure 5: 6, 6, 4, 3, 2, 2, 1 in a rectangle of 6 by 4.
    found = squarify([6, 6, 4, 3, 2, 2, 1], Rect(0, 0, 6, 4))
    assert found[:2] == [Rect(0, 0, 3, 2), Rect(0, 2, 3, 2)]
    assert [round(r.width * r.height, 9) for r in found] == [6, 6, 4, 3, 2, 2, 1]
    worst = max(max(r.width / r.height, r.height / r.width) for r in found)
    assert worst < 2.8  # slices would have up to 24


def test_nothing_to_divide() -> None:
    assert squarify([], Rect(0, 0, 1, 1)) == []
    assert treemap({}, Rect(0, 0, 1, 1)) == []
    assert treemap({("a",): 0}, Rect(0, 0, 1, 1)) == []


def files() -> st.SearchStrategy[dict[tuple[str, ...], int]]:
    """Sizes of paths, none of which lies in another one."""
    paths = st.tuples(NAMES, NAMES) | st.tuples(NAMES.map(str.upper))
    return st.dictionaries(paths, st.integers(0, 10**6), max_size=40)


@given(files())
def test_folders_hold_what_is_in_them(weights: dict[tuple[str, ...], int]) -> None:
    frame = Rect(0, 0, 8, 5)
    cells = treemap(weights, frame)
    leaves = [cell for cell in cells if cell.leaf]
    assert sum(cell.size for cell in leaves) == sum(weights.values())
    if leaves:
        check([cell.rect for cell in leaves], [cell.size for cell in leaves], frame)
    for cell in leaves:
        if not cell.more:
            assert weights[cell.path] == cell.size
    folders = {cell.path: cell for cell in cells if not cell.leaf}
    for path, folder in folders.items():
        inside = [cell for cell in leaves if cell.path[:1] == path and cell is not folder]
        assert sum(cell.size for cell in inside) == folder.size
        if len(folders) > 1 or len(inside) < len(leaves):
            assert {cell.group for cell in inside} == {folder.group}
        assert all(
            math.isclose(overlap(cell.rect, folder.rect), cell.rect.width * cell.rect.height,
                         rel_tol=1e-6) for cell in inside
        )  # fmt: skip


def test_colours_begin_where_paths_differ() -> None:
    weights = {("a", "b", "x"): 3, ("a", "b", "y", "z"): 2, ("a", "b", "y", "u"): 2}
    cells = treemap(weights, Rect(0, 0, 1, 1))
    assert {cell.path: (cell.group, cell.top) for cell in cells} == {
        ("a",): (0, True),
        ("a", "b"): (0, True),
        ("a", "b", "y"): (0, True),
        ("a", "b", "y", "u"): (0, False),
        ("a", "b", "y", "z"): (0, False),
        ("a", "b", "x"): (1, True),
    }


def test_specks_are_put_together() -> None:
    weights = {("big",): 10_000, **{(f"s{n}",): 1 for n in range(7)}}
    cells = treemap(weights, Rect(0, 0, 1, 1))
    assert [(cell.path, cell.more, cell.size) for cell in cells] == [
        (("big",), 0, 10_000),
        ((), 7, 7),
    ]
    # One alone keeps its name.
    assert [c.path for c in treemap({("big",): 10_000, ("s",): 1}, Rect(0, 0, 1, 1))] == [
        ("big",),
        ("s",),
    ]
    assert isinstance(cells[0], Cell)


@given(st.lists(st.integers(0, 10**9), max_size=300), st.integers(1, 60))
def test_folded_rows_are_few_and_hold_everything_in_order(sizes: list[int], most: int) -> None:
    runs = fold(sizes, most)
    assert len(runs) <= most
    assert [at for run in runs for at in run] == list(range(len(sizes)))
    assert all(len(run) > 0 for run in runs)
    if len(sizes) <= most:
        assert all(len(run) == 1 for run in runs)
    elif most >= 3:
        # The largest stands alone.
        largest = sizes.index(max(sizes))
        assert range(largest, largest + 1) in runs


@given(st.lists(st.floats(0, 100), max_size=50), st.floats(0.1, 30))
def test_chosen_places_keep_apart_and_leave_no_room(places: list[float], apart: float) -> None:
    weights = [float(at % 7) for at in range(len(places))]
    chosen = spread(places, weights, apart)
    assert chosen == sorted(set(chosen))
    for one, other in pairwise(sorted(places[at] for at in chosen)):
        assert other - one >= apart
    for at, place in enumerate(places):
        assert at in chosen or any(abs(place - places[other]) < apart for other in chosen)
