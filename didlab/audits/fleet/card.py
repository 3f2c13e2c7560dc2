"""The card of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from didlab.views import html, text
from didlab.views.cards import parts

#: Checks that are shown.
MOST = 30


@parts.safely
def card(facts: Mapping[str, Any]) -> str:
    """Return a Report's card: how far it is, and what each check has."""
    checks = facts["checks"]
    rows = [
        (
            parts.code(name, 80),
            html.escape(f"{rows:,}"),
            html.escape(text.count(bad, "image")) if bad else "",
        )
        for name, rows, bad in checks[:MOST]
    ]
    more = len(checks) - len(rows)
    tail = parts.note(f"and {more} more") if more else ""
    state = None if facts["state"] == "complete" else facts["state"]
    return parts.frame(
        parts.title(text.count(facts["images"], "image"), "audit", state),
        parts.line(
            f"{facts['distinct']} distinct",
            f"{facts['done']} done" if state else None,
            f"{facts['failed']} with errors" if facts["failed"] else None,
            plain=True,
        ),
        parts.block(parts.grid(("check", "rows", "errors"), rows, (1, 2), tail=tail)),
    )
