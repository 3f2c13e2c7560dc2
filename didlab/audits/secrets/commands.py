"""Secrets in commands: options, ``user:password``, what is piped into chpasswd."""

from __future__ import annotations

import re
from collections.abc import Iterator

from didlab.audits.secrets.assignments import Manner, is_telling, plausible
from didlab.audits.secrets.placeholders import is_placeholder
from didlab.audits.secrets.rule import Span, named

__all__ = ["spans"]

_HITS = 2000
_OPTION = re.compile(
    rb"(?<![\w-])--?(?P<name>[A-Za-z][\w-]{2,60})[ ]{1,3}[\"']?"
    rb"(?P<secret>[^\s\"'`;|&<>-][^\s\"'`;|&<>]{3,500})"
)
_PAIRS = (
    # curl -u, wget and others
    re.compile(
        rb"(?<![\w-])(?:-u|--user)[ =]{0,2}[\"']?[\w.@\\-]{1,80}:"
        rb"(?P<secret>[^\s\"'`;|&<>]{3,300})"
    ),
    re.compile(rb"(?<!\w)sshpass[ ]{1,3}-p[ ]{0,3}[\"']?(?P<secret>[^\s\"'`;|&<>]{3,300})"),
    re.compile(
        rb"(?<!\w)mysql(?:admin|dump)?\b[^\n;|&]{0,200}?[ ]-p(?P<secret>[^\s\"'`;|&<>]{4,300})"
    ),
    re.compile(
        rb"(?:echo|printf)[ ]{1,3}(?:-\w{1,3}[ ]{1,3})?[\"']?[\w.-]{1,64}:"
        rb"(?P<secret>[^\s\"'`;|&<>\\]{1,300})(?:\\n)?[\"']?[ ]{0,3}\|"
        rb"[ ]{0,3}(?:sudo[ ]{1,3})?chpasswd"
    ),
)


def spans(content: bytes) -> Iterator[Span]:
    """Yield the secrets in a command line, or several."""
    for count, match in enumerate(_OPTION.finditer(content)):
        if count >= _HITS:
            break
        name = match["name"]
        if is_telling(name) and plausible(name, match["secret"], Manner.ENVIRON):
            yield Span("password", "medium", *match.span("secret"), name=named(name))
    for pattern in _PAIRS:
        for count, match in enumerate(pattern.finditer(content)):
            if count >= _HITS:
                break
            if not is_placeholder(match["secret"]):
                yield Span("password", "medium", *match.span("secret"))
