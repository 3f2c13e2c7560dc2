"""The commands that look inside an image. ``cat``, ``tree`` and ``extract`` load no pandas."""

from __future__ import annotations

import argparse
import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from didlab.cli import connection, messages
from didlab.cli.tables import Output, Table
from didlab.errors import InvalidArgument, PathError, PathNotFound, UnsafeContent, printable
from didlab.model.layer import Layer
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.sizes import human

if TYPE_CHECKING:
    import pandas as pd

    from didlab.files.extract import Extracted

#: Bytes that are read at first: `head` is served soon. Then more and more, for fewer requests.
_FIRST = 256 * 1024
_MOST = 4 * 1024 * 1024
#: Lines that say what an extraction left out.
_TOLD = 20


def files(args: argparse.Namespace) -> int:
    """List the files of an image, of a layer as stored, or what the layers changed."""
    output = Output(args.shape)
    if args.changes:
        changed = Table.of(_changes(args))
        output.table(changed, "layer", "change", "permissions", "size_before", "size", "path")
        return 0
    found = Table.of(_place(args).files(args.pattern, **_manner(args)))
    if args.shape == "text":
        found = _with_links(found)
    output.table(found, "permissions", "uid", "gid", "size", "mtime", "layer", "path")
    return 0


def _changes(args: argparse.Namespace) -> pd.DataFrame:
    from didlab.files.paths import matcher

    image = _image(args)
    # Both may refuse what was asked for: before the layers are read.
    position = None if args.layer is None else image.layer(args.layer).position
    matches = None if args.pattern is None else matcher(args.pattern)
    found = image.changes(**_manner(args))
    if position is not None:
        found = found[found["layer"] == position]
    if matches is not None:
        found = found[[matches(path.encode()) for path in found["path"]]]
    return found


def _with_links(table: Table) -> Table:
    """Add to each path where it leads, as ``ls`` and ``tar`` show it."""
    path, kind, link = map(table.columns.index, ("path", "type", "linkname"))
    rows = [list(row) for row in table.rows]
    for row in rows:
        if row[link]:
            arrow = "link to" if row[kind] == "hardlink" else "->"
            row[path] = f"{row[path]} {arrow} {row[link]}"
    return Table(table.columns, rows)


def tree(args: argparse.Namespace) -> int:
    """Draw what lies below a folder."""
    drawn = _place(args).tree(args.path or "/", args.depth, **_manner(args))
    output = Output("text")
    output.lines(_drawable(line, output.stream.encoding) for line in drawn.split("\n"))
    return 0


def _drawable(line: str, encoding: str | None) -> str:
    """Return a line of a tree with branches that the encoding has.

    >>> _drawable("│   └── bin/", "ascii"), _drawable("│   └── bin/", "utf-8")
    ('|   `-- bin/', '│   └── bin/')
    """
    name = line.lstrip("│├└─ ")
    branch = line[: len(line) - len(name)]
    try:
        branch.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        branch = branch.translate(str.maketrans("│├└─", "||`-"))
    return branch + name


def cat(args: argparse.Namespace) -> int:
    """Write files to stdout, byte for byte; one that fails does not stop the others."""
    place = _place(args)
    failed = False
    for path in args.paths:
        try:
            with place.open(path, verified=not args.no_verify, **_manner(args)) as file:
                if connection.at_terminal(sys.stdout):
                    _show(file, path)
                else:
                    _pour(file, sys.stdout.buffer)
        except (PathNotFound, PathError, UnsafeContent, InvalidArgument) as error:
            messages.fail(error)
            failed = True
    return 1 if failed else 0


def _pieces(file: io.BufferedReader) -> Iterator[bytes]:
    size = _FIRST
    while piece := file.read(size):
        yield piece
        size = min(2 * size, _MOST)


def _pour(file: io.BufferedReader, out: BinaryIO) -> None:
    for piece in _pieces(file):
        rest = memoryview(piece)
        while rest:
            # Without buffers (python -u) not all may go at once, or nothing.
            written: int | None = out.write(rest)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "stdout")
            rest = rest[written:]


def _show(file: io.BufferedReader, path: str) -> None:
    """Write text to a terminal; what could command it is refused."""
    utf8 = codecs.getincrementaldecoder("utf-8")()
    # Never ends between a CR and its LF.
    decoder = io.IncrementalNewlineDecoder(utf8, translate=False)
    for piece in chain(_pieces(file), [b""]):
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError:
            text = "\0"
        if not harmless(text):
            raise InvalidArgument(
                f"{printable(path)} is not text that a terminal can show safely",
                hint="redirect it to a file (> FILE), or look at it with | less or | hexdump -C",
            )
        # As text: the terminal's encoding may be another one.
        sys.stdout.write(text)


def harmless(text: str) -> bool:
    r"""Whether a terminal shows a text as it is: no escape sequences, nothing overwritten.

    >>> harmless("one\r\n\ttwo\f\n"), harmless("hidden\rshown"), harmless("\x1b[2J")
    (True, False, False)
    """
    plain = text.replace("\r\n", "").translate({ord(char): None for char in "\n\t\f"})
    return printable(plain, len(plain) + 1) == plain


def extract(args: argparse.Namespace) -> int:
    """Write a file or folder of an image to the local disk."""
    made = _place(args).extract(
        args.path,
        args.dest,
        overwrite=args.overwrite,
        devices=args.devices,
        owner=args.owner,
        portable=args.portable,
        **_manner(args),
    )
    output = Output(args.shape)
    facts: dict[str, Any] = {
        "path": os.fspath(made),
        "files": made.files,
        "directories": made.directories,
        "links": made.links,
        "bytes": made.bytes,
    }
    if args.shape == "json":
        skipped = [{"path": path, "why": why} for path, why in made.skipped]
        output.json({**facts, "skipped": skipped})
    elif args.shape == "csv":
        facts["skipped"] = len(made.skipped)
        output.table(Table(tuple(facts), [tuple(facts.values())]))
    else:
        path = facts["path"]
        output.lines([printable(path, len(path) + 1) if output.person else path])
    if not args.quiet:
        output.stream.flush()
        _tell(made, summary=args.shape == "text" and connection.at_terminal(sys.stderr))
    return 0


def _tell(made: Extracted, *, summary: bool) -> None:
    for path, why in made.skipped[:_TOLD]:
        messages.say(f"warning: {path} was left out: {why}")
    more = len(made.skipped) - _TOLD
    if more > 0:
        messages.say(f"warning: {more} more were left out; --json lists them all")
    if summary:
        kinds = (
            (made.files, "file", "files"),
            (made.directories, "directory", "directories"),
            (made.links, "link", "links"),
        )
        what = [f"{count} {one if count == 1 else many}" for count, one, many in kinds if count]
        sys.stderr.write(", ".join([*what, human(made.bytes)]) + "\n")


def _image(args: argparse.Namespace) -> Manifest:
    return open_image(args.reference, args.platform, **connection.options(args))


def _place(args: argparse.Namespace) -> Manifest | Layer:
    image = _image(args)
    return image if args.layer is None else image.layer(args.layer)


def _manner(args: argparse.Namespace) -> dict[str, Any]:
    return {"progress": False if args.quiet else None, "keep": args.keep}
