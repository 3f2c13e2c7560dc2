"""rpm's database in Berkeley DB, ``Packages``: a hash of headers; RHEL's to 8, SUSE's to 15.

Layout (Berkeley DB's ``dbinc/db_page.h``; in the writer's byte order): pages of one size, the
first of which describes the file. Hash pages list offsets of items, a key and a value in turn;
values that are large lie in a chain of overflow pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from didlab.audits.ecosystems import rpm_header
from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import invalid
from didlab.errors import PackagesInvalid

__all__ = ["packages"]

_HASH_MAGIC = 0x061561
_HEAD = 26
_HASH_PAGES = frozenset([2, 13])
_OVERFLOW_PAGE = 7
_INLINE, _OFFPAGE = 1, 3
_ITEM_LIMIT = 1_000_000


def packages(content: bytes) -> Iterator[Package]:
    """Yield the packages of a database, in the order of its pages.

    Raises
    ------
    PackagesInvalid
        It is no such database, or is encrypted; or, after all others, some headers cannot be
        read.
    """
    return rpm_header.packages(_Hash(content).values())


class _Hash:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._order = "<" if content[12:16] == _HASH_MAGIC.to_bytes(4, "little") else ">"
        self._size = 0
        self._items = 0
        self._seen: set[int] = set()

    def _number(self, kind: str, position: int) -> int:
        value: int = struct.unpack_from(self._order + kind, self._content, position)[0]
        return value

    def values(self) -> Iterator[bytes | PackagesInvalid]:
        """Yield every value but that of key 0, which counts packages."""
        if len(self._content) < 512 or self._number("I", 12) != _HASH_MAGIC:
            raise invalid("Packages is no Berkeley DB hash")
        self._size = self._number("I", 20)
        if self._size not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536):
            raise invalid("Packages has pages of a size that there is not")
        if self._content[24]:
            raise invalid("Packages is encrypted")
        for page in range(1, len(self._content) // self._size):
            start = page * self._size
            if self._content[start + 25] in _HASH_PAGES and self._number("I", start + 8) == page:
                yield from self._page(start)

    def _page(self, start: int) -> Iterator[bytes | PackagesInvalid]:
        count = self._number("H", start + 20)
        if _HEAD + 2 * count > self._size:
            yield invalid("a page has more items than fit", f"byte {start}")
            return
        offsets = [self._number("H", start + _HEAD + 2 * item) for item in range(count)]
        # Items fill a page from its end, so each ends where the one before it begins.
        for item in range(1, count, 2):
            offset, end = offsets[item], offsets[item - 1]
            if not _HEAD + 2 * count <= offset < end <= self._size:
                yield invalid("an item is outside of its page", f"byte {start}")
                return
            self._items += 1
            if self._items > _ITEM_LIMIT:
                raise invalid(f"Packages has more than {_ITEM_LIMIT} items")
            kind = self._content[start + offset]
            if kind == _OFFPAGE and end - offset >= 12:
                yield self._chain(
                    self._number("I", start + offset + 4), self._number("I", start + offset + 8)
                )
            elif kind == _INLINE and end - offset > 5:
                yield self._content[start + offset + 1 : start + end]

    def _chain(self, page: int, size: int) -> bytes | PackagesInvalid:
        parts, left = [], size
        while left > 0:
            start = page * self._size
            if page in self._seen or not page or start + self._size > len(self._content):
                return invalid("its chain of pages leads nowhere", f"page {page}")
            # Of one item at most: no page is read twice.
            self._seen.add(page)
            length = self._number("H", start + 22)
            if self._content[start + 25] != _OVERFLOW_PAGE or not 0 < length <= self._size - _HEAD:
                return invalid("its chain goes through another page", f"page {page}")
            parts.append(self._content[start + _HEAD : start + _HEAD + length])
            left -= length
            page = self._number("I", start + 16)
        return b"".join(parts)
