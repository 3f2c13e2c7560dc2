"""Where a task runs, and what it carries: a layer's index and facts, for those without our store.

Facts travel, layers never do: what was learned of a layer by one process serves all others.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from didlab import _pausing as pausing
from didlab.blobs import derived
from didlab.blobs import store as stores
from didlab.errors import LocalStoreError, MalformedContent
from didlab.files import codec, kept, toc
from didlab.files.looks import Look
from didlab.files.underway import Key
from didlab.model.indexing import known_index
from didlab.oci.descriptor import Descriptor

#: Where a task is: in the process that coordinates, beside its store, or elsewhere.
Place = Literal["here", "shared", "away"]

_log = logging.getLogger("didlab")
_homes: dict[str, Home] = {}


class Home:
    """The process that coordinates one audit, and what it keeps for the others."""

    def __init__(self, stop: pausing.Stop) -> None:
        self.token = uuid.uuid4().hex
        self.stop = stop
        self.process = os.getpid()
        self.store = stores.default()
        self._spool: Path | None = None
        self._spooled: set[Key] = set()
        _homes[self.token] = self
        if self.store is not None:
            # Whoever finds it looks into the same store, over whatever file system.
            try:
                derived.keep(self.store.root, _mark(self.token), self.token.encode())
            except LocalStoreError as error:
                _log.warning("the local store cannot be written: %s", error)
                self.store = None

    def put(self, key: Key, content: bytes) -> None:
        """Keep what was learned of a layer until the audit is over."""
        if self._spool is None:
            self._spool = Path(tempfile.mkdtemp(prefix="didlab-audit-"))
        (self._spool / _file(key)).write_bytes(content)
        self._spooled.add(key)

    def get(self, key: Key) -> bytes | None:
        """Return what was kept of a layer."""
        if self._spool is None or key not in self._spooled:
            return None
        return (self._spool / _file(key)).read_bytes()

    def close(self) -> None:
        """Forget it all."""
        _homes.pop(self.token, None)
        if self.store is not None:
            derived.discard(self.store.root, _mark(self.token))
        if self._spool is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._spool)


def _file(key: Key) -> str:
    return f"{key[0].replace(':', '-')}-{key[1]}"


def _mark(token: str) -> str:
    return f"audit {token}"


def home(token: str) -> Home | None:
    """Return the home of a task that runs in the process that coordinates."""
    found = _homes.get(token)
    # A fork has a copy.
    return found if found is not None and found.process == os.getpid() else None


def place(token: str) -> Place:
    """Return where this process is."""
    if home(token) is not None:
        return "here"
    store = stores.default()
    if store is not None and derived.load(store.root, _mark(token)) == token.encode():
        return "shared"
    return "away"


def known(descriptor: Descriptor, looks: Sequence[Look]) -> bool:
    """Whether this process can answer about a layer without reading it."""
    if known_index(descriptor) is None:
        return False
    vouched = toc.vouched(descriptor)
    return all(
        kept.facts(descriptor.digest, descriptor.size, look.name, vouched) is not None
        for look in looks
    )


def pack(descriptor: Descriptor, looks: Sequence[Look]) -> bytes | None:
    """Return what this process knows of a layer; None where that is not all."""
    index = known_index(descriptor)
    if index is None:
        return None
    digest, size, vouched = descriptor.digest, descriptor.size, toc.vouched(descriptor)
    parts = [codec.dump_index(index)]
    names = []
    for look in looks:
        facts = kept.facts(digest, size, look.name, vouched)
        if facts is None:
            return None
        names.append(look.name)
        parts.append(codec.dump_facts(facts, digest, size, look.name, index.vouched))
    head = {"vouched": index.vouched, "looks": names, "lengths": [len(part) for part in parts]}
    header = json.dumps(head).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def unpack(content: bytes, key: Key) -> None:
    """Make what another process knows of a layer known here.

    Raises
    ------
    MalformedContent
    """
    try:
        at = 4 + int.from_bytes(content[:4], "little")
        head = json.loads(content[4:at])
        vouched, names, lengths = head["vouched"], head["looks"], head["lengths"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedContent(f"what was learned of a layer came damaged: {error}") from None
    digest, size = key
    parts = []
    for length in lengths:
        parts.append(content[at : at + length])
        at += length
    index = codec.load_index(parts[0], digest, size, vouched)
    for name, part in zip(names, parts[1:], strict=True):
        kept.keep_facts(
            digest, size, name, codec.load_facts(part, digest, size, name, vouched), vouched
        )
    kept.keep_index(index)
