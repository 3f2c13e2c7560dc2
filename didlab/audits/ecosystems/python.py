"""Python distributions: ``*.dist-info/METADATA``, ``*.egg-info/PKG-INFO`` and ``*.egg-info``.

By packaging.python.org's core metadata: headers as in mail, up to the first empty line. What a
distribution carries along below ``_vendor`` counts like any other; `pip list` does not see it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import invalid, text, word

__all__ = ["packages"]

#: A header's name and first line; ``Description`` of old goes on in lines that begin with space.
_HEADERS = re.compile(
    rb"^(name|version|license|license-expression|classifier):[ \t]*([^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_END = re.compile(rb"(?:\A|\n)\r?\n")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: A license's text often stands where its name should: no name is longer.
_LICENSE_LIMIT = 200
_LEADS = ("License :: OSI Approved :: ", "License :: ")


def packages(content: bytes) -> Iterator[Package]:
    """Yield the one distribution of a metadata file.

    Its license is ``License-Expression``, else ``License`` if that is a name, else what its
    classifiers say.

    Raises
    ------
    PackagesInvalid
        It has no name.
    """
    head = content[: end.start()] if (end := _END.search(content)) else content
    fields: dict[bytes, bytes] = {}
    classifiers = []
    for header, value in _HEADERS.findall(head):
        key = header.lower()
        if key == b"classifier":
            classifiers.append(text(value) or "")
        else:
            fields.setdefault(key, value)
    name = text(fields.get(b"name"))
    if name is None or not _NAME.fullmatch(name):
        raise invalid("Python metadata without a Name")
    yield Package("pypi", name, word(fields.get(b"version")), license=_license(fields, classifiers))


def _license(fields: dict[bytes, bytes], classifiers: list[str]) -> str | None:
    if expression := text(fields.get(b"license-expression")):
        return expression
    named = text(fields.get(b"license"))
    if named and named != "UNKNOWN" and len(named) <= _LICENSE_LIMIT:
        return named
    found = []
    for classifier in classifiers:
        lead = next((lead for lead in _LEADS if classifier.startswith(lead)), None)
        if lead and classifier != "License :: OSI Approved":
            found.append(classifier.removeprefix(lead))
    return text("; ".join(found))
