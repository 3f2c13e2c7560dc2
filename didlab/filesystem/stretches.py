"""Many stretches of many files, read in the order in which they lie in the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from didlab import errors
from didlab.files import links
from didlab.filesystem.view import View

#: Bytes between two stretches of a file that are read all the same to make one of them, and
#: bytes that are read as one at most.
_GAP = 64 * 1024
_JOINED = 32 * 1024 * 1024


def read(
    view: View,
    wanted: Sequence[Callable[[], bytes]],
    begins: Sequence[int | None],
    ends: Sequence[int | None],
    gap: int | None,
    *,
    raising: bool,
) -> list[Any]:
    """Return a stretch of each file, or what kept from it; in the order asked for.

    Parameters
    ----------
    wanted : sequence of callable
        The paths.
    begins, ends : sequence of int or None
        Counted as Python's slices.
    gap : int or None
        Stretches of a file that meet, or nearly so, are read as one.
    raising : bool
        Raise what goes wrong.
    """
    out: list[Any] = [None] * len(wanted)

    def failed(numbers: Iterable[int], error: Exception) -> None:
        if raising:
            raise error
        for number in numbers:
            out[number] = error

    rows = _rows(view, wanted, failed)
    with view.gathering([row for row, _ in rows]):
        for row, numbers in rows:
            try:
                content = view.content(row)
            except (errors.DidlabError, OSError) as error:
                failed(numbers, error)
                continue
            places = sorted(
                (*stretch(content.size, begins[number], ends[number]), number) for number in numbers
            )
            for start, end, group in joined(places, _GAP if gap is None else gap):
                try:
                    data = content.read_at(start, end) if start < end else b""
                except (errors.DidlabError, OSError) as error:
                    failed([number for _, _, number in group], error)
                    continue
                for begin, stop, number in group:
                    out[number] = data[begin - start : stop - start]
    return out


def _rows(
    view: View,
    wanted: Sequence[Callable[[], bytes]],
    failed: Callable[[Iterable[int], Exception], None],
) -> list[tuple[int, list[int]]]:
    """Return the rows of paths, each with the numbers of those, as they lie in the layers."""
    numbers: dict[int, list[int]] = {}
    for number, path in enumerate(wanted):
        try:
            numbers.setdefault(view.row(path()), []).append(number)
        except (errors.DidlabError, OSError) as error:
            failed([number], error)
    table = view.table

    def place(one: tuple[int, list[int]]) -> tuple[int, int]:
        row = one[0]
        if row == links.ROOT or table.homes is None:
            return -1, -1
        return table.homes[row], table.offsets[row]

    return sorted(numbers.items(), key=place)


def stretch(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    """Return where a slice of a file begins and ends.

    >>> stretch(10, -3, None), stretch(10, 2, 99), stretch(10, 8, 3)
    ((7, 10), (2, 10), (8, 8))
    """
    begin, stop, _ = slice(start, end).indices(size)
    return begin, max(begin, stop)


def joined(
    wanted: Iterable[tuple[int, int, int]], gap: int
) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
    """Join sorted stretches that meet, or nearly so.

    >>> [(start, stop) for start, stop, _ in joined([(0, 4, 0), (4, 6, 1), (9, 12, 2)], 2)]
    [(0, 6), (9, 12)]
    """
    group: list[tuple[int, int, int]] = []
    start = stop = 0
    for one in wanted:
        if group and (one[0] > stop + gap or max(stop, one[1]) - start > _JOINED):
            yield start, stop, group
            group = []
        if not group:
            start = stop = one[0]
        group.append(one)
        stop = max(stop, one[1])
    if group:
        yield start, stop, group
