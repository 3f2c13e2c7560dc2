"""The command line's grammar. Loads nothing that a ``--help`` does not need."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from didlab import __version__
from didlab.cli import groups
from didlab.cli.groups import Parser

_LOGIN = (
    "logins: --username reads the password from standard input (or asks on a terminal):\n"
    "  echo SECRET | didlab tags --username me registry.example/app\n"
    "without it docker's and podman's stored logins are used."
)

#: Where commands are, other than in ``commands``.
_MODULES = {
    "save": "saving",
    "files": "inside",
    "tree": "inside",
    "cat": "inside",
    "extract": "inside",
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; ``.run`` is the function to call with them.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``, and with status 2 for a wrong usage.
    """
    parser = build()
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
    if args.command in ("save", "plan"):
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
    from pathlib import Path

    output, several = args.output, len(args.references) > 1
    if output == "-":
        _refuse(parser, args, "-o takes a file or directory; a tar is written in any order")
    if args.format == "oci-dir":
        if several and output is None:
            _refuse(parser, args, "several images in one layout need -o and a directory")
        if output is not None and Path(output).is_file():
            _refuse(parser, args, "a layout is a directory, -o names a file")
    elif several and output is not None and Path(output).is_file() and not _is_tar(output):
        _refuse(parser, args, "several images go into a directory or a .tar, this is a file")


def _is_tar(path: str) -> bool:
    return path.lower().endswith(".tar")


def build() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="didlab",
        description="Look inside container images and download them, without Docker.",
        epilog="exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted\n"
        "didlab COMMAND --help tells more about one command",
    )
    parser.add_argument("--version", action="version", version=f"didlab {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, *parents: Parser) -> Parser:
        made = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            parents=parents,
            epilog=_LOGIN if any(parent is net for parent in parents) else None,
        )
        made.set_defaults(run=_later(name), parser=made)
        return made

    talk, net, shape = groups.talk(), groups.net(), groups.shape()
    one, some = groups.platform(), groups.platforms()

    _saving(add("save", "save images as tars that docker load takes", some, net, shape, talk))
    for name, summary, *parents in (
        ("plan", "list what a save would download, each blob once", some),
        ("endpoints", "list the hosts that a save contacts, for a firewall's rules"),
    ):
        _references(add(name, summary, *parents, net, shape, talk))

    platforms = add("platforms", "list the platforms of an image", net, shape, talk)
    _reference(platforms)
    platforms.add_argument(
        "--sizes", action="store_true", help="also layers and bytes; one more request for each"
    )
    for name, summary in (
        ("layers", "list the layers of an image, base first"),
        ("config", "show the config of an image"),
        ("history", "list the steps that made an image, oldest first"),
        ("inspect", "show an image on one page"),
    ):
        _reference(add(name, summary, one, net, shape, talk))

    inside = groups.inside()
    _files(add("files", "list the files of an image", one, inside, net, shape, talk))
    _tree(add("tree", "draw the folders and files of an image", one, inside, net, talk))
    _cat(add("cat", "write files of an image to stdout", one, inside, net, talk))
    _extract(add("extract", "write files of an image to the disk", one, inside, net, shape, talk))

    tags = add("tags", "list the tags of a repository", net, shape, talk)
    tags.add_argument("repository", metavar="REPOSITORY", help="nginx, ghcr.io/owner/image")
    tags.add_argument(
        "--details",
        action="store_true",
        help="also digest, time, size and platforms; two or three requests for each tag",
    )
    catalog = add("repositories", "list the repositories of a registry", net, shape, talk)
    catalog.add_argument("registry", metavar="REGISTRY", help="registry.example, 127.0.0.1:5000")

    setup = add(
        "show-config", "show what holds for a registry, and where it comes from", shape, talk
    )
    setup.add_argument("registry", metavar="REGISTRY", nargs="?", help="default: docker.io")
    setup.add_argument(
        "--ask-helpers", action="store_true", help="run credential helpers to see if they answer"
    )

    cache = add("cache", "show where the local store lies and how full it is", shape, talk)
    cache.add_argument("--clear", action="store_true", help="empty it")

    sandbox = add("sandbox", "serve a small demo registry until Ctrl+C", talk)
    sandbox.add_argument("--port", type=groups.port, default=0, help="default: a free one")
    sandbox.add_argument("--auth", action="store_true", help="ask for a login: demo, demo")
    sandbox.add_argument("--tags", type=int, default=0, metavar="N", help="so many more tags")
    return parser


def _later(name: str) -> Callable[[argparse.Namespace], int]:
    """Return the command, loaded when it is called: ``--help`` needs none of them."""

    def run(args: argparse.Namespace) -> int:
        module = import_module(f"didlab.cli.{_MODULES.get(name, 'commands')}")
        code: int = getattr(module, name.replace("-", "_"))(args)
        return code

    return run


def _saving(parser: argparse.ArgumentParser) -> None:
    _references(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="the file to write, or a directory; several images go into one NAME.tar, what they "
        "share once, or into a directory, a file each; default: the current directory",
    )
    parser.add_argument(
        "--format",
        choices=("archive", "oci-dir"),
        default="archive",
        help="archive: one tar for every loader (the default); oci-dir: an OCI image layout, "
        "which keeps the images that it has",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace other files at the target"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="add the layers that came to the local store, for the next save that needs them",
    )
    parser.add_argument(
        "--wait",
        type=groups.patience,
        metavar="SECONDS",
        help="how long to wait, at most, where a registry takes no more requests for now; "
        "default: 20",
    )
    parser.add_argument(
        "--workers",
        type=groups.workers,
        metavar="N",
        help="connections at a time; default: 4, more where a line is slow for each of them",
    )


def _files(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="only paths like this, in quotes: '/usr/lib/**/*.so*', '/etc/{passwd,group}'",
    )
    parser.add_argument(
        "--changes",
        action="store_true",
        help="what each layer added, replaced and deleted; with --layer, what that one did",
    )


def _tree(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="the folder to begin at; default: /"
    )
    parser.add_argument(
        "--depth",
        type=groups.depth,
        metavar="N",
        help="so many levels; default: all of them, but 2000 lines at most",
    )


def _cat(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="files, written byte for byte, one after the other; a terminal gets text only",
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="stop where the file ends, before its layer's digest can be checked; for layers that "
        "were never listed",
    )


def _extract(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument("path", metavar="PATH", help="a file or folder of the image, / for all")
    parser.add_argument(
        "dest", metavar="DEST", help="where to: a new name, or a folder that is there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument(
        "--devices", action="store_true", help="make devices and fifos, too (as root)"
    )
    parser.add_argument("--owner", action="store_true", help="keep the owners (as root)")


def _references(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "references", metavar="REF", nargs="+", help="nginx:1.27, ghcr.io/o/i@sha256:…"
    )


def _reference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help="nginx:1.27, ghcr.io/owner/image@sha256:…")
