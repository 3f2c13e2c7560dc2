"""A finding, and how a secret is named without being told."""

from __future__ import annotations

from typing import Any, NamedTuple

from didlab.errors import MalformedContent

__all__ = ["FINDINGS", "SEVERITIES", "Finding", "Span", "redacted"]

#: From the worst on.
SEVERITIES = ("high", "medium", "low")
#: Findings that are kept of one file, or of one text of a config.
FINDINGS = 100
#: Characters of a name that is kept.
_NAME = 80


class Span(NamedTuple):
    """Where a secret stands in a content, and what rule says so; never kept.

    Attributes
    ----------
    rule, severity : str
    start, stop : int
        Of the secret itself, in bytes.
    prefix : bytes
        What all secrets of this kind begin with (``ghp_``): public.
    name : str
        Of the variable or key that has it; empty where there is none.
    """

    rule: str
    severity: str
    start: int
    stop: int
    prefix: bytes = b""
    name: str = ""


class Finding(NamedTuple):
    """What is kept of a secret.

    No digest of it: of a password, that would be as good as the password to whoever tries a list.

    Attributes
    ----------
    rule, severity : str
    line : int or None
        From 1; None where the whole file is meant.
    redacted : str or None
        See `redacted`; None where the whole file is meant.
    name : str or None
        Of the variable or key that has it.
    """

    rule: str
    severity: str
    line: int | None = None
    redacted: str | None = None
    name: str | None = None

    def to_fact(self) -> list[Any]:
        """Return it as a list that JSON can hold."""
        return list(self)

    @classmethod
    def from_fact(cls, fact: Any) -> Finding:
        """Return what `to_fact` made a list of.

        Raises
        ------
        MalformedContent
            It is another list, or none.
        """
        match fact:
            case [str(rule), severity, int() | None as line, redacted, name] if (
                severity in SEVERITIES
                and (redacted is None or isinstance(redacted, str))
                and (name is None or isinstance(name, str))
            ):
                return cls(rule, severity, line, redacted, name)
        raise MalformedContent("no facts about secrets")


def redacted(secret: bytes, prefix: bytes = b"") -> str:
    """Return what stands for a secret: at most four characters of a public prefix, and its length.

    >>> redacted(b"ghp_0123456789", b"ghp_"), redacted(b"hunter2")
    ('ghp_…(14)', '…(7)')
    """
    return f"{prefix[:4].decode('ascii', 'replace')}…({len(secret)})"


def named(name: bytes) -> str:
    """Return a name as it is kept."""
    return name[:_NAME].decode("utf-8", "backslashreplace")
