"""Cards of a Registry and a Repository: what is known without asking, and what to ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from didlab.sizes import human
from didlab.views import text
from didlab.views.cards import parts

#: Names that are shown.
MAX_NAMES = 40


@parts.safely
def registry(facts: Mapping[str, Any]) -> str:
    """Return the card: how it is talked to, and what that cost so far. No secret of the login."""
    rows = []
    mirrors = [_bare(mirror) for mirror in facts.get("mirrors") or ()]
    if mirrors:
        rows.append(("mirrors", parts.code(", ".join(mirrors))))
    if facts.get("proxy"):
        rows.append(("proxy", parts.code(_bare(str(facts["proxy"])))))
    if facts.get("login"):
        rows.append(("login", parts.code(facts["login"])))
    asked = facts.get("requests") or 0
    spent = f"{text.count(asked, 'request')}, {human(facts.get('bytes') or 0)} so far"
    chips = [word for word in ("offline", "insecure") if facts.get(word)]
    return parts.frame(
        parts.title(facts["name"], "registry", *chips),
        parts.line(spent if asked else "nothing asked yet"),
        parts.block(parts.pairs(rows)),
        parts.block(_names("repositories", facts.get("repositories") or ())),
        parts.note('registry["name"] is a repository; .repositories(), .rate_limit(), .requests()'),
    )


@parts.safely
def repository(facts: Mapping[str, Any]) -> str:
    """Return the card: its name, and the tags that are known already."""
    return parts.frame(
        parts.title(f"{facts['registry']}/{facts['name']}", "repository"),
        parts.block(_names("tags", facts.get("tags") or ())),
        parts.note('repository["tag"] is an image; .tags() lists the tags'),
    )


def _names(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = len(names) - MAX_NAMES
    shown = "".join(parts.chip(name) for name in names[:MAX_NAMES])
    tail = parts.faint(f"and {more} more") if more > 0 else ""
    return parts.line(f"{what} seen: {len(names)}") + shown + tail


def _bare(address: str) -> str:
    """Return an address without its user and password."""
    scheme, between, rest = address.rpartition("://")
    return f"{scheme}{between}{rest.rpartition('@')[2]}"
