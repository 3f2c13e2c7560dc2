"""What somebody who looks at an image should know at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from didlab.views import secrets

#: Names that are listed.
_MOST = 5


def of(facts: Mapping[str, Any], today: date | None = None) -> list[str]:
    """Return the warnings about an image, gravest first; from its facts alone."""
    config = facts.get("config") or {}
    found = []
    ended = _ended(facts.get("os"), today or datetime.now(UTC).date())
    if ended:
        found.append(ended)
    names = hidden(config)
    if names:
        more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
        found.append(f"looks like a secret, hidden here: {', '.join(names[:_MOST])}{more}")
    if config and runs_as_root(config):
        found.append("runs as root")
    if facts.get("converted"):
        found.append(str(facts["converted"]))
    return found


def runs_as_root(config: Mapping[str, Any]) -> bool:
    """Whether a container of it runs as root unless told otherwise. Windows has no root."""
    if str(config.get("platform") or "").startswith("windows"):
        return False
    return str(config.get("user") or "").partition(":")[0] in ("", "0", "root")


def hidden(config: Mapping[str, Any]) -> list[str]:
    """Return the names in environment and labels whose values look like secrets."""
    return [
        name[:60]
        for section in ("env", "labels")
        for name, value in list((config.get(section) or {}).items())[:1000]
        if secrets.is_secret(name, value[:2000])
    ]


def _ended(system: Mapping[str, Any] | None, today: date) -> str | None:
    """Return what there is to say about an operating system: ``name``, ``end_of_life`` (a date)."""
    if not system:
        return None
    name, end = system.get("name"), system.get("end_of_life")
    if isinstance(end, datetime):
        end = end.date()
    if not isinstance(end, date) or end >= today:
        return None
    return f"{name or 'its system'} has had no updates since {end.isoformat()} (end of life)"
