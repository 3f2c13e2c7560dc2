"""Passwords, tokens and keys that only their names give away: ``DB_PASSWORD=…``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from didlab.audits.secrets.placeholders import entropy, is_placeholder
from didlab.audits.secrets.rule import Span, named
from didlab.views.secrets import is_name

__all__ = ["Manner", "is_password", "is_telling", "plausible", "spans"]

#: Names in one content that are looked at closely.
_HITS = 5000
_WORDS = (b"passw", b"passphrase", b"secret", b"token", b"key", b"pwd", b"credential", b"_pass")
_WORD = re.compile(
    rb"passw(?:or)?d|passphrase|secret|token|(?:api|access|private|auth|encryption|signing|account|master"
    rb"|deploy)[_.-]?key|pwd|credential|_pass\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(rb"[\w.-]{0,80}\Z")
_AFTER = re.compile(
    rb"""(?P<rest>[\w.-]{0,60})(?P<close>\\?["'])?\]?[ \t]{0,20}
    (?P<sep>=>|:=|\?=|=|:(?!:)|,(?=[ \t]?["']))[ \t]{0,20}
    (?:\\?"(?P<dq>[^"\\\n]{1,300})\\?"|\\?'(?P<sq>[^'\\\n]{1,300})\\?'
    |(?P<bare>[^\s"'`;,(){}\[\]|&\\]{1,300})(?P<tail>[^\s]?))""",
    re.VERBOSE,
)
_TAG = re.compile(rb"(?P<rest>[\w.-]{0,60})>(?P<bare>[^<>\s]{1,300})</")
_COMMENT = re.compile(rb"[ \t]*(?:\#|//|;|\*|<!--|--|%|REM\b|dnl\b|\.\\\")", re.IGNORECASE)
_PASSWORD = re.compile(rb"passw|passphrase|pwd|_pass\b", re.IGNORECASE)
_WORDY = re.compile(rb"[A-Za-z]+(?:[_. :/-]+[A-Za-z]+)*|[a-z]+[A-Z][A-Za-z]*")


class Manner(Enum):
    """How much a value must look like a secret.

    ``CODE`` literals of programs, and comments: quoted, of letters and digits mixed;
    ``SETTINGS`` files of settings: bare values too; ``ENVIRON`` environments: plain words too.
    """

    CODE = "code"
    SETTINGS = "settings"
    ENVIRON = "environ"


def spans(content: bytes, manner: Manner) -> Iterator[Span]:
    """Yield the secrets that are assigned to telling names."""
    lower = content.lower()
    if not any(word in lower for word in _WORDS):
        return
    at = 0
    for count, word in enumerate(_WORD.finditer(content)):
        if count >= _HITS:
            break
        if word.start() < at:
            continue  # in the name, or value, that was just looked at
        before = _BEFORE.search(content, max(0, word.start() - 80), word.start())
        name_start = before.start() if before else word.start()
        match = _AFTER.match(content, word.end())
        if match is None and content[name_start - 1 : name_start] == b"<":
            match = _TAG.match(content, word.end())
        if match is None:
            continue
        name = content[name_start : word.end()] + match["rest"]
        at = word.end() + len(match["rest"])
        group = next(one for one in ("dq", "sq", "bare") if match.groupdict().get(one))
        if not is_telling(name):
            continue
        # A value is no name, even where it is none of a secret.
        at = match.end(group)
        if _judge(content, name_start, name, match, group, manner):
            password = is_password(name)
            yield Span(
                "password" if password else "token",
                "medium",
                *match.span(group),
                name=named(name),
            )


def _judge(
    content: bytes,
    start: int,
    name: bytes,
    match: re.Match[bytes],
    group: str,
    manner: Manner,
) -> bool:
    value = match[group]
    known = match.groupdict()
    if known.get("sep") == b"," and not (
        known.get("close") and b"define" in content[max(0, start - 12) : start]
    ):
        return False  # two arguments; but in PHP, define('DB_PASSWORD', '…')
    begin = content.rfind(b"\n", max(0, start - 300), start) + 1 or max(0, start - 300)
    if manner is not Manner.ENVIRON and _COMMENT.match(content, begin, start):
        manner = Manner.CODE
    # In a program that is an expression, and in others what goes on with a bracket.
    expression = manner is Manner.CODE or known.get("tail") in (b"(", b"[", b"{", b"`")
    if group == "bare" and expression:
        return False
    return plausible(name, value, manner)


def plausible(name: bytes, value: bytes, manner: Manner) -> bool:
    """Whether a value may be the secret that its name says it is."""
    value = value.strip()
    if is_placeholder(value) or value.lower() == name.lower() or b" " in value:
        return False
    wordy = _WORDY.fullmatch(value) is not None
    if manner is Manner.ENVIRON:
        return len(value) >= (4 if is_password(name) else 8) and not (
            wordy and not is_password(name) and entropy(value) < 3.5
        )
    if wordy:
        return False
    mixed = any(48 <= c <= 57 for c in value) and any(chr(c).isalpha() for c in value)
    if manner is Manner.SETTINGS and is_password(name):
        return len(value) >= 6 and mixed
    return len(value) >= 12 and mixed and entropy(value) >= 3


def is_telling(name: bytes) -> bool:
    """Whether a name is one of a secret."""
    return _WORD.search(name) is not None and is_name(name.decode("utf-8", "replace").lstrip("-"))


def is_password(name: bytes) -> bool:
    """Whether a name is that of a password, which may be any word."""
    return _PASSWORD.search(name) is not None
