"""What stands where a secret would, and is none: examples, references, words to be replaced."""

from __future__ import annotations

import math
import re
from collections import Counter

__all__ = ["entropy", "is_placeholder", "is_reference"]

#: What a text begins with that is to be replaced.
_LEADS = frozenset(
    b"change changeme changeit changethis replace replaceme insert enter fill your yours example "
    b"sample placeholder redacted masked removed todo fixme tbd dummy fake mock".split()
)
#: What says nothing, alone or together.
_GENERIC = frozenset(
    b"a an any the my our your some new old super top user username db database admin root login "
    b"pass password passwd passphrase passcode pwd pw secret secrets token tokens key keys api "
    b"apikey access auth private credential credentials value string str text here is goes me it "
    b"this in with none null nil nothing unset empty undefined default true false yes no on off "
    b"enabled disabled required optional unknown foo bar baz qux foobar test testing tests asdf "
    b"qwerty insecure unused not set used needed int integer bool boolean byte bytes object array "
    b"void self xxx".split()
)
_JOINED = re.compile(
    rb"(?:(?:my|your|the|super|user|db|new|old|test|some|api|client|access|private|root|admin)"
    rb"|password|passwd|passphrase|pass|pwd|secret|token|key|here|value)+"
)
_BETWEEN = re.compile(rb"[\W_]+")
#: Anywhere in a value. AWS' documented key ends so.
_MARKS = re.compile(
    rb"example|changeme|change[-_]?this|replace[-_]?(?:me|this|with)|placeholder|redacted|x{5}"
    rb"|\*{3}|\.{3}|your[-_]|[-_]here\b|dummy|\xe2\x80\xa6|123456789\Z|abcdefgh",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    rb"""\A(?:\$\w|%\w+%|@\w+@|<|!(?:secret|vault|Ref|Sub|GetAtt|env|ENV|reference)\b|\#\{|\{[{%]
      |env[(:]|ENC\[|AQICAH|vault:|ssm:|arn:|secretsmanager|file:|op://
      |~?/[\w.@-]+(?:/|\Z)|\.{1,2}/|[\w-]+(?:\.[\w-]+)*\()
    |\$[({]|\{\{|%[(s]|\#\{|<%|<[\w .-]+>|\{\w*\}""",
    re.VERBOSE,
)
_HARMLESS = re.compile(
    rb"[0-9]{1,4}|[0-9]+(?:\.[0-9]+)+|[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[\W_]*", re.DOTALL
)


def entropy(value: bytes) -> float:
    """Return the bits of a value's bytes, each, by how often they come (Shannon).

    >>> entropy(b"aaaa"), entropy(b"abab"), entropy(b"abcd")
    (0.0, 1.0, 2.0)
    """
    size = len(value)
    return abs(sum(n / size * math.log2(n / size) for n in Counter(value).values()))


def is_reference(value: bytes) -> bool:
    """Whether a value says where the secret is: a variable, a file, a call.

    >>> [is_reference(v) for v in (b"${DB_PASSWORD}", b"/run/secrets/db", b"<token>", b"hunter2")]
    [True, True, True, False]
    """
    return _REFERENCE.search(value[:500]) is not None


def is_placeholder(value: bytes) -> bool:
    """Whether a value is no secret at all: an example, a reference, a word to be replaced.

    >>> [
    ...     is_placeholder(v)
    ...     for v in (b"changeme", b"your-token-here", b"xxxxxxxx", b"12", b"hunter2")
    ... ]
    [True, True, True, True, False]
    >>> is_placeholder(b"AKIAIOSFODNN7EXAMPLE")
    True
    """
    value = value[:500]
    return (
        len(set(value)) <= 2
        or _HARMLESS.fullmatch(value) is not None
        or is_reference(value)
        or _MARKS.search(value) is not None
        or _says_nothing(value.lower())
    )


def _says_nothing(lower: bytes) -> bool:
    words = [word.rstrip(b"0123456789") for word in _BETWEEN.split(lower)]
    words = [word for word in words if word]
    if not words:
        return False
    if words[0] in _LEADS and len(words) <= 8:
        return True
    return all(
        word in _GENERIC or (len(word) <= 40 and _JOINED.fullmatch(word) is not None)
        for word in words
    )
