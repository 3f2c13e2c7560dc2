"""``didlab sbom``: a bill of materials to stdout, or into a file."""

from __future__ import annotations

import argparse
import os
import sys

from didlab.cli import auditing
from didlab.errors import printable


def sbom(args: argparse.Namespace) -> int:
    """Make a bill of materials."""
    bill = auditing.image(args).sbom(args.format, **auditing.manner(args))
    if args.output in (None, "-"):
        sys.stdout.write(f"{bill.json()}\n")
        return 0
    made = bill.save(args.output, overwrite=args.overwrite)
    sys.stdout.write(printable(os.fspath(made), 4000) + "\n")
    return 0
