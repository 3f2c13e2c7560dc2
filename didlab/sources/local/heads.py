"""The members of a plain tar by its headers alone: contents are stepped over, not read."""

from __future__ import annotations

import logging

from didlab import _pausing as pausing
from didlab.errors import LimitExceeded, printable
from didlab.files import tar_header, tar_pax
from didlab.files.limits import Limits
from didlab.files.table import Entry
from didlab.files.tar_header import BLOCK, ZERO, blocks, invalid, shown
from didlab.files.tar_member import Ahead, member
from didlab.sources.local.backing import OpenFile

#: What an archive of images may cost: nothing is decompressed, so its size does not matter.
LIMITS = Limits(decompressed=2**60, entries=200_000)
#: Bytes read at a time: several small members lie in it.
_READ = 32 * 1024
#: Archives of which it was said that they have no end.
_told: set[tuple[str, object]] = set()

_log = logging.getLogger("didlab")


def heads(
    file: OpenFile, limits: Limits = LIMITS, twice: set[bytes] | None = None
) -> dict[bytes, Entry]:
    """Return the members by path; of a path that comes twice, the last one.

    ``twice`` gets the paths that do.

    Raises
    ------
    TarInvalid
        It is no tar, or breaks off.
    LimitExceeded
    """
    return _Heads(file, limits, set() if twice is None else twice).run()


class _Heads:
    def __init__(self, file: OpenFile, limits: Limits, twice: set[bytes]) -> None:
        self._file = file
        self._twice = twice
        self._limits = limits
        self._size = file.identity.size
        self._kept, self._kept_at = b"", 0
        self._ahead: Ahead | None = None
        self._found: dict[bytes, Entry] = {}

    def run(self) -> dict[bytes, Entry]:
        at = count = 0
        while at + BLOCK <= self._size:
            block = self._read(at, BLOCK)
            if block == ZERO:
                break
            count += 1
            if count > self._limits.entries:
                raise LimitExceeded(
                    f"the tar has more than {self._limits.entries} members: it holds no images",
                    what="members of an archive",
                    limit=self._limits.entries,
                    seen=count,
                )
            if not count % 1000:
                pausing.check()
            at = self._next(block, at)
        else:
            if at < self._size:
                raise invalid("the tar ends within a header", at)
            self._endless()
        if self._ahead is not None:
            raise invalid("the archive ends where a header announced a member", at)
        return self._found

    def _endless(self) -> None:
        """Say once that the tar may have been cut between two members: nothing else tells."""
        key = (self._file._name, self._file.identity)
        if key not in _told and len(_told) < 1000:
            _told.add(key)
            _log.warning(
                "%s has no end mark: it may not have been copied whole; didlab verify tells what "
                "is missing",
                printable(self._file._name),
            )

    def _next(self, block: bytes, at: int) -> int:
        """Take one header; return where the next one lies."""
        flag = block[156:157]
        if flag in (b"x", b"X", b"g", b"L", b"K"):
            return self._extended(flag, block, at)
        header = tar_header.parse(block, at)
        made = member(header, self._ahead or Ahead(), at, self._limits)
        self._ahead = None
        content = at + BLOCK
        if made.sparse:
            # No tool writes images so; whoever packs a layout by hand may.
            made.extra["sparse"] = []
            if made.sparse == "S":
                more = block[482]
                while more:
                    more = self._read(content, BLOCK)[504]
                    content += BLOCK
        if content + made.stored > self._size:
            raise invalid(
                f"it ends within {shown(made.path)}, {content + made.stored - self._size} bytes "
                "too early: it was not copied whole",
                at,
            )
        if made.path in self._found:
            self._twice.add(made.path)
        self._found[made.path] = made.entry(content)
        return content + blocks(made.stored) * BLOCK

    def _extended(self, flag: bytes, block: bytes, at: int) -> int:
        size = tar_header.extended(block, at)
        if size > self._limits.header:
            raise LimitExceeded(
                f"a header of {size} bytes at byte {at} of the tar",
                what="header",
                limit=self._limits.header,
                seen=size,
            )
        body = self._read(at + BLOCK, size)
        if flag != b"g":
            if self._ahead is None:
                self._ahead = Ahead()
            if flag == b"L":
                self._ahead.name = body.split(b"\0", 1)[0]
            elif flag == b"K":
                self._ahead.link = body.split(b"\0", 1)[0]
            else:
                self._ahead.pax = tar_pax.records(body, at, self._limits)
        return at + BLOCK + blocks(size) * BLOCK

    def _read(self, at: int, length: int) -> bytes:
        begin = at - self._kept_at
        if begin < 0 or begin + length > len(self._kept):
            stop = min(self._size, at + max(length, _READ))
            if stop < at + length:
                raise invalid("the tar ends within a header", at)
            self._kept, self._kept_at = self._file.read_at(at, stop), at
            begin = 0
        return self._kept[begin : begin + length]
