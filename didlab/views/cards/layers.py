"""Layers as a strip and as rows with bars: where the bytes are, and what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from didlab.sizes import human
from didlab.views import html, text
from didlab.views.cards import parts
from didlab.views.commands import clean

#: Rows with bars; of more layers the largest have them, the others are folded.
MAX_ROWS = 18
#: Folded rows.
MAX_FOLDED = 180
#: Below this share a layer has no part of its own in the strip.
_TINY = 0.004


@dataclass(frozen=True, slots=True)
class Row:
    """One layer: ``label`` is its command, or the media type of an artifact's blob."""

    position: int
    digest: str
    size: int
    label: str
    media_type: str = ""


def draw(rows: Sequence[Row], *, total: int) -> str:
    """Return the strip and the rows, base first."""
    return _strip(rows, total) + parts.fitting(
        lambda length: _table(rows, length), (700, 250, 60), 45_000
    )


def _table(rows: Sequence[Row], length: int) -> str:
    barred = list(rows)
    if len(rows) > MAX_ROWS + 2:
        largest = sorted(rows, key=lambda row: -row.size)[:MAX_ROWS]
        barred = sorted(largest, key=lambda row: row.position)
    shown = {row.position for row in barred}
    rest = [row for row in rows if row.position not in shown]
    most = max((row.size for row in barred), default=0) or 1
    # No head: position, size, bar and command explain themselves.
    table = parts.wide(
        [
            (
                parts.faint(row.position),
                html.escape(human(row.size)),
                parts.bar(row.size / most, row.position),
                parts.command(_short(row), _whole(row, length)),
            )
            for row in barred
        ],
        numbers=(0, 1),
        count=4,
    )
    return table + _folded(rest, most=MAX_FOLDED if length > 60 else 40)


def _strip(rows: Sequence[Row], total: int) -> str:
    if len(rows) < 2 or total <= 0:
        return ""
    found: list[tuple[float, int | None]] = []
    for row in rows:
        share = row.size / total
        if share >= _TINY:
            found.append((share, row.position))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0] + share, None)
        else:
            found.append((share, None))
    return parts.strip(found[:200])


def _short(row: Row) -> str:
    return _command(row) or text.short(row.digest)


def _command(row: Row) -> str:
    # Hidden before anything is cut, or a part of a secret could be left over.
    return html.hidden(clean(row.label), limit=2000)


def _whole(row: Row, length: int) -> str:
    """Return what unfolds below a row, the command up to a length."""
    said = _command(row)
    kind = row.media_type.rpartition("/")[2][:60]
    return (parts.mono(said, length) if said else "") + parts.line(row.digest, kind)


def _folded(rest: Sequence[Row], most: int) -> str:
    if not rest:
        return ""
    size = human(sum(row.size for row in rest))
    rows = [
        (str(row.position), human(row.size), text.short(row.digest), _command(row)[:400])
        for row in rest[:most]
    ]
    more = len(rest) - len(rows)
    tail = parts.note(f"and {more} more") if more > 0 else ""
    label = f"{len(rest)} smaller layers"
    return parts.fold(label, size, parts.lines(rows, right=(0, 1)) + tail)
