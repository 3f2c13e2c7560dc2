"""What cards are made of: a frame, a title, chips, facts, notes, folds, bars.

Every argument that is text is escaped here; only what is called ``body`` or ``cells`` is HTML.
Styles are those that JupyterLab's sanitizer lets through, so that a notebook nobody trusts yet
looks the same: no ``currentColor`` (inherited anyway), no custom properties, colours as
``rgba`` that are read on white and on black.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from didlab.errors import printable
from didlab.views import html

#: No card has more bytes.
MOST = 100_000
#: Layers and platforms have these colours in turn, and bars those of what they measure.
_HUES = ("64,132,196", "38,160,140", "132,108,206", "206,146,46", "200,92,122", "112,134,156")

_FRAME = (
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;text-align:left;"
    "max-width:780px;margin:4px 0;padding:10px 14px 11px;border:1px solid rgba(128,128,128,0.35);"
    "border-radius:8px;overflow-x:auto"
)
_MONO = "font-family:ui-monospace,menlo,consolas,monospace;font-size:12px"
_FAINT = "opacity:0.66"
_TITLE = f"{_MONO};font-size:16px;font-weight:600;overflow-wrap:anywhere;word-wrap:break-word"
_CHIP = (
    "display:inline-block;font-size:11px;line-height:1.5;padding:0 7px;margin:0 5px 2px 0;"
    "border-radius:9px;background:rgba(128,128,128,0.17);vertical-align:2px"
)
_TABLE = "border-collapse:collapse;margin:0;table-layout:auto;font-size:12px;border:none"
_ROW = "background:transparent;border:none"
_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0;border:none;max-width:none"
_NUMBER = (
    "text-align:right;vertical-align:top;padding:1px 12px 1px 0;border:none;white-space:nowrap;"
    "font-variant-numeric:tabular-nums"
)
_TABULAR = "font-variant-numeric:tabular-nums"
_HEAD = "font-size:11px;font-weight:400;opacity:0.66"
# The column that takes what the others leave, and whose lines are cut there.
_REST = "width:100%;max-width:0;overflow:hidden"
_LINE = "cursor:pointer;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_WRAP = "overflow-wrap:anywhere;word-wrap:break-word;white-space:pre-wrap"


def hue(number: int, strength: float = 0.85) -> str:
    """Return the colour of the layer at a position."""
    return f"rgba({_HUES[number % len(_HUES)]},{strength:g})"


def frame(*sections: str) -> str:
    """Return a card of sections; those that do not fit in `MOST` any more are left out."""
    kept: list[str] = []
    room = MOST - 1000
    left = 0
    for section in sections:
        size = weight(section)
        if size > room:
            left += 1
            continue
        room -= size
        kept.append(section)
    if left:
        kept.append(note("more than fits here is left out"))
    body = "".join(kept)
    inner = f'<div style="{_FRAME}">{body}</div>'
    return f'<div class="didlab tex2jax_ignore mathjax_ignore">{inner}</div>'


def weight(body: str) -> int:
    """Return the bytes of a piece of HTML."""
    return len(body) if body.isascii() else len(body.encode("utf-8", "surrogatepass"))


def fitting(draw: Callable[[int], str], counts: Sequence[int], most: int) -> str:
    """Return a part drawn with the first of ``counts`` that keeps it below ``most`` bytes."""
    body = ""
    for count in counts:
        body = draw(count)
        if weight(body) <= most:
            return body
    return body


def safely(draw: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
    """Have a card tell of its own failure: one that raises would hide the object itself."""

    @functools.wraps(draw)
    def drawn(facts: Mapping[str, Any]) -> str:
        try:
            return draw(facts)
        except Exception as error:  # noqa: BLE001
            return failed(error)

    return drawn


def failed(error: Exception) -> str:
    """Return what stands where a card could not be drawn."""
    return frame(note(f"no card: {type(error).__name__}"))


def title(name: object, kind: str, *chips: str | None) -> str:
    """Return the first line: what it is, its name, and chips."""
    shown = "".join(chip(one) for one in chips if one)
    return (
        f'<div><bdi style="{_TITLE}">{html.escape(name, 300)}</bdi> '
        f'<span style="font-size:12px;{_FAINT};padding:0 8px 0 4px">{html.escape(kind)}</span> '
        f"{shown}</div>"
    )


def chip(text: object) -> str:
    """Return a short word in a lozenge."""
    return f'<span style="{_CHIP}">{html.escape(text, 60)}</span>'


def line(*facts: str | None, plain: bool = False) -> str:
    """Return a faint line of facts with dots between."""
    shown = " · ".join(html.escape(fact, 400) for fact in facts if fact)
    style = _TABULAR + ("" if plain else f";{_FAINT}")
    return f'<div style="{style}"><bdi>{shown}</bdi></div>' if shown else ""


def total(whose: str | None, before: str, size: str, after: str) -> str:
    """Return the line above a strip: what it is the total of."""
    first = f"{code(whose, 60)} · " if whose else ""
    rest = f"<b>{html.escape(size)}</b>{html.escape(after)}"
    return f'<div style="{_TABULAR}">{first}{html.escape(before)}{rest}</div>'


def note(text: object) -> str:
    """Return a faint line of prose."""
    return (
        f'<div style="{_FAINT};overflow-wrap:anywhere;word-wrap:break-word">'
        f"<bdi>{html.escape(text, 1000)}</bdi></div>"
    )


def warning(text: object) -> str:
    """Return a remark that wants to be seen; short ones stand beside each other."""
    return (
        '<div style="display:inline-block;max-width:100%;margin:5px 8px 0 0;padding:0 9px;'
        "border-left:3px solid rgba(222,150,20,0.95);"
        'background:rgba(222,150,20,0.13);border-radius:3px;font-size:12px">'
        f"<bdi>{html.escape(text, 600)}</bdi></div>"
    )


def block(*body: str) -> str:
    """Return parts with some room above."""
    shown = "".join(body)
    return f'<div style="margin-top:8px">{shown}</div>' if shown else ""


def mono(value: object, limit: int = html.MAX_CELL, name: str = "") -> str:
    """Return a value in fixed width; hidden where it, or its ``name``, tells of a secret."""
    return (
        f'<bdi style="{_MONO};{_WRAP}">{html.escape(html.hidden(value, name, limit), limit)}</bdi>'
    )


def code(value: object, limit: int = html.MAX_CELL) -> str:
    """Return a name or digest in fixed width: where ``token:1`` is no secret but an image."""
    return f'<bdi style="{_MONO};{_WRAP}">{html.escape(value, limit)}</bdi>'


def faint(value: object, limit: int = html.MAX_CELL) -> str:
    """Return a value to be overlooked."""
    return f'<span style="{_FAINT}">{html.escape(value, limit)}</span>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return names with cells behind them."""
    made = "".join(
        f'<tr style="{_ROW}"><td style="{_CELL};{_FAINT};white-space:nowrap">{html.escape(name)}'
        f'</td><td style="{_CELL}">{cell}</td></tr>'
        for name, cell in rows
    )
    return f'<table style="{_TABLE}"><tbody>{made}</tbody></table>' if made else ""


def named(values: Mapping[str, str]) -> str:
    """Return a mapping from an image (environment, labels) as a table, as far as it fits."""
    return fitting(lambda most: _named(values, most), (40, 12, 4), 20_000)


def _named(values: Mapping[str, str], most: int) -> str:
    rows = []
    for name, value in itertools.islice(values.items(), most):
        rows.append(
            f'<tr style="{_ROW}"><td style="{_CELL};{_FAINT}">{mono(name, 80)}</td>'
            f'<td style="{_CELL}">{mono(value, 240, name)}</td></tr>'
        )
    more = len(values) - len(rows)
    tail = note(f"and {more} more") if more > 0 else ""
    return f'<table style="{_TABLE}"><tbody>{"".join(rows)}</tbody></table>{tail}'


def grid(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), tail: str = ""
) -> str:
    """Return a table of cells; the columns at ``numbers`` are aligned to the right."""
    style = [_NUMBER if at in numbers else _CELL for at in range(len(head))]
    top = "".join(
        f'<th style="{style[at]};{_HEAD}">{html.escape(name)}</th>' for at, name in enumerate(head)
    )
    top = f'<thead style="border:none"><tr style="{_ROW}">{top}</tr></thead>'
    return f'<table class="dataframe" style="{_TABLE}">{top}{_body(rows, style)}</table>{tail}'


def wide(rows: Iterable[Sequence[str]], numbers: Sequence[int], count: int) -> str:
    """Return a table of ``count`` columns over the whole width, whose last takes what is left."""
    style = [_NUMBER if at in numbers else _CELL for at in range(count)]
    style[-1] = f"{_CELL.removesuffix(';max-width:none')};{_REST}"
    return f'<table class="dataframe" style="{_TABLE};width:100%">{_body(rows, style)}</table>'


def _body(rows: Iterable[Sequence[str]], style: Sequence[str]) -> str:
    made = "".join(
        f'<tr style="{_ROW}">'
        + "".join(f'<td style="{style[at]}">{cell}</td>' for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<tbody>{made}</tbody>"


def fold(label: str, count: object, body: str, *, unfolded: bool = False) -> str:
    """Return a part that unfolds by a click; several stand beside each other."""
    return (
        f'<details{" open" if unfolded else ""} style="display:inline-block;vertical-align:top;'
        'margin:0 18px 0 0;max-width:100%">'
        f'<summary style="cursor:pointer">{html.escape(label)} {faint(count)}</summary>'
        f'<div style="margin:2px 0 8px;max-height:340px;overflow:auto">{body}</div></details>'
    )


def command(short: str, body: str) -> str:
    """Return a line of code that unfolds to all that is known of it."""
    return (
        f'<details style="margin:0"><summary style="{_LINE}">'
        f'<bdi style="{_MONO}">{html.escape(html.hidden(short), 110)}</bdi></summary>'
        f'<div style="margin:1px 0 6px 14px">{body}</div></details>'
    )


def bar(share: float, number: int) -> str:
    """Return a bar whose length is a share from 0 to 1, in the colour of a layer."""
    width = max(0.0, min(1.0, share)) * 100
    return (
        '<div style="width:110px;height:9px;margin-top:5px;border-radius:2px;'
        'background:rgba(128,128,128,0.13)">'
        f'<div style="width:{width:.1f}%;min-width:1px;height:9px;border-radius:2px;'
        f'background:{hue(number)}"></div></div>'
    )


def strip(shares: Sequence[tuple[float, int | None]]) -> str:
    """Return one bar of parts; None as a part's number is the grey of many small ones."""
    parts = "".join(
        f'<div style="width:{100 * share:.2f}%;min-width:2px;height:12px;'
        f"background:{'rgba(128,128,128,0.45)' if number is None else hue(number)};"
        'border-right:1px solid rgba(128,128,128,0.3)"></div>'
        for share, number in shares
    )
    return (
        '<div style="display:flex;height:12px;margin:8px 0 6px;border-radius:4px;overflow:hidden;'
        f'background:rgba(128,128,128,0.13)">{parts}</div>'
    )


def lines(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return many rows cheaply: fixed width, aligned by spaces."""
    made = [[printable(html.hidden(cell), 90) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*made, strict=True)]
    shown = "".join(
        "<div>"
        + html.escape(
            "  ".join(
                cell.rjust(width) if at in right else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip(),
            400,
        )
        + "</div>"
        for row in made
    )
    return f'<div style="{_MONO};white-space:pre">{shown}</div>'
