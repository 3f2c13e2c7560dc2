"""Secrets in what a config says: environment, labels, commands, and the history's steps."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from didlab.audits.secrets import assignments, commands, keys, tokens
from didlab.audits.secrets.assignments import Manner, is_password, plausible
from didlab.audits.secrets.look import told
from didlab.audits.secrets.rule import Finding, Span, named, redacted
from didlab.views import secrets
from didlab.views.secrets import is_name

__all__ = ["Hider", "Place", "hidden", "of_command", "of_pairs", "of_step"]

#: What is looked at of one command, and shown of it.
_LOOKED = 256 * 1024
_SHOWN = 4096
#: Findings in one text.
_FINDINGS = 1000
#: Values that are searched for in other texts.
_VALUES = 200

#: What BuildKit notes of a step's arguments: ``RUN |2 A=1 B=2 /bin/sh -c …``.
_ARGUMENTS = re.compile(
    rb"\A(?:RUN )?\|\d{1,4} (?P<given>.{0,65536}?)(?= /\S{1,100} -\w)", re.DOTALL
)
_ARG = re.compile(rb"\A(?:/bin/sh -c #\(nop\)[ ]{1,3})?ARG[ ]")


class Place(NamedTuple):
    """A finding, where it is, and the secret itself: for comparing, never kept."""

    finding: Finding
    where: str
    secret: bytes


def of_pairs(pairs: Iterable[tuple[str, str]], where: str) -> list[Place]:
    """Return the secrets in an environment, or in labels."""
    names: list[bytes] = []
    begins: list[int] = []
    lines: list[bytes] = []
    at = 0
    for name, value in pairs:
        raw = value.encode("utf-8", "surrogatepass")
        names.append(name.encode("utf-8", "surrogatepass"))
        begins.append(at)
        lines.append(raw)
        at += len(raw) + 1
    content = b"\n".join(lines)

    def found() -> Iterator[Span]:
        for span in _self_telling(content):
            name = names[bisect.bisect_right(begins, span.start) - 1]
            yield span._replace(name=named(name))
        for name, begin, value in zip(names, begins, lines, strict=True):
            if is_name(name.decode("utf-8", "replace")) and plausible(name, value, Manner.ENVIRON):
                rule = "password" if is_password(name) else "token"
                yield Span(rule, "medium", begin, begin + len(value), name=named(name))

    return _places(content, found(), where)


def of_command(words: Sequence[str], where: str) -> list[Place]:
    """Return the secrets in what an image runs."""
    content = " ".join(words)[:_LOOKED].encode("utf-8", "surrogatepass")
    return _places(content, _spans(content), where)


def of_step(created_by: str) -> list[Place]:
    """Return the secrets in a step of the history: its command, and its build arguments."""
    content = created_by[:_LOOKED].encode("utf-8", "surrogatepass")
    given = _ARGUMENTS.match(content)
    until = len(content) if _ARG.match(content) else given.end() if given else 0
    return [
        *_places(content[:until], _spans(content[:until]), "build argument"),
        *_places(content[until:], _spans(content[until:]), "history"),
    ]


def _self_telling(content: bytes) -> Iterator[Span]:
    yield from keys.spans(content)
    yield from tokens.spans(content)


def _spans(content: bytes) -> Iterator[Span]:
    yield from _self_telling(content)
    yield from assignments.spans(content, Manner.ENVIRON)
    yield from commands.spans(content)


def _places(content: bytes, spans: Iterable[Span], where: str) -> list[Place]:
    kept: list[Span] = []

    def watched() -> Iterator[Span]:
        for span in spans:
            kept.append(span)
            yield span

    findings = told(content, watched(), _FINDINGS)
    secret = {
        (span.rule, redacted(content[span.start : span.stop], span.prefix), span.name): content[
            span.start : span.stop
        ]
        for span in reversed(kept)
    }
    return [
        Place(
            one._replace(line=None),
            where,
            secret.get((one.rule, one.redacted or "", one.name or ""), b""),
        )
        for one in findings
    ]


@lru_cache(maxsize=512)
def hidden(text: str) -> str:
    """Return text of a config without what `of_step` and `of_command` would find in it.

    For tables that go from hand to hand; cut at 4096 characters. More than `didlab.views.secrets`
    hides, and slower.
    """
    return Hider(())(text)


class Hider:
    """Shows commands without the secrets in them: those that rules find, and known values."""

    def __init__(self, values: Iterable[bytes]) -> None:
        known = {value for value in values if len(value) >= 4}
        # The longest first: one may be a part of another.
        self._values = sorted(known, key=lambda value: (-len(value), value))[:_VALUES]

    def __call__(self, text: str) -> str:
        """Return the text to be shown, cut at 4096 characters."""
        content = text[:_LOOKED].encode("utf-8", "surrogatepass")
        for value in self._values:
            content = content.replace(value, b"\xe2\x80\xa6(%d)" % len(value))
        parts, at = [], 0
        for span in sorted(_spans(content), key=lambda span: (span.start, -span.stop)):
            if span.start < at:
                at = max(at, span.stop)
                continue
            parts += [content[at : span.start], redacted(content[span.start : span.stop]).encode()]
            at = span.stop
        shown = b"".join([*parts, content[at:]]).decode("utf-8", "replace")
        shown = secrets.mask(shown)
        return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
