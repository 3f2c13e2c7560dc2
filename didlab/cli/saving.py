"""``didlab save``. Loads no pandas: half a second less before the first byte."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from didlab.cli import choose, connection, messages
from didlab.cli.arguments import is_tar
from didlab.cli.tables import Output, Table
from didlab.errors import DidlabError, InvalidArgument, WriteFailed, printable
from didlab.export.names import archive_name
from didlab.export.report import SaveReport
from didlab.model import bundle, saving
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image

_COLUMNS = (
    "path", "reference", "platform", "digest", "image_id", "size", "downloaded", "reused",
    "seconds",
)  # fmt: skip
#: As the library's own hints say it, in the words of the command line.
_GOES_ON = "what came is kept: the same command goes on from there"


def save(args: argparse.Namespace) -> int:
    """Save every image; one that fails does not stop the others, unless they share a file."""
    output = Output(args.shape)
    if args.output == "-":
        return _stream(args)
    if args.output is not None:
        # No shell does so in --output=~/…, and not all do elsewhere.
        args.output = os.path.expanduser(args.output)  # noqa: PTH111 - keeps a slash at the end
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
    jobs = [[image] for image in images]
    if len(args.references) > 1 and together(args):
        jobs = [] if failed else [images]
    rows: list[tuple[Any, ...]] = []
    written: set[Path] = set()
    try:
        for job in jobs:
            report = _run(job, args, written)
            if report is None:
                failed = True
                continue
            rows += _rows(report)
            if args.shape == "text":
                loadable = args.format in ("archive", "docker")
                _tell(report, output, hint=not args.quiet and loadable)
    finally:
        # Also what was saved before Ctrl+C.
        if args.shape != "text":
            output.table(Table(_COLUMNS, rows))
    return 1 if failed else 0


def _stream(args: argparse.Namespace) -> int:
    """Write one tar to stdout; what a reader gets after a failure is no complete one."""
    options = connection.options(args)
    # No question is asked: whoever reads stdout waits.
    several = args.platform if args.platform == "all" or isinstance(args.platform, list) else None
    one = None if several is not None else args.platform
    names = dict.fromkeys(args.references)
    images = [open_image(reference, one, **options) for reference in names]
    try:
        report = bundle.save(images, sys.stdout.buffer, **_how(args, several))
        sys.stdout.flush()
    except WriteFailed as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None  # a closed pipe has a status of its own
        raise
    _notes(report, args)
    return 0


def _how(args: argparse.Namespace, several: str | list[str] | None) -> dict[str, Any]:
    """Return what the options say about how to save."""
    return {
        "format": args.format,
        "compression": args.compression,
        "since": args.since,
        "platform": several,
        "overwrite": args.overwrite,
        "progress": False if args.quiet else None,
        "workers": args.workers,
        "keep": args.keep,
        **({} if args.wait is None else {"wait": args.wait}),
    }


def _notes(report: SaveReport, args: argparse.Namespace) -> None:
    """Tell what was left out or written anew: nobody would guess it from the file."""
    if args.quiet or (args.since is None and args.compression is None):
        return
    for note in report.notes:
        messages.say(note)


def together(args: argparse.Namespace) -> bool:
    """Whether several images go into one file: a tar that is named, or a layout."""
    if args.output is None:
        return False
    named = is_tar(args.output) and not Path(args.output).is_dir()
    return named or args.format == "oci-dir"


def _open(reference: str, platforms: str | list[str] | None, options: dict[str, Any]) -> Manifest:
    if isinstance(platforms, str) and platforms != "all":
        return open_image(reference, platforms, **options)
    image = open_image(reference, **options)
    if platforms is None and choose.possible():
        return choose.choose(image)
    return image


def _run(images: list[Manifest], args: argparse.Namespace, written: set[Path]) -> SaveReport | None:
    """Save what belongs into one file; None when it failed, which is told."""
    several = args.platform if args.platform == "all" or isinstance(args.platform, list) else None
    left: set[Path] = set()
    target = None
    try:
        target = _target(images, args, several, written)
        left = set(_left_over(target))
        made = bundle.save(images, target, **_how(args, several))
    except DidlabError as error:
        messages.fail(_told(error, args), _more(target, left))
        return None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_more(target, left)) from None
    written.add(target)
    _notes(made, args)
    return made


def _told(error: DidlabError, args: argparse.Namespace) -> DidlabError:
    if not isinstance(error, InvalidArgument) or len(args.references) != 1:
        return error
    return connection.in_words(error, args.references[0])


def _more(target: Path | None, before: set[Path]) -> str:
    kept = target is not None and not before.issuperset(_left_over(target))
    return _GOES_ON if kept else ""


def _left_over(target: Path) -> Iterator[Path]:
    """Yield the partial files that wait for the next save of this target."""
    try:
        yield from target.parent.glob(f".{_literal(target.name[:30])}*.free-*.part")
        yield from target.glob("blobs/*/.*.free-*.part")
    except OSError:
        return


def _literal(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _target(
    images: Sequence[Manifest],
    args: argparse.Namespace,
    platforms: str | list[str] | None,
    written: set[Path],
) -> Path:
    """Return what to write; a folder is made once the image is known to be there."""
    output = args.output
    folder = Path(output or ".")
    if output is not None and _is_target(output, args):
        return folder
    image = images[0]
    inside = saving.gather(image, platforms).images
    only = inside[0].platform if len(inside) == 1 else None
    target = folder / archive_name(image.reference, only)
    if args.format == "oci-dir":
        target = target.with_suffix("")
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


def _is_target(output: str, args: argparse.Namespace) -> bool:
    """Whether ``-o`` names what to write, not the folder for it."""
    if args.format == "oci-dir" or together(args):
        return True
    several = len(args.references) > 1
    return not (several or Path(output).is_dir() or _ends_as_folder(output))


def _ends_as_folder(text: str) -> bool:
    return text.endswith(tuple(filter(None, ("/", os.sep, os.altsep))))


def _rows(report: SaveReport) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each image; size, bytes and seconds are those of its file."""
    for image in report.images:
        facts = {
            "path": os.fspath(report),
            "reference": image.reference,
            "platform": ", ".join(image.platforms),
            "digest": image.digest,
            "image_id": image.image_id,
            "size": report.size,
            "downloaded": report.downloaded,
            "reused": report.reused,
            "seconds": round(report.seconds, 3),
        }
        yield tuple(facts[name] for name in _COLUMNS)


def _tell(report: SaveReport, output: Output, *, hint: bool) -> None:
    path = os.fspath(report)
    output.lines([printable(path, len(path) + 1) if output.person else path])
    output.stream.flush()
    if hint and connection.at_terminal(sys.stderr):
        quoted = subprocess.list2cmdline([path]) if sys.platform == "win32" else shlex.quote(path)
        sys.stderr.write(f"Load it with: docker load -i {printable(quoted, len(quoted) + 1)}\n")
