"""What a user should know about a name that is taken all the same: logged, each once."""

from __future__ import annotations

import logging

from didlab.errors import printable
from didlab.oci.reference import DEFAULT_REGISTRY, Reference

#: skopeo and others refuse names, registry and repository together, that are longer.
LONGEST = 255
#: Most names that are remembered as remarked on, and so remarked on, in one process.
LIMIT = 100

_log = logging.getLogger("didlab")
_told: set[tuple[str, str]] = set()


def on_host(written: str, registry: str) -> None:
    """Tell that a registry is known by another name, which logins go by.

    Only Docker Hub has several; upper case is nothing to tell about.
    """
    host = written.strip().removeprefix("docker://").partition("/")[0]
    if registry == DEFAULT_REGISTRY and host.lower().endswith(f".{DEFAULT_REGISTRY}"):
        _once("host", host.lower(), f"{host} is Docker Hub: taken as {registry}")


def on_name(reference: Reference) -> None:
    """Warn of a name that others do not take."""
    length = len(reference.name)
    if length > LONGEST:
        shown = f"{printable(reference.name, 60)} has {length} characters"
        _once("name", reference.name, f"{shown}: skopeo and others refuse more than {LONGEST}")


def _once(kind: str, name: str, message: str) -> None:
    if (kind, name) not in _told and len(_told) < LIMIT:
        _told.add((kind, name))
        _log.warning("%s", message)
