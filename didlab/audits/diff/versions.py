"""Which of two versions is newer, in the order of their ecosystem."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

__all__ = ["order"]

#: Longer ones are not compared: numbers of that length would cost more than they tell.
_LONGEST = 512


def order(ecosystem: str, before: str, after: str) -> int | None:
    """Return -1 where ``before`` is older, 1 where it is newer, 0 where they are equal.

    None where the order is not known: another ecosystem, or versions that are not its own.
    Debian Policy 5.6.12, rpmvercmp, apk-tools, PEP 440, Semantic Versioning 2.0.

    >>> order("deb", "1.0~rc1-1", "1.0-1"), order("deb", "1:0.9", "2.0"), order("x", "1", "2")
    (-1, 1, None)
    """
    compare = _ORDERS.get(ecosystem)
    if compare is None or max(len(before), len(after)) > _LONGEST:
        return None
    return compare(before, after)


def _sign(one: Any, two: Any) -> int:
    return int(one > two) - int(one < two)


# --- Debian -------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[0-9]+")
_PARTS = re.compile(r"([^0-9]*)([0-9]*)")


def _deb(before: str, after: str) -> int:
    for one, two in zip(_deb_fields(before), _deb_fields(after), strict=True):
        if found := _deb_part(one, two):
            return found
    return 0


def _deb_fields(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    epoch, rest = (epoch, rest) if colon else ("0", version)
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "0")


def _deb_part(one: str, two: str) -> int:
    pairs = itertools.zip_longest(_PARTS.findall(one), _PARTS.findall(two), fillvalue=("", ""))
    for (text, number), (other, digits) in pairs:
        found = _sign(_deb_key(text), _deb_key(other)) or _sign(int(number or 0), int(digits or 0))
        if found:
            return found
    return 0


def _deb_key(text: str) -> list[int]:
    """Give a tilde a place before the end, letters one after it, all else after these."""
    weights = [
        -1 if char == "~" else ord(char) if char.isalpha() else ord(char) + 0x110000
        for char in text
    ]
    return [*weights, 0]


# --- rpm ----------------------------------------------------------------------------------------

_SEGMENT = re.compile(r"[0-9]+|[a-zA-Z]+|~|\^")


def _rpm(before: str, after: str) -> int:
    for one, two in zip(_rpm_fields(before), _rpm_fields(after), strict=True):
        if found := _rpm_part(one, two):
            return found
    return 0


def _rpm_fields(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    epoch, rest = (epoch, rest) if colon else ("0", version)
    name, _, release = rest.partition("-")
    return epoch, name, release


def _rpm_part(one: str, two: str) -> int:
    pairs = itertools.zip_longest(_SEGMENT.findall(one), _SEGMENT.findall(two))
    for left, right in pairs:
        if left == right:
            continue
        if "~" in (left, right):
            return -1 if left == "~" else 1
        if left is None or right is None:
            return -1 if left is None else 1
        if "^" in (left, right):
            # After the end, and before everything else.
            return -1 if left == "^" else 1
        if left.isdigit() != right.isdigit():
            return 1 if left.isdigit() else -1
        key: Callable[[str], Any] = int if left.isdigit() else str
        if found := _sign(key(left), key(right)):
            return found
    return 0


# --- apk ----------------------------------------------------------------------------------------

_APK = re.compile(
    r"([0-9]+(?:\.[0-9]+)*)([a-z]?)((?:_[a-z]+[0-9]*)*)(?:~[0-9a-f]+)?(?:-r([0-9]+))?"
)
_APK_SUFFIXES = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")


def _apk(before: str, after: str) -> int | None:
    one, two = _apk_key(before), _apk_key(after)
    return None if one is None or two is None else _sign(one, two)


def _apk_key(version: str) -> tuple[Any, ...] | None:
    match = _APK.fullmatch(version)
    if match is None:
        return None
    first, *rest = match[1].split(".")
    numbers: list[tuple[Any, ...]] = [(1, int(first), "")]
    for digits in rest:
        # With a zero before it, a number is compared as a fraction.
        zero = len(digits) > 1 and digits.startswith("0")
        numbers.append((0, 0, digits.rstrip("0")) if zero else (1, int(digits), ""))
    suffixes = []
    for word, digits in re.findall(r"_([a-z]+)([0-9]*)", match[3]):
        if word not in _APK_SUFFIXES:
            return None
        suffixes.append((_APK_SUFFIXES.index(word), int(digits or 0)))
    suffixes.append((_APK_SUFFIXES.index(""), 0))
    return numbers, match[2], suffixes, int(match[4] or 0)


# --- Python -------------------------------------------------------------------------------------

_PYPI = re.compile(
    r"v?(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)"
    r"(?:[-_.]?(alpha|beta|preview|pre|rc|a|b|c)[-_.]?([0-9]*))?"
    r"(?:(?:[-_.]?(post|rev|r)[-_.]?([0-9]*))|-([0-9]+))?"
    r"(?:[-_.]?(dev)[-_.]?([0-9]*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.IGNORECASE,
)
_STAGES = {"a": 0, "alpha": 0, "b": 1, "beta": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_LAST = 1 << 4096  # after every number of `_LONGEST` digits


def _pypi(before: str, after: str) -> int | None:
    one, two = _pypi_key(before), _pypi_key(after)
    return None if one is None or two is None else _sign(one, two)


def _pypi_key(version: str) -> tuple[Any, ...] | None:
    match = _PYPI.fullmatch(version.strip())
    if match is None:
        return None
    epoch, release, stage, number, post, post_number, short, dev, dev_number, local = match.groups()
    numbers = [int(part) for part in release.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    after = int(post_number or short or 0) if post or short else -1
    if stage:
        before = (_STAGES[stage.lower()], int(number or 0))
    else:
        # A development release of the version itself comes before all of its stages.
        before = (-1, 0) if dev and after < 0 else (3, 0)
    return (
        int(epoch or 0),
        numbers,
        before,
        after,
        int(dev_number or 0) if dev else _LAST,
        [
            (1, int(part), "") if part.isdigit() else (0, 0, part)
            for part in re.split(r"[-_.]", (local or "").lower())
            if part
        ],
    )


# --- npm, Go ------------------------------------------------------------------------------------

_SEMVER = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def _semver(before: str, after: str) -> int | None:
    one, two = _semver_key(before), _semver_key(after)
    return None if one is None or two is None else _sign(one, two)


def _semver_key(version: str) -> tuple[Any, ...] | None:
    match = _SEMVER.fullmatch(version)
    if match is None:
        return None
    stage = [
        (0, int(part), "") if _NUMBER.fullmatch(part) else (1, 0, part)
        for part in (match[4] or "").split(".")
    ]
    # Without one it is the release itself.
    return tuple(int(match[at]) for at in (1, 2, 3)), match[4] is None, stage


_GO = re.compile(r"go([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:(beta|rc)([0-9]+))?")


def _go(before: str, after: str) -> int | None:
    one, two = _go_key(before), _go_key(after)
    return _semver(before, after) if one is None or two is None else _sign(one, two)


def _go_key(version: str) -> tuple[Any, ...] | None:
    """Give the key of Go's own version, which stands for its standard library."""
    match = _GO.fullmatch(version)
    if match is None:
        return None
    stage = {"beta": 0, "rc": 1, None: 2}[match[4]]
    return int(match[1]), int(match[2]), int(match[3] or 0), stage, int(match[5] or 0)


_ORDERS: dict[str, Callable[[str, str], int | None]] = {
    "deb": _deb,
    "rpm": _rpm,
    "apk": _apk,
    "pypi": _pypi,
    "npm": _semver,
    "golang": _go,
}
