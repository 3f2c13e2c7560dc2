"""The commands that list what is in one image: packages, secrets, users and the like."""

from __future__ import annotations

import argparse
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from didlab.cli import connection, findings, several
from didlab.cli.tables import Output, Table
from didlab.errors import Unsupported
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image

_SYSTEM = ("id", "version", "codename", "pretty_name", "eol", "eol_lts", "source", "dated")
_SEVERITIES = ("high", "medium", "low")


def image(args: argparse.Namespace) -> Manifest:
    """Return the image that the arguments name."""
    return open_image(args.reference, args.platform, **connection.options(args))


def manner(args: argparse.Namespace) -> dict[str, Any]:
    """Return how layers are read."""
    return {"progress": False if args.quiet else None, "keep": args.keep}


def packages(args: argparse.Namespace) -> int:
    """List the packages."""
    found = Table.of(image(args).packages(args.ecosystem, **manner(args)))
    if args.name is not None:
        at, pattern = found.columns.index("name"), args.name.lower()
        rows = [row for row in found.rows if fnmatchcase(row[at].lower(), pattern)]
        found = Table(found.columns, rows)
    Output(args.shape).table(found, "ecosystem", "name", "version", "architecture", "layer")
    return _any(args, found, "package")


def secrets(args: argparse.Namespace) -> int:
    """List what looks like a secret."""
    found = Table.of(image(args).secrets(**manner(args)))
    shown = ("severity", "rule", "redacted", "layer", "deleted", "where", "line", "path", "name")
    Output(args.shape).table(found, *shown)
    if args.fail_on is None:
        return 0
    grave = _SEVERITIES[: _SEVERITIES.index(args.fail_on) + 1]
    count = sum(row["severity"] in grave for row in found.records())
    return findings.status(count, "secret", args.fail_on)


def setuid(args: argparse.Namespace) -> int:
    """List the files with rights of their own."""
    found = Table.of(image(args).setuid(**manner(args)))
    shown = ("kind", "permissions", "uid", "gid", "size", "layer", "path", "capabilities")
    Output(args.shape).table(found, *shown)
    return _any(args, found, "file")


def users(args: argparse.Namespace) -> int:
    """List the users."""
    found = Table.of(image(args).users(**manner(args)))
    shown = ("user", "uid", "gid", "password", "home", "shell", "groups")
    Output(args.shape).table(found, *shown)
    if args.fail_on is None:
        return 0
    count = sum(row["password"] == "empty" for row in found.records())  # noqa: S105
    return findings.status(count, "user", args.fail_on)


def certificates(args: argparse.Namespace) -> int:
    """List the certificates."""
    try:
        found = Table.of(image(args).certificates(**manner(args)))
    except ImportError as error:
        raise Unsupported(str(error)) from None
    Output(args.shape).table(found, "expired", "not_after", "ca", "key", "path", "subject")
    if args.fail_on is None:
        return 0
    count = sum(row["expired"] for row in found.records())
    return findings.status(count, "certificate", args.fail_on)


def os(args: argparse.Namespace) -> int:
    """Show the distribution."""
    found = image(args).os(**manner(args))
    facts = {name: _plain(getattr(found, name)) for name in _SYSTEM}
    facts["supported"] = found.supported()
    output = Output(args.shape)
    if args.shape == "json":
        output.json(facts)
    else:
        output.table(Table(("field", "value"), list(facts.items())))
    if args.fail_on is None:
        return 0
    return findings.status(int(facts["supported"] is False), "system without support", args.fail_on)


def base(args: argparse.Namespace) -> int:
    """List the candidates, the best first."""
    options = several.options(args, (args.reference, *args.candidates))
    about = open_image(args.reference, args.platform, **options)
    candidates = [open_image(name, None, **options) for name in args.candidates]
    found = Table.of(about.base(candidates))
    shown = ("is_base", "shared_layers", "shared_bytes", "platform", "digest", "reference")
    Output(args.shape).table(found, *shown)
    return 0


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _any(args: argparse.Namespace, found: Table, what: str) -> int:
    return 0 if args.fail_on is None else findings.status(len(found.rows), what, args.fail_on)
