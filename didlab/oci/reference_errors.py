"""Why some text is no reference; loaded only when parsing failed.

Hints suggest, nothing here guesses on the user's behalf, and every suggested spelling was parsed
before it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci.reference_pasted import SCHEME, TRANSPORT, masked, meant

__all__ = ["explain", "explain_registry"]

_COMPONENT = re.compile(r"[a-z0-9]++(?:(?:\.|__?+|-++)[a-z0-9]++)*")
_LABELS = re.compile(r"[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*(?:\.[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*)*")
_TAG = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}+")
_HEX = re.compile("[0-9a-f]{64}")
_PORT = re.compile("[1-9][0-9]{0,4}")


class _Fault(NamedTuple):
    position: int
    reason: str
    hint: str = ""
    #: Whether the hint is better than a corrected spelling.
    final: bool = False


def explain(text: object, parse: Callable[[object], object]) -> errors.InvalidReference:
    """Return the error for text that ``parse`` did not take."""
    shown = masked(text)
    fault = _find_fault(text)
    hint = fault.hint
    if "***@" in shown or "login ***" in shown:
        # Neither reason nor hint may quote or count what was masked.
        fault = _Fault(0, "credentials are no part of a reference")
        hint = "hand credentials over as username= and password="
    if isinstance(text, str) and not fault.final:
        name = meant(text)
        if name is not None and parse(name) is not None:
            hint = f"write {name}" + (f", and {hint}" if hint.startswith("hand") else "")
    return _error(text, shown, fault, hint, "an image reference")


def explain_registry(
    text: object, parse: Callable[[object], str | None]
) -> errors.InvalidReference:
    """Return the error for text that ``parse`` did not take as a registry's host."""
    if not isinstance(text, str) or not text:
        fault = _find_fault(text)._replace(hint="")
    elif "@" in text:
        fault = _Fault(0, "credentials are no part of a host")
    else:
        fault = _unprintable(text) or _host_fault(text) or _Fault(0, "is not a host")
    hint = fault.hint or "write a host such as ghcr.io or localhost:5000"
    if isinstance(text, str):
        scheme = SCHEME.match(text.strip())
        rest = text.strip()[scheme.end() if scheme else 0 :]
        host = rest.partition("?")[0].rpartition("@")[2].partition("/")[0]
        if host == "hub.docker.com":
            host = "docker.io"
        if host != text and "@" in text and parse(host) is not None:
            hint = f"write {parse(host)}, and hand credentials over as username= and password="
        elif host != text and parse(host) is not None:
            hint = f"write {parse(host)}"
            if scheme and scheme[0].lower() == "http://":
                hint += " and insecure=True for plain http"
            if scheme:
                fault = _Fault(scheme.end() - 3, "a registry is written without scheme")
            elif "/" in rest:
                fault = _Fault(text.find("/"), "a registry is written without path")
    return _error(text, masked(text, host=True), fault, hint, "a registry")


def _error(
    text: object, shown: str, fault: _Fault, hint: str, what: str
) -> errors.InvalidReference:
    # Not repr(): what is shown has its escapes already.
    quoted = f"'{shown}'" if isinstance(text, str) else f"of type {shown}: this"
    at = f" (at character {fault.position}, counted from 0)" if fault.position else ""
    return errors.InvalidReference(
        f"{quoted} is not {what}: {fault.reason}{at}",
        text=shown,
        position=fault.position,
        reason=fault.reason,
        hint=hint or None,
    )


def _unprintable(text: str) -> _Fault | None:
    for position, char in enumerate(text):
        if not "!" <= char <= "~":
            if char in " \t\r\n":
                return _Fault(position, "a name has no blanks")
            return _Fault(
                position,
                f"U+{ord(char):04X} is not a printable ASCII character",
            )
    return None


def _find_fault(text: object) -> _Fault:
    if not isinstance(text, str):
        return _Fault(0, "it is not text", "pass a string such as 'nginx:1.27'")
    if not text.strip():
        return _Fault(0, "it is empty", "write a name such as nginx:1.27")
    fault = _unprintable(text)
    if fault:
        return fault
    scheme = SCHEME.match(text) or TRANSPORT.match(text)
    if scheme and "://" in scheme[0]:
        return _Fault(
            scheme.end() - 3, "a reference is written without scheme", "write host/repository:tag"
        )
    if digests.is_digest(text):
        return _Fault(0, "this is a digest, without a name", "write repository@digest", True)
    if _HEX.fullmatch(text):
        return _Fault(
            0, "64 hexadecimal digits are an ID, not a name", "write repository@sha256:digits"
        )
    name, at, digest = text.partition("@")
    return (
        _name_fault(name)
        or (_digest_fault(digest, len(name) + 1) if at else None)
        or _Fault(0, "it does not follow the grammar registry/repository:tag@digest")
    )


def _digest_fault(text: str, start: int) -> _Fault | None:
    if digests.is_digest(text):
        return None
    hint = "a digest is sha256: and 64, or sha512: and 128, lower-case hexadecimal digits"
    algorithm, colon, value = text.partition(":")
    if algorithm not in ("sha256", "sha512") or not colon:
        return _Fault(start, "what follows @ is not a sha256 or sha512 digest", hint)
    length = 64 if algorithm == "sha256" else 128
    start += len(algorithm) + 1
    for position, char in enumerate(value[:length]):
        if char not in "0123456789abcdef":
            return _Fault(start + position, "a digest has lower-case hexadecimal digits only", hint)
    return _Fault(
        start + min(len(value), length),
        f"a {algorithm} digest has {length} digits, not {len(value)}",
        hint,
    )


def _name_fault(text: str) -> _Fault | None:
    if not text:
        return _Fault(0, "there is no name before the @", "write repository@digest")
    slash = text.rfind("/")
    colon = text.rfind(":")
    name, tag = (text[:colon], text[colon + 1 :]) if colon > slash else (text, None)
    first, has_host, rest = name.partition("/")
    start = 0
    if has_host:
        capital = first != first.lower()
        if first.startswith("[") or "." in first or ":" in first or first.lower() == "localhost":
            fault = _host_fault(first)
            if fault:
                return fault
            start = len(first) + 1
            if not rest:
                return _Fault(
                    len(name),
                    "a registry alone is no image",
                    f"write {first.lower()}/repository",
                    True,
                )
            name = rest
        elif capital and _LABELS.fullmatch(first):
            return _Fault(
                next(index for index, char in enumerate(first) if char.isupper()),
                "neither a host (no dot, no port) nor a repository (it has capitals)",
                f"write {first.lower()}/… for Docker Hub, or add the registry's domain or port",
                final=True,
            )
    return _path_fault(name, start) or _tag_fault(tag, colon + 1) or _length_fault(name, start)


def _path_fault(path: str, start: int) -> _Fault | None:
    for component in path.split("/"):
        match = _COMPONENT.match(component)
        end = match.end() if match else 0
        if end < len(component) or not component:
            reason = (
                "a repository is written in lower case"
                if component[end : end + 1].isupper()
                else "a part of the repository is empty"
                if not component
                else "parts of a repository are made of a-z and 0-9, with single . or _, __ "
                "or dashes between"
            )
            return _Fault(start + end, reason)
        start += len(component) + 1
    return None


def _tag_fault(tag: str | None, start: int) -> _Fault | None:
    if tag is None or _TAG.fullmatch(tag):
        return None
    if not tag:
        return _Fault(start, "the tag is empty", "write a tag after the colon, or no colon")
    match = _TAG.match(tag)
    end = match.end() if match else 0
    if end == 128:
        return _Fault(start + end, "a tag has at most 128 characters")
    return _Fault(start + end, "a tag has letters, digits, _ . - and starts with none of . -")


def _length_fault(path: str, start: int) -> _Fault | None:
    if len(path) <= 255 - (0 if "/" in path or start else len("library/")):
        return None
    return _Fault(start + 255, "a repository's name has at most 255 characters")


def _host_fault(host: str) -> _Fault | None:
    """Return what is wrong with ``host[:port]``."""
    if host.startswith("["):
        end = host.find("]")
        if end < 0:
            return _Fault(0, "the bracket of the IPv6 address is not closed")
        port = host[end + 1 :]
        if not port.startswith(":") and port:
            return _Fault(end + 1, "only a port may follow the IPv6 address")
        if not port or _good_port(port[1:]):
            from ipaddress import IPv6Address

            try:
                IPv6Address(host[1:end])
            except ValueError:
                return _Fault(1, "brackets hold an IPv6 address, without zone")
            if "." in host or "%" in host:
                return _Fault(1, "brackets hold an IPv6 address in plain notation, without zone")
            return None
        return _Fault(end + 2, "a port is a number from 1 to 65535, without zeros before it")
    name, colon, port = host.partition(":")
    match = _LABELS.match(name)
    end = match.end() if match else 0
    if end < len(name) or not name:
        if name[end : end + 1] == "_":
            return _Fault(
                end,
                "a host has no underscore",
                "add the host under a name without underscore, or use its IP address",
            )
        return _Fault(end, "the registry is not a host name")
    if len(name) > 253:
        return _Fault(253, "a host has at most 253 characters")
    if name.lower() == "hub.docker.com":
        return _Fault(
            0,
            "hub.docker.com has web pages; the registry is docker.io",
            "write the image's name alone, such as nginx or bitnami/redis",
        )
    if colon and not _good_port(port):
        return _Fault(len(name) + 1, "a port is a number from 1 to 65535, without zeros before it")
    return None


def _good_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) < 65536
