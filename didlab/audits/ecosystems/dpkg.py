"""dpkg's database: ``/var/lib/dpkg/status``, and distroless' ``status.d/*``.

deb-control(5) gives the form, dpkg(1) the states. Counted is what has its files unpacked:
``installed``, and ``unpacked``, ``half-configured``, ``triggers-awaited`` and
``triggers-pending`` too, because their files are there to be used or attacked. Not counted are
``not-installed``, ``config-files`` (removed) and ``half-installed`` (broken off before all files
were there); ``dpkg-query -W`` lists the last two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import Skipped, limited, paragraphs, text, word

__all__ = ["packages"]

_FIELDS = re.compile(
    rb"^(package|status|version|architecture|source):[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_SOURCE = re.compile(rb"\s*([^\s()]+)\s*(?:\(\s*([^\s()]+)\s*\))?\s*")
_UNPACKED = frozenset(
    [b"installed", b"unpacked", b"half-configured", b"triggers-awaited", b"triggers-pending"]
)


def packages(content: bytes, *, states: bool = True) -> Iterator[Package]:
    """Yield the packages of a status file.

    Parameters
    ----------
    content : bytes
        The file.
    states : bool
        Whether a package without a ``Status:`` is not there. False for ``status.d``, whose files
        have none.

    Raises
    ------
    PackagesInvalid
        After all others: some paragraphs are no packages.
    """
    return limited(_packages(content, states))


def _packages(content: bytes, states: bool) -> Iterator[Package]:
    skipped = Skipped("paragraphs of dpkg's status")
    for where, paragraph in paragraphs(content):
        fields: dict[bytes, bytes] = {}
        for field in _FIELDS.finditer(paragraph):
            fields.setdefault(field[1].lower(), field[2])
        name = text(fields.get(b"package"))
        if name is None or not _NAME.fullmatch(name):
            skipped.add(where, "it has no Package")
            continue
        status = fields.get(b"status", b"").split()
        if (states or status) and (not status or status[-1].lower() not in _UNPACKED):
            continue
        version = word(fields.get(b"version"))
        if version is None:
            skipped.add(where, f"{name} has no Version")
            continue
        # What is built from a source of its own name and version does not say so.
        source, source_version = name, version
        if told := _SOURCE.fullmatch(fields.get(b"source", b"")):
            source = text(told[1]) or name
            source_version = text(told[2]) or version
        yield Package(
            "deb", name, version, word(fields.get(b"architecture")), source, source_version
        )
    skipped.tell()
