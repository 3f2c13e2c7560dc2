"""``didlab audit``: checks and rules over many images."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from didlab.audits import saving
from didlab.audits.fleet.auditing import audit as look_at
from didlab.audits.fleet.check import Check
from didlab.audits.fleet.policies import load, policy
from didlab.audits.fleet.report import Report
from didlab.audits.fleet.rule import SEVERITIES, Rule
from didlab.cli import connection, findings, messages, several
from didlab.cli.entry import INTERRUPTED
from didlab.cli.tables import Output, Table, plain, text_lines
from didlab.errors import DestinationExists, InvalidArgument
from didlab.views.text import count

_OWN = ("reference", "platform")
#: Columns that say the same of each row, or too much for a terminal.
_LEFT_OUT = frozenset({
    *(*_OWN, "digest", "error", "diff_id", "layer_digest", "media_type", "sha256"),
    *("purl", "license", "source", "created_by", "comment"),
})  # fmt: skip


def audit(args: argparse.Namespace) -> int:
    """Look at the images, show what was found, and say whether that is a failure."""
    rules = load(Path(args.policy)) if args.policy else []
    checks = _checks(args, rules)
    _check(args, checks)
    report = look_at(
        args.references,
        checks,
        platform=args.platform,
        progress=False if args.quiet else None,
        resume=args.resume,
        workers=args.workers,
        **several.options(args, args.references),
    )
    judged = Table.of(policy(report, rules)) if rules else None
    if args.output is not None:
        text = json.dumps(_whole(report, judged), indent=2, default=plain, allow_nan=False)
        saving.save(f"{text}\n".encode(), args.output, overwrite=args.overwrite)
    _show(args, report, judged)
    return _status(args, report, judged)


def _checks(args: argparse.Namespace, rules: list[Rule]) -> list[str | Check] | None:
    """Return the checks that were asked for, and those that rules need; None for the usual."""
    made: dict[str, str | Check] = {name: name for name in args.check or ()}
    for rule in rules:
        for one in rule.checks:
            made.setdefault(one if isinstance(one, str) else one.name, one)
    return list(made.values()) or (["config"] if rules else None)


def _check(args: argparse.Namespace, checks: list[str | Check] | None) -> None:
    """Refuse what could only fail after everything was read."""
    if args.shape == "csv" and not args.policy and (checks is None or len(checks) > 1):
        raise InvalidArgument("--csv shows one table", hint="one --check, or --policy")
    if not args.policy and set(args.fail_on or ()) & set(SEVERITIES):
        raise InvalidArgument("--fail-on with a severity needs --policy")
    if args.output is None or args.overwrite:
        return
    target = Path(args.output).expanduser()
    if target.is_dir():
        raise InvalidArgument(f"{target} is a folder", hint="name a file in it")
    if target.exists():
        # Before, not after hours of work.
        raise DestinationExists(
            f"{target} exists", path=str(target), hint="pass overwrite=True to replace it"
        )


def _whole(report: Report, judged: Table | None) -> dict[str, Any]:
    return {
        "complete": report.complete,
        "images": Table.of(report.images).records(),
        "errors": Table.of(report.errors).records(),
        "checks": {name: Table.of(report[name]).records() for name in report},
        **({} if judged is None else {"policy": judged.records()}),
    }


def _show(args: argparse.Namespace, report: Report, judged: Table | None) -> None:
    output = Output(args.shape)
    if args.shape == "json":
        output.json(_whole(report, judged))
    elif args.shape == "csv":
        output.table(judged if judged is not None else Table.of(report[next(iter(report))]))
    elif judged is not None:
        at = judged.columns.index("passed")
        rows = [row for row in judged.rows if args.all or not row[at]]
        shown = ("passed", "severity", "rule", *_OWN, "evidence")
        output.table(Table(judged.columns, rows), *(shown if args.all else shown[1:]))
    else:
        _tables(report, output)
    output.stream.flush()
    if not args.quiet:
        _say(report, judged)


def _tables(report: Report, output: Output) -> None:
    """Write a table for each check, after the one of the images where there are several."""
    if len(report) > 1:
        output.table(Table.of(report.images), *_OWN, "size", "layers", "error")
    for name in report:
        table = Table.of(report[name])
        found = [row for row in table.records() if row["error"] is None]
        columns = [column for column in table.columns if column not in _LEFT_OUT]
        shown = Table((*_OWN, *columns), [[row[c] for c in (*_OWN, *columns)] for row in found])
        if len(report) > 1:
            output.lines(["", f"{name}:"])
        width = _width(output)
        output.lines(text_lines(shown, width) if found else ["nothing"])


def _width(output: Output) -> int | None:
    import shutil

    return shutil.get_terminal_size().columns if output.person else None


def _say(report: Report, judged: Table | None) -> None:
    errors = Table.of(report.errors).records()
    if errors:
        first = errors[0]
        many = count(len({(row["reference"], row["platform"]) for row in errors}), "image")
        messages.say(
            f"warning: {many} could not be checked in full, first {first['reference']}: "
            f"{first['error']}"
        )
    if judged is not None and connection.at_terminal(sys.stderr):
        broken = sum(not row["passed"] for row in judged.records())
        images = count(len(report.images), "image")
        sys.stderr.write(f"{images}: {broken} of {len(judged.rows)} rules not kept\n")


def _status(args: argparse.Namespace, report: Report, judged: Table | None) -> int:
    if not report.complete:
        return INTERRUPTED
    images = report.images
    if len(images) and bool(images["error"].notna().all()):
        messages.say("no image could be looked at")
        return 1
    asked = set(args.fail_on or (("any",) if judged is not None else ()))
    if "never" in asked:
        return 0
    grave: set[str] = set()
    for at, name in enumerate(SEVERITIES):
        if "any" in asked or name in asked:
            grave |= set(SEVERITIES[: at + 1])
    broken = 0
    if judged is not None:
        broken = sum(not row["passed"] and row["severity"] in grave for row in judged.records())
    failed = len(report.errors) if asked & {"any", "error"} else 0
    why = ", ".join(sorted(asked))
    return findings.status(broken, "rule not kept", why) or findings.status(failed, "error", why)
