"""Rules that images should keep: a name, a severity, and what decides, over results of checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from didlab.audits.fleet.check import Check, Function, make_check
from didlab.errors import InvalidArgument, printable

SEVERITIES = ("high", "medium", "low")
#: What a check returned of one image.
Rows = Sequence[Mapping[str, Any]]


class Subject(Protocol):
    """An image to be judged, with the results of the checks that the rule wants."""

    reference: str
    platform: str | None
    digest: str | None
    size: int | None
    layers: int | None
    created: Any

    def rows(self, check: str) -> Rows:
        """Return what a check returned."""


#: What is against an image, for people; None where nothing is.
Judge = Callable[[Subject], str | None]


@dataclass(frozen=True)
class Rule:
    """A rule. Made by `rule`.

    Attributes
    ----------
    name : str
    severity : str
        ``high``, ``medium`` or ``low``.
    checks : tuple
        Checks whose results it is about: names, or `Check`.
    judge : callable
        Says what is against an image.
    options : mapping
        What it was made with.
    """

    name: str
    severity: str
    checks: tuple[str | Check, ...] = ()
    judge: Judge = field(default=lambda _: None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of its checks."""
        return tuple(one if isinstance(one, str) else one.name for one in self.checks)


def rule(
    what: str | Check | Function, /, severity: str | None = None, *, name: str | None = None,
    **options: Any,
) -> Rule:  # fmt: skip
    """Make a rule for `didlab.policy`.

    Parameters
    ----------
    what : str or function
        The name of a built-in rule; or a function of an image (see `check`), which is kept where
        it returns True, None or no rows, and broken where it returns False, rows or text: those
        are the evidence.
    severity : str, optional
        ``high``, ``medium`` or ``low``; else what the rule has by itself (``high`` of functions).
    name : str, optional
        Another name in the results.
    **options
        What the rule takes:

        ``no-root``, ``no-latest``, ``has-healthcheck``, ``no-empty-password``,
        ``no-expired-certificates`` : nothing;
        ``no-secrets`` : ``least="medium"`` (the severity from which findings count);
        ``no-setuid`` : ``allow=["/usr/bin/passwd"]``;
        ``os-supported`` : ``lts=True`` (count long-term support), ``unknown=True`` (systems of
        which no date is known pass);
        ``max-size`` : ``size="500 MB"`` (or bytes); ``max-layers`` : ``layers=20``;
        ``max-age`` : ``days=90``; ``max-waste`` : ``size="50 MB"``;
        ``base-in`` : ``bases=["debian:12"]``;
        ``no-package`` : ``package="telnet"`` (or a list; ``*`` and ``?`` match),
        ``ecosystem="deb"``, ``version="1.2.3"``;
        ``required-label`` : ``label="org.opencontainers.image.source"``, ``value="https://*"``.

    Returns
    -------
    Rule

    Raises
    ------
    InvalidArgument

    Examples
    --------
    >>> rule("max-size", size="500 MB").name, rule("no-root").severity
    ('max-size', 'high')
    """
    if severity is not None and severity not in SEVERITIES:
        raise InvalidArgument(
            f"severity= is not {printable(str(severity), 40)}", hint="one of high, medium, low"
        )
    if isinstance(what, str):
        from didlab.audits.fleet.rules import RULES

        made = RULES.get(what)
        if made is None:
            raise InvalidArgument(
                f"there is no rule {printable(what, 60)}", hint="one of " + ", ".join(RULES)
            )
        usual, build = made
        try:
            checks, judge = build(**options)
        except TypeError as error:
            raise InvalidArgument(f"the rule {what}: {_words(error)}") from None
        return Rule(name or what, severity or usual, checks, judge, options)
    if options:
        raise InvalidArgument("a rule of a function takes no options: " + ", ".join(options))
    check = what if isinstance(what, Check) else make_check(what, name=name)
    return Rule(name or check.name, severity or "high", (check,), _broken(check.name))


def _words(error: TypeError) -> str:
    """Return what Python says of arguments, without the function."""
    return re.sub(r"^\w+(?:\.<locals>)?[\w.]*\(\) ", "", str(error))


def _broken(check: str) -> Judge:
    """Return what judges by a function's own result."""

    def judge(image: Subject) -> str | None:
        found = []
        for row in image.rows(check):
            value = row.get("value")
            alone = [one for one in row.values() if one is not None] == [value]
            if value is True and alone:
                continue
            if alone:
                found.append("" if value is False else str(value))
            else:
                told = ((name, one) for name, one in row.items() if one is not None)
                found.append(" ".join(f"{name}={one}" for name, one in told))
        if not found:
            return None
        return evidence([one for one in found if one]) or "returned False"

    return judge


def evidence(found: Sequence[str], most: int = 5) -> str:
    """Return the first things that are against an image, in a line.

    >>> evidence(["a", "b", "c"], 2)
    'a; b; and 1 more'
    """
    more = len(found) - most
    shown = "; ".join(printable(one, 200) for one in found[:most])
    return f"{shown}; and {more} more" if more > 0 else shown
