"""Options for several images at once: a login goes to one registry, and to no other."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from didlab.cli import connection
from didlab.errors import InvalidArgument, InvalidReference
from didlab.oci.reference import Reference
from didlab.sources.locate import is_local

__all__ = ["options"]


def options(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return what ``didlab.open`` takes, for all of these images.

    Raises
    ------
    InvalidArgument
        A login is given, and the images are at several registries. Nothing is read then.
    """
    if args.username is not None:
        found = dict.fromkeys(filter(None, map(_registry, names)))
        if len(found) > 1:
            raise InvalidArgument(
                f"--username is for one registry, and these are {len(found)}: "
                + ", ".join(list(found)[:5]),
                hint="without it each gets its own of docker's and podman's stored logins",
            )
    return connection.options(args)


def _registry(name: str) -> str | None:
    """Return the registry that a name is at; None of a file, and of what is no name.

    >>> _registry("ghcr.io/a/b:1.*"), _registry("nginx"), _registry("./app.tar")
    ('ghcr.io', 'docker.io', None)
    """
    if is_local(name):
        return None
    head, _, last = name.removeprefix("docker://").rpartition("/")
    # A pattern can only be in the tag.
    bare = last.partition(":")[0] or last
    try:
        return Reference.parse(f"{head}/{bare}" if head else bare).registry
    except InvalidReference:
        return None
