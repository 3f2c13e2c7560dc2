"""The rows of one check over all images: values once, as numbers; frames when they are asked."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.audits.fleet.results import Result

if TYPE_CHECKING:
    import pandas as pd


class Part(NamedTuple):
    """The rows of a table that stand under one name in a frame.

    Either rows, or an error (one row without values).
    """

    reference: str
    platform: str | None
    digest: str | None
    start: int = 0
    stop: int = 0
    error: str | None = None


class _Column:
    """Values by number, -1 for none: tables of many images repeat themselves."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.numbers = array("i")
        self.values: list[Any] = []
        # By type: True and 1.0 are no 1.
        self._known: dict[type, dict[Any, int]] = {}

    def extend(self, values: Sequence[Any]) -> None:
        types = set(map(type, values)) - {type(None)}
        if len(types) == 1:
            known = self._of(types.pop())
            found = list(map(known.get, values))
            if None in found:
                found = [known.get(value) or self._number(known, value) for value in values]
            self.numbers.extend(found)  # type: ignore[arg-type]
            return
        self.numbers.extend(self._number(self._of(type(value)), value) for value in values)

    def _of(self, kind: type) -> dict[Any, int]:
        return self._known.setdefault(kind, {None: -1})

    def _number(self, known: dict[Any, int], value: Any) -> int:
        number = known.get(value)
        if number is None:
            number = known[value] = len(self.values)
            self.values.append(value)
        return number

    def skip(self, count: int) -> None:
        self.numbers.extend(repeat(-1, count))

    @property
    def kind(self) -> str:
        """What all parts can be shown as."""
        kinds = self.kinds
        if len(kinds) == 1:
            return next(iter(kinds))
        if not kinds:
            return "text"
        if kinds == {"int", "float"}:
            return "float"
        return "text" if kinds <= {"text", "category"} else "json"


class Table:
    """All rows of one check."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, _Column] = {}

    def add(self, result: Result) -> tuple[int, int]:
        """Take a result in; return where its rows begin and end."""
        start = self.rows
        for label, values in result.columns.items():
            column = self._columns.get(label)
            if column is None:
                column = self._columns[label] = _Column()
                column.skip(start)
            column.extend(values)
            if label in result.kinds:
                column.kinds.add(result.kinds[label])
        self.rows += result.rows
        for column in self._columns.values():
            column.skip(self.rows - len(column.numbers))
        return start, self.rows

    def read(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Yield rows as dicts."""
        for row in range(start, stop):
            yield {
                label: column.values[number] if (number := column.numbers[row]) >= 0 else None
                for label, column in self._columns.items()
            }

    def frame(self, parts: Sequence[Part], reference: str, columns: Sequence[str] = ()) -> Any:
        """Return the DataFrame of parts: reference, platform, digest, the check's own, error.

        ``columns`` come first among the check's own, whether there are values or not.
        """
        import numpy as np
        import pandas as pd

        lengths = [1 if one.error is not None else one.stop - one.start for one in parts]
        total = sum(lengths)
        at = np.full(total, -1, np.int64)
        end = 0
        for part, length in zip(parts, lengths, strict=True):
            if part.error is None:
                at[end : end + length] = np.arange(part.start, part.stop)
            end += length
        made: dict[str, Any] = {
            name: _repeated([getattr(part, name) for part in parts], lengths)
            for name in ("reference", "platform", "digest")
        }
        for label in dict.fromkeys([*columns, *self._columns]):
            column = self._columns.get(label) or _Column()
            numbers = np.full(total, -1, np.int64)
            if len(column.numbers):
                known = np.frombuffer(column.numbers, np.int32)
                numbers[at >= 0] = known[at[at >= 0]]
            made[label] = _series(column.kind, column.values, numbers)
        made["error"] = _series("text", *_numbered([part.error for part in parts], lengths))
        frame = pd.DataFrame(made)
        frame.attrs["reference"] = reference
        return frame


def _numbered(values: Sequence[Any], lengths: Sequence[int]) -> tuple[list[Any], Any]:
    import numpy as np

    known: dict[Any, int] = {}
    numbers = [-1 if one is None else known.setdefault(one, len(known)) for one in values]
    return list(known), np.repeat(np.array(numbers, np.int64), np.array(lengths, np.int64))


def _repeated(values: Sequence[Any], lengths: Sequence[int]) -> pd.Series[Any]:
    return _series("category", *_numbered(values, lengths))


def _series(kind: str, values: Sequence[Any], numbers: Any) -> pd.Series[Any]:
    """Return a column; every kind has room for missing values, so that dtypes never change."""
    import numpy as np
    import pandas as pd

    text = pd.Series(["x"]).dtype
    if kind == "category":
        order = sorted(range(len(values)), key=lambda number: str(values[number]))
        rank = np.full(len(values) + 1, -1, np.int64)
        rank[np.array(order, np.int64)] = np.arange(len(order))
        categories = pd.Index([str(values[number]) for number in order], dtype=text)
        return pd.Series(pd.Categorical.from_codes(rank[numbers], categories=categories))
    # The distinct values become a column, and that is spread; -1 is the last one, none.
    distinct = [*(_as(kind, value) for value in values), None]
    if kind == "time":
        times: pd.Series[Any] = pd.Series(np.array(distinct, "datetime64[us]")[numbers])
        aware: pd.Series[Any] = times.dt.tz_localize("UTC")
        return aware
    dtype: Any = {"int": "Int64", "bool": "boolean", "float": "float64"}.get(kind, text)
    made: pd.Series[Any] = pd.Series(distinct, dtype=dtype)
    return made.take(numbers).reset_index(drop=True)


def _as(kind: str, value: Any) -> Any:
    if kind == "time":
        return str(value).removesuffix("+00:00")
    if kind == "float":
        return float(value)
    if kind in ("int", "bool"):
        return value
    return value if isinstance(value, str) else str(value)
