"""``WWW-Authenticate``: what a registry asks for before it answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from didlab import errors

__all__ = ["MAX_CHALLENGE", "Challenge", "choose", "parse"]

#: Most characters read, all header lines together.
MAX_CHALLENGE: Final = 8192

_BLANKS = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|\Z))")
# Real realms come unquoted too, with ":" and "/" that no token has.
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]*")
_PLAIN = re.compile(r'[^"\\\x00-\x08\x0a-\x1f\x7f]*')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: scheme and names of parameters in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def realm(self) -> str | None:
        """URL of the token server (Bearer), or a text for people (Basic)."""
        return self.parameters.get("realm")


def parse(values: Iterable[str]) -> list[Challenge]:
    """Read the values of all ``WWW-Authenticate`` headers of one answer.

    A parameter given twice counts as first given. Missing or extra commas and unquoted URLs
    are forgiven, since real registries send them.

    Raises
    ------
    BadHeader
        More than 8 KiB, unbalanced quotes, control characters, or text that is no challenge.

    Examples
    --------
    >>> parse(['Basic realm="x", Bearer realm="https://auth.example/token",scope=""'])[1].realm
    'https://auth.example/token'
    """
    lines = list(values)
    if sum(map(len, lines)) > MAX_CHALLENGE:
        raise errors.BadHeader(f"WWW-Authenticate is longer than {MAX_CHALLENGE} characters")
    return [challenge for line in lines for challenge in _parse_line(line)]


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer with a realm, else Basic, else None."""
    known = list(challenges)
    for challenge in known:
        if challenge.scheme == "bearer" and challenge.realm:
            return challenge
    return next((challenge for challenge in known if challenge.scheme == "basic"), None)


def _parse_line(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    parameters: dict[str, str] | None = None
    position = _end(_SEPARATORS, text, 0)
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise _bad("unexpected character", position)
        equals = _EQUALS.match(text, token.end())
        if equals is None:
            parameters = {}
            found.append(Challenge(token[0].lower(), parameters))
            position = _end(_BLANKS, text, token.end())
            # What Negotiate and its like send instead of parameters.
            position = _end(_TOKEN68, text, position) if position > token.end() else position
        elif parameters is None:
            raise _bad("parameter without a scheme", position)
        else:
            value, position = _value(text, equals.end())
            parameters.setdefault(token[0].lower(), value)
        position = _end(_SEPARATORS, text, position)
    return found


def _value(text: str, position: int) -> tuple[str, int]:
    if not text.startswith('"', position):
        end = _end(_BARE, text, position)
        return text[position:end], end
    start, position = position, position + 1
    parts: list[str] = []
    while True:
        end = _end(_PLAIN, text, position)
        parts.append(text[position:end])
        stop = text[end : end + 1]
        if stop == '"':
            return "".join(parts), end + 1
        if stop == "\\":
            end += 1
            stop = text[end : end + 1]
        if not stop:
            raise _bad("unbalanced quote", start)
        if stop < " " or stop == "\x7f":
            raise _bad("control character", end)
        parts.append(stop)
        position = end + 1


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _bad(reason: str, position: int) -> errors.BadHeader:
    return errors.BadHeader(f"WWW-Authenticate cannot be read: {reason} at {position}")
