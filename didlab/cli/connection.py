"""From arguments to the library's registry options; passwords never come by argument."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from didlab.errors import InvalidArgument, printable

#: Longer than any password or token; a whole file piped in by mistake is not read.
_LONGEST = 64 * 1024


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what ``didlab.open`` and ``didlab.Registry`` take. Reads the password if need be."""
    if args.client_key is not None and args.client_cert is None:
        raise InvalidArgument("--client-key needs --client-cert")
    client_cert = args.client_cert
    if args.client_key is not None:
        client_cert = (args.client_cert, args.client_key)
    made: dict[str, Any] = {
        "mirrors": tuple(args.mirror),
        "proxy": args.proxy,
        "insecure": args.insecure or None,
        "ca": args.ca,
        "client_cert": client_cert,
        "auth_hosts": tuple(args.auth_host),
        "timeout": args.timeout,
        "offline": args.offline,
    }
    if getattr(args, "foreign", False):  # not all commands read layers
        made["foreign"] = True
    if args.username is not None:
        made.update(username=args.username, password=password(args.username))
    return made


def in_words(error: InvalidArgument, what: str | None) -> InvalidArgument:
    """Return an error that asks for a name in Python as one that asks for it here."""
    from didlab.sources.local.source import LocalSource
    from didlab.sources.locate import locate, split

    names = error.fields().get("available")
    if what is None or not names or not (error.hint or "").startswith("name one: didlab.open("):
        return error
    source, _ = locate(what, {})
    if not isinstance(source, LocalSource):
        return error
    transport, path, _ = split(what)
    archive = "oci" if Path(path).expanduser().is_dir() else "oci-archive"
    transport = transport or (archive if source.view().format == "oci" else "docker-archive")
    hint = f"name one: {transport}:{path}:{printable(names[0], 200)}"
    return InvalidArgument(error.message, **{**error.fields(), "hint": hint})


def at_terminal(stream: Any) -> bool:
    """Whether a person is at the other end of a stream."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def password(username: str) -> str:
    """Ask for the password on a terminal, else read it from standard input.

    Raises
    ------
    InvalidArgument
        Nothing came.
    """
    if at_terminal(sys.stdin):
        try:
            answer = getpass.getpass(f"Password for {printable(username, 100)}: ")
        except EOFError:
            raise KeyboardInterrupt from None
    else:
        try:
            answer = sys.stdin.read(_LONGEST + 1) if sys.stdin is not None else ""
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"what came on standard input is no {error.encoding} text, so no password"
            ) from None
        if len(answer) > _LONGEST:
            raise InvalidArgument("what came on standard input is too long for a password")
        # The newline is echo's, any other white space may be the password's.
        answer = answer.removesuffix("\n").removesuffix("\r")
    if not answer:
        raise InvalidArgument(
            "no password came on standard input",
            hint="echo SECRET | didlab … --username NAME, or run it on a terminal",
        )
    return answer
