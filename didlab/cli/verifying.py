"""``didlab verify``: exit status 1 where something is not what it says."""

from __future__ import annotations

import argparse

from didlab.cli import connection, messages
from didlab.cli.tables import Output, Table
from didlab.model.verifying import verify as verified

_COLUMNS = ("severity", "check", "loader", "subject", "expected", "actual", "detail")


def verify(args: argparse.Namespace) -> int:
    """Show the findings; for people those that tell something."""
    found = verified(
        args.what,
        platform=args.platform,
        progress=False if args.quiet else None,
        **connection.options(args),
    )
    table = Table.of(found)
    rows = table.records()
    output = Output(args.shape)
    if args.shape == "text":
        told = rows if args.all else [row for row in rows if _tells(row)]
        shown = [_shown(row) for row in told]
        output.table(Table(("", "check", "subject", "detail"), shown))
    else:
        output.table(table)
    errors = [row for row in rows if row["severity"] == "error"]
    warnings = [row for row in rows if row["severity"] == "warning"]
    if not args.quiet:
        counted = f"{len(rows)} checks, {len(errors)} errors, {len(warnings)} warnings"
        messages.say(f"{args.what}: {counted}")
    return 1 if errors else 0


def _tells(row: dict[str, object]) -> bool:
    return not row["passed"] or row["loader"] is not None


def _shown(row: dict[str, object]) -> tuple[str | None, ...]:
    state = "ok" if row["passed"] else str(row["severity"]).replace("info", "-")
    check = str(row["check"]) if row["loader"] is None else f"{row['check']} {row['loader']}"
    facts = []
    if row["check"] != "loader":
        if row["passed"] and row["actual"] is not None:
            facts.append(str(row["actual"]))
        elif row["expected"] is not None or row["actual"] is not None:
            facts.append(f"{row['actual'] or 'nothing'}, not {row['expected']}"
                         if row["expected"] is not None else str(row["actual"]))  # fmt: skip
    if row["detail"] is not None:
        facts.append(str(row["detail"]))
    return state, check, str(row["subject"]), "; ".join(facts) or None
