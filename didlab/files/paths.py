"""Paths inside images: what users write, made absolute bytes; globs over them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import PurePath
from typing import NoReturn

from didlab import errors
from didlab.files.limits import DEFAULT, Limits
from didlab.files.table import Table

__all__ = ["lexical", "matcher", "normalise", "select", "shown"]

_GLOB = re.compile(r"[*?\[{]")
#: A longer pattern is a mistake, and so are more alternatives.
_PATTERN = 4096
_ALTERNATIVES = 256


def shown(path: bytes) -> str:
    r"""Return a path as text; bytes that are no UTF-8 become surrogates, to come back the same.

    >>> shown(b"/caf\xc3\xa9"), shown(b"/caf\xe9")
    ('/café', '/caf\udce9')
    """
    return path.decode("utf-8", "surrogateescape")


def normalise(
    text: str | bytes | os.PathLike[str] | os.PathLike[bytes], limits: Limits = DEFAULT
) -> bytes:
    """Return what a user wrote as an absolute path, with or without the leading slash.

    >>> normalise("etc/./passwd"), normalise("/usr/lib/../bin/"), normalise("")
    (b'/etc/passwd', b'/usr/bin', b'/')
    """
    if isinstance(text, PurePath):
        text = text.as_posix()  # on Windows, str() has backslashes
    try:
        plain = os.fspath(text)
        raw = plain if isinstance(plain, bytes) else plain.encode("utf-8", "surrogateescape")
    except (TypeError, UnicodeEncodeError):
        raise errors.InvalidArgument(
            f"{text!r:.200} is no path in an image", hint='give text such as "/etc/os-release"'
        ) from None
    if b"\0" in raw:
        raise errors.InvalidArgument(f"a path holds no NUL: {text!r:.200}")
    _bounded(raw, limits)
    return b"/" + b"/".join(lexical(raw.split(b"/")))


def lexical(parts: Iterable[bytes]) -> list[bytes]:
    """Return components without empty ones, ``.`` and ``..``.

    Raises
    ------
    PathEscape
        ``..`` leads above the root.
    """
    kept: list[bytes] = []
    for part in parts:
        if part == b"..":
            if not kept:
                raise errors.PathEscape("a path leads above the image's root")
            kept.pop()
        elif part not in (b"", b"."):
            kept.append(part)
    return kept


def matcher(pattern: str | bytes | os.PathLike[str]) -> Callable[[bytes], bool]:
    """Return what tells whether a path matches a glob.

    ``*``, ``?`` and ``[...]`` stay within one component, ``**`` stands for any number of them
    (none, too), ``{a,b}`` for either. A pattern without these is that path itself. Patterns
    begin at the root, with or without the leading slash; hidden names are names like others.

    >>> libraries = matcher("/usr/lib/**/*.so*")
    >>> libraries(b"/usr/lib/x.so"), libraries(b"/usr/lib/a/b/x.so.1"), libraries(b"/usr/lib")
    (True, True, False)
    """
    if isinstance(pattern, bytes):
        pattern = shown(pattern)
    elif isinstance(pattern, PurePath):
        pattern = pattern.as_posix()
    if not isinstance(pattern, str) or not _GLOB.search(pattern):
        return normalise(pattern).__eq__
    return _compiled(pattern)


def select(table: Table, pattern: str | bytes | os.PathLike[str]) -> list[int]:
    """Return the rows whose paths match a glob, in the table's order."""
    matches = matcher(pattern)
    return [row for row, path in enumerate(table.paths) if matches(path)]


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> Callable[[bytes], bool]:
    if len(pattern) > _PATTERN:
        raise errors.InvalidArgument(f"a pattern of {len(pattern)} characters; at most {_PATTERN}")
    if "\0" in pattern:
        raise errors.InvalidArgument("a pattern holds no NUL")
    whole = re.compile("|".join(map(_regex, _alternatives(pattern))))
    match = whole.fullmatch
    # What all matches begin with is compared first: it spares most paths the decoding.
    start = "/" + _GLOB.split(pattern, maxsplit=1)[0].removeprefix("/")
    plain = not re.search(r"//|/\.", "/" + pattern.removeprefix("/"))
    prefix = start.encode("utf-8", "surrogateescape") if plain else b"/"

    def matches(path: bytes) -> bool:
        return path.startswith(prefix) and match(shown(path)) is not None

    return matches


def _alternatives(pattern: str) -> list[str]:
    """Write ``{a,b}`` out, innermost first; braces without a comma are themselves."""
    found, done = [pattern], []
    while found:
        text = found.pop()
        if not (braces := _braces(text)):
            done.append(text)
            continue
        start, stop = braces
        found += [
            text[:start] + part + text[stop:] for part in text[start + 1 : stop - 1].split(",")
        ]
        if len(found) + len(done) > _ALTERNATIVES:
            raise _nonsense(pattern, f"more than {_ALTERNATIVES} alternatives")
    return done


def _braces(text: str) -> tuple[int, int] | None:
    """Find the first innermost braces with a comma in them, not counting those in ``[...]``."""
    start, comma, at = -1, False, 0
    while at < len(text):
        char = text[at]
        if char == "[":
            at = max(at, _class_end(text, at))
        elif char == "{":
            start, comma = at, False
        elif char == ",":
            comma = True
        elif char == "}":
            if start >= 0 and comma:
                return start, at + 1
            start = -1
        at += 1
    return None


def _class_end(text: str, start: int) -> int:
    """Return where the ``]`` of a class stands that begins at ``start``, or -1."""
    first = start + 2 if text[start + 1 : start + 2] in ("!", "^") else start + 1
    return text.find("]", first + 1)


def _regex(pattern: str) -> str:
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            if not parts:
                raise errors.PathEscape(f"the pattern '{pattern}' leads above the image's root")
            parts.pop()
        elif part not in ("", ".") and not (part == "**" and parts[-1:] == ["**"]):
            parts.append(part)
    groups: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            groups.append([])
        else:
            groups[-1].append("/" + _component(part, pattern))
    if parts[-1:] == ["**"]:
        groups[-1].append("/[^/]++")
    # Each group between two "**" matches a fixed number of components, so that its first match
    # leaves the most to the others: no need ever to try another one, hence the atomic groups,
    # without which a pattern of many stars would take for ever.
    head, *rest = ["".join(group) for group in groups]
    middle = [f"(?>(?:/[^/]++)*?{group}(?=/|\\Z))" for group in rest[:-1]]
    last = [f"(?:/[^/]++)*{group}" for group in rest[-1:]]
    return "".join([head, *middle, *last]) or "/"


def _component(text: str, pattern: str) -> str:
    """Translate what lies between two slashes; the same holds for stars as above."""
    runs: list[list[str]] = [[]]
    at = 0
    while at < len(text):
        char = text[at]
        if char == "*":
            if runs[-1] or len(runs) == 1:
                runs.append([])
        elif char == "?":
            runs[-1].append("[^/]")
        elif char == "[":
            end = _class_end(text, at)
            if end < 0:
                raise _nonsense(pattern, "a '[' without its ']' (for the character itself: [[])")
            runs[-1].append(_class(text[at + 1 : end], pattern))
            at = end
        else:
            runs[-1].append(re.escape(char))
        at += 1
    head, *rest = ["".join(run) for run in runs]
    middle = [f"(?>[^/]*?{run})" for run in rest[:-1]]
    last = [f"[^/]*{run}" for run in rest[-1:]]
    # A star matches nothing too, but a component is never empty.
    full = "".join([head, *middle, *last])
    return full if head else f"(?=[^/]){full}"


def _class(inside: str, pattern: str) -> str:
    negated = inside[:1] in ("!", "^")
    body = inside[1:] if negated else inside
    out, at = [], 0
    while at < len(body):
        low = body[at]
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            high = body[at + 2]
            if low > high:
                raise _nonsense(pattern, f"the range {low}-{high} is empty")
            out.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            out.append(re.escape(low))
            at += 1
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]"


def _nonsense(pattern: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"the pattern '{errors.printable(pattern, 200)}': {why}")


def _bounded(raw: bytes, limits: Limits) -> None:
    if len(raw) > limits.path:
        _over("bytes of a path", limits.path, len(raw))
    if raw.count(b"/") > limits.components:
        _over("components of a path", limits.components, raw.count(b"/"))


def _over(what: str, limit: int, seen: int) -> NoReturn:
    raise errors.LimitExceeded(
        f"{seen:,} {what}; at most {limit:,}", what=what, limit=limit, seen=seen
    )
