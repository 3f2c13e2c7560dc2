"""HTML that survives everywhere: inline styles, no script, no ids, every value escaped.

Untrusted notebooks lose ``<style>`` and ``<svg>``, so there are none. Colours are those of the
page (``currentColor`` and opacity), so that light and dark themes both work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from didlab.errors import printable
from didlab.views import secrets

#: No output grows beyond this, whatever an image holds.
MAX_ROWS = 200
MAX_DEPTH = 12
MAX_CELL = 300
MAX_TOTAL = 200_000

_TABLE = "border-collapse:collapse;margin:0.3em 0"
_CELL = "text-align:left;padding:0.1em 0.8em 0.1em 0;vertical-align:top"
_MONO = "font-family:monospace"
_FAINT = "opacity:0.6"

# MathJax and Markdown would read these in an output; entities keep them plain.
_ESCAPES = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    ord("'"): "&#39;",
    ord("`"): "&#96;",
    ord("$"): "&#36;",
    ord("\\"): "&#92;",
}


def escape(value: object, limit: int = MAX_CELL) -> str:
    r"""Return text that can stand anywhere in HTML, controls shown as escapes, cut at ``limit``.

    >>> escape('<img src=x onerror="a">')
    '&lt;img src=x onerror=&quot;a&quot;&gt;'
    """
    return printable(value, limit).translate(_ESCAPES)


def wrap(*parts: str) -> str:
    """Return parts as one block, typesetting switched off."""
    body = "".join(parts)
    if len(body) > MAX_TOTAL:
        body = f'<div style="{_FAINT}">too much to show here</div>'
    return f'<div class="didlab tex2jax_ignore mathjax_ignore">{body}</div>'


def heading(title: str, *notes: str | None) -> str:
    """Return a title line with faint notes behind it."""
    shown = " · ".join(escape(note) for note in notes if note)
    return (
        f'<div><b style="{_MONO}">{escape(title)}</b> <span style="{_FAINT}">{shown}</span></div>'
    )


def note(text: str) -> str:
    """Return a faint line."""
    return f'<div style="{_FAINT}">{escape(text, 1000)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; rows beyond `MAX_ROWS` are counted."""
    shown: list[str] = []
    more = 0
    for row in rows:
        if len(shown) >= MAX_ROWS:
            more += 1
            continue
        shown.append("".join(f'<td style="{_CELL}">{cell}</td>' for cell in row))
    head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{row}</tr>" for row in shown)
    tail = note(f"and {more} more") if more else ""
    return (
        f'<table class="dataframe" style="{_TABLE}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{tail}"
    )


def bar(share: float) -> str:
    """Return a bar whose length is a share from 0 to 1."""
    width = max(0.0, min(1.0, share)) * 100
    return (
        '<div style="width:10em;border:1px solid;border-color:rgba(128,128,128,0.4)">'
        f'<div style="width:{width:.1f}%;height:0.7em;background:rgba(64,128,192,0.7)"></div></div>'
    )


def hidden(value: object, name: str = "", limit: int = MAX_CELL) -> str:
    """Return a value's text with what looks like a secret hidden, longer than ``limit`` if long."""
    # More than will be shown, so that no cut goes through what tells a secret from other text.
    text = str(value)[: 2 * limit + 1000]
    return secrets.masked(name, text) if name else secrets.mask(text)


def mono(value: object, limit: int = MAX_CELL) -> str:
    """Return an escaped value in fixed width."""
    return f'<span style="{_MONO};white-space:pre-wrap">{escape(value, limit)}</span>'


def tree(value: object, title: str, *, open_levels: int = 1) -> str:
    """Return JSON as a tree that unfolds without any script; what looks like a secret is hidden."""
    return wrap(heading(title), branches(value, open_levels=open_levels))


def branches(value: object, *, open_levels: int = 1, rows: int = MAX_ROWS * 5) -> str:
    """Return a tree alone, of so many rows at most."""
    return _node(value, 0, open_levels, [rows])


def _node(value: Any, depth: int, open_levels: int, budget: list[int]) -> str:
    if depth > MAX_DEPTH or budget[0] <= 0:
        return f'<span style="{_FAINT}">…</span>'
    if isinstance(value, dict):
        items: list[tuple[str, Any]] = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return mono(hidden("null" if value is None else value))
    rows: list[str] = []
    for key, item in items[:MAX_ROWS]:
        budget[0] -= 1
        if budget[0] <= 0:
            break
        if isinstance(item, dict | list) and item:
            unfolded = " open" if depth + 1 < open_levels else ""
            count = f'<span style="{_FAINT}">{len(item)}</span>'
            rows.append(
                f"<details{unfolded}><summary>{mono(key)} {count}</summary>"
                f'<div style="padding-left:1.2em">{_node(item, depth + 1, open_levels, budget)}'
                "</div></details>"
            )
        else:
            shown = "{}" if item == {} else "[]" if item == [] else item
            value_html = mono(hidden("null" if shown is None else shown, key))
            rows.append(f"<div><b>{mono(key)}</b>: {value_html}</div>")
    if len(rows) < len(items):
        rows.append(note(f"and {len(items) - len(rows)} more"))
    return "".join(rows)
