"""Logins that docker and podman keep for a registry: found, never written.

Places are asked in order, and the first that has a login wins: the helper that didlab's own
configuration names, ``DOCKER_AUTH_CONFIG``, docker's ``config.json`` (its credential helpers
included), podman's ``auth.json``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from didlab import errors, userconfig
from didlab.transport import helpers
from didlab.transport.secret import Environment, Secret
from didlab.transport.trust import DOCKER_HUB

__all__ = ["Credential", "find", "forget", "place"]

_INLINE: Final = "DOCKER_AUTH_CONFIG"
_MAX_CONFIG: Final = 1024 * 1024
_HOST = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[\x21-\x7e]+")

_log = logging.getLogger("didlab")
_lock = threading.Lock()
_answers: dict[tuple[str, str], Credential | None] = {}
_warned: set[str] = set()


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A login for one registry; ``source`` says where it was found.

    Either ``username`` and ``password``, or an ``identity_token`` (to be exchanged by OAuth2),
    or a ``registry_token`` (a Bearer token, ready to send).
    """

    username: str | None = None
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None
    source: str = ""

    def __repr__(self) -> str:
        kinds = ("password", "identity_token", "registry_token")
        held = "".join(f"{kind}=***, " for kind in kinds if getattr(self, kind) is not None)
        name = errors.printable(self.username)
        return f"Credential(username={name!r}, {held}source={self.source!r})"


def find(
    registry: str,
    repository: str = "",
    *,
    helper: str | None = None,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Credential | None:
    """Find the user's login for a repository.

    Parameters
    ----------
    registry : str
        ``host`` or ``host:port`` as in a reference; docker.io's three names are one.
    repository : str, optional
        Path inside the registry; the entry with the longest matching path is taken.
    helper : str, optional
        NAME of docker-credential-NAME, to be asked before all other places.
    environ : mapping, optional
        Environment variables; the process's own by default.
    home : Path, optional
        Home directory; the user's own by default.

    Returns
    -------
    Credential or None
        None where no place has a login: try it anonymously.

    Raises
    ------
    ConfigError
        A file is unusable, or the entry that is wanted is broken.
    HelperError
        The credential helper that docker's configuration names for this registry failed.
    """
    environ = Environment(os.environ if environ is None else environ)
    host = _fold(registry)
    if host is None:
        raise errors.InvalidArgument(f"{errors.printable(registry, 100)!r} is not a registry host")
    if helper is not None:
        found = _from_helper(helper, host, userconfig.FILE, environ)
        if found is not None:
            return found
    for source, text in _texts(environ, home):
        found = _in_config(_load(text, source), host, repository, environ)
        if found is not None:
            if source != _INLINE and not found.source.startswith("docker-credential-"):
                _warn_if_open(Path(source))
            return found
    return None


def _texts(environ: Mapping[str, str], home: Path | None) -> Iterator[tuple[str, Secret]]:
    """Yield name and content of every place that there is, in the order they are asked."""
    inline = Secret(environ.get(_INLINE, "").strip())
    if inline:
        yield _INLINE, inline
    for path in _files(environ, home):
        text = _read_file(path)
        # An empty file is what some programs leave behind: it says nothing.
        if text is not None and text.reveal().strip():
            yield str(path), text


def place(
    registry: str,
    *,
    helper: str | None = None,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> str | None:
    """Return the name of the first place that has a login, or may have: no helper is run.

    Raises
    ------
    ConfigError
        A file is unusable.
    """
    environ = Environment(os.environ if environ is None else environ)
    host = _fold(registry)
    if host is None:
        raise errors.InvalidArgument(f"{errors.printable(registry, 100)!r} is not a registry host")
    if helper is not None and helpers.find_program(helper, environ) is not None:
        return f"docker-credential-{helper}"
    for source, text in _texts(environ, home):
        config = _load(text, source)
        name = config.helpers.get(host) or config.store
        if name and helpers.find_program(name, environ, named_by=source) is not None:
            return f"docker-credential-{name}"
        if host in config.logins:
            return source
    return None


def forget() -> None:
    """Drop what credential helpers answered, so that they are asked again."""
    with _lock:
        _answers.clear()
        _warned.clear()


def _files(environ: Mapping[str, str], home: Path | None) -> Iterator[Path]:
    if home is None:
        variable = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
        home = Path(variable) if variable else _own_home()
    if folder := environ.get("DOCKER_CONFIG"):
        yield Path(folder, "config.json")
    elif home:
        yield home / ".docker" / "config.json"
    if file := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(file)  # podman looks nowhere else then
        return
    if folder := environ.get("XDG_RUNTIME_DIR"):
        yield Path(folder, "containers", "auth.json")
    elif sys.platform == "linux":
        yield Path("/run/containers", str(os.getuid()), "auth.json")
    if folder := environ.get("XDG_CONFIG_HOME"):
        yield Path(folder, "containers", "auth.json")
    elif home:
        yield home / ".config" / "containers" / "auth.json"


def _own_home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _read_file(path: Path) -> Secret | None:
    problem = None
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "is not a regular file"
        else:
            # Not blocking, should somebody have put a FIFO there meanwhile.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(path, flags), "rb") as file:
                raw = file.read(_MAX_CONFIG + 1)
            if len(raw) <= _MAX_CONFIG:
                return Secret(raw.decode("utf-8", "surrogateescape"))
            del raw
            problem = f"is larger than {_MAX_CONFIG} bytes"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # Often a file that `sudo docker login` left; docker itself only warns.
        _warn(f"{path} cannot be read ({error.strerror}); its logins are not used")
        return None
    raise errors.ConfigError(f"{path} {problem}", path=str(path))


def _warn_if_open(path: Path) -> None:
    if sys.platform != "win32" and path.stat().st_mode & stat.S_IROTH:
        _warn(f"{path} holds a login and everybody on this machine can read it; chmod 600 it")


def _warn(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        _log.warning("%s", errors.printable(message))


class _Config:
    """A configuration file: what is needed of it, keys normalized, secrets wrapped."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.store = ""
        self.helpers: dict[str, str] = {}
        # Key to login; a text instead says what is wrong with the entry.
        self.logins: dict[str, Credential | str] = {}


def _load(text: Secret, source: str) -> _Config:
    config = _Config(source)
    problem = _fill(config, text)
    if problem:
        raise errors.ConfigError(
            f"{source} cannot be used: {problem}",
            hint="mend or move it; `docker login` or `podman login` writes a new one",
            path=source,
        )
    return config


def _fill(config: _Config, text: Secret) -> str | None:
    """Read ``text`` into ``config``; what is wrong with it, if something is.

    Nothing below raises: tracebacks with locals would show the file.
    """
    document = _parse(text)
    if isinstance(document, str):
        return document
    auths, by_host = document.get("auths"), document.get("credHelpers")
    auths, by_host = ({} if value is None else value for value in (auths, by_host))
    store = document.get("credsStore")
    if not isinstance(auths, dict) or not isinstance(by_host, dict):
        return "auths and credHelpers have to be objects"
    if not isinstance(store, str | None):
        return "credsStore has to be a string"
    config.store = store or ""
    for key, name in by_host.items():
        place = _normalize(key)
        if place is not None and name:
            # Not a string: let find_program refuse it, when it is asked for.
            config.helpers.setdefault(place, name if isinstance(name, str) else "(no text)")
    # The spelling that docker itself writes goes before others of the same place.
    for key in sorted(auths, key=lambda key: key != helpers.HUB_SERVER and "://" in key):
        place = _normalize(key)
        if place is None:
            continue
        login = _login(auths[key], config.source)
        if login is not None and not isinstance(config.logins.get(place), Credential):
            config.logins[place] = login
    return None


def _parse(text: Secret) -> dict[str, Any] | str:
    if not _encodable(text.reveal()):
        return "it is not UTF-8 text"
    if text.reveal().startswith("\ufeff"):
        return "it begins with a byte order mark"
    try:
        document = json.loads(text.reveal(), object_pairs_hook=_unique, parse_constant=_constant)
    except _DuplicateKeyError:
        return "a key is there twice in one object"
    except json.JSONDecodeError as error:
        return f"it is not JSON (line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        return "it is not JSON"
    return document if isinstance(document, dict) else "it is not a JSON object"


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKeyError
    return result


def _constant(name: str) -> None:
    raise ValueError(name)


def _fold(host: str) -> str | None:
    """Return ``host[:port]`` in lower case, docker.io for all its names, None for nonsense."""
    if not host.isascii():  # str.lower would fold look-alikes into ASCII
        return None
    host = host.lower()
    return ("docker.io" if host in DOCKER_HUB else host) if _HOST.fullmatch(host) else None


def _normalize(key: str) -> str | None:
    """Return ``host[:port][/path]`` for a key of a configuration file."""
    _, scheme, rest = key.rpartition("://")
    host, _, path = rest.rstrip("/").partition("/")
    folded = _fold(host)
    # Docker's old keys are URLs of the API; podman's have paths of repositories.
    if folded is None or scheme or not path or path in ("v1", "v2"):
        return folded
    return f"{folded}/{path}"


def _login(entry: Any, source: str) -> Credential | str | None:
    """Read one entry of ``auths``; a text says what is wrong with it, None that it is empty."""
    if not isinstance(entry, dict):
        return "it is not an object"
    fields = {}
    for name in ("auth", "username", "password", "identitytoken", "registrytoken"):
        value = entry.get(name)
        if not isinstance(value, str | None):
            return f"{name} is not a string"
        fields[name] = value or ""
    username, password = fields["username"], fields["password"]
    if fields["auth"]:
        try:
            # Line ends are what the `base64` command adds, and what docker forgives.
            packed = fields["auth"].replace("\n", "").replace("\r", "")
            text = base64.b64decode(packed, validate=True).decode("utf-8")
        except ValueError:
            return "auth is not base64 of UTF-8 text"
        username, colon, password = text.partition(":")
        password = password.strip("\0")
        if not colon or not username:
            return "auth is not base64 of user:password"
    if not _encodable(username + password):
        return "user or password is not UTF-8 text"
    for name in ("identitytoken", "registrytoken"):
        if fields[name] and not _TOKEN.fullmatch(fields[name]):
            return f"{name} is not a token"
    identity, registry = fields["identitytoken"], fields["registrytoken"]
    if not username and not identity and not registry:
        return None
    # Beside a token, docker writes "user:" with nothing behind it.
    has_password = bool(username and (password or not (identity or registry)))
    return Credential(
        username=username or None,
        password=Secret(password) if has_password else None,
        identity_token=Secret(identity) if identity else None,
        registry_token=Secret(registry) if registry else None,
        source=source,
    )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _in_config(
    config: _Config, host: str, repository: str, environ: Mapping[str, str]
) -> Credential | None:
    wanted = [host]
    for part in repository.split("/") if repository else []:
        wanted.append(f"{wanted[-1]}/{part}")
    for place, login in config.logins.items():
        if isinstance(login, str) and place not in wanted:
            _warn(f"{config.source}: the entry for {place} is passed over, {login}")
    for place in reversed(wanted):
        if place == host:
            # As with docker, the file counts only where the helper has nothing.
            name = config.helpers.get(host) or config.store
            answer = _from_helper(name, host, config.source, environ) if name else None
            if answer is not None:
                return answer
        found = config.logins.get(place)
        if isinstance(found, str):
            raise errors.ConfigError(
                f"{config.source}: the entry for {place} is broken, {found}",
                hint=f"log in again: docker login {host}",
                path=config.source,
                host=host,
            )
        if found is not None:
            return found
    return None


def _from_helper(
    name: str, host: str, source: str, environ: Mapping[str, str]
) -> Credential | None:
    program = helpers.find_program(name, environ, named_by=source)
    if program is None:
        _warn(f"docker-credential-{name}, named by {source}, is not installed; going on without")
        return None
    # Docker stores the Hub's login under an old URL, podman under the name.
    for server in (helpers.HUB_SERVER, host) if host == "docker.io" else (host,):
        # One question at a time: a keychain's prompt must not appear twice.
        with _lock:
            key = (str(program), server)
            if key not in _answers:
                _answers[key] = _ask(name, server, environ)
            if (answer := _answers[key]) is not None:
                return answer
    return None


def _ask(name: str, server: str, environ: Mapping[str, str]) -> Credential | None:
    answer = helpers.get(name, server, environ=environ)
    if answer is None:
        return None
    username, secret = answer
    source = f"docker-credential-{name}"
    if username == "<token>":
        return Credential(identity_token=secret, source=source)
    return Credential(username, secret, source=source)
