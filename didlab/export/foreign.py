"""Layers that registries do not hold: their publisher allows no copies (Windows' base layers)."""

from __future__ import annotations

from didlab.errors import BlobNotFound, printable
from didlab.oci.descriptor import Descriptor


def explained(error: Exception, descriptor: Descriptor) -> Exception:
    """Return the error, saying where the blob lies if its descriptor tells that it is elsewhere."""
    if not isinstance(error, BlobNotFound) or not descriptor.urls:
        return error
    if error.fields().get("followed"):  # by whoever asked there already
        return error
    more = f" (and at {len(descriptor.urls) - 1} more)" if len(descriptor.urls) > 1 else ""
    hint = (
        f"the layer is non-distributable: it lies at {_shown(descriptor.urls[0])}{more}; "
        "foreign=True (--foreign) fetches it from there, without any login"
    )
    return type(error)(error.message, **{**error.fields(), "hint": hint})


def _shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    shown = url.partition("?")[0]
    scheme, colon, rest = shown.rpartition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return printable(f"{scheme}{colon}{host}{slash}{path}", 300)
