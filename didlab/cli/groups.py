"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any


class Parser(argparse.ArgumentParser):
    """A parser whose options are written out, and whose texts keep their lines."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        # An abbreviation that works today would be ambiguous with tomorrow's options.
        super().__init__(allow_abbrev=False, **options)


def talk() -> Parser:
    """Say how much is told."""
    parser = Parser(add_help=False)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, hints, warnings")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="tell more on stderr")
    return parser


def shape() -> Parser:
    """Say what results look like."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("output").add_mutually_exclusive_group()
    for name, summary in (
        ("json", "JSON: bytes as numbers, times in ISO 8601, null for what is missing"),
        ("csv", "CSV with a header, safe to open in a spreadsheet"),
    ):
        group.add_argument(
            f"--{name}", action="store_const", dest="shape", const=name, help=summary
        )
    parser.set_defaults(shape="text")
    return parser


def platform() -> Parser:
    """Take one platform."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--platform",
        metavar="P",
        help="linux/arm64, linux/arm/v7, arm64 …; default: DOCKER_DEFAULT_PLATFORM, else Linux on "
        "this machine's architecture",
    )
    return parser


def platforms() -> Parser:
    """Take one platform, several, or all."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--platform",
        action="append",
        metavar="P",
        help="linux/arm64 …; repeatable, or all: then the index is kept with what belongs to it; "
        "default: one platform, as for the other commands",
    )
    return parser


def net() -> Parser:
    """Say how a registry is reached."""
    parser = Parser(add_help=False)
    add = parser.add_argument_group("registry").add_argument
    add("--mirror", action="append", default=[], metavar="URL", help="asked first; repeatable")
    add("--proxy", metavar="URL", help="http://HOST:PORT, https://…, socks5h://…")
    add("--username", metavar="NAME", help="log in; the password comes from standard input")
    # As docker and podman have it; it is what happens anyway.
    add("--password-stdin", action="store_true", help=argparse.SUPPRESS)
    add("--insecure", action="store_true", help="allow unverified TLS and plain http")
    add("--ca", metavar="FILE", help="a PEM file to trust besides the usual authorities")
    add("--client-cert", metavar="FILE", help="a PEM certificate to show to the registry")
    add("--client-key", metavar="FILE", help="its key, if that is another file")
    add("--auth-host", action="append", default=[], metavar="HOST", help="a token server to trust")
    add("--offline", action="store_true", help="send nothing; answer from the local store")
    add("--timeout", type=seconds, metavar="SECONDS", help="for connecting and for each answer")
    return parser


def inside() -> Parser:
    """Say which layers are looked into, and what stays of them."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--layer",
        type=layer,
        metavar="LAYER",
        help="one layer by itself: its digest or position, 0 for the base, -1 for the uppermost; "
        "default: all of them, merged",
    )
    _keep(parser)
    return parser


def keeping() -> Parser:
    """Say what stays of the layers that are read."""
    parser = Parser(add_help=False)
    _keep(parser)
    return parser


def _keep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        action="store_true",
        help="add the layers that had to be read whole to the local store",
    )


def layer(text: str) -> int | str:
    """Read a layer's position or digest.

    >>> layer("3"), layer("-1"), layer("sha256:0a")
    (3, -1, 'sha256:0a')
    """
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII) else text


def depth(text: str) -> int:
    """Read how many levels there are to be."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"not a number of levels: {text!r}")
    return value


depth.__name__ = "number of levels"


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return value


def patience(text: str) -> float:
    """Read a number of seconds, which may be 0."""
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return value


seconds.__name__ = patience.__name__ = "number of seconds"


def workers(text: str) -> int:
    """Read how many connections there are to be."""
    value = int(text)
    if not 1 <= value <= 64:
        raise argparse.ArgumentTypeError(f"not a number from 1 to 64: {text!r}")
    return value


workers.__name__ = "number of connections"


def port(text: str) -> int:
    """Read a port; 0 is a free one."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"not a port: {text!r}")
    return value


port.__name__ = "port"
