"""One-line reprs and plain tables, from plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from didlab.errors import printable
from didlab.oci import artifacts
from didlab.sizes import human


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


class Lines(str):
    """Text of several lines, shown as such at a prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _line(kind: str, name: str, *facts: str | None) -> str:
    shown = " · ".join(printable(fact, 120) for fact in facts if fact)
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
