"""Pieces of the explorer's HTML, and lines for its lists. Everything from an image is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from didlab.errors import printable
from didlab.files.table import DIR, HARDLINK, SYMLINK
from didlab.model.listing import shown
from didlab.sizes import human
from didlab.views.commands import clean
from didlab.views.html import escape, hidden
from didlab.views.text import moment, short
from didlab.widgets.changed import Changed
from didlab.widgets.folders import Folders
from didlab.widgets.preview import Preview

#: The explorer's own style; its class is on the outermost box. Colours are those of the page.
STYLE = """<style>
.didlab-explorer{border:1px solid rgba(128,128,128,.3);border-radius:6px;padding:8px 12px}
.didlab-explorer select{font-family:var(--jp-code-font-family,monospace);font-size:12px;
 white-space:pre}
.didlab-explorer .widget-html-content,.didlab-explorer .jupyter-widgets-html-content{
 line-height:1.45;overflow-wrap:anywhere}
.didlab-explorer pre{font:12px/1.45 var(--jp-code-font-family,monospace);margin:0;
 background:transparent;color:inherit;white-space:pre}
.didlab-explorer .didlab-pane{overflow:auto;border:1px solid rgba(128,128,128,.3);
 border-radius:3px;padding:6px 10px}
.didlab-explorer .didlab-config{overflow:auto}
.didlab-explorer .didlab-crumb{padding:0 6px;min-width:0;background:transparent;box-shadow:none;
 font-family:var(--jp-code-font-family,monospace)}
.didlab-explorer td,.didlab-explorer th{padding:1px 14px 1px 0;text-align:left;
 vertical-align:top;font-variant-numeric:tabular-nums}
.didlab-explorer th{font-weight:600;opacity:.65}
.didlab-explorer .n{text-align:right;white-space:nowrap}
.didlab-explorer .m{font-family:var(--jp-code-font-family,monospace);font-size:12px}
.didlab-explorer .f{opacity:.65}
</style>"""

_BLOCKS = " ▏▎▍▌▋▊▉█"
_MARKS = {"added": "+", "replaced": "~", "deleted": "−"}


def header(reference: str, facts: Sequence[str]) -> str:
    """Return the line at the top."""
    more = " · ".join(escape(fact) for fact in facts if fact)
    name = f'<b class="m" style="font-size:14px">{escape(reference)}</b>'
    return f'{name} &nbsp;<span class="f">{more}</span>'


def note(text: str) -> str:
    """Return a faint line."""
    return f'<span style="opacity:.65">{escape(text, 700)}</span>'


def problem(text: str) -> str:
    """Return an error in one line; nothing where there is none."""
    style = "border-left:3px solid rgba(220,60,50,.8);padding-left:8px"
    return f'<div style="{style}">{escape(text, 700)}</div>' if text else ""


def traffic(counted: tuple[int, int] | None) -> str:
    """Return what was fetched so far."""
    if counted is None:
        return note("on this machine: no requests")
    requests, size = counted
    return note(f"{requests} request{'' if requests == 1 else 's'} · {human(size)} fetched")


def command(text: str | None) -> str:
    """Return a layer's command without what every builder writes before it, secrets masked.

    >>> command('/bin/sh -c #(nop)  CMD ["sh"]')
    'CMD ["sh"]'
    """
    return hidden(clean(text or ""), limit=2000)


def bar(share: float, width: int = 10) -> str:
    """Return a bar of so many characters, in eighths; the least share shows something.

    >>> bar(0.5, 4), bar(0.0, 2)
    ('██  ', '  ')
    """
    eighths = max(1 if share > 0 else 0, round(share * width * 8))
    full, rest = divmod(min(eighths, width * 8), 8)
    return ("█" * full + (_BLOCKS[rest] if rest else "")).ljust(width)


def layer_lines(layers: Sequence[tuple[str, int, str | None]]) -> list[str]:
    """Return a line for each layer: number, size, bar, command."""
    largest = max((size for _, size, _ in layers), default=0) or 1
    return [
        _plain(
            f"{number:>3}  {human(size):>9}  {bar(size / largest)}  "
            f"{printable(command(made) or short(digest), 160)}"
        )
        for number, (digest, size, made) in enumerate(layers)
    ]


def entry_line(folders: Folders, row: int, *, whole: bool = False) -> str:
    """Return a line for an entry: size, name, where a link leads."""
    table = folders.table
    kind = table.types[row]
    size = "" if kind == SYMLINK else human(folders.size(row))
    name = printable(shown(folders.path(row) if whole else folders.name(row)), 300)
    if kind == DIR:
        name += "/"
    elif kind in (SYMLINK, HARDLINK):
        arrow = "→" if kind == SYMLINK else "="
        name += f" {arrow} {printable(shown(table.links[row]), 200)}"
    return _plain(f"{size:>9}  {name}")


def entry(folders: Folders, row: int) -> str:
    """Return what there is to say of an entry, in one line."""
    facts = folders.facts(row)
    path = facts.pop("path")
    told = [] if facts["type"] == "symlink" else [human(folders.size(row))]
    plain = ("type", "permissions")
    told += [value if name in plain else f"{name} {value}" for name, value in facts.items()]
    more = " · ".join(escape(part) for part in told)
    return f'<div><b class="m">{escape(path, 400)}</b></div><div class="f">{more}</div>'


def preview(found: Preview | None) -> str:
    """Return a preview's HTML."""
    if found is None:
        return note("reading …")
    below = f"<div>{note(found.note)}</div>" if found.note else ""
    if found.kind == "picture":
        # A data: URL of a checked type; what is drawn is a picture or nothing.
        style = "max-width:100%;max-height:340px;background:rgba(128,128,128,.15)"
        return f'<img alt="" style="{style}" src="{found.text}">{below}'
    if found.kind == "failed":
        return problem(found.note)
    if not found.text:
        return below
    lines = "\n".join(escape(line.expandtabs(8), 2000) for line in found.text.split("\n"))
    return f"<pre>{lines}</pre>{below}"


def changes(found: Changed) -> str:
    """Return what a layer did, as a table."""
    counts = " · ".join(f"{count:,} {name}" for name, count in found.counts.items() if count)
    rows = []
    for change, path, size, before in found.rows:
        gone = change == "deleted"
        sizes = f"{human(before)} → " if before >= 0 and not gone else ""
        rows.append(
            [
                (_MARKS[change], "n"),
                (f"{sizes}{human(before if gone else size)}", "n"),
                (path, "m"),
                (change, "f"),
            ]
        )
    more = note(f"and {found.more:,} more") if found.more else ""
    return f"<div>{note(counts or 'nothing')}</div>" + table(("", "size", "path", ""), rows) + more


def history(steps: Iterable[Sequence[Any]]) -> str:
    """Return the steps that made the image (rows of `didlab.model.tables.history`), as a table."""
    rows = []
    for _, created, made, _, _, _, layer, _, size in list(steps)[:300]:
        rows.append(
            [
                ("" if layer is None else str(layer), "n"),
                ("" if size is None else human(size), "n"),
                ("" if created is None else moment(created)[:10], "f"),
                (command(made), "m"),
            ]
        )
    return table(("layer", "size", "created", "step"), rows)


def table(header_: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]]) -> str:
    """Return a table of texts with the class of each cell."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header_)
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{escape(text)}</td>' for text, kind in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _plain(line: str) -> str:
    # Options collapse blanks otherwise.
    return line.replace(" ", "\u00a0")
