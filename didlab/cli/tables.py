"""Tables for terminals, pipes, spreadsheets and programs."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from didlab.cli.connection import at_terminal
from didlab.errors import printable
from didlab.sizes import human
from didlab.views.text import moment

if TYPE_CHECKING:
    import pandas as pd

_SIZES = frozenset({
    *("size", "size_before", "size_after", "shared_bytes", "wasted"),
    *("manifest_size", "downloaded", "reused"),
})  # fmt: skip
_DIGESTS = frozenset({"digest", "diff_id", "image_id"})
#: Columns that may be cut to fit a terminal: prose, not names.
_PROSE = ("created_by", "comment", "author", "platforms", "value")
_NARROWEST = 16
_GAP = "  "
#: Longer cells are cut in tables; CSV and JSON have them whole.
_LONGEST_CELL = 4000


@dataclass(frozen=True)
class Table:
    """Columns and rows; a missing cell is None."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """Return a DataFrame's content as plain Python values."""
        columns = [
            [
                None if gone else value
                for value, gone in zip(series.tolist(), series.isna().tolist(), strict=True)
            ]
            for _, series in frame.items()
        ]
        return cls(tuple(map(str, frame.columns)), list(zip(*columns, strict=True)))

    def only(self, *names: str) -> Table:
        """Return the named columns, in that order."""
        at = [self.columns.index(name) for name in names]
        return Table(names, [[row[place] for place in at] for row in self.rows])

    def records(self) -> list[dict[str, Any]]:
        """Return one dict for each row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Output:
    """Writes results to stdout in the shape that was asked for."""

    def __init__(self, shape: str, stream: TextIO | None = None) -> None:
        self.shape = shape
        self.stream: TextIO = sys.stdout if stream is None else stream
        self.person = at_terminal(self.stream)
        if shape == "csv" and hasattr(self.stream, "reconfigure"):
            # CSV brings its own line ends; and what reads it takes UTF-8, also on Windows.
            encoding = None if self.person else "utf-8"
            self.stream.reconfigure(newline="", encoding=encoding)

    def table(self, table: Table, *shown: str) -> None:
        """Write a table; ``shown`` are the columns for people, all are for programs."""
        if self.shape == "json":
            self.json(table.records())
        elif self.shape == "csv":
            write_csv(table, self.stream)
        else:
            narrow = table.only(*shown) if shown else table
            width = shutil.get_terminal_size().columns if self.person else None
            self.lines(text_lines(narrow, width))

    def json(self, value: Any) -> None:
        """Write JSON, in ASCII: safe in every encoding and on every terminal."""
        text = json.dumps(value, indent=2, default=plain, allow_nan=False)
        self.stream.write(text.replace("\x7f", "\\u007f") + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines that are harmless already."""
        self.stream.writelines(f"{line}\n" for line in lines)


def plain(value: object) -> str:
    """Return a time as ISO 8601 in UTC."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is no JSON")


def write_csv(table: Table, stream: TextIO) -> None:
    """Write CSV (RFC 4180) with a header.

    Remote text is made harmless: control characters escaped, and an apostrophe before what a
    spreadsheet would take for a formula. JSON has the text as it is.
    """
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_csv_cell(value) for value in row])


def _csv_cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return plain(value)
    text = printable(value, len(str(value)) + 1)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def text_lines(table: Table, width: int | None = None) -> list[str]:
    """Return aligned lines; ``width`` is the terminal's, None where nobody looks.

    A person sees sizes in units and times to the minute. Where the terminal is too narrow,
    digests are shortened, then prose is cut. Names alone (one column) have no header.
    """
    person = width is not None
    cells = [
        [_text_cell(value, name, person) for name, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    if len(table.columns) == 1:
        return [row[0] for row in cells]
    cells.insert(0, [name.upper().replace("_", " ") for name in table.columns])
    if width is not None:
        _fit(cells, table.columns, width)
    widths = _widths(cells)
    right = [
        any(isinstance(row[at], int) and not isinstance(row[at], bool) for row in table.rows)
        for at in range(len(table.columns))
    ]
    lines = []
    for row in cells:
        parts = []
        for cell, wide, to_right in zip(row, widths, right, strict=True):
            space = " " * (wide - _width(cell))
            parts.append(space + cell if to_right else cell + space)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _text_cell(value: object, name: str, person: bool) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and person and name in _SIZES:
        return human(value)
    if isinstance(value, datetime):
        return moment(value, "minutes") if person else plain(value)
    return printable(value, _LONGEST_CELL)


def _fit(cells: list[list[str]], columns: Sequence[str], width: int) -> None:
    """Make rows fit ``width`` where that is possible; the first row is the header."""

    def excess() -> int:
        return sum(_widths(cells)) + len(_GAP) * (len(columns) - 1) - width

    if excess() > 0:
        for at, name in enumerate(columns):
            for row in cells[1:] if name in _DIGESTS else ():
                row[at] = short_digest(row[at])
    for name in _PROSE:
        over = excess()
        if over <= 0:
            return
        if name in columns:
            at = columns.index(name)
            room = max(_widths(cells)[at] - over, _NARROWEST)
            for row in cells[1:]:
                row[at] = cut(row[at], room)


def short_digest(digest: str) -> str:
    """Return a digest with the first twelve characters of its encoded part.

    >>> short_digest("sha256:0123456789abcdef")
    'sha256:0123456789ab'
    """
    algorithm, colon, encoded = digest.partition(":")
    return f"{algorithm}{colon}{encoded[:12]}"


def cut(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns of a terminal.

    >>> cut("a long command", 8)
    'a long …'
    """
    if _width(text) <= width:
        return text
    used, kept = 0, []
    for char in text:
        used += _width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(*cells, strict=True)]


def _width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
