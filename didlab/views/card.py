"""A Manifest's HTML card: what is known, after a short look for what is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from didlab import settings
from didlab.errors import DidlabError
from didlab.oci import artifacts
from didlab.sizes import human
from didlab.views import html, text


def manifest(
    facts: Callable[[], Mapping[str, Any]], look: Callable[[], object], *, seconds: float
) -> str:
    """Return the card. ``look`` fetches what ``facts`` lacks; it gets ``seconds``, no more.

    Never raises: a failure is shown with the call that tells it whole.
    """
    try:
        problem = None
        if "config" not in facts() and settings.current().card:
            problem = _within(look, seconds)
        return _draw(facts(), problem)
    except Exception as error:  # noqa: BLE001 - a card that raises hides the object itself
        return html.wrap(html.note(f"no card: {type(error).__name__}"))


def _within(look: Callable[[], object], seconds: float) -> str | None:
    said: list[str] = []

    def run() -> None:
        try:
            look()
        except DidlabError as error:
            said.append(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001
            said.append(type(error).__name__)

    worker = threading.Thread(target=run, name="didlab-card", daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        return f"no answer within {seconds:.0f} s; m.config() waits for it"
    return said[0] if said else None


def _draw(facts: Mapping[str, Any], problem: str | None) -> str:
    parts = [
        html.heading(
            facts["reference"],
            facts.get("platform"),
            facts.get("digest", "not fetched"),
        )
    ]
    artifact = facts.get("artifact_type")
    if artifact is not None:
        parts.append(html.note(f"no image: {artifacts.described(artifact)}"))
    elif problem is not None:
        parts.append(html.note(problem))
    if facts.get("converted"):
        parts.append(html.note(facts["converted"]))
    if facts.get("platforms"):
        parts.append(html.note("platforms: " + ", ".join(facts["platforms"])))
    config = facts.get("config")
    if config is not None:
        created = config.get("created")
        command = " ".join([*config.get("entrypoint", ()), *config.get("cmd", ())])
        rows = [
            ("platform", config.get("platform")),
            ("created", f"{text.moment(created)} UTC" if created else None),
            ("runs", command or None),
            ("user", config.get("user") or "root (none set)"),
        ]
        parts.append(html.table(("", ""), [(html.escape(k), html.mono(v)) for k, v in rows if v]))
    layers = facts.get("layers")
    if layers:
        largest = max(size for _, size in layers) or 1
        made_by = facts.get("made_by") or [None] * len(layers)
        if artifact is not None:
            made_by = facts["media_types"]
        number = text.count(len(layers), "layer" if artifact is None else "blob")
        parts.append(html.note(f"{number}, {human(facts['size'])} to download"))
        parts.append(
            html.table(
                ("", "size", "", "digest", "made by" if artifact is None else "media type"),
                [
                    (
                        str(position),
                        human(size),
                        html.bar(size / largest),
                        html.mono(text.short(digest)),
                        html.mono(command or "", 160),
                    )
                    for position, ((digest, size), command) in enumerate(
                        zip(layers, made_by, strict=True)
                    )
                ],
            )
        )
    return html.wrap(*parts)
