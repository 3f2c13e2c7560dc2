"""A file of named sections, each compressed, the whole with its digest.

::

    magic  SHA-256 of all that follows  header length (u32)  header (JSON)  sections …

The header says of each section: place, bytes, bytes unpacked, and what packed it: zstd, zlib where
this Python has no zstd, or nothing.

It is how derived data (indexes, merged file systems) lies on disk. What is damaged, or of another
version, counts as absent: it can be made again.
"""

from __future__ import annotations

import hashlib
import json
import zlib
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
_NOT, _ZLIB, _ZSTD = "", "zlib", "zstd"


def build(facts: Mapping[str, Any], sections: Mapping[str, bytes]) -> bytes:
    """Return the file that holds ``facts`` (JSON) and ``sections``."""
    stored: list[bytes] = []
    where: dict[str, tuple[int, int, int, str]] = {}
    at = 0
    for name, raw in sections.items():
        packed, how = _packed(raw)
        where[name] = (at, len(packed), len(raw), how)
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
        self._where: dict[str, tuple[int, int, int, str]] = document["sections"]
        ways = {how for _, _, _, how in self._where.values()}
        if not ways <= {_NOT, _ZLIB, _ZSTD} or (_ZSTD in ways and zstdlib.module() is None):
            raise MalformedContent("a stored index is packed in a way that this Python cannot read")
        self._sections = body[start:]

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> bytes:
        """Return a section."""
        at, stored, _, how = self._where[name]
        packed = self._sections[at : at + stored]
        if how == _NOT:
            return bytes(packed)
        raw: bytes = (zstdlib.module() if how == _ZSTD else zlib).decompress(packed)
        return raw


def _packed(raw: bytes) -> tuple[bytes, str]:
    """Return a section as it is stored, and what packed it."""
    if len(raw) > _SHORT:
        zstd = zstdlib.module()
        packed = zlib.compress(raw, 6) if zstd is None else zstd.compress(raw, 3)
        if len(packed) < len(raw):
            return packed, _ZLIB if zstd is None else _ZSTD
    return raw, _NOT
