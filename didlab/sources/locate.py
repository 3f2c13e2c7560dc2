"""From what a user writes to a source and a reference. Nothing is looked at to decide."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from didlab.errors import InvalidArgument, InvalidReference, Unsupported
from didlab.oci.reference import Reference
from didlab.sources import chain, remarks
from didlab.sources.base import Source
from didlab.transport import effective

_LOCAL_START = ("/", "./", "../", "~", ".\\", "..\\", "\\\\")
_LOCAL_END = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_ARCHIVES = ("oci", "oci-archive", "docker-archive")
_TRANSPORTS = (*(f"{name}:" for name in _ARCHIVES), "docker-daemon:", "dir:")


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
    what: str | os.PathLike[str] | Reference, options: Mapping[str, Any], name: str | None = None
) -> tuple[Source, Reference]:
    """Return where an image is and what it is called there: no request, no look at the disk.

    ``name`` chooses an image of a local archive.

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
            return _local(what, options, name)
        reference = Reference.parse(str(what).removeprefix("docker://"))
        remarks.on_host(str(what), reference.registry)
    else:
        raise InvalidReference(
            f"an image is named by text, not by {type(what).__name__}",
            text="",
            reason="not text",
            hint='write didlab.open("nginx:1.27")',
        )
    if name is not None:
        raise InvalidArgument(
            "name= chooses an image of a local archive", hint="a registry's is named by its tag"
        )
    remarks.on_name(reference)
    made = effective.resolve(reference.registry, options)
    return chain.registry(reference.registry, made, reference.repository), reference


def _local(
    what: str | os.PathLike[str], options: Mapping[str, Any], label: str | None
) -> tuple[Source, Reference]:
    # Loaded when needed: who asks registries does without.
    from didlab.oci.local_name import LocalName
    from didlab.sources.local.daemon import DaemonSource
    from didlab.sources.local.source import LocalSource

    if label is not None and (not isinstance(label, str) or not label):
        raise InvalidArgument("name= takes text: the name of an image in the archive, or @0")
    effective.check_names(options)
    text = os.fspath(what)
    transport, path, inside = split(text) if isinstance(what, str) else ("", text, None)
    if inside is not None and label is not None:
        raise InvalidArgument(f"{text} names an image already, name= names {label}")
    label = label or inside
    if transport == "dir":
        raise Unsupported(
            "skopeo's dir: folders are not read",
            hint="skopeo copy dir:FOLDER oci:LAYOUT makes a layout of one",
        )
    if transport == "docker-daemon":
        if label is None:
            raise InvalidReference(
                "docker-daemon: needs the name of an image",
                text=text,
                reason="no name",
                hint='write didlab.open("docker-daemon:nginx:1.27")',
            )
        return DaemonSource(label), LocalName("", label, None, None, label)
    return LocalSource(_absolute(path), transport), LocalName.of(_absolute(path), label)


def split(text: str) -> tuple[str, str, str | None]:
    """Return transport, path, and what stands behind the path, of a local image's name.

    The first colon ends the path, as it does for skopeo; that of a drive letter does not.

    >>> split("oci:layout:1.27"), split("docker-archive:C:/a.tar:app:1"), split("./a.tar")
    (('oci', 'layout', '1.27'), ('docker-archive', 'C:/a.tar', 'app:1'), ('', './a.tar', None))
    """
    if not text.startswith(_TRANSPORTS):
        return "", text, None
    transport, _, rest = text.partition(":")
    if transport == "docker-daemon":
        return transport, "", rest or None
    drive = 2 if _DRIVE.match(rest) else 0
    path, colon, inside = rest[drive:].partition(":")
    if not path:
        raise InvalidReference(
            f"{text} names no file",
            text=text,
            reason="no path",
            hint=f"write {transport}:PATH or {transport}:PATH:NAME",
        )
    if colon and not inside:
        raise InvalidReference(
            f"{text} ends where the name of an image should be",
            text=text,
            reason="no name",
            hint=f"leave the last colon out, or write {transport}:PATH:NAME",
        )
    return transport, rest[:drive] + path, inside or None


def _absolute(path: str | bytes) -> str:
    if isinstance(path, bytes):
        raise InvalidArgument("a path is text, not bytes")
    if not path or "\0" in path:
        raise InvalidArgument(f"{path!r} is no path")
    try:
        return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - no look at the disk
    except RuntimeError:
        raise InvalidArgument(
            f"{path} cannot be resolved: the home directory is unknown", hint="write it out"
        ) from None
