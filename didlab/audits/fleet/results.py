"""What checks return, made plain: columns of values that JSON can hold, from any process."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from didlab.errors import LimitExceeded, MalformedContent, printable
from didlab.views import secrets
from didlab.views.frames import SCHEMAS

#: Rows that one check may return of one image.
MOST = 1_000_000
#: Characters of one value.
TEXT = 1024 * 1024
#: Columns that every frame of a report has.
OWN = ("reference", "platform", "digest", "error")
KINDS = frozenset({"text", "category", "int", "float", "bool", "time", "json"})


@dataclass(slots=True)
class Result:
    """What one check says of one image.

    Attributes
    ----------
    rows : int
    columns : dict
        Name -> values, as JSON has them; times as ISO 8601.
    kinds : dict
        Name -> ``text category int float bool time json``; none where all values are missing.
    error : str or None
        Why there is nothing, or not all: rows may stand beside it.
    """

    rows: int = 0
    columns: dict[str, list[Any]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        if self.error is not None and not self.rows:
            return {"error": self.error}
        made = {"rows": self.rows, "columns": self.columns, "kinds": self.kinds}
        return made if self.error is None else {**made, "error": self.error}

    @classmethod
    def from_json(cls, found: Any) -> Result:
        """Read what `to_json` made.

        Raises
        ------
        MalformedContent
        """
        error = found.get("error") if isinstance(found, dict) else None
        match found:
            case {"rows": int(rows), "columns": dict(columns), "kinds": dict(kinds)} if (
                all(isinstance(values, list) and len(values) == rows for values in columns.values())
                and KINDS.issuperset(kinds.values())
                and isinstance(error, str | None)
            ):
                return cls(rows, columns, kinds, error)
            case {"error": str(error)} if "rows" not in found:
                return cls(error=error)
        raise MalformedContent("no result of a check")


def told(error: BaseException) -> str:
    """Return an error as a report has it."""
    try:
        text = secrets.mask(str(error)[:4096])
    except Exception:  # noqa: BLE001 - an error of somebody's own, that cannot say what it is
        text = ""
    return printable(f"{type(error).__name__}: {text}" if text else type(error).__name__, 500)


def plain(value: Any, name: str, schema: str | None = None) -> Result:
    """Return what a check's function gave.

    Raises
    ------
    LimitExceeded
        More than a million rows. And whatever a generator raises.
    """
    columns = _columns(value)
    rows = max(map(len, columns.values()), default=0)
    kinds: dict[str, str] = {}
    made: dict[str, list[Any]] = {}
    known = {one.name: one.kind.lower() for one in SCHEMAS[schema]} if schema else {}
    for given, values in columns.items():
        label = f"{name}_{given}" if given in OWN else given
        kind, made[label] = _kind(values)
        kind = known.get(label, kind) if kind or label in known else kind
        if kind:
            kinds[label] = kind
    return Result(rows, made, kinds, value.error if isinstance(value, Columns) else None)


class Columns(dict[str, list[Any]]):
    """Whole columns, from checks that have them: no DataFrame on the way.

    ``error`` says why they are not all there is; None where they are.
    """

    error: str | None = None


def _columns(value: Any) -> dict[str, list[Any]]:
    if isinstance(value, Columns):
        return value
    if hasattr(value, "columns") and hasattr(value, "itertuples"):
        _bounded(len(value))
        return {str(label): _series(value[label]) for label in value.columns}
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(label): [one] for label, one in value.items()}
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return {"value": [value]}
    return _of_rows(islice(value, MOST + 1))


def _of_rows(values: Iterable[Any]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for count, value in enumerate(values, 1):
        _bounded(count)
        row = value if isinstance(value, Mapping) else {"value": value}
        for label, one in row.items():
            known = columns.get(str(label))
            if known is None:
                known = columns[str(label)] = [None] * (count - 1)
            known.append(one)
        for known in columns.values():
            if len(known) < count:
                known.append(None)
    return columns


def _bounded(count: int) -> None:
    if count > MOST:
        raise LimitExceeded(
            f"a check returns more than {MOST:,} rows of one image",
            what="rows of a check",
            limit=MOST,
            seen=count,
            hint="return what matters, or numbers",
        )


def _series(series: Any) -> list[Any]:
    missing = series.isna().tolist()
    values = series.astype(object).tolist()
    return [None if gone else one for one, gone in zip(values, missing, strict=True)]


def _kind(values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the kind of a column, and its values as that; no kind where all are missing."""
    quick = _quick(values)
    if quick:
        return quick, list(values)
    cells = list(map(_cell, values))
    kinds = {kind for kind, _ in cells if kind}
    if not kinds:
        return "", [None] * len(cells)
    if len(kinds) == 1:
        return kinds.pop(), [one for _, one in cells]
    if kinds == {"int", "float"}:
        return "float", [None if one is None else float(one) for _, one in cells]
    return "json", [
        one if kind in ("json", "") else json.dumps(one, ensure_ascii=False) for kind, one in cells
    ]


def _quick(values: Sequence[Any]) -> str:
    """Return the kind of a column that is plain already: most are."""
    types = set(map(type, values)) - {type(None)}
    if types == {str}:
        whole = "".join(filter(None, values))
        short = len(whole) <= TEXT or max(map(len, filter(None, values))) <= TEXT
        return "text" if short and whole.isascii() else ""
    if types == {int}:
        there = [value for value in values if value is not None]
        return "int" if min(there) >= -(2**63) and max(there) < 2**63 else ""
    return "bool" if types == {bool} else ""


def _cell(value: Any) -> tuple[str, Any]:
    if isinstance(value, str):
        return "text", _text(value)
    if value is None:
        return "", None
    # NumPy's and pandas' values know Python's.
    value = value.item() if hasattr(value, "item") and not hasattr(value, "isoformat") else value
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int):
        # Other numbers fit into no column.
        return ("int", value) if -(2**63) <= value < 2**63 else ("text", str(value)[:TEXT])
    if isinstance(value, float):
        return ("float", value) if math.isfinite(value) else ("", None)
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, date):
        return "text", value.isoformat()
    if isinstance(value, bytes | bytearray):
        return "text", _text(bytes(value).decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        listed = sorted(map(str, value)) if isinstance(value, set | frozenset) else value
        listed = dict(listed) if isinstance(listed, Mapping) else listed
        return "json", _text(json.dumps(listed, ensure_ascii=False, default=str))
    if type(value).__name__ in ("NAType", "NaTType"):
        return "", None
    return "text", _text(str(value))


def _time(value: datetime) -> tuple[str, Any]:
    if value != value:  # noqa: PLR0124 - not a time
        return "", None
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return "time", aware.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return "text", _text(str(value))


def _text(value: str) -> str:
    # Neither JSON in UTF-8 nor Arrow takes lone surrogates.
    whole = value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    return whole if len(whole) <= TEXT else whole[:TEXT] + "…"


def rows_of(result: Result) -> Iterator[dict[str, Any]]:
    """Yield the rows of a result."""
    for number in range(result.rows):
        yield {label: values[number] for label, values in result.columns.items()}
