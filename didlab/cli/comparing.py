"""``didlab diff``: how an image differs from another."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from didlab.audits.diff.difference import Diff
from didlab.cli import auditing, findings, several
from didlab.cli.tables import Output, Table, text_lines
from didlab.errors import InvalidArgument, printable
from didlab.model.opening import open as open_image
from didlab.sizes import human

#: What people see of each table, and what makes a row a difference.
_SHOWN = {
    "files": (
        *("change", "changed", "permissions_after", "size_before", "size_after", "layer_after"),
        "path",
    ),
    "packages": ("change", "ecosystem", "name", "before", "after", "layer_after"),
    "config": ("change", "key", "before", "after"),
    "layers": (
        *("status", "position_before", "position_after", "size_before", "size_after"),
        *("digest", "created_by"),
    ),
    "sizes": ("delta", "before", "after", "name"),
}
#: Folders in the summary.
_FOLDERS = 10
_CHANGED = frozenset({"changed", "upgraded", "downgraded", "maybe"})


def diff(args: argparse.Namespace) -> int:
    """Compare two images."""
    view = "sizes" if args.by else args.view
    _check(args, view)
    options = several.options(args, (args.before, args.after))
    found = Diff(
        *(open_image(name, args.platform, **options) for name in (args.before, args.after))
    )
    manner = auditing.manner(args)
    output = Output(args.shape)
    if args.text is not None:
        return _text(args, found, output, manner)
    if view is None:
        return _summary(args, found, output, manner)
    table = _table(found, view, args, manner)
    output.table(_for_people(table, output) if args.shape == "text" else table, *_SHOWN[view])
    return _status(args, table, view)


def _check(args: argparse.Namespace, view: str | None) -> None:
    if args.content and view != "files":
        raise InvalidArgument("--content goes with --files")
    if args.shape == "csv" and view is None and args.text is None:
        raise InvalidArgument(
            "--csv shows one table", hint="--files, --packages, --config, --layers or --sizes"
        )
    if args.fail_on and view == "sizes" and set(args.fail_on) != {"any"}:
        raise InvalidArgument("of --sizes only --fail-on any can be asked")
    if args.fail_on and args.text is not None and set(args.fail_on) != {"any"}:
        raise InvalidArgument("of --text only --fail-on any can be asked")


def _table(found: Diff, view: str, args: argparse.Namespace, manner: dict[str, Any]) -> Table:
    if view == "files":
        return Table.of(found.files(content=args.content, **manner))
    if view == "packages":
        return Table.of(found.packages(**manner))
    if view == "config":
        return Table.of(found.config())
    if view == "layers":
        return Table.of(found.layers())
    return Table.of(found.sizes(args.by or "directory", **manner))


def _text(args: argparse.Namespace, found: Diff, output: Output, manner: dict[str, Any]) -> int:
    told = str(found.text(args.text, **manner))
    if args.shape == "json":
        output.json({"path": args.text, "diff": told})
    else:
        output.lines(printable(line, len(line) + 1) for line in told.splitlines())
    different = int(bool(told) and bool(args.fail_on))
    return findings.status(different, "file that differs", "any")


def _summary(args: argparse.Namespace, found: Diff, output: Output, manner: dict[str, Any]) -> int:
    layers, config = _table(found, "layers", args, manner), _table(found, "config", args, manner)
    packages = _table(found, "packages", args, manner)
    sizes = _table(found, "sizes", args, manner)
    if args.shape == "json":
        output.json(
            {
                "before": str(found.before.reference),
                "after": str(found.after.reference),
                "layers": layers.records(),
                "config": config.records(),
                "packages": packages.records(),
                "sizes": sizes.records(),
            }
        )
        return _status(args, packages, "packages")
    before, after = found.before.size(), found.after.size()
    rows = layers.records()
    counts = Counter(str(row["status"]) for row in rows)
    lines = [
        f"{printable(found.before.reference.familiar())} -> "
        f"{printable(found.after.reference.familiar())}",
        f"to download: {human(before)} -> {human(after)} ({_delta(after - before)})",
        "layers: " + (", ".join(f"{many} {name}" for name, many in counts.items()) or "none"),
    ]
    for title, view, table in (
        ("config", "config", config),
        ("packages", "packages", packages),
        ("folders", "sizes", Table(sizes.columns, sizes.rows[:_FOLDERS])),
    ):
        if not table.rows:
            lines += ["", f"{title}: no difference"]
            continue
        shown = _for_people(table, output).only(*_SHOWN[view])
        lines += ["", f"{title}:", *text_lines(shown, _width(output))]
    output.lines(lines)
    return _status(args, packages, "packages")


def _width(output: Output) -> int | None:
    import shutil

    return shutil.get_terminal_size().columns if output.person else None


def _for_people(table: Table, output: Output) -> Table:
    """Return sizes in units on a terminal, and differences with their sign."""
    if "delta" not in table.columns:
        return table
    at = table.columns.index("delta")
    rows = [list(row) for row in table.rows]
    for row in rows:
        row[at] = _delta(row[at]) if output.person else f"{row[at]:+d}"
        if output.person:
            for name in ("before", "after"):
                place = table.columns.index(name)
                row[place] = human(row[place])
    return Table(table.columns, rows)


def _delta(size: int) -> str:
    return ("+" if size > 0 else "-" if size < 0 else "") + human(abs(size))


def _status(args: argparse.Namespace, table: Table, view: str) -> int:
    if not args.fail_on:
        return 0
    asked = set(args.fail_on)
    if "changed" in asked:
        asked |= _CHANGED
    if view == "sizes":
        count = len(table.rows)
    else:
        column = table.columns.index("status" if view == "layers" else "change")
        changes = [str(row[column]) for row in table.rows]
        if view == "layers":
            changes = ["changed" if one == "recompressed" else one for one in changes]
            changes = [one for one in changes if one != "shared"]
        count = sum("any" in asked or one in asked for one in changes)
    return findings.status(count, "difference", ", ".join(args.fail_on))
