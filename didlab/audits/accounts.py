"""Users and groups: the files passwd(5), group(5) and shadow(5); what is no entry is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LIMIT", "Account", "accounts", "groups", "is_whole", "shadow"]

#: Bytes of each file that are read, and entries.
LIMIT = 8 * 1024 * 1024
_ENTRIES = 100_000
_TEXT = 4096
#: What setuid() takes.
_NUMBERS = 2**32 - 1


class Account(NamedTuple):
    """An entry of passwd.

    Attributes
    ----------
    name, home, shell : str
    uid, gid : int or None
        None where it is no number.
    password : str
        See `kind`; ``shadow`` where it is said elsewhere.
    """

    name: str
    uid: int | None
    gid: int | None
    home: str
    shell: str
    password: str


def accounts(content: bytes) -> dict[str, Account]:
    """Return the entries of a passwd file by name; of a name the first one holds."""
    found: dict[str, Account] = {}
    for fields in _lines(content, 7):
        name, password, uid, gid, _, home, shell = fields[:7]
        kind = "shadow" if password == "x" else _kind(password)  # noqa: S105 - where it stands
        found.setdefault(name, Account(name, _number(uid), _number(gid), home, shell, kind))
    return found


def groups(content: bytes) -> dict[str, tuple[int | None, list[str]]]:
    """Return the groups of a group file: number and members by name."""
    found: dict[str, tuple[int | None, list[str]]] = {}
    for name, _, gid, members, *_ in _lines(content, 4):
        found.setdefault(name, (_number(gid), [one for one in members.split(",") if one]))
    return found


def shadow(content: bytes) -> dict[str, str]:
    """Return by name what kind of password a shadow file has: locked, hashed or empty."""
    found: dict[str, str] = {}
    for name, password, *_ in _lines(content, 2):
        found.setdefault(name, _kind(password))
    return found


def is_whole(content: bytes) -> bool:
    """Whether all of a file is read: behind the limits a user could hide."""
    return len(content) <= LIMIT and content.count(b"\n") < _ENTRIES


def _kind(password: str) -> str:
    if not password:
        return "empty"
    # No hash begins so; what is behind ! is one that usermod -L put away.
    return "locked" if password[0] in "!*" or len(password) < 8 else "hashed"


def _lines(content: bytes, least: int) -> Iterator[list[str]]:
    text = content[:LIMIT].decode("utf-8", "backslashreplace")
    for count, line in enumerate(text.split("\n", _ENTRIES)[:_ENTRIES]):
        del count
        fields = line.rstrip("\r").split(":", 10)
        # + and - are NIS' own
        if len(fields) >= least and fields[0] and fields[0][0] not in "#+-":
            yield [field[:_TEXT] for field in fields]


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number <= _NUMBERS else None
