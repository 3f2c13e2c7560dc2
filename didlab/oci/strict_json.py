"""JSON as all careful readers understand it; whatever two readers may read differently is refused.

Python's `json` alone guesses UTF-16, takes NaN, keeps the last of two equal keys and recurses
until the interpreter gives up; Go's ignores trailing bytes. A digest says that two programs have
the same bytes, not that they see the same image in them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from didlab import errors

__all__ = ["DEPTH_LIMIT", "DIGITS_LIMIT", "loads"]

DEPTH_LIMIT = 64
DIGITS_LIMIT = 19

# Strings are stepped over whole. The closing quote is optional and the repeats possessive, so
# that an unclosed string cannot make the scan start again at every quote.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def loads(raw: bytes, *, limit: int, error: type[errors.MalformedContent], what: str) -> object:
    """Parse ``raw`` strictly.

    Parameters
    ----------
    raw : bytes
        The document as received.
    limit : int
        The most bytes it may have; `LimitExceeded` beyond.
    error : type
        What to raise for everything else.
    what : str
        What the document is, for messages.

    Examples
    --------
    >>> loads(b'{"a": 1}', limit=100, error=errors.ManifestInvalid, what="manifest")
    {'a': 1}
    """
    if len(raw) > limit:
        raise errors.LimitExceeded(
            f"{what} has more than {limit} bytes", what=what, limit=limit, seen=len(raw)
        )
    text = _decode(raw, error, what)
    _check_depth(text, error, what)
    hooks = _Hooks(error, what)
    try:
        return json.loads(
            text,
            object_pairs_hook=hooks.members,
            parse_int=hooks.integer,
            parse_float=hooks.real,
            parse_constant=hooks.constant,
        )
    except json.JSONDecodeError as failure:
        where = f"line {failure.lineno}, column {failure.colno}"
        # The decoder's message holds no text of the document; its exception does (``doc``).
        raise error(f"{what} is not JSON: {failure.msg} at {where}", where=where) from None


def _decode(raw: bytes, error: type[errors.MalformedContent], what: str) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise error(f"{what} starts with a byte order mark", where="byte 0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as failure:
        where = f"byte {failure.start}"
        raise error(f"{what} is not UTF-8 at {where}", where=where) from None


def _check_depth(text: str, error: type[errors.MalformedContent], what: str) -> None:
    # Before parsing, because the parser recurses. Most documents cannot even reach the limit.
    if text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match.lastindex == 1:
            depth += 1
            if depth > DEPTH_LIMIT:
                where = f"character {match.start()}"
                raise error(
                    f"{what} is nested deeper than {DEPTH_LIMIT} levels at {where}", where=where
                )
        elif match.lastindex == 2:
            depth -= 1


class _Hooks:
    """What `json` calls for each value it cannot be trusted with."""

    def __init__(self, error: type[errors.MalformedContent], what: str) -> None:
        self.error = error
        self.what = what

    def members(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        for key in result:
            if not key.isascii():
                self._check_encodable(key)
        if len(result) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    self._refuse(f"has the key '{errors.printable(key, 80)}' twice", key)
                seen.add(key)
        return result

    def integer(self, digits: str) -> int:
        if len(digits.lstrip("-")) > DIGITS_LIMIT:
            self._refuse(f"has an integer of more than {DIGITS_LIMIT} digits")
        return int(digits)

    def real(self, digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            self._refuse("has a number beyond all range")
        return value

    def constant(self, name: str) -> NoReturn:
        self._refuse(f"has {name}, which is not JSON")

    def _check_encodable(self, key: str) -> None:
        try:
            key.encode()
        except UnicodeEncodeError:
            self._refuse("has half a surrogate pair in a key", key)

    def _refuse(self, why: str, where: str | None = None) -> NoReturn:
        raise self.error(
            f"{self.what} {why}", where=None if where is None else errors.printable(where, 80)
        )
