"""The types that secrets travel in, safe to be shown by a traceback with locals."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

__all__ = ["Environment", "Secret"]

_MASK = "***"


class Secret:
    """A string that shows itself only when asked by name.

    ``repr``, ``str`` and ``format`` give a mask, so that a traceback with locals, a log line or
    an f-string cannot leak it; pickling raises, so that it never reaches a worker or a cache.

    Parameters
    ----------
    value : str
        The password or token.

    Examples
    --------
    >>> password = Secret("hunter2")
    >>> f"{password} {password!r}"
    "*** Secret('***')"
    >>> password.reveal()
    'hunter2'
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """Return the secret itself; keep the result out of variables that live long."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        # The width of a format would otherwise tell nothing, but a precision could cut the mask.
        return _MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine = self._value.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(mine, other._value.encode("utf-8", "surrogatepass"))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


class Environment(Mapping[str, str]):
    """Environment variables that do not show in ``repr``, because some are secrets."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Environment({_MASK})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("an Environment cannot be pickled")
