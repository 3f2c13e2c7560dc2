"""A file of named sections, each compressed, the whole with its digest.

::

    magic  SHA-256 of all that follows  header length (u32)  header (JSON)  sections …

It is how derived data (indexes, merged file systems) lies on disk. What is damaged, or of another
version, counts as absent: it can be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from didlab.errors import MalformedContent
from didlab.files import zstdlib

#: Raised with every change of what sections mean: older files are then made anew.
VERSION = 1

_MAGIC = b"didlab-index\0%d\n" % VERSION
_BASE = len(_MAGIC) + 32
#: What is shorter is not worth compressing.
_SHORT = 64


def build(facts: Mapping[str, Any], sections: Mapping[str, bytes]) -> bytes:
    """Return the file that holds ``facts`` (JSON) and ``sections``."""
    stored: list[bytes] = []
    where: dict[str, tuple[int, int, int]] = {}
    at = 0
    for name, raw in sections.items():
        packed = zstdlib.module().compress(raw, 3) if len(raw) > _SHORT else raw
        if len(packed) >= len(raw):
            packed = raw
        where[name] = (at, len(packed), len(raw))
        stored.append(packed)
        at += len(packed)
    header = json.dumps({"facts": dict(facts), "sections": where}).encode()
    body = b"".join([len(header).to_bytes(4, "little"), header, *stored])
    return b"".join([_MAGIC, hashlib.sha256(body).digest(), body])


class Sections:
    """A file that `build` made. Sections are decompressed when they are asked for.

    Raises
    ------
    MalformedContent
        Damaged, cut, or of another version.
    """

    def __init__(self, content: bytes) -> None:
        view = memoryview(content)
        if not content.startswith(_MAGIC):
            raise MalformedContent("a stored index is of another version")
        body = view[_BASE:]
        if hashlib.sha256(body).digest() != content[len(_MAGIC) : _BASE]:
            raise MalformedContent("a stored index is damaged")
        start = 4 + int.from_bytes(body[:4], "little")
        document = json.loads(bytes(body[4:start]))
        self.facts: dict[str, Any] = document["facts"]
        self._where: dict[str, tuple[int, int, int]] = document["sections"]
        self._sections = body[start:]

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> bytes:
        """Return a section."""
        at, stored, length = self._where[name]
        packed = self._sections[at : at + stored]
        if stored == length:
            return bytes(packed)
        raw: bytes = zstdlib.module().decompress(packed)
        return raw
