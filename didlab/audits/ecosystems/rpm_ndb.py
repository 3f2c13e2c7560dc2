"""rpm's own database, ``Packages.db`` (ndb): SUSE's since 2020.

Layout (rpm's ``lib/backend/ndb/rpmpkg.c``; little-endian): a header of 32 bytes, then slots of
16 (magic, package's number, block where it lies, blocks) to the end of some pages of 4096; a
package lies in blocks of 16 bytes: a head (magic, number, generation, length), the header, and a
tail (checksum, length, magic) that ends with the last block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from didlab.audits.ecosystems import rpm_header
from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import invalid
from didlab.errors import PackagesInvalid

__all__ = ["packages"]

_PAGE, _SLOT, _BLOCK = 4096, 16, 16
#: Of slots, 256 each: more than there may be packages.
_PAGES_LIMIT = 1024
_SLOT_MAGIC, _HEAD_MAGIC = b"Slot", b"BlbS"


def packages(content: bytes) -> Iterator[Package]:
    """Yield the packages of a database, in the order of its slots.

    Raises
    ------
    PackagesInvalid
        It is no such database; or, after all others, some headers cannot be read.
    """
    return rpm_header.packages(_blobs(content))


def _blobs(content: bytes) -> Iterator[bytes | PackagesInvalid]:
    if len(content) < _PAGE or not content.startswith(b"RpmP"):
        raise invalid("Packages.db is no ndb database")
    version, _, pages = struct.unpack_from("<III", content, 4)
    end = pages * _PAGE
    if version != 0 or not 0 < pages <= _PAGES_LIMIT or end > len(content):
        raise invalid("Packages.db is of another version, or cut")
    room = len(content)
    # The header takes the place of two slots.
    for position in range(2 * _SLOT, end, _SLOT):
        magic, number, block, _count = struct.unpack_from("<4sIII", content, position)
        if not number and magic == _SLOT_MAGIC:  # free
            continue
        start = block * _BLOCK
        head = content[start : start + 16]
        size = int.from_bytes(head[12:16], "little")
        if magic != _SLOT_MAGIC or not head.startswith(_HEAD_MAGIC + number.to_bytes(4, "little")):
            yield invalid("its slot leads to no package", f"byte {position}")
        elif len(head) < 16 or start + 16 + size > len(content):
            yield invalid("it goes beyond the file", f"byte {position}")
        else:
            # Many slots may lead to one package; then it would come again and again.
            room -= size + 28
            if room < 0:
                raise invalid("Packages.db gives more than it holds", f"byte {position}")
            yield content[start + 16 : start + 16 + size]
