"""JSON as Go's ``encoding/json`` writes it (before Go 1.22): bytes that image IDs are digests of.

All functions take text that `strict_json` has accepted.
"""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Iterable

__all__ = ["array", "compact", "members", "obj", "string", "time"]

_SPACE = re.compile(r"[ \t\n\r]*")
_TOKENS = re.compile(r'("(?:[^"\\]++|\\.)*+")|[ \t\n\r]+', re.DOTALL)
# For HTML and JavaScript: everywhere, in text that is passed on unread as well.
_WEB = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    **_WEB,
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}
_HALF = re.compile("[\ud800-\udfff]")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]+))?(Z|[+-]([0-9]{2}):([0-9]{2}))"
)
_decode = json.JSONDecoder().raw_decode


def whole(text: str) -> str:
    """Return text with U+FFFD for halves of surrogate pairs, as Go decodes it."""
    return _HALF.sub("\ufffd", text)


def string(value: str) -> str:
    r"""Return a string as ``json.Marshal`` writes it.

    >>> print(string('a<b>\t"ü"\x07'))
    "a\u003cb\u003e\t\"ü\"\u0007"
    """
    return f'"{whole(value).translate(_ESCAPES)}"'


def array(values: Iterable[str]) -> str:
    """Return an array of values that are JSON already."""
    return f"[{','.join(values)}]"


def obj(values: Iterable[tuple[str, str]]) -> str:
    """Return an object of values that are JSON already, in the order given."""
    return "{" + ",".join(f"{string(key)}:{value}" for key, value in values) + "}"


def compact(text: str) -> str:
    r"""Return a value that is passed on unread: white space goes, everything else stays.

    >>> print(compact('{ "b": [1.50, "<\\u0041 "],\n"a": 1e3 }'))
    {"b":[1.50,"\u003c\u0041 "],"a":1e3}
    """
    return _TOKENS.sub(lambda match: match[1] or "", text).translate(_WEB)


def members(text: str) -> dict[str, str]:
    """Return the members of an object: each key decoded, each value as it is written.

    >>> members('{"a": [1,  2], "b": "c"}')
    {'a': '[1,  2]', 'b': '"c"'}
    """
    found: dict[str, str] = {}
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = _decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, at = _decode(text, start)
        found[whole(key)] = text[start:at]
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def time(text: str) -> str | None:
    """Return a time as Go writes it again after reading it; None where it refuses to read it.

    Zeros at the end of the fraction go, the offset stays.

    >>> time("2015-01-02T03:04:05.120000000Z"), time("2015-01-02T03:04:05.000+00:00")
    ('2015-01-02T03:04:05.12Z', '2015-01-02T03:04:05Z')
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        return None
    # Year 0 is a leap year, as 2000 is.
    if not 1 <= day <= calendar.monthrange(year or 2000, month)[1]:
        return None
    if match[9] is not None and (int(match[9]) > 23 or int(match[10]) > 59):
        return None
    fraction = (match[7] or "")[:9].rstrip("0")
    zone = "Z" if match[8][1:] == "00:00" else match[8]
    return f"{text[:19]}{'.' if fraction else ''}{fraction}{zone}"
