"""What tags named when the registry was last asked: for work without a network only."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from didlab.blobs import copying, folder
from didlab.blobs.refusals import translated
from didlab.errors import DidlabError, MalformedContent
from didlab.oci import strict_json
from didlab.oci.config import parse_time
from didlab.oci.descriptor import Descriptor

_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Remembered:
    """The manifest that a tag named at a time (aware, UTC)."""

    descriptor: Descriptor
    as_of: datetime


def _path(root: Path, name: str) -> Path:
    encoded = hashlib.sha256(name.encode()).hexdigest()
    return root / folder.VERSION / "tags" / f"{encoded}.json"


def remember(root: Path, name: str, descriptor: Descriptor, now: datetime | None = None) -> None:
    """Write down what ``registry/repository:tag`` names now.

    Raises
    ------
    DiskFull, WriteFailed
    """
    content = {
        "name": name,
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "asOf": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    path, fresh = _path(root, name), folder.ingest_path(root)
    with translated(path):
        descriptor_number = copying.open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            copying.write_at(descriptor_number, json.dumps(content).encode(), 0)
        finally:
            os.close(descriptor_number)
        try:
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


def recall(root: Path, name: str) -> Remembered | None:
    """Return what was written down, or None; a broken note counts as none."""
    try:
        descriptor_number = copying.open_file(_path(root, name), os.O_RDONLY)
        try:
            raw = copying.read_at(descriptor_number, _LIMIT + 1, 0)
        finally:
            os.close(descriptor_number)
        found = strict_json.loads(raw, limit=_LIMIT, error=MalformedContent, what="a stored tag")
        if not isinstance(found, dict) or found.get("name") != name:
            return None
        as_of = parse_time(found["asOf"])
        descriptor = Descriptor.from_json(
            {key: found[key] for key in ("mediaType", "digest", "size")}, "a stored tag"
        )
    except (OSError, DidlabError, KeyError):
        return None
    return None if as_of is None else Remembered(descriptor, as_of)
