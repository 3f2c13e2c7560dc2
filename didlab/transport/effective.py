"""What holds for a registry: arguments, the environment, the user's file, and the defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import requests.utils

from didlab import userconfig
from didlab.errors import ConfigError, InvalidArgument
from didlab.oci.reference import parse_registry
from didlab.transport import place, urls
from didlab.transport.options import CA_VARIABLES, Options, Proxy, make, parse_proxy
from didlab.userconfig import UserConfig

#: Mirrors by registry: ``docker.io=https://a,https://b;*=https://c/{registry}``.
MIRRORS = "DIDLAB_MIRRORS"
#: One proxy for all registries.
PROXY = "DIDLAB_PROXY"
#: Sources that are no place.
ARGUMENT, DEFAULT = "argument", "default"

#: As requests looks them up for https.
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_ARGUMENTS = frozenset(make.__kwdefaults__ or ())
#: Stands for the registry's name in the address of a mirror.
_PLACEHOLDER = "{registry}"


def resolve(registry: str, arguments: Mapping[str, Any]) -> Options:
    """Return the options that hold for a registry, as this process is set up.

    Raises
    ------
    InvalidArgument
        An argument, or a variable of the environment, that cannot be meant that way.
    ConfigError
        The user's file is broken, or says something about this registry that cannot be meant.
    """
    return effective(registry, arguments, os.environ, userconfig.load())[0]


def effective(
    registry: str,
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    file: UserConfig,
) -> tuple[Options, dict[str, str]]:
    """Merge everything that was said about a registry.

    An argument goes before the environment, that before the file; there the registry's own name
    before a pattern, the narrower pattern before the wider one, and ``*`` comes last. None and
    empty collections count as not given.

    Parameters
    ----------
    registry : str
        The canonical name.
    arguments : mapping
        What `make` takes.
    environ : mapping
        Variables; ``trust_env=False`` leaves them aside.
    file : UserConfig
        The user's file.

    Returns
    -------
    Options and dict
        What holds, and for each option that somebody set, who did.
    """
    given = {
        name: value
        for name, value in arguments.items()
        if value is not None and not (isinstance(value, list | tuple) and not value)
    }
    check_names(arguments)
    trusted = bool(given.get("trust_env", True))
    # What is said later goes before what was said earlier.
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in reversed(matching(registry, file.registries)):
        for option, value in file.registries[name].items():
            if (name, option) == ("*", "proxy") and trusted and _excepted(registry, environ):
                continue
            values[option] = _checked(option, value, file.where(name), registry)
            origins[option] = file.where(name)
    if trusted:
        for option, (value, source) in _from_environment(registry, environ).items():
            values[option], origins[option] = value, f"environment {source}"
    values |= given
    origins |= dict.fromkeys(given, ARGUMENT)
    values.pop("credentials_helper", None)
    options = make(**values)
    found = {registry: _helper(file, registry)}
    for name in filter(None, map(_name_of, options.mirrors)):
        found[name] = _helper(file, name)
    return replace(
        options,
        helpers=tuple((host, name) for host, name in found.items() if name is not None),
        registry=registry,
        given=tuple(given),
    ), origins


def check_names(arguments: Iterable[str]) -> None:
    """Refuse options that do not exist; their values are not looked at.

    Raises
    ------
    InvalidArgument
    """
    unknown = sorted(set(arguments) - _ARGUMENTS)
    if unknown:
        raise InvalidArgument(
            f"there is no option {', '.join(unknown)}",
            hint=f"there are {', '.join(sorted(_ARGUMENTS))}",
        )


def matching(registry: str, names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that stand for a registry, the one that says most first.

    ``*.example`` stands for everything below ``example``, with any port unless it has one; ``*``
    for all registries but those on this machine.

    >>> matching("r.eu.corp:5000", ["*", "*.corp", "*.eu.corp", "r.eu.corp", "r.eu.corp:5000"])
    ['r.eu.corp:5000', '*.eu.corp', '*.corp', '*']
    """
    host, port = _split(registry)

    def fits(name: str) -> bool:
        if name == "*":
            return not urls.is_loopback(host)
        if not name.startswith("*."):
            return name == registry
        domain, wanted = _split(name[1:])
        return host.endswith(domain) and wanted in ("", port)

    def weight(name: str) -> tuple[bool, int, bool]:
        domain, wanted = _split(name)
        return not name.startswith("*"), domain.count("."), bool(wanted)

    return sorted(filter(fits, names), key=weight, reverse=True)


def _split(name: str) -> tuple[str, str]:
    """Return host, without brackets, and port of a name."""
    host, colon, port = name.rpartition(":")
    if not colon or name.endswith("]"):
        return name.strip("[]"), ""
    return host.strip("[]"), port


def _excepted(registry: str, environ: Mapping[str, str]) -> bool:
    """Whether a proxy that is for all registries leaves this one out."""
    host, _ = _split(registry)
    if urls.is_loopback(host):
        return True
    for entry in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").lower().split(","):
        name = entry.strip().removeprefix("*.").lstrip(".")
        if name == "*" or (name and any(f".{n}".endswith(f".{name}") for n in (host, registry))):
            return True
    return False


def _from_environment(registry: str, environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    if environ.get(PROXY) and not _excepted(registry, environ):
        found["proxy"] = _checked("proxy", environ[PROXY], PROXY, registry), PROXY
    entries = _mirrors(environ.get(MIRRORS, ""))
    for name in matching(registry, entries)[:1]:
        found["mirrors"] = _checked("mirrors", entries[name], MIRRORS, registry), MIRRORS
    return found


def _mirrors(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``docker.io=https://a,https://b;ghcr.io=``; nothing after ``=`` means no mirror."""
    found = {}
    for entry in filter(None, map(str.strip, text.split(";"))):
        name, equals, addresses = (part.strip() for part in entry.partition("="))
        domain = name.removeprefix("*.")
        try:
            name = name if name == "*" else name[: -len(domain)] + parse_registry(domain)
        except ValueError:
            equals = ""
        if not equals or "://" in name:
            raise InvalidArgument(
                f"{MIRRORS} has an entry that is no registry with its mirrors",
                hint="write docker.io=https://a.example,https://b.example;ghcr.io=https://c.example",
            )
        found[name] = tuple(filter(None, map(str.strip, addresses.split(","))))
    return found


def _checked(option: str, value: Any, where: str, registry: str) -> Any:
    """Return a value for `make`, once it would take it; the error says where it came from."""
    try:
        if option == "credentials_helper":
            return value
        if option == "mirrors":
            many = (value,) if isinstance(value, str) else value
            value = tuple(text.replace(_PLACEHOLDER, registry) for text in many)
            for text in value:
                place.mirror(text)
        if option == "timeout" and isinstance(value, int):
            value = float(value)
        make(**{option: value})
    except InvalidArgument as error:
        message = f"{where}: {error.message}"
        if where in (PROXY, MIRRORS):
            raise InvalidArgument(message, hint=error.hint) from None
        path = where.partition(" [registry")[0]
        raise ConfigError(message, hint=error.hint, path=path) from None
    return value


def _name_of(mirror: str) -> str:
    try:
        return place.mirror(mirror).name
    except InvalidArgument:
        return ""  # an argument: told when it is connected to


def _helper(file: UserConfig, registry: str) -> str | None:
    for name in matching(registry, file.registries):
        helper: str | None = file.registries[name].get("credentials_helper")
        if helper is not None:
            return helper
    return None


def environment_proxy(registry: str, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the proxy that holds where didlab itself has none, and who set it: for people.

    Taken from where requests takes it, the system's settings on macOS and Windows included.
    """
    home = place.registry(registry)
    url = f"https://{home.host}:{home.port or 443}/"
    found = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    if found:
        try:
            shown = masked(parse_proxy(found))
        except InvalidArgument as error:
            shown = f"broken: {error.message}"
        name = setter(found, environ)
        return shown, f"environment {name}" if name else "system"
    if any(environ.get(name) for name in _PROXIES) and _excepted(registry, environ):
        return None, "environment NO_PROXY"
    return None, DEFAULT


def setter(value: str, environ: Mapping[str, str]) -> str | None:
    """Return the first of the variables that others know as well which has this value."""
    return next((name for name in (*_PROXIES, *CA_VARIABLES) if environ.get(name) == value), None)


def masked(proxy: Proxy) -> str:
    """Return a proxy's address for people: that it has a login, but not which."""
    return str(proxy).replace("://", "://***@", 1) if proxy.username else str(proxy)
