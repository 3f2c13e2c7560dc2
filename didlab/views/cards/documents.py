"""Cards of a config and of an attestation, and what a config says of how an image runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from didlab.oci import artifacts
from didlab.views import html, text
from didlab.views.cards import parts, warnings


@parts.safely
def config(facts: Mapping[str, Any]) -> str:
    """Return a Config's card: how the image runs, and the whole JSON below."""
    created = facts.get("created")
    return parts.frame(
        parts.title(facts.get("platform") or "unknown", "config"),
        parts.line(
            f"image ID {facts['image_id'].partition(':')[0]}:{text.short(facts['image_id'])}"
            if facts.get("image_id")
            else None,
            f"created {text.moment(created)} UTC" if isinstance(created, datetime) else None,
            text.count(facts["layers"], "layer"),
        ),
        "".join(parts.warning(one) for one in warnings.of({"config": facts})),
        parts.block(runtime(facts)),
        _tree(facts),
    )


def runtime(config: Mapping[str, Any]) -> str:
    """Return how an image runs, environment and labels folded; empty if it says nothing."""
    ran = [
        (name, parts.mono(_words(config[key]), 300))
        for name, key in (("entrypoint", "entrypoint"), ("cmd", "cmd"))
        if config.get(key)
    ]
    ran += [
        (name, parts.mono(config[key], 200))
        for name, key in (("user", "user"), ("working dir", "working_dir"))
        if config.get(key)
    ]
    ran += [
        (name, parts.mono(_some(config[key]), 300))
        for name, key in (("ports", "ports"), ("volumes", "volumes"))
        if config.get(key)
    ]
    folds = [
        parts.fold(name, len(config[key]), parts.named(config[key]))
        for name, key in (("environment", "env"), ("labels", "labels"))
        if config.get(key)
    ]
    if not ran and not folds:
        return ""
    # One line tells most of it; the rest is a click away.
    command = [*config.get("entrypoint", ()), *config.get("cmd", ())]
    first = parts.pairs([("runs", parts.mono(_words(command), 160))]) if command else ""
    return (
        first + (parts.fold("settings", len(ran), parts.pairs(ran)) if ran else "") + "".join(folds)
    )


@parts.safely
def attestation(facts: Mapping[str, Any]) -> str:
    """Return an Attestation's card, which claims nothing."""
    kind = facts["predicate_type"]
    return parts.frame(
        parts.title(artifacts.name(kind) or kind, "attestation", "not verified"),
        parts.line(
            f"sha256:{text.short(facts['digest'])}",
            f"attached to {text.short(facts['attached_to'])}",
        ),
        "" if facts["names_image"] else parts.warning("about something else than the image"),
        _tree(facts),
    )


def _tree(facts: Mapping[str, Any]) -> str:
    """Return the whole JSON, as far as it fits."""
    document = facts.get("json") or {}

    def drawn(rows: int) -> str:
        return parts.block(html.branches(document, rows=rows))

    return parts.fitting(drawn, (600, 200, 60, 20, 8), 50_000)


def _words(words: Sequence[str]) -> str:
    """Return a command as a shell would have it: words with spaces in them are quoted."""
    shown = []
    for word in words[:200]:
        cut = word[:1500]
        plain = cut and not any(char.isspace() or char in "\"'" for char in cut)
        shown.append(cut if plain else json.dumps(cut, ensure_ascii=False))
    return " ".join(shown)


def _some(values: Sequence[str], most: int = 20) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return "  ".join(value[:200] for value in values[:most]) + more
