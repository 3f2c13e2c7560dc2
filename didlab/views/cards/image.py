"""A Manifest's card: an image, an index of them, an artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from didlab import settings
from didlab.oci import artifacts
from didlab.sizes import human
from didlab.views import text
from didlab.views.cards import layers, parts, warnings
from didlab.views.cards.documents import runtime
from didlab.views.cards.looking import within

#: Platforms that are shown in the table.
MAX_PLATFORMS = 24


def manifest(
    facts: Callable[[], Mapping[str, Any]], look: Callable[[], object], *, seconds: float
) -> str:
    """Return the card. ``look`` fetches what ``facts`` lacks; it gets ``seconds``, no more.

    Never raises: a failure is shown with the call that tells it whole.
    """
    try:
        problem = None
        if "config" not in facts() and settings.current().card:
            problem = within(look, seconds)
        return _draw(facts(), problem)
    except Exception as error:  # noqa: BLE001 - a card that raises hides the object itself
        return parts.failed(error)


def _draw(facts: Mapping[str, Any], problem: str | None) -> str:
    artifact = facts.get("artifact_type")
    return parts.frame(
        _head(facts, artifact),
        _facts(facts),
        "".join(parts.warning(one) for one in warnings.of(facts)),
        _trouble(artifact, problem),
        parts.block(_platforms(facts.get("index"), facts.get("platforms") or ())),
        parts.block(_layers(facts, artifact)),
        parts.block(runtime(facts.get("config") or {})),
        parts.block(
            parts.fold("annotations", len(found), parts.named(found))
            if (found := facts.get("annotations"))
            else ""
        ),
    )


def _head(facts: Mapping[str, Any], artifact: str | None) -> str:
    platforms = facts.get("platforms")
    config = facts.get("config") or {}
    own = facts.get("platform") or (None if platforms else config.get("platform"))
    kind = "image"
    if artifact is not None:
        kind = artifacts.name(artifact) or "artifact"
    elif platforms is not None and not facts.get("platform"):
        kind = "index"
    chips = [own]
    if kind == "index":
        chips.append(text.count(len(platforms or ()), "platform"))
    if facts.get("attested"):
        chips.append("attested")
    return parts.title(facts["reference"], kind, *chips)


def _facts(facts: Mapping[str, Any]) -> str:
    digest = facts.get("digest")
    if digest is None:
        return parts.line("not fetched")
    config = facts.get("config") or {}
    created = config.get("created")
    made = None
    if isinstance(created, datetime):
        # A day: who wants the second asks m.config().created
        made = f"created {text.moment(created)[:10]} UTC"
        since = text.age(created, datetime.now(UTC))
        made = f"{made}, {since}" if since else made
    location = str(facts.get("location") or "")
    file = f"in {location}" if "/" in location and facts.get("local") else None
    return parts.line(f"{digest.partition(':')[0]}:{text.short(digest)}", made, file)


def _trouble(artifact: str | None, problem: str | None) -> str:
    if artifact is not None:
        return parts.note(f"no image: {artifacts.described(artifact)}")
    return parts.warning(problem) if problem is not None else ""


def _platforms(index: Sequence[Mapping[str, Any]] | None, names: Sequence[str]) -> str:
    if index is None:
        shown = ", ".join(names[:MAX_PLATFORMS])
        more = f" and {len(names) - MAX_PLATFORMS} more" if len(names) > MAX_PLATFORMS else ""
        return parts.note(f"platforms: {shown}{more}") if names else ""
    sizes = [row["size"] for row in index if row.get("size") is not None]
    largest = max(sizes, default=0) or 1
    # Where all have attestations the chip above says so.
    some = not all(row.get("attested") for row in index)
    rows = [
        (
            parts.code(row["platform"], 60),
            parts.code(text.short(row["digest"])),
            human(row["size"]) if row.get("size") is not None else parts.faint("·"),
            parts.bar(row["size"] / largest, 0)
            if row.get("size") is not None and len(sizes) > 1
            else "",
            parts.faint(_remarks(row, attested=some), 80),
        )
        for row in index[:MAX_PLATFORMS]
    ]
    left = len(index) - len(rows)
    tail = parts.note(f"and {left} more") if left > 0 else ""
    if not sizes:
        tail += parts.note("m.platforms(sizes=True) asks for the sizes")
    return parts.grid(("platform", "digest", "size", "", ""), rows, numbers=(2,), tail=tail)


def _remarks(row: Mapping[str, Any], *, attested: bool) -> str:
    found = [str(row["kind"])] if row.get("kind") not in (None, "image") else []
    if row.get("chosen"):
        found.append("shown below")
    if attested and row.get("attested"):
        found.append("attested")
    return ", ".join(found)


def _layers(facts: Mapping[str, Any], artifact: str | None) -> str:
    found = facts.get("layers")
    if not found:
        return ""
    made_by = list(facts.get("made_by") or [None] * len(found))
    types = list(facts.get("media_types") or [""] * len(found))
    noun = "layer" if artifact is None else "blob"
    whose = None
    if facts.get("platforms") and not facts.get("platform"):
        whose = (facts.get("config") or {}).get("platform")
    rows = [
        layers.Row(position, digest, size, (types[position] if artifact else command) or "", kind)
        for position, ((digest, size), command, kind) in enumerate(
            zip(found, made_by, types, strict=True)
        )
    ]
    size = human(facts["size"])
    return parts.total(
        whose, f"{text.count(len(found), noun)}, ", size, " to download"
    ) + layers.draw(rows, total=sum(size for _, size in found))
