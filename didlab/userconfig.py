"""The user's own file, ``didlab.toml``: found, read, and checked for its shape.

What an entry means for a registry is decided where options are made (``transport.effective``).
"""

from __future__ import annotations

import difflib
import logging
import math
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from didlab.errors import ConfigError, DidlabError, printable
from didlab.oci.reference import parse_registry

#: What the file is called.
FILE: Final = "didlab.toml"
#: The variable that names another file.
VARIABLE: Final = "DIDLAB_CONFIG"
#: What may stand in a ``[registry."…"]`` table.
KEYS: Final = (
    "mirrors",
    "proxy",
    "ca",
    "client_cert",
    "insecure",
    "auth_hosts",
    "timeout",
    "credentials_helper",
)

_LIMIT: Final = 1024 * 1024
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SECRETS = re.compile(r".*(?:user|login|passw|secret|token|auth\Z|credentials?\Z).*", re.IGNORECASE)
_LOGINS = "logins come from docker login or podman login, or from a credentials_helper"

_log = logging.getLogger("didlab")


@dataclass(frozen=True)
class UserConfig:
    """What the file says; nothing at all where there is no file.

    ``registries`` is keyed by a registry's canonical name, ``*.domain`` or ``*``.
    """

    path: str | None = None
    registries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def where(self, name: str) -> str:
        """Return the place of a registry's table, for messages."""
        return f'{self.path} [registry."{name}"]'


# The last file read, with what told it apart from later versions of it.
_read: tuple[str, tuple[int, int, int], UserConfig] | None = None


def location(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return where the file is, or would be; None where this user has no folder for it."""
    environ = os.environ if environ is None else environ
    if named := environ.get(VARIABLE):
        try:
            return Path(named).expanduser()
        except RuntimeError:
            return Path(named)
    from platformdirs import user_config_path

    folder = user_config_path("didlab", appauthor=False)
    # A relative XDG_CONFIG_HOME is invalid and to be ignored: a working directory that somebody
    # else filled must not bring settings along.
    return folder / FILE if folder.is_absolute() else None


def load(environ: Mapping[str, str] | None = None) -> UserConfig:
    """Return the user's configuration; read anew only when the file changed.

    Raises
    ------
    ConfigError
        The file cannot be read, or says something that cannot be meant.
    """
    global _read  # noqa: PLW0603
    path = location(environ)
    if path is None:
        return UserConfig()
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return UserConfig()
    except (OSError, ValueError) as error:
        _unreadable(path, error)
    version = (status.st_mtime_ns, status.st_size, status.st_ino)
    kept = _read
    if kept is not None and kept[:2] == (str(path), version):
        return kept[2]
    if not stat.S_ISREG(status.st_mode):
        _fail(str(path), "is not a regular file")
    if sys.platform != "win32" and status.st_mode & stat.S_IWOTH:
        _log.warning("%s can be changed by everybody on this machine; chmod 600 it", path)
    found = parse(_text(path), str(path))
    _read = (str(path), version, found)
    return found


def _text(path: Path) -> str:
    try:
        # Not blocking, should somebody have put a FIFO there meanwhile.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            raw = file.read(_LIMIT + 1)
    except OSError as error:
        _unreadable(path, error)
    if len(raw) > _LIMIT:
        _fail(str(path), f"is larger than {_LIMIT} bytes")
    try:
        return raw.decode("utf-8-sig")  # editors on Windows begin with a byte order mark
    except UnicodeDecodeError:
        _fail(str(path), "is not UTF-8 text")


def _unreadable(path: Path, error: Exception) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) else None
    _fail(str(path), f"cannot be read ({reason or type(error).__name__})")


def _fail(
    where: str, problem: str, hint: str | None = None, *, path: str | None = None
) -> NoReturn:
    # `from None`: an inner error may hold the file's text.
    raise ConfigError(f"{where} {problem}", hint=hint, path=path or where) from None


def parse(text: str, path: str) -> UserConfig:
    """Read the text of a file; ``path`` is for messages.

    Raises
    ------
    ConfigError
        Not TOML, an unknown key, a wrong type, or a secret. Values are never repeated.
    """
    import tomllib

    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Only the place: the message of an error may quote the line.
        at = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        _fail(path, "is not TOML" + (f": see {at[1]}" if at else ""), path=path)
    _only_known(document, ("registry", "options"), path, path)
    tables = _table(document.get("registry", {}), f"{path} [registry]", path)
    options = _table(document.get("options", {}), f"{path} [options]", path)
    registries: dict[str, Mapping[str, Any]] = {}
    for name, table in tables.items():
        where = f'{path} [registry."{printable(name, 100)}"]'
        key = _key(name, where, path)
        if key in registries:
            _fail(where, f"is there twice: it is another name of {key}", path=path)
        registries[key] = _entry(_table(table, where, path), where, path)
    return UserConfig(path, registries, options)


def _key(name: str, where: str, path: str) -> str:
    """Return the canonical form of a registry's name, ``*.domain`` or ``*``."""
    if name == "*":
        return name
    try:
        # A pattern stands for whole labels, and what follows it is a name like any other.
        return f"*.{parse_registry(name[2:])}" if name.startswith("*.") else parse_registry(name)
    except DidlabError:
        _fail(where, "is no registry", 'write host, host:port, "*.domain" or "*"', path=path)


def _table(value: object, where: str, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _fail(where, f"has to be a table, not {_kind(value)}", path=path)
    return value


def _only_known(table: Mapping[str, Any], known: tuple[str, ...], where: str, path: str) -> None:
    for name, value in table.items():
        if name in known:
            continue
        shown = printable(name, 60)
        if isinstance(value, dict):
            hint = 'a name with dots needs quotes: [registry."docker.io"]'
        elif _SECRETS.fullmatch(name):
            _fail(f"{where} {shown}", "is refused: no logins in this file", _LOGINS, path=path)
        else:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        _fail(where, f"has an unknown key: {shown}", hint, path=path)


def _entry(table: Mapping[str, Any], where: str, path: str) -> Mapping[str, Any]:
    """Check one registry's table; lists become tuples, paths absolute."""
    _only_known(table, KEYS, where, path)
    made: dict[str, Any] = {}
    for name, value in table.items():
        fits, expected = _TYPES[name]
        if not fits(value):
            problem = f"has to be {expected}, not {_kind(value)}"
            _fail(f"{where} {name}", problem, path=path)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and name in ("mirrors", "proxy") and "@" in text:
                # Its user too: a token may stand there.
                _fail(f"{where} {name}", "is refused: no logins in this file", _LOGINS_OF[name],
                      path=path)  # fmt: skip
        made[name] = tuple(value) if isinstance(value, list) else value
    for name in ("ca", "client_cert"):
        if name in made:
            made[name] = _paths(made[name], path)
    return made


def _paths(value: str | tuple[str, ...], path: str) -> str | tuple[str, ...]:
    """Return file names as absolute ones: relative to the file that has them."""
    if isinstance(value, tuple):
        return tuple(str(_paths(one, path)) for one in value)
    try:
        named = Path(value).expanduser()
    except RuntimeError:
        named = Path(value)
    return str(Path(path).absolute().parent / named)


def _kind(value: object) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    kinds |= {list: "such an array", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_many(value: object) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _is_seconds(value: object) -> bool:
    values: list[Any] = value if isinstance(value, list) and len(value) == 2 else [value]
    return all(type(one) in (int, float) and 0 < one < math.inf for one in values)


_TYPES: Final = {
    "mirrors": (_is_many, "an array of addresses"),
    "proxy": (_is_text, 'an address, or "direct"'),
    "ca": (_is_text, "a file's name"),
    "client_cert": (
        lambda value: _is_text(value) or (_is_many(value) and len(value) in (1, 2)),
        "a file's name, or an array of certificate and key",
    ),
    "insecure": (
        lambda value: isinstance(value, bool) or _is_many(value),
        "true, false or an array of hosts",
    ),
    "auth_hosts": (_is_many, "an array of hosts"),
    "timeout": (_is_seconds, "seconds above zero"),
    "credentials_helper": (
        lambda value: isinstance(value, str) and _HELPER.fullmatch(value) is not None,
        "what follows docker-credential- in a program's name",
    ),
}
_LOGINS_OF: Final = {
    "mirrors": "a mirror's login comes from docker login or podman login",
    "proxy": "DIDLAB_PROXY, HTTPS_PROXY or proxy= may hold a proxy's password",
}
