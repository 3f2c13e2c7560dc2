"""Layers that registries do not hold: their publisher allows no copies (Windows' base layers)."""

from __future__ import annotations

from didlab.errors import BlobNotFound, printable
from didlab.oci.descriptor import Descriptor


def explained(error: Exception, descriptor: Descriptor) -> Exception:
    """Return the error, saying where the blob lies if its descriptor tells that it is elsewhere."""
    if not isinstance(error, BlobNotFound) or not descriptor.urls:
        return error
    place = printable(descriptor.urls[0], 300)
    more = f" (and at {len(descriptor.urls) - 1} more)" if len(descriptor.urls) > 1 else ""
    hint = f"the layer is non-distributable: it lies at {place}{more}, which didlab does not follow"
    return type(error)(error.message, **{**error.fields(), "hint": f"{hint} yet"})
