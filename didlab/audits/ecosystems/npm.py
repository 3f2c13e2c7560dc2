"""npm packages: the ``package.json`` of what lies in a ``node_modules``.

By docs.npmjs.com's package.json: name, version, license (an SPDX expression, or in old ones an
object, or a list ``licenses`` of them).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import invalid, text, word

__all__ = ["packages"]


def packages(content: bytes) -> Iterator[Package]:
    """Yield the package of a package.json; none where it has no name, as markers of a folder.

    Raises
    ------
    PackagesInvalid
        It is no JSON object.
    """
    try:
        # npm takes what Node does: a byte order mark, the last of two equal keys.
        document = json.loads(content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        raise invalid("package.json is not JSON") from None
    if not isinstance(document, dict):
        raise invalid("package.json is no object")
    name = _word(document.get("name"))
    if name is not None:
        yield Package("npm", name, _word(document.get("version")), license=_license(document))


def _word(value: Any) -> str | None:
    return word(_utf8(value)) if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    return text(_utf8(value)) if isinstance(value, str) else None


def _utf8(value: str) -> bytes:
    # JSON's escapes can make half a character, which can be written nowhere.
    return value.encode("utf-8", "replace")


def _license(document: dict[str, Any]) -> str | None:
    told = document.get("license", document.get("licenses"))
    found = []
    for entry in told if isinstance(told, list) else [told]:
        name = _text(entry.get("type") if isinstance(entry, dict) else entry)
        if name:
            found.append(name)
        if len(found) > 100:
            break
    return text(" OR ".join(found))
