"""The command line read: by the grammar, then by what argparse cannot say in one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from didlab.cli import grammar


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; ``.run`` is the function to call with them.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``, and with status 2 for a wrong usage.
    """
    parser = grammar.build()
    args, unknown = parser.parse_known_args(argv)
    if any(word.startswith("--password") for word in unknown):
        # Not repeated: what follows it is a secret.
        _refuse(
            parser,
            args,
            "there is no --password, since everybody on a machine can read command lines; "
            "give --username and the password on standard input",
        )
    if unknown and not _late(args, unknown):
        _refuse(parser, args, f"unrecognized arguments: {' '.join(unknown)}")
    if getattr(args, "password_stdin", False) and args.username is None:
        _refuse(parser, args, "--password-stdin needs --username")
    if args.command in ("save", "plan", "copy", "audit"):
        _check_platforms(parser, args)
    if args.command == "save":
        _check_save(parser, args)
    return args


def _late(args: argparse.Namespace, unknown: list[str]) -> bool:
    """Take what stands behind options: argparse ends optional positionals before them."""
    if any(word.startswith("-") for word in unknown):
        return False
    if args.command == "cat":
        args.paths += unknown
        return True
    name = {"files": "pattern", "tree": "path"}.get(args.command)
    if name is None or len(unknown) > 1 or getattr(args, name) is not None:
        return False
    setattr(args, name, unknown[0])
    return True


def _refuse(parser: argparse.ArgumentParser, args: argparse.Namespace, why: str) -> NoReturn:
    own: argparse.ArgumentParser = getattr(args, "parser", parser)
    own.error(why)


def _check_platforms(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Make of what was repeated what the library takes: None, one name, "all", or a list."""
    named = list(dict.fromkeys(args.platform or ()))
    if "all" in named and len(named) > 1:
        _refuse(parser, args, "--platform all stands for every platform, by itself")
    args.platform = named if len(named) > 1 else named[0] if named else None


def _check_save(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    import sys
    from pathlib import Path

    output, several = args.output, len(args.references) > 1
    if output == "-":
        if args.format == "oci-dir":
            _refuse(parser, args, "a layout is a directory, it does not fit into stdout")
        if args.shape != "text":
            _refuse(parser, args, f"the tar goes to stdout, --{args.shape} would, too")
        if sys.stdout is not None and sys.stdout.isatty():
            _refuse(parser, args, "a terminal takes no tar: send it through a pipe or into a file")
        return
    if args.format == "oci-dir":
        if several and output is None:
            _refuse(parser, args, "several images in one layout need -o and a directory")
        if output is not None and Path(output).is_file():
            _refuse(parser, args, "a layout is a directory, -o names a file")
    elif several and output is not None and Path(output).is_file() and not is_tar(output):
        _refuse(parser, args, "several images go into a directory or a .tar, this is a file")


def is_tar(path: str) -> bool:
    """Whether a path is that of a tar, compressed as a whole or not."""
    return path.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"))
