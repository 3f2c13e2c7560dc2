"""One-line reprs and plain tables, from plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from didlab.errors import printable
from didlab.oci import artifacts
from didlab.sizes import human
from didlab.views import secrets


def short(digest: str) -> str:
    """Return the first twelve characters of a digest's encoded part.

    >>> short("sha256:0123456789abcdef")
    '0123456789ab'
    """
    return digest.partition(":")[2][:12]


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "layer"), count(0, "layer")
    ('1 layer', '0 layers')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def moment(time: datetime, timespec: str = "seconds") -> str:
    """Return a time in UTC for people.

    >>> from datetime import UTC
    >>> moment(datetime(1, 1, 1, tzinfo=UTC))
    '0001-01-01 00:00:00'
    """
    # Not strftime: its %Y has less than four digits on some systems.
    return time.replace(tzinfo=None).isoformat(" ", timespec)


def age(time: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was, in words; empty for times that mean no date.

    Reproducible builds set times such as 1970-01-01.

    >>> now = datetime(2026, 11, 24, tzinfo=UTC)
    >>> age(datetime(2026, 11, 22, tzinfo=UTC), now), age(datetime(2024, 1, 1, tzinfo=UTC), now)
    ('2 days ago', '2 years ago')
    >>> age(datetime(1970, 1, 1, tzinfo=UTC), now), age(datetime(2027, 1, 1, tzinfo=UTC), now)
    ('', 'in the future')
    """
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if time.year <= 1980:
        return ""
    if seconds < -3600:
        return "in the future"
    for unit, length, upto in (
        ("minute", 60, 90 * 60),
        ("hour", 3600, 36 * 3600),
        ("day", 86400, 60 * 86400),
        ("month", 2629746, 24 * 2629746),
    ):
        if seconds < upto:
            number = int(seconds // length)
            return f"{count(number, unit)} ago" if number > 0 else "just now"
    return f"{count(int(seconds // 31556952), 'year')} ago"


class Lines(str):
    """Text of several lines, shown as such at a prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _line(kind: str, name: str, *facts: str | None) -> str:
    # An argument or label may hold a password; more than is shown is looked at, for the cut's sake.
    shown = " · ".join(printable(secrets.mask(fact[:1000]), 120) for fact in facts if fact)
    return f"<{kind} {printable(name, 300)}{' · ' + shown if shown else ''}>"


def manifest(facts: Mapping[str, Any]) -> str:
    """Return a Manifest's repr: what is known, and that something is not."""
    name = facts["reference"]
    if facts.get("platform"):
        name = f"{name} {facts['platform']}"
    if "digest" not in facts:
        return _line("Manifest", name, "not fetched")
    platforms = facts.get("platforms")
    layers = facts.get("layers")
    kind = facts.get("artifact_type")
    return _line(
        "Manifest",
        name,
        short(facts["digest"]),
        artifacts.name(kind) or kind if kind else None,
        count(len(platforms), "platform") if platforms and not facts.get("platform") else None,
        f"{count(len(layers), 'blob' if kind else 'layer')}, {human(facts['size'])}"
        if layers is not None
        else None,
        facts.get("converted"),
    )


def layer(facts: Mapping[str, Any]) -> str:
    """Return a Layer's repr."""
    return _line(
        "Layer",
        f"{facts['position']}",
        short(facts["digest"]),
        human(facts["size"]),
        facts["media_type"].rpartition(".")[2],
        facts.get("created_by"),
    )


def repository(facts: Mapping[str, Any]) -> str:
    """Return a Repository's repr."""
    return _line("Repository", f"{facts['registry']}/{facts['name']}")


def registry(facts: Mapping[str, Any]) -> str:
    """Return a Registry's repr."""
    mirrors = facts.get("mirrors") or ()
    shown = ", ".join(mirror.rpartition("@")[2] for mirror in mirrors)
    return _line("Registry", facts["name"], f"mirrors: {shown}" if mirrors else None)


def attestation(facts: Mapping[str, Any]) -> str:
    """Return an Attestation's repr, which claims nothing."""
    return _line(
        "Attestation",
        facts["predicate_type"],
        short(facts["digest"]),
        f"attached to {short(facts['attached_to'])}",
        None if facts["names_image"] else "about something else",
        "not verified",
    )


def config(facts: Mapping[str, Any]) -> str:
    """Return a Config's repr."""
    created = facts.get("created")
    command = [*facts.get("entrypoint", ()), *facts.get("cmd", ())]
    return _line(
        "Config",
        facts.get("platform") or "unknown",
        f"created {moment(created)[:10]}" if created else None,
        f"user {facts['user']}" if facts.get("user") else None,
        "runs " + " ".join(command) if command else None,
        count(facts["layers"], "layer"),
    )
