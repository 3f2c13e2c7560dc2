"""From what a user writes to a source and a reference. Nothing is looked at to decide."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from didlab.errors import InvalidReference, Unsupported
from didlab.oci.reference import Reference
from didlab.sources import chain, remarks
from didlab.sources.base import Source
from didlab.transport import effective

_LOCAL_START = ("/", "./", "../", "~", ".\\", "..\\", "\\\\")
_LOCAL_END = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_TRANSPORTS = ("oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "dir:")


def is_local(what: str | os.PathLike[str]) -> bool:
    r"""Whether an input names something on this machine, by its looks alone.

    >>> is_local("./app.tar"), is_local("C:\\images"), is_local("nginx:1.27")
    (True, True, False)
    """
    if not isinstance(what, str):
        return True
    return (
        what.startswith(_LOCAL_START)
        or what in (".", "..")
        or what.endswith(_LOCAL_END)
        or _DRIVE.match(what) is not None
        or what.startswith(_TRANSPORTS)
    )


def locate(
    what: str | os.PathLike[str] | Reference, options: Mapping[str, Any]
) -> tuple[Source, Reference]:
    """Return where an image is and what it is called there: no request.

    Raises
    ------
    InvalidReference, InvalidArgument, Unsupported
    ConfigError
        The user's own configuration file is broken.
    """
    if isinstance(what, Reference):
        reference = what
    elif isinstance(what, str | os.PathLike):
        if is_local(what):
            raise Unsupported(
                f"{os.fspath(what)!r} is local, and local images cannot be opened yet",
                hint="a registry's image is named like registry/repository:tag",
            )
        reference = Reference.parse(str(what).removeprefix("docker://"))
        remarks.on_host(str(what), reference.registry)
    else:
        raise InvalidReference(
            f"an image is named by text, not by {type(what).__name__}",
            text="",
            reason="not text",
            hint='write didlab.open("nginx:1.27")',
        )
    remarks.on_name(reference)
    made = effective.resolve(reference.registry, options)
    return chain.registry(reference.registry, made, reference.repository), reference
