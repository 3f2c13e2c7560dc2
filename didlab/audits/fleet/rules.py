"""The rules that come along: from their options to what judges an image."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from didlab.audits.fleet.check import Check
from didlab.audits.fleet.rule import SEVERITIES, Judge, Subject, evidence
from didlab.errors import DidlabError, InvalidArgument, printable
from didlab.oci.reference import Reference
from didlab.sizes import human

Made = tuple[tuple[str | Check, ...], Judge]

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?i?)B?")
_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_ROOT = re.compile(r"(?:root|0+)?(?::.*)?")


def no_root() -> Made:
    """Want another user than root to run."""

    def judge(image: Subject) -> str | None:
        for row in image.rows("config"):
            user = row.get("user") or ""
            if _ROOT.fullmatch(user):
                return f"runs as {user}" if user else "no user is set: runs as root"
        return None

    return ("config",), judge


def no_secrets(least: str = "medium") -> Made:
    """Want no secrets of a severity or above."""
    if least not in SEVERITIES:
        raise InvalidArgument("no-secrets: least= is high, medium or low")
    counted = SEVERITIES[: SEVERITIES.index(least) + 1]

    def judge(image: Subject) -> str | None:
        found = [
            f"{row['rule']} in {row.get('path') or row.get('name') or row.get('where')}"
            for row in image.rows("secrets")
            if row.get("severity") in counted
        ]
        return evidence(found) or None

    return ("secrets",), judge


def no_setuid(allow: Sequence[str] = ()) -> Made:
    """Want nothing to run with other rights, but for what is allowed."""
    allowed = _texts(allow, "allow")

    def judge(image: Subject) -> str | None:
        found = [
            f"{row['path']} ({row['kind']})"
            for row in image.rows("setuid")
            if not any(fnmatchcase(str(row["path"]), one) for one in allowed)
        ]
        return evidence(found) or None

    return ("setuid",), judge


def os_supported(lts: bool = False, unknown: bool = False) -> Made:
    """Want the distribution to get security updates today."""

    def judge(image: Subject) -> str | None:
        for row in image.rows("os"):
            name = row.get("name") or row.get("id") or "the image does not say its system"
            ends = [row.get("eol"), row.get("eol_lts") if lts else None]
            days = [date.fromisoformat(one) for one in ends if isinstance(one, str)]
            if not days:
                return None if unknown else f"{name}: its end of support is not known"
            if max(days) < datetime.now(UTC).date():
                return f"{name}: support ended {max(days).isoformat()}"
        return None

    return ("os",), judge


def max_size(size: str | int) -> Made:
    """Want at most so many bytes to download."""
    most = _bytes(size)

    def judge(image: Subject) -> str | None:
        if image.size is not None and image.size > most:
            return f"{human(image.size)}, at most {human(most)}"
        return None

    return (), judge


def max_layers(layers: int) -> Made:
    """Want at most so many layers."""
    most = _number(layers, "layers")

    def judge(image: Subject) -> str | None:
        if image.layers is not None and image.layers > most:
            return f"{image.layers} layers, at most {most}"
        return None

    return (), judge


def max_age(days: int) -> Made:
    """Want it made at most so many days ago."""
    most = timedelta(days=_number(days, "days"))

    def judge(image: Subject) -> str | None:
        if image.created is None:
            return "its config does not say when it was made"
        age = datetime.now(UTC) - image.created
        return f"{age.days} days old, at most {most.days}" if age > most else None

    return (), judge


def max_waste(size: str | int) -> Made:
    """Want at most so many bytes stored in vain."""
    most = _bytes(size)

    def judge(image: Subject) -> str | None:
        wasted = sum(int(row.get("size") or 0) for row in image.rows("waste"))
        return f"{human(wasted)} in vain, at most {human(most)}" if wasted > most else None

    return ("waste",), judge


def base_in(bases: Sequence[str]) -> Made:
    """Want it built on one of some images: all layers of that are its first ones."""
    listed = _texts(bases, "bases")
    if not listed:
        raise InvalidArgument("base-in: bases= names no image")

    @lru_cache(maxsize=256)
    def chain(base: str, platform: str) -> tuple[str, ...]:
        from didlab.model.opening import open as open_image

        made = open_image(base)
        return tuple(map(str, made[platform].layers()["diff_id"]))

    def judge(image: Subject) -> str | None:
        own = [str(row["diff_id"]) for row in image.rows("layers")]
        problems = []
        for base in listed:
            try:
                wanted = chain(base, image.platform or "")
            except DidlabError as error:
                problems.append(f"{base}: {error.message}")
                continue
            if wanted and tuple(own[: len(wanted)]) == wanted:
                return None
        return evidence(["built on none of " + ", ".join(listed), *problems])

    return ("layers",), judge


def no_package(
    package: str | Sequence[str], ecosystem: str | None = None, version: str | None = None
) -> Made:
    """Want some packages not to be installed."""
    names = _texts(package, "package")

    def judge(image: Subject) -> str | None:
        found = [
            f"{row['name']} {row.get('version') or ''}".strip()
            for row in image.rows("packages")
            if any(fnmatchcase(str(row["name"]), one) for one in names)
            and ecosystem in (None, row.get("ecosystem"))
            and version in (None, row.get("version"))
        ]
        return evidence(found) or None

    return ("packages",), judge


def required_label(label: str, value: str = "*") -> Made:
    """Want a label, with a value that matches."""
    (name,) = _texts(label, "label")

    def judge(image: Subject) -> str | None:
        for row in image.rows("labels"):
            if row["name"] == name:
                if fnmatchcase(str(row.get("value") or ""), value):
                    return None
                return f"{name} is {printable(str(row.get('value')), 100)}"
        return f"no label {name}"

    return ("labels",), judge


def no_latest() -> Made:
    """Want a tag that means something, or a digest."""

    def judge(image: Subject) -> str | None:
        try:
            reference = Reference.parse(image.reference.removeprefix("docker://"))
        except DidlabError:
            return None
        if reference.digest is None and reference.tag in (None, "latest"):
            return f"{image.reference} means whatever is newest"
        return None

    return (), judge


def has_healthcheck() -> Made:
    """Want a health check."""

    def judge(image: Subject) -> str | None:
        there = all(row.get("healthcheck") for row in image.rows("config"))
        return None if there else "no health check"

    return ("config",), judge


def no_empty_password() -> Made:
    """Want nobody to log in without a password."""

    def judge(image: Subject) -> str | None:
        found = [row["user"] for row in image.rows("users") if row.get("password") == "empty"]
        return evidence(found) or None

    return ("users",), judge


def no_expired_certificates() -> Made:
    """Want no certificate that is out of date now."""

    def judge(image: Subject) -> str | None:
        now = datetime.now(UTC).isoformat()
        found = [
            f"{row.get('subject') or row['path']} (until {str(row['not_after'])[:10]})"
            for row in image.rows("certificates")
            if row.get("not_after") and str(row["not_after"]) < now
        ]
        return evidence(found) or None

    return ("certificates",), judge


#: Name -> severity, and what makes the rule of its options.
RULES: Mapping[str, tuple[str, Callable[..., Made]]] = {
    "no-root": ("high", no_root),
    "no-secrets": ("high", no_secrets),
    "no-setuid": ("medium", no_setuid),
    "os-supported": ("high", os_supported),
    "max-size": ("low", max_size),
    "max-layers": ("low", max_layers),
    "max-age": ("medium", max_age),
    "max-waste": ("low", max_waste),
    "base-in": ("medium", base_in),
    "no-package": ("high", no_package),
    "required-label": ("low", required_label),
    "no-latest": ("medium", no_latest),
    "has-healthcheck": ("low", has_healthcheck),
    "no-empty-password": ("high", no_empty_password),
    "no-expired-certificates": ("medium", no_expired_certificates),
}


def _texts(given: Any, name: str) -> tuple[str, ...]:
    listed = (given,) if isinstance(given, str) else given
    if not isinstance(listed, Sequence) or not all(isinstance(one, str) and one for one in listed):
        raise InvalidArgument(f"{name}= takes text, or a list of texts")
    return tuple(listed)


def _number(given: Any, name: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise InvalidArgument(f"{name}= takes a whole number, 0 or more")
    return given


def _bytes(given: Any) -> int:
    if isinstance(given, str) and (found := _SIZE.fullmatch(given.strip())):
        return int(float(found[1]) * _UNITS[found[2]])
    if isinstance(given, str):
        raise InvalidArgument(f"{printable(given, 60)} is no size", hint="write 500 MB, or bytes")
    return _number(given, "size")
