"""``didlab waste``: what an image stores for nothing."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from didlab.cli import auditing, connection, findings
from didlab.cli.tables import Output, Table
from didlab.sizes import human


def waste(args: argparse.Namespace) -> int:
    """List what later layers took away, what is there twice, or caches."""
    image, manner = auditing.image(args), auditing.manner(args)
    output = Output(args.shape)
    if args.duplicates:
        found = Table.of(image.duplicates(**manner))
        wasted = sum(row["wasted"] for row in found.records())
        output.table(found, "copies", "size", "wasted", "layer", "path")
        whole = "duplicates"
    elif args.caches:
        found = Table.of(image.caches(**manner))
        wasted = sum(row["size"] for row in found.records())
        output.table(found, "kind", "files", "size", "layer", "path")
        whole = "caches"
    else:
        frame = image.waste(**manner)
        found = Table.of(frame)
        wasted = int(frame.attrs["wasted"])
        efficiency = float(frame.attrs["efficiency"])
        if args.shape == "json":
            output.json({"wasted": wasted, "efficiency": efficiency, "paths": found.records()})
        else:
            output.table(found, "kind", "size", "layer", "by_layer", "path")
        whole = f"wasted, efficiency {100 * efficiency:.1f} %"
    if args.shape == "text" and not args.quiet and connection.at_terminal(sys.stderr):
        output.stream.flush()
        sys.stderr.write(f"{human(wasted)} {whole}\n")
    return _status(args, image, wasted)


def _status(args: argparse.Namespace, image: Any, wasted: int) -> int:
    if args.fail_on is None:
        return 0
    limit, is_share = args.fail_on
    if is_share:
        # Of what the layers hold, unpacked: the merged files, and what is there for nothing.
        files = image.files(progress=False)
        there = int(files["size"][files["type"] == "file"].sum())
        extra = 0 if args.duplicates or args.caches else wasted
        limit *= there + extra
    shown = f"{100 * args.fail_on[0]:g}%" if is_share else human(limit)
    return findings.status(
        int(wasted > 0 and wasted >= limit), f"image that wastes {human(wasted)}", shown
    )
