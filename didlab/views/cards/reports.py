"""Cards of what was done: a save, a load, a copy, an extraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from didlab.sizes import human
from didlab.views import html, text
from didlab.views.cards import parts

#: Images, hosts, notes and skipped entries that are shown.
MOST = 20


@parts.safely
def saved(facts: Mapping[str, Any]) -> str:
    """Return a SaveReport's card."""
    return parts.frame(
        parts.title(facts["path"], "saved", facts.get("platform")),
        parts.line(human(facts["size"]), f"{facts['seconds']:.1f} s", plain=True),
        _split(
            (("downloaded", facts["downloaded"]), ("reused", facts["reused"])),
        ),
        parts.block(
            parts.pairs(
                (name, parts.code(facts[key]))
                for name, key in (("image ID", "image_id"), ("digest", "digest"))
                if facts.get(key)
            )
        ),
        _images(facts.get("images") or ()),
        _served(facts.get("served") or {}),
        _notes(facts.get("notes") or ()),
    )


@parts.safely
def loaded(facts: Mapping[str, Any]) -> str:
    """Return a LoadReport's card."""
    images = list(facts.get("images") or ())
    name = images[0][0] if len(images) == 1 else f"{len(images)} images"
    said = facts.get("messages") or ()
    return parts.frame(
        parts.title(name, "loaded", f"daemon {facts['daemon']}" if facts.get("daemon") else None),
        parts.line(human(facts["size"]), f"{facts['seconds']:.1f} s", plain=True),
        _split((("downloaded", facts["downloaded"]), ("reused", facts["reused"]))),
        _images(images),
        _served(facts.get("served") or {}),
        _notes((*said, *(facts.get("notes") or ()))),
    )


@parts.safely
def copied(facts: Mapping[str, Any]) -> str:
    """Return a CopyReport's card."""
    kinds = ("uploaded", "mounted", "present")
    return parts.frame(
        parts.title(facts["reference"], "copied"),
        parts.line(
            ", ".join(f"{text.count(facts[kind], 'blob')} {kind}" for kind in kinds if facts[kind]),
            text.count(facts["manifests"], "manifest"),
            f"{facts['seconds']:.1f} s",
            plain=True,
        ),
        _split(tuple((kind, facts[f"{kind}_bytes"]) for kind in kinds)),
        parts.block(parts.pairs([("digest", parts.code(facts["digest"]))])),
        _notes(facts.get("notes") or ()),
    )


@parts.safely
def extracted(facts: Mapping[str, Any]) -> str:
    """Return the card of what an extraction wrote."""
    skipped = facts.get("skipped") or ()
    rows = [(parts.code(name), parts.faint(why)) for name, why in skipped[:MOST]]
    more = len(skipped) - len(rows)
    return parts.frame(
        parts.title(facts["path"], "extracted"),
        parts.line(
            *(f"{facts[kind]} {kind}" for kind in ("files", "directories", "links") if facts[kind]),
            human(facts["bytes"]),
            plain=True,
        ),
        parts.block(
            parts.fold(
                "skipped",
                len(skipped),
                parts.grid(("", ""), rows, tail=parts.note(f"and {more} more") if more else ""),
            )
        )
        if skipped
        else "",
    )


def _split(shares: Sequence[tuple[str, int]]) -> str:
    """Return bytes by where they came from, as a strip with its legend."""
    total = sum(size for _, size in shares)
    if not total:
        return ""
    found = [(size, number, name) for number, (name, size) in enumerate(shares) if size]
    legend = " ".join(
        f'<span style="font-size:12px;margin-right:12px;border-bottom:2px solid '
        f'{parts.hue(number)}">{html.escape(name)} {html.escape(human(size))}</span>'
        for size, number, name in found
    )
    return parts.strip([(size / total, number) for size, number, _ in found]) + legend


def _images(images: Sequence[tuple[str, str, str]]) -> str:
    """Return a table of images: name, ID, platforms."""
    if not images:
        return ""
    rows = [
        (parts.code(name, 120), parts.code(image_id[:19]), parts.faint(platforms, 80))
        for name, image_id, platforms in images[:MOST]
    ]
    more = len(images) - len(rows)
    tail = parts.note(f"and {more} more") if more > 0 else ""
    return parts.block(parts.grid(("image", "ID", "platform"), rows, tail=tail))


def _served(served: Mapping[str, int]) -> str:
    most = max(served.values(), default=0) or 1
    rows = [
        (parts.code(host, 80), html.escape(human(size)), parts.bar(size / most, 0))
        for host, size in list(served.items())[:MOST]
    ]
    if not rows:
        return ""
    return parts.block(parts.fold("served by", len(served), parts.grid(("", "", ""), rows, (1,))))


def _notes(notes: Sequence[str]) -> str:
    more = len(notes) - MOST
    return "".join(map(parts.note, notes[:MOST])) + (
        parts.note(f"and {more} more") if more > 0 else ""
    )
