"""``didlab save``. Loads no pandas: half a second less before the first byte."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from didlab.cli import choose, connection, messages
from didlab.cli.tables import Output, Table
from didlab.errors import DidlabError, InvalidArgument, WriteFailed, printable
from didlab.export.names import archive_name
from didlab.export.report import SaveReport
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.oci.platform import Platform

_COLUMNS = (
    "path", "reference", "platform", "digest", "image_id", "size", "downloaded", "reused",
    "seconds",
)  # fmt: skip


def save(args: argparse.Namespace) -> int:
    """Save every image; one that fails does not stop the others."""
    output = Output(args.shape)
    options = connection.options(args)
    failed = False
    images: list[Manifest] = []
    # Every question is asked before the first download: then the person may leave.
    for reference in dict.fromkeys(args.references):
        try:
            images.append(_open(reference, args.platform, options))
        except DidlabError as error:
            messages.fail(error)
            failed = True
    rows: list[tuple[Any, ...]] = []
    written: set[Path] = set()
    many = len(args.references) > 1
    try:
        for image in images:
            try:
                target = _target(image, args.output, many, written)
                report = image.save(
                    target,
                    overwrite=args.overwrite,
                    progress=False if args.quiet else None,
                )
            except DidlabError as error:
                messages.fail(error)
                failed = True
                continue
            written.add(target)
            rows.append(_row(image, report))
            if args.shape == "text":
                _tell(report, output, args.quiet)
    finally:
        # Also what was saved before Ctrl+C.
        if args.shape != "text":
            output.table(Table(_COLUMNS, rows))
    return 1 if failed else 0


def _open(reference: str, platform: str | None, options: dict[str, Any]) -> Manifest:
    image = open_image(reference, platform, **options)
    if platform is None and choose.possible():
        return choose.choose(image)
    return image


def _target(image: Manifest, output: str | None, many: bool, written: set[Path]) -> Path:
    """Return the file to write; a directory is made once the image is known to be there."""
    folder = Path(output or ".")
    if output is not None and not many and not folder.is_dir() and not _ends_as_folder(output):
        return folder
    config = image.config()
    platform = Platform(config.os or "unknown", config.architecture or "unknown", config.variant)
    target = folder / archive_name(image.reference, platform)
    if target in written:
        # Names leave the registry out; --overwrite must not replace what this call wrote.
        raise InvalidArgument(
            f"{image.reference} would be saved as {target}, as another image just was",
            hint="save it by a call of its own, with -o and a file name",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(
            f"the folder {folder} cannot be made: {error.strerror or error}", path=str(folder)
        ) from None
    return target


def _ends_as_folder(text: str) -> bool:
    return text.endswith(tuple(filter(None, ("/", os.sep, os.altsep))))


def _row(image: Manifest, report: SaveReport) -> tuple[Any, ...]:
    facts = {
        "path": os.fspath(report),
        "reference": str(image.reference),
        "platform": report.platform,
        "digest": report.digest,
        "image_id": report.image_id,
        "size": report.size,
        "downloaded": report.downloaded,
        "reused": report.reused,
        "seconds": round(report.seconds, 3),
    }
    return tuple(facts[name] for name in _COLUMNS)


def _tell(report: SaveReport, output: Output, quiet: bool) -> None:
    path = os.fspath(report)
    output.lines([printable(path, len(path) + 1) if output.person else path])
    output.stream.flush()
    if not quiet and connection.at_terminal(sys.stderr):
        quoted = subprocess.list2cmdline([path]) if sys.platform == "win32" else shlex.quote(path)
        sys.stderr.write(f"Load it with: docker load -i {printable(quoted, len(quoted) + 1)}\n")
