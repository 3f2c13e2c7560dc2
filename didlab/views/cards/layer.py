"""A Layer's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from didlab.oci import media_types
from didlab.sizes import human
from didlab.views import html, text
from didlab.views.cards import parts
from didlab.views.commands import clean


@parts.safely
def layer(facts: Mapping[str, Any]) -> str:
    """Return the card: what made the layer, its size within the image, its digests."""
    size, total = facts["size"], facts.get("image_size") or 0
    position, count = facts["position"], facts.get("count")
    packed = media_types.compression(facts["media_type"])
    said = clean(html.hidden(facts.get("created_by") or "", limit=5000))
    whole = text.count(count, "layer") if count else "the image"
    share = f"{100 * size / total:.0f} % of {whole}" if total and size <= total else None
    rows = [("digest", parts.code(facts["digest"]))]
    if facts.get("diff_id"):
        rows.append(("diff_id", parts.code(facts["diff_id"])))
    rows.append(("media type", parts.code(facts["media_type"])))
    annotations = facts.get("annotations") or {}
    return parts.frame(
        parts.title(f"layer {position}", str(facts.get("reference") or ""), packed),
        parts.line(human(size), share, plain=True),
        parts.bar(size / total, position) if total else "",
        parts.block(parts.mono(said, 1500)) if said else "",
        parts.block(parts.pairs(rows)),
        parts.fold("annotations", len(annotations), parts.named(annotations))
        if annotations
        else "",
    )
