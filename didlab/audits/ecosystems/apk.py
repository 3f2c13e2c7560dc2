"""Alpine's database, ``lib/apk/db/installed``: one letter a field, an empty line after a package.

By apk-tools' description of the installed database (its version 2; apk-tools 3 keeps it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import Skipped, limited, paragraphs, text, word

__all__ = ["packages"]

#: P name, V version, A architecture, o origin, L license; others tell of files and needs.
_FIELDS = re.compile(rb"^([PVAoL]):([^\r\n]*)", re.MULTILINE)


def packages(content: bytes) -> Iterator[Package]:
    """Yield the packages of an installed database; a package's origin has its version.

    Raises
    ------
    PackagesInvalid
        After all others: some paragraphs are no packages.
    """
    return limited(_packages(content))


def _packages(content: bytes) -> Iterator[Package]:
    skipped = Skipped("paragraphs of apk's database")
    for where, paragraph in paragraphs(content):
        fields: dict[bytes, bytes] = {}
        for field in _FIELDS.finditer(paragraph):
            fields.setdefault(field[1], field[2])
        name, version = word(fields.get(b"P")), word(fields.get(b"V"))
        if name is None or version is None:
            skipped.add(where, "it has no P or no V")
            continue
        yield Package(
            "apk",
            name,
            version,
            word(fields.get(b"A")),
            word(fields.get(b"o")) or name,
            version,
            text(fields.get(b"L")),
        )
    skipped.tell()
