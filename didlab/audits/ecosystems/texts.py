"""What all parsers share: texts of bounded length, and the error for what is none of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from didlab.audits.ecosystems.package import PACKAGE_LIMIT, TEXT_LIMIT, Package
from didlab.errors import PackagesInvalid

__all__ = ["Skipped", "invalid", "limited", "paragraphs", "text", "word"]

_BETWEEN = re.compile(rb"\n{2,}|\Z")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")


def text(raw: bytes | str | None) -> str | None:
    """Return what is told, without the space around it, cut at the limit; None for nothing."""
    if raw is None:
        return None
    if isinstance(raw, bytes):
        # Four bytes are the most that one character has.
        raw = raw[: 4 * TEXT_LIMIT].decode("utf-8", "replace")
    return raw.strip()[:TEXT_LIMIT] or None


def word(raw: bytes | str | None) -> str | None:
    """Return `text` where it is one word, as names and versions are; else None."""
    found = text(raw)
    return found if found is not None and _WORD.fullmatch(found) else None


def invalid(what: str, where: str | None = None) -> PackagesInvalid:
    """Return the error that a parser raises."""
    return PackagesInvalid(what if where is None else f"{what} ({where})", where=where)


def limited(packages: Iterable[Package]) -> Iterator[Package]:
    """Pass packages on, up to the limit.

    Raises
    ------
    PackagesInvalid
        There are more.
    """
    for count, package in enumerate(packages):
        if count >= PACKAGE_LIMIT:
            raise invalid(f"more than {PACKAGE_LIMIT} packages in one file")
        yield package


def paragraphs(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield where each paragraph stands and what it has: one ends at an empty line."""
    start = 0
    for number, between in enumerate(_BETWEEN.finditer(content), 1):
        paragraph = content[start : between.start()]
        start = between.end()
        if paragraph.strip():
            yield f"paragraph {number}", paragraph


class Skipped:
    """Entries that could not be read: the others are given first, then one error tells of these.

    One damaged entry must not hide a thousand good ones, and must not go unnoticed.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._count = 0
        self._first = ""

    def add(self, where: str, why: str) -> None:
        """Note one; with very many, the file is no such database."""
        self._count += 1
        self._first = self._first or f"{where}: {why}"
        if self._count >= PACKAGE_LIMIT:
            self.tell()

    def tell(self) -> None:
        """Raise PackagesInvalid if there was any."""
        if self._count:
            raise invalid(f"{self._count} {self._what} cannot be read; the first, {self._first}")
