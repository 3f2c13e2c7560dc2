"""From a path to its members: a plain tar by its headers, a compressed one by one pass."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from didlab import _pausing as pausing
from didlab.errors import CompressionInvalid, TarInvalid
from didlab.files import sniff
from didlab.files.decompress import decoder
from didlab.files.limits import DEFAULT
from didlab.files.table import Entry
from didlab.files.walk import Walker
from didlab.sources.local.backing import Backing, DiskFile, Identity, OpenFile
from didlab.sources.local.heads import heads
from didlab.sources.local.members import FolderMembers, Members, TarMembers

#: Documents up to this size come along with the pass over a compressed archive, all of them
#: together up to the other: else each would be a way through the archive of its own.
_DOCUMENT = 256 * 1024
_TOGETHER = 16 * 1024 * 1024
#: Archives whose members one process remembers.
_REMEMBERED = 16

_known: OrderedDict[tuple[str, Identity], TarMembers] = OrderedDict()
_lock = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: globals().__setitem__("_lock", threading.Lock()))


def members(path: str) -> Members:
    """Return the members of what lies at a path.

    A plain tar costs its headers. A compressed one is decompressed once, nothing of it written to
    disk; the process remembers where its members lie as long as the file stays the same.

    Raises
    ------
    PathNotFound, PathError, SpecialFile
    CompressionInvalid, TarInvalid, LimitExceeded
        It is no tar, or damaged.
    """
    if Path(path).is_dir():
        return FolderMembers(path)
    return of(DiskFile(path))


def of(backing: Backing) -> TarMembers:
    """Return the members of an archive, remembered where it is still the same."""
    with backing.open() as file:
        key = (backing.name, file.identity)
        with _lock:
            found = _known.get(key)
            if found is not None:
                _known.move_to_end(key)
                return found
        made = listed(backing, file)
    with _lock:
        _known[key] = made
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return made


def forget() -> None:
    """Forget what this process remembers of archives."""
    with _lock:
        _known.clear()


def listed(backing: Backing, file: OpenFile) -> TarMembers:
    """Return the members of an archive that is open, and remember nothing."""
    size = file.identity.size
    first = file.read_at(0, min(size, sniff.NEEDED))
    try:
        kind = sniff.kind(first)
    except CompressionInvalid as error:
        seems = error.message.rpartition(": ")[2]
        raise CompressionInvalid(
            f"{backing.name} is no tar, plain or compressed with gzip or zstd: {seems}", where="0"
        ) from None
    if not size:
        raise TarInvalid(f"{backing.name} is empty", where="0")
    if kind == "tar":
        twice: set[bytes] = set()
        return TarMembers(backing, file.identity, heads(file, twice=twice), twice=twice)
    return _unpacked(backing, file, kind)


def _unpacked(backing: Backing, file: OpenFile, kind: sniff.Kind) -> TarMembers:
    riding = 0

    def wanted(_: bytes, size: int) -> bool:
        nonlocal riding
        if size > _DOCUMENT or riding + size > _TOGETHER:
            return False
        riding += size
        return True

    walker, decoding = Walker(DEFAULT, wanted), decoder(kind)
    for piece in file.pieces(0, file.identity.size):
        for content in decoding.feed(piece):
            pausing.check()
            walker.feed(content)
    decoding.end()
    entries: dict[bytes, Entry] = {}
    twice: set[bytes] = set()
    for entry in walker.finish():
        if entry.path in entries:
            twice.add(entry.path)
        entries[entry.path] = entry
    marks = tuple(decoding.marks)
    return TarMembers(backing, file.identity, entries, kind, marks, walker.captured, twice)
