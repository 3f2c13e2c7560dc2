"""`didlab.policy`: which images keep which rules."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didlab.audits.fleet.check import Check
from didlab.audits.fleet.report import Report
from didlab.audits.fleet.rule import Rows, Rule, rule
from didlab.errors import ConfigError, InvalidArgument, PathNotFound, printable
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.audits.fleet.targets import What

#: A file of rules is small.
_MOST = 1024 * 1024

Rules = str | os.PathLike[str] | Rule | Iterable[str | Rule]


def policy(images: Report | What, rules: Rules, **options: Any) -> pd.DataFrame:
    """Say of each image whether it keeps rules: one row for each image and rule.

    Parameters
    ----------
    images : Report, or as `didlab.audit` takes them
        Of a Report nothing is read again; it must have the checks that the rules are about.
    rules : str, Rule, path, or several
        Names of built-in rules (``"no-root"``), what `rule` makes, or one TOML file with tables
        ``[[rule]]``: ``name``, ``severity``, and the rule's own options.
    **options
        As `didlab.audit` takes them.

    Returns
    -------
    DataFrame
        reference : text, platform : category, digest : text, rule : category,
        severity : category, passed : bool, evidence : text (what is against the image). What
        could not be found out, or not in full, has not passed, and the evidence says why. Images
        stand in their order, rules in theirs.

    Raises
    ------
    InvalidArgument
        No such rule or option; a Report without the checks.
    ConfigError, PathNotFound
        About the TOML file.

    Examples
    --------
    ``frame.loc[~frame["passed"] & (frame["severity"] == "high")].empty`` is what a pipeline asks.
    """
    made = load(rules)
    if isinstance(images, Report):
        if options:
            raise InvalidArgument("of a Report nothing is asked again: " + ", ".join(options))
        return _judged(images, made)
    from didlab.audits.fleet.auditing import audit

    checks: dict[str, str | Check] = {}
    for one in made:
        for check in one.checks:
            checks.setdefault(check if isinstance(check, str) else check.name, check)
    return _judged(audit(images, list(checks.values()) or ["config"], **options), made)


def load(rules: Rules) -> list[Rule]:
    """Return rules. Raises as `policy`."""
    if isinstance(rules, os.PathLike) or (isinstance(rules, str) and rules.endswith(".toml")):
        return _file(Path(os.fspath(rules)).expanduser())
    if isinstance(rules, str | Rule):
        rules = [rules]
    if not isinstance(rules, Iterable):
        raise InvalidArgument(f"rules= takes names and rules, not {type(rules).__name__}")
    made = [one if isinstance(one, Rule) else rule(one) for one in rules]
    if not made:
        raise InvalidArgument("no rule was named")
    return made


def _file(path: Path) -> list[Rule]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST + 1)
    except FileNotFoundError:
        raise PathNotFound(f"there is no file {path}", path=str(path)) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    try:
        if len(raw) > _MOST:
            raise ValueError(f"more than {_MOST} bytes")
        found = tomllib.loads(raw.decode())
        tables = found["rule"]
        if not isinstance(tables, list) or set(found) != {"rule"}:
            raise ValueError("rules are tables [[rule]], and there is nothing else")
        return [_table(one, number) for number, one in enumerate(tables, 1)]
    except KeyError:
        problem = "there is no [[rule]]"
    except ValueError as error:
        problem = error.message if isinstance(error, InvalidArgument) else str(error)
    raise ConfigError(
        f"{path}: {printable(problem, 300)}",
        hint='[[rule]] with name = "no-root", and the rule\'s options',
        path=str(path),
    )


def _table(table: Any, number: int) -> Rule:
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise InvalidArgument(f"rule {number} has no name")
    rest = {key: value for key, value in table.items() if key not in ("name", "severity")}
    called = rest.pop("as", None)
    if called is not None and not isinstance(called, str):
        raise InvalidArgument(f"rule {number}: as is text")
    return rule(table["name"], table.get("severity"), name=called, **rest)


class _Subject:
    """One image of a report."""

    def __init__(self, report: Report, number: int) -> None:
        found = report._images[number]
        self._report, self._number = report, number
        self.reference = found.reference
        self.platform = found.platform
        self.digest = found.digest
        self.size = found.size
        self.layers = found.layers
        self.created = found.created

    def rows(self, check: str) -> Rows:
        return self._report._rows(check, self._number)


def _judged(report: Report, rules: list[Rule]) -> pd.DataFrame:
    missing = dict.fromkeys(name for one in rules for name in one.needs if name not in report)
    if missing:
        raise InvalidArgument(
            "the report has no check " + ", ".join(missing),
            hint=f"audit(…, checks=[{', '.join(repr(name) for name in (*report, *missing))}])",
        )
    rows = []
    known: dict[tuple[int, str | None], str | None] = {}
    for number in range(len(report._images)):
        image = _Subject(report, number)
        for position, one in enumerate(rules):
            error = report._why_not(number, one.needs)
            against: str | None = None
            partly = error is not None and report._partly(number, one.needs)
            if error is None or partly:
                # Names differ where a rule is about names; all else is the image's own.
                key = (
                    position,
                    None if one.name == "no-latest" or not one.checks else image.digest,
                )
                if key[1] is None or key not in known:
                    known[key] = one.judge(image)
                against = known[key]
            if error is not None:
                # What was found is against it; that nothing was is not for it.
                why = f"not checked{' in full' if partly else ''}: {error}"
                against = f"{against}; {why}" if against else why
            rows.append(
                (
                    *(image.reference, image.platform, image.digest),
                    *(one.name, one.severity, against is None, against),
                )
            )
    return frames.frame("policy", rows, reference=report._name())
