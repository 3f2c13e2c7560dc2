"""Checks on their way to other processes: built-in ones by name, functions by value or by name."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from didlab.audits.fleet.check import Check
from didlab.errors import InvalidArgument, printable


@dataclass(frozen=True, slots=True)
class Packed:
    """A check that pickles anywhere; `unpacked` may fail where it arrives.

    ``code`` is the function by value (cloudpickle), ``where`` its module and name.
    """

    name: str
    reads: tuple[str, ...] = ()
    layers: bool = True
    code: bytes | None = None
    where: tuple[str, str] | None = None

    def unpacked(self) -> Check:
        """Return the check; whatever importing its function raises."""
        if self.code is not None:
            function = pickle.loads(self.code)  # noqa: S301 - as any executor does
        elif self.where is not None:
            function = _found(*self.where)
        else:
            from didlab.audits.fleet.builtin import CHECKS

            return CHECKS[self.name]
        if isinstance(function, Check):
            function = function.function
        return Check(self.name, function, self.reads, self.layers)


def packed(checks: Sequence[Check]) -> tuple[Packed, ...]:
    """Return checks for other processes.

    Raises
    ------
    InvalidArgument
        A function can be sent in no way.
    """
    return tuple(map(_packed, checks))


def _packed(check: Check) -> Packed:
    if check.schema is not None:
        return Packed(check.name)
    function = check.function
    try:
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        where = (getattr(function, "__module__", ""), getattr(function, "__qualname__", ""))
        try:
            there = _found(*where)
        except Exception:  # noqa: BLE001 - importing runs anything
            there = None
        if there is not function and getattr(there, "function", None) is not function:
            raise InvalidArgument(
                f"the check {check.name} cannot be sent to other processes: it is not at the top "
                "of a module",
                hint="move it into a module, or python -m pip install cloudpickle",
            ) from None
        return Packed(check.name, check.reads, check.layers, where=where)
    try:
        code = cloudpickle.dumps(function)
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        raise InvalidArgument(
            f"the check {check.name} cannot be sent to other processes: "
            f"{printable(str(error), 200)}",
            hint="open files and connections inside the function",
        ) from None
    return Packed(check.name, check.reads, check.layers, code=code)


def _found(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
