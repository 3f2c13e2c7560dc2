"""Values of options: each is what it can be meant as, or an error that names the option."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from didlab.errors import InvalidArgument, printable
from didlab.transport import place, trust
from didlab.transport.secret import Secret

#: Words that people write for yes and no; as a host, none of them is meant.
_WORDS = frozenset({"yes", "no", "true", "false", "on", "off", "none", "0", "1"})
_HOST = re.compile(r"[a-z0-9._-]+(?::[0-9]{1,5})?|\[?[0-9a-f:.]+\]?(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[\x21-\x7e]+")
#: What begins a certificate in a PEM file, as OpenSSL reads them.
_MARKS = (b"-----BEGIN CERTIFICATE", b"-----BEGIN X509 CERTIFICATE", b"-----BEGIN TRUSTED CERT")
#: Bundles of all authorities have a quarter of this.
_CA_LIMIT = 1024 * 1024


def flag(value: object, name: str) -> bool:
    """Take True or False alone: the text "no" would count as yes."""
    if isinstance(value, bool):
        return value
    raise InvalidArgument(f"{name}= takes True or False, not {_kind(value)}")


def text(value: object, name: str) -> str:
    """Take text alone; an error tells its type, since it may be secret."""
    if isinstance(value, str):
        return value
    raise InvalidArgument(f"{name}= takes text, not {_kind(value)}")


def is_token(value: Secret) -> bool:
    """Whether this can be sent as a bearer token."""
    return _TOKEN.fullmatch(value.reveal()) is not None


def many(value: object, name: str, of: str) -> tuple[str, ...]:
    """Take one text or several."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        entries = tuple(value)
        if all(isinstance(entry, str) for entry in entries):
            return entries
    raise InvalidArgument(f"{name}= takes {of}, one or a list of them")


def mirrors(value: object) -> tuple[str, ...]:
    """Take addresses of mirrors."""
    entries = many(value, "mirrors", "addresses as text")
    for entry in entries:
        place.mirror(entry)
    return entries


def insecure(value: object) -> bool | tuple[str, ...]:
    """Take True, False, or hosts."""
    if isinstance(value, bool):
        return value
    entries = tuple(entry.lower() for entry in many(value, "insecure", "True, False, or hosts"))
    for entry in entries:
        if entry in _WORDS:
            raise InvalidArgument(
                f"insecure={entry!r} is a word, not a host",
                hint="write insecure=True, insecure=False, or insecure=['host:port']",
            )
        if not _HOST.fullmatch(entry):
            raise InvalidArgument(
                f"insecure: {printable(entry.rpartition('@')[2], 100)!r} is not a host",
                hint="write host or host:port, as in registry.example:5000",
            )
    return entries


def auth_hosts(value: object) -> tuple[str, ...]:
    """Take hosts of token servers."""
    entries = tuple(entry.lower() for entry in many(value, "auth_hosts", "hosts as text"))
    for entry in entries:
        trust.auth_host(entry)
    return entries


def ca(value: object) -> str:
    """Take a file with certificates."""
    path = _file(value, "ca")
    try:
        with Path(path).open("rb") as file:
            start = file.read(_CA_LIMIT)
            whole = not file.read(1)
    except OSError as error:
        raise InvalidArgument(f"ca= cannot be read: {path!r} ({error.strerror})") from None
    if whole and not any(mark in start for mark in _MARKS):
        raise InvalidArgument(
            f"ca= names a file without a certificate: {path!r}",
            hint="it has to be PEM: -----BEGIN CERTIFICATE----- …",
        )
    return path


def client_cert(value: object) -> tuple[str, ...]:
    """Take a file with a certificate and its key, or a pair of files."""
    paths = value if isinstance(value, tuple) else (value,)
    if len(paths) not in (1, 2):
        raise InvalidArgument("client_cert= takes a PEM file, or (certificate, key)")
    return tuple(_file(path, "client_cert") for path in paths)


def timeout(value: object) -> tuple[float, float]:
    """Take seconds: for all, or a pair for connecting and for reading."""
    pair = value if isinstance(value, tuple) else (value, value)
    numbers = [float(n) for n in pair if isinstance(n, int | float) and not isinstance(n, bool)]
    if len(pair) != 2 or len(numbers) != 2 or not all(0 < n < math.inf for n in numbers):
        raise InvalidArgument(
            "timeout= takes seconds above zero",
            hint="write timeout=30, or timeout=(10, 30) for connecting and for reading",
        )
    return numbers[0], numbers[1]


def _file(value: object, name: str) -> str:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise InvalidArgument(f"{name}= takes a file's name, not {_kind(value)}")
    try:
        found = Path(path).is_file()
    except ValueError:  # a null byte
        found = False
    if not found:
        raise InvalidArgument(f"{name}= names no file: {path!r}")
    return path


def _kind(value: object) -> str:
    return type(value).__name__
