"""Tables of the command line: pure functions from values to text."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from didlab.cli.messages import describe
from didlab.cli.tables import Output, Table, cut, text_lines
from didlab.errors import DestinationExists, DidlabError, InvalidArgument

DIGEST = "sha256:" + "0123456789abcdef" * 4
WHEN = datetime(2024, 3, 1, 9, 30, 15, tzinfo=UTC)
TABLE = Table(
    ("position", "digest", "size", "created", "empty_layer", "created_by"),
    [
        (0, DIGEST, 1_500_000, WHEN, False, "RUN one"),
        (10, None, None, None, True, "RUN " + "x" * 100),
    ],
)


def test_lines_for_nobody_are_whole_and_exact() -> None:
    head, first, second = text_lines(TABLE)
    assert head.split() == [
        "POSITION",
        "DIGEST",
        "SIZE",
        "CREATED",
        "EMPTY",
        "LAYER",
        "CREATED",
        "BY",
    ]
    assert first.split() == ["0", DIGEST, "1500000", "2024-03-01T09:30:15Z", "no", "RUN", "one"]
    assert second.split()[:5] == ["10", "-", "-", "-", "yes"]
    assert second.endswith("x" * 100)


def test_numbers_are_aligned_right_and_nothing_trails() -> None:
    lines = text_lines(Table(("size", "tag"), [(5, "a"), (1234, "long")]))
    assert lines == ["SIZE  TAG", "   5  a", "1234  long"]


def test_a_person_sees_units_and_minutes() -> None:
    first = text_lines(TABLE, 300)[1]
    assert "1.5 MB" in first
    assert "2024-03-01 09:30 " in first
    assert DIGEST in first, "wide enough: nothing is shortened"


@pytest.mark.parametrize("width", [150, 120, 100, 90])
def test_a_narrow_terminal_gets_what_fits(width: int) -> None:
    lines = text_lines(TABLE, width)
    assert max(map(len, lines)) <= width
    assert "sha256:0123456789ab " in lines[1]
    assert "RUN one" in lines[1]
    assert lines[2].endswith("…")


def test_names_alone_have_no_header() -> None:
    assert text_lines(Table(("tag",), [("1",), ("2",)])) == ["1", "2"]
    assert text_lines(Table(("tag",), [])) == []


def test_an_empty_table_has_a_header() -> None:
    assert text_lines(Table(("a_b", "c"), [])) == ["A B  C"]


def test_control_characters_are_escaped() -> None:
    nasty = "a\x1b[31m\x9b\u202e\r\n\tb\x7f"
    table = Table(("tag", "created_by"), [(nasty, nasty)])
    for line in (*text_lines(table), *text_lines(table, 80)):
        assert line.isprintable()
    assert r"a\x1b[31m\x9b\u202e\x0d\x0a\x09b\x7f" in text_lines(table)[1]


def test_wide_characters_take_two_columns() -> None:
    lines = text_lines(Table(("tag", "kind"), [("漢字", "x"), ("abcd", "y")]))
    assert lines[1:] == ["漢字  x", "abcd  y"]
    assert cut("漢字漢字", 5) == "漢字…"


def _csv(table: Table) -> str:
    stream = io.StringIO(newline="")
    Output("csv", stream).table(table, "size")
    return stream.getvalue()


def test_csv_has_a_header_all_columns_and_crlf() -> None:
    text = _csv(TABLE)
    assert text.count("\r\n") == text.count("\n") == 3
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == TABLE.columns
    assert rows[1] == ["0", DIGEST, "1500000", "2024-03-01T09:30:15Z", "false", "RUN one"]
    assert rows[2][1:4] == ["", "", ""]


def test_the_year_one_has_four_digits() -> None:
    first = pd.Timestamp("0001-01-01T00:00:00Z").as_unit("us")
    lines = text_lines(Table(("tag", "created"), [("a", first)]), 200)
    assert lines[1].split() == ["a", "0001-01-01", "00:00"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_holds_no_formulas(start: str) -> None:
    text = _csv(Table(("created_by", "size"), [(f'{start}HYPERLINK("x","y")', -1)]))
    assert text.splitlines()[1] == f'"\'{start}HYPERLINK(""x"",""y"")",-1'


def test_csv_holds_no_control_characters() -> None:
    text = _csv(Table(("created_by",), [("\t=1\r\n\x1b[0m",)]))
    assert text == "created_by\r\n\\x09=1\\x0d\\x0a\\x1b[0m\r\n"


def test_csv_cells_are_not_cut() -> None:
    assert "x" * 9000 in _csv(Table(("created_by",), [("x" * 9000,)]))


def test_json_is_exact_and_harmless() -> None:
    nasty = "a\x1b\x7f\x9b\u202e\udc80=é"
    stream = io.StringIO()
    Output("json", stream).table(Table(("created_by", "n"), [(nasty, None)]), "n")
    text = stream.getvalue()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == [{"created_by": nasty, "n": None}]


def test_json_has_types() -> None:
    stream = io.StringIO()
    Output("json", stream).table(TABLE)
    first, second = json.loads(stream.getvalue())
    assert first["size"] == 1_500_000
    assert first["empty_layer"] is False
    assert first["created"] == "2024-03-01T09:30:15Z"
    assert second["digest"] is second["size"] is second["created"] is None


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("pass overwrite=True to replace it", "give --overwrite to replace it"),
        ("a proxy= or mirrors= may reach it", "a --proxy or --mirror may reach it"),
        (
            "pass ca='/path/to/ca.pem'; insecure=True switches",
            "give --ca FILE; --insecure switches",
        ),
        ("allow it by insecure=['a:1']", "allow it by --insecure"),
        ("auth_hosts=['a.example'] allows it", "--auth-host a.example allows it"),
        ('take one of them: m["linux/amd64"]', "take one of them: --platform linux/amd64"),
        ("a larger timeout= waits longer", "a larger --timeout waits longer"),
        ("behind a proxy give proxy='socks5h://…'", "behind a proxy give --proxy socks5h://…"),
        ("https://x/?timeout=5", "https://x/?timeout=5"),
    ],
)
def test_hints_speak_of_options(hint: str, shown: str) -> None:
    assert describe(DidlabError("what", hint=hint)) == f"what ({shown})"


def test_messages_of_others_stay_as_they_are() -> None:
    text = "there is a tag named mirrors= or so"
    assert describe(DestinationExists(text)) == text
    assert describe(InvalidArgument("not a mirrors= address")) == "not a --mirror address"
    assert describe(FileNotFoundError(2, "No such file", "a")) == "a: No such file"
