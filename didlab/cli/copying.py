"""``didlab copy``. Loads no pandas."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from didlab.cli import connection
from didlab.cli.tables import Output, Table
from didlab.errors import printable
from didlab.export.push_report import CopyReport
from didlab.export.report import SaveReport
from didlab.model import copying
from didlab.sizes import human
from didlab.sources.locate import is_local

_COLUMNS = (
    "reference", "digest", "manifests", "uploaded", "mounted", "present", "uploaded_bytes",
    "mounted_bytes", "present_bytes", "seconds",
)  # fmt: skip
#: What is said for one side of a copy, and holds for the other as well.
_SHARED = ("proxy", "ca", "timeout")
#: What is about the source alone: nothing is written to a mirror.
_READING = {"mirrors": (), "offline": False}


def copy(args: argparse.Namespace) -> int:
    """Copy one image."""
    source, target = _options(args)
    report = copying.copy(
        args.source,
        args.destination,
        platform=args.platform,
        overwrite=args.overwrite,
        progress=False if args.quiet else None,
        workers=args.workers,
        attached=args.attached,
        source=source,
        **({} if args.wait is None else {"wait": args.wait}),
        **({} if is_local(args.destination) else target),
    )
    output = Output(args.shape)
    if args.shape != "text":
        output.table(_table(report))
        return 0
    name = str(report)
    output.lines([printable(name, len(name) + 1) if output.person else name])
    if isinstance(report, CopyReport) and not args.quiet and connection.at_terminal(sys.stderr):
        output.stream.flush()
        sys.stderr.write(f"{_summary(report)}\n")
    return 0


def _options(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the source and of the destination.

    A login is for the destination, and for the source only where that is the same registry.
    """
    given = connection.options(args)
    foreign = {"foreign": given.pop("foreign", False)}
    target = {**given, **_READING}
    source = {name: given[name] for name in (*_SHARED, *_READING)}
    if copying.at_one_registry(args.source, args.destination):
        source = dict(given)
    source.update(foreign)
    if args.src_insecure:
        source["insecure"] = True
    return source, target


def _table(report: CopyReport | SaveReport) -> Table:
    if isinstance(report, SaveReport):
        columns: tuple[str, ...] = ("path", "digest", "size", "downloaded", "reused", "seconds")
        facts = {"path": os.fspath(report)}
    else:
        columns, facts = _COLUMNS, {}
    facts["seconds"] = round(report.seconds, 3)  # type: ignore[assignment]
    return Table(columns, [[facts.get(name, getattr(report, name, None)) for name in columns]])


def _summary(report: CopyReport) -> str:
    parts = [
        f"{count} {what} ({human(size)})"
        for count, what, size in (
            (report.uploaded, "uploaded", report.uploaded_bytes),
            (report.mounted, "mounted", report.mounted_bytes),
            (report.present, "there already", report.present_bytes),
        )
        if count
    ]
    lines = [f"{report.digest}: {', '.join(parts) or 'no blobs'} in {report.seconds:.1f} s"]
    return "\n".join([*lines, *(printable(note) for note in report.notes)])
