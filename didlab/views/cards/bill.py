"""The card of a bill of materials: what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from didlab.errors import printable
from didlab.views import text
from didlab.views.cards import parts


def line(facts: Mapping[str, Any]) -> str:
    """Return the repr.

    >>> line({"format": "SPDX", "specification": "2.3", "reference": "a:1", "counts": {"deb": 2}})
    '<Sbom a:1 · SPDX 2.3 · 2 packages>'
    """
    name = printable(facts["reference"], 300)
    many = text.count(sum(facts["counts"].values()), "package")
    return f"<Sbom {name} · {facts['format']} {facts['specification']} · {many}>"


@parts.safely
def bill(facts: Mapping[str, Any]) -> str:
    """Return the card."""
    counts = facts["counts"]
    rows = [(name, parts.code(f"{many:,}")) for name, many in sorted(counts.items())]
    return parts.frame(
        parts.title(
            facts["reference"], "bill of materials", f"{facts['format']} {facts['specification']}"
        ),
        parts.line(
            f"sha256:{text.short(facts['digest'])}",
            text.count(sum(counts.values()), "package"),
        ),
        parts.pairs(rows) if rows else "",
    )
