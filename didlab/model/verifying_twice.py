"""What a tar's headers tell beyond the members: the first of two with one name, roots in names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from didlab import _pausing as pausing
from didlab.files.decompress import decoder
from didlab.files.limits import DEFAULT
from didlab.files.table import Entry
from didlab.files.walk import Walker
from didlab.oci import digest as digests
from didlab.sources.local import heads
from didlab.sources.local.backing import OpenFile
from didlab.sources.local.members import TarMembers


class _First(dict[bytes, Entry]):
    """Keeps what came first."""

    def __setitem__(self, path: bytes, entry: Entry) -> None:
        self.setdefault(path, entry)


class _Heads(heads._Heads):
    """Reads the headers of a plain tar again; which names begin with a slash."""

    def __init__(self, file: OpenFile) -> None:
        super().__init__(file, heads.LIMITS, set())
        self._found = _First()
        self.rooted: set[bytes] = set()

    def _next(self, block: bytes, at: int) -> int:
        if block[156:157] not in (b"x", b"X", b"g", b"L", b"K"):
            name = block[:100].rstrip(b"\0")
            if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
                name = block[345:500]
            if self._ahead is not None:
                name = (self._ahead.pax or {}).get(b"path") or self._ahead.name or name
            if name.startswith(b"/"):
                self.rooted.add(b"/" + name.strip(b"/"))
        return super()._next(block, at)


def look(members: TarMembers) -> tuple[Mapping[bytes, Entry], set[bytes]]:
    """Return the first entry of each name, and the names that begin with a slash (of plain tars).

    Costs the headers, or a pass over a compressed archive where a name comes twice.
    """
    with members._source.open() as file:
        file.check(members.identity)
        if members.kind == "tar":
            made = _Heads(file)
            return made.run(), made.rooted
        if not any(True for _ in members.twice()):
            return members._entries, set()
        walker, decoding = Walker(DEFAULT), decoder(members._kind, points=False)
        for piece in file.pieces(0, members.identity.size):
            for content in decoding.feed(piece):
                pausing.check()
                walker.feed(content)
        decoding.end()
        found = _First()
        for entry in walker.finish():
            found[entry.path] = entry
        return found, set()


def with_entries(members: TarMembers, entries: Mapping[bytes, Entry]) -> TarMembers:
    """Return the same archive with other entries."""
    return TarMembers(members._source, members.identity, entries, members._kind, members._marks)


def best(members: TarMembers, first: TarMembers) -> TarMembers:
    """Return the archive with those of two blobs that are what their names say."""
    entries = dict(members._entries)
    for name in members.twice():
        kind, _, encoded = name.removeprefix("blobs/").partition("/")
        digest = f"{kind}:{encoded}"
        if not name.startswith("blobs/") or not digests.is_digest(digest):
            continue
        path = b"/" + name.encode()
        earlier = first.find(name)
        if earlier is None or path not in entries:
            continue
        hasher = hashlib.new(kind)
        for piece in first.pieces(earlier, 0, earlier.size):
            pausing.check()
            hasher.update(piece)
        if hasher.hexdigest() == encoded:
            entries[path] = first._entries[path]
    return with_entries(members, entries)
