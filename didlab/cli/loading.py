"""``didlab load`` and ``didlab complete``."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from typing import Any

from didlab.cli import connection
from didlab.cli.tables import Output, Table
from didlab.errors import printable
from didlab.export.running import Manner
from didlab.model import loading
from didlab.model.completing import complete as make_whole
from didlab.model.opening import open as open_image
from didlab.sizes import human


def load(args: argparse.Namespace) -> int:
    """Load images into the local Docker daemon."""
    options = connection.options(args)
    images = [open_image(name, args.platform, **options) for name in dict.fromkeys(args.references)]
    manner = Manner(progress=False if args.quiet else None, **_wait(args))
    report = loading.load(images, manner=manner)
    output = Output(args.shape)
    if args.shape != "text":
        names = ("reference", "image_id", "platform")
        rows = [tuple(asdict(image)[name] for name in names) for image in report.images]
        output.table(Table(names, rows))
        return 0
    output.lines([printable(message, 1000) for message in report.messages])
    if not args.quiet and connection.at_terminal(sys.stderr):
        output.stream.flush()
        sys.stderr.write(f"{human(report.downloaded)} downloaded for Docker {report.daemon}\n")
    return 0


def complete(args: argparse.Namespace) -> int:
    """Make a thin tar whole."""
    report = make_whole(
        os.path.expanduser(args.tar),  # noqa: PTH111 - as save does with its -o
        args.base,
        os.path.expanduser(args.output),  # noqa: PTH111
        overwrite=args.overwrite,
        progress=False if args.quiet else None,
        **connection.options(args),
    )
    output = Output(args.shape)
    if args.shape != "text":
        names = ("path", "size", "downloaded", "reused", "seconds")
        facts = {**asdict(report), "path": os.fspath(report), "seconds": round(report.seconds, 3)}
        output.table(Table(names, [tuple(facts[name] for name in names)]))
        return 0
    output.lines([printable(report, 4000)])
    return 0


def _wait(args: argparse.Namespace) -> dict[str, Any]:
    return {} if args.wait is None else {"wait": args.wait}
