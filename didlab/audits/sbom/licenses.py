"""What a package says of its license, as far as it is an SPDX expression (SPDX 2.3, annex D)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from didlab.audits.sbom.spdx_ids import EXCEPTIONS, LICENSES

__all__ = ["Expression", "expression"]

#: Longer ones, or deeper, are taken for prose.
_LONGEST, _DEEPEST = 2000, 30
_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9.+-]+)")
_REF = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_OPERATORS = frozenset({"AND", "OR", "WITH"})
_IDS = {name.lower(): name for name in LICENSES}
_EXCEPTIONS = {name.lower(): name for name in EXCEPTIONS}


class Expression(NamedTuple):
    """A valid license expression.

    Attributes
    ----------
    text : str
        With identifiers and operators as SPDX spells them.
    id : str or None
        The identifier, where it is one and nothing else.
    references : tuple of str
        The ``LicenseRef-…`` in it, which SPDX wants explained.
    """

    text: str
    id: str | None
    references: tuple[str, ...]


# Images have thousands of packages, and few licenses.
@lru_cache(4096)
def expression(text: str) -> Expression | None:
    """Read a license; None where it is not written as SPDX does: ``GPLv3+``, ``BSD``.

    Letters' case does not matter to identifiers; what is meant by another spelling is not guessed.

    Examples
    --------
    >>> expression("mit or (apache-2.0 and GPL-2.0-only with Classpath-exception-2.0)").text
    'MIT OR (Apache-2.0 AND GPL-2.0-only WITH Classpath-exception-2.0)'
    >>> expression("Zlib").id, expression("GPLv3+"), expression("MIT BSD")
    ('Zlib', None, None)
    """
    tokens = _tokens(text)
    if not tokens:
        return None
    parser = _Parser(tokens)
    if not parser.whole():
        return None
    shown = " ".join(parser.said).replace("( ", "(").replace(" )", ")")
    single = parser.said[0] if len(tokens) == 1 and parser.said[0] in LICENSES else None
    return Expression(shown, single, tuple(dict.fromkeys(parser.references)))


def _tokens(text: str) -> list[str]:
    if len(text) > _LONGEST:
        return []
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return []
        found.append(match[1])
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self.said: list[str] = []
        self.references: list[str] = []

    def whole(self) -> bool:
        return self._terms(0) and self._at == len(self._tokens)

    def _terms(self, depth: int) -> bool:
        """Read what AND and OR join: which of them binds tighter does not matter to validity."""
        while self._term(depth):
            if not self._operator("AND", "OR"):
                return True
        return False

    def _term(self, depth: int) -> bool:
        word = self._next()
        if word == "(":
            self.said.append(word)
            if depth >= _DEEPEST or not self._terms(depth + 1) or self._next() != ")":
                return False
            self.said.append(")")
            return True
        known = _license(word)
        if known is None:
            return False
        self.said.append(known)
        if known.startswith("LicenseRef-"):
            self.references.append(known)
        if self._operator("WITH"):
            exception = _EXCEPTIONS.get(self._next().lower())
            if exception is None:
                return False
            self.said.append(exception)
        return True

    def _operator(self, *names: str) -> bool:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if token.upper() not in names or token not in (token.upper(), token.lower()):
            return False
        self._at += 1
        self.said.append(token.upper())
        return True

    def _next(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        self._at += 1
        return token


def _license(token: str) -> str | None:
    if token.upper() in _OPERATORS:
        return None
    if _REF.fullmatch(token):
        return token
    known = _IDS.get(token.lower())
    if known is None and token.endswith("+"):
        known = _IDS.get(token[:-1].lower())
        return f"{known}+" if known is not None else None
    return known
