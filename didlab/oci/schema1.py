"""Docker's image manifest version 2, schema 1: recognised, and refused by its name."""

from __future__ import annotations

from typing import Any, NoReturn

from didlab import errors
from didlab.oci import media_types

__all__ = ["is_schema1", "parse", "refuse"]


def is_schema1(document: dict[str, Any], media_type: str = "") -> bool:
    """Whether a parsed document, or the type it came with, is schema 1.

    >>> is_schema1({"schemaVersion": 1, "fsLayers": []})
    True
    """
    version = document.get("schemaVersion")
    return (
        media_types.is_schema1(media_type)
        or (type(version) is int and version == 1)
        or "fsLayers" in document
    )


def parse(raw: bytes) -> NoReturn:
    """Refuse ``raw``: a later version will convert it."""
    del raw
    refuse()


def refuse() -> NoReturn:
    """Raise `Unsupported`, which names schema 1."""
    raise errors.Unsupported(
        "the image is stored as Docker schema 1, which this version of didlab cannot read yet",
        hint="a later version converts it; until then push the image again with a current tool",
    )
