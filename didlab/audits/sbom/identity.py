"""Names of bills: derived from what they say, so that the same image gives the same bill."""

from __future__ import annotations

import json
import uuid
from typing import Any

__all__ = ["uuid_of"]


def uuid_of(body: dict[str, Any]) -> str:
    """Return a UUID (version 5) that stands for the content of a bill."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return str(uuid.uuid5(uuid.NAMESPACE_OID, canonical))
