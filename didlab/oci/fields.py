"""Typed access to the members of a parsed JSON object, with the path in every error.

Null reads as absent everywhere: Go programs, which write nearly all of these documents, neither
tell the two apart nor avoid writing null.
"""

from __future__ import annotations

from typing import Any, NoReturn

from didlab import errors

__all__ = ["Members", "Names"]


class Names:
    """Field names (separated by blanks) that a reader looks for, to find keys that look alike."""

    def __init__(self, names: str) -> None:
        self._exact = frozenset(names.split())
        self._folded = {name.casefold(): name for name in self._exact}

    def refuse_lookalikes(self, value: dict[str, Any], where: str) -> None:
        """Raise `TypeConfusion` for a key that is a field's name in other letters.

        Go matches keys without regard to case and lets the last one win, so Docker would see
        another image than a reader that compares exactly.
        """
        for key in value:
            if key in self._exact:
                continue
            name = self._folded.get(key.casefold())
            if name is not None:
                raise errors.TypeConfusion(
                    f"{where} has a field '{errors.printable(key, 80)}', "
                    f"which some tools take for {name!r}",
                    hint="no honest tool writes such a document",
                    expected=name,
                    actual=errors.printable(key, 80),
                )


class Members:
    """The members of the JSON object at ``where``."""

    __slots__ = ("_error", "_value", "_where")

    def __init__(
        self,
        value: object,
        where: str,
        error: type[errors.MalformedContent],
        names: Names | None = None,
    ) -> None:
        self._error = error
        self._where = where
        if not isinstance(value, dict):
            self.refuse(f"{where or 'the document'} is {_kind(value)}, not an object", where)
        self._value: dict[str, Any] = value
        if names is not None:
            names.refuse_lookalikes(value, where or "the document")

    def __contains__(self, key: str) -> bool:
        return key in self._value

    def path(self, key: str) -> str:
        """Return where the member ``key`` is in the document."""
        return f"{self._where}.{key}" if self._where else key

    def raw(self, key: str) -> object:
        """Return the member as it is, None when absent."""
        return self._value.get(key)

    def text(self, key: str) -> str | None:
        """Return a string, or None when absent."""
        value = self._value.get(key)
        if value is not None and not isinstance(value, str):
            self.refuse_member(key, f"is {_kind(value)}, not a string")
        return value

    def integer(self, key: str, limit: int) -> int:
        """Return an integer with 0 <= value < limit."""
        value = self._value.get(key)
        # bool is an int to Python and 1.0 equals 1; neither is a size.
        if type(value) is not int:
            self.refuse_member(key, f"is {_kind(value)}, not an integer")
        if not 0 <= value < limit:
            self.refuse_member(key, f"is {value}, which is out of range")
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean, False when absent."""
        value = self._value.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse_member(key, f"is {_kind(value)}, not true or false")
        return bool(value)

    def array(self, key: str) -> list[Any]:
        """Return a list, empty when absent."""
        value = self._value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse_member(key, f"is {_kind(value)}, not a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty when absent."""
        values = self.array(key)
        for position, value in enumerate(values):
            if not isinstance(value, str):
                self.refuse_member(f"{key}[{position}]", f"is {_kind(value)}, not a string")
        return tuple(values)

    def strings(self, key: str) -> dict[str, str]:
        """Return an object whose values are all strings, empty when absent."""
        value = self._value.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse_member(key, f"is {_kind(value)}, not an object")
        for name, text in value.items():
            if not isinstance(text, str):
                self.refuse_member(key, f"has a value that is {_kind(text)}, not a string", name)
        return dict(value)

    def refuse_member(self, key: str, why: str, inside: str | None = None) -> NoReturn:
        """Raise for the member ``key``."""
        where = self.path(key) + (f"[{inside!r}]" if inside is not None else "")
        self.refuse(f"{where} {why}", where)

    def refuse(self, message: str, where: str) -> NoReturn:
        """Raise the reader's kind of error."""
        raise self._error(errors.printable(message), where=errors.printable(where, 200))


def _kind(value: object) -> str:
    """Return what JSON calls ``value``."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "a boolean"
    for kind, name in (
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
        (int, "a number"),
        (float, "a number"),
    ):
        if isinstance(value, kind):
            return name
    return "no JSON value"
