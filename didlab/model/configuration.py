"""`didlab.show_config`: what holds for a registry, and who said so."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING

from didlab import settings, userconfig
from didlab.errors import ConfigError, printable
from didlab.oci.reference import DEFAULT_REGISTRY, parse_registry
from didlab.transport import credentials, effective, helpers
from didlab.transport.options import Options, environment_ca
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

#: Options of a registry in the order of the table.
_OPTIONS = ("mirrors", "proxy", "insecure", "ca", "client_cert", "auth_hosts", "timeout")


def show_config(registry: str | None = None, *, ask_helpers: bool = False) -> pd.DataFrame:
    """Show what holds for a registry when a call does not say, and where it comes from.

    Parameters
    ----------
    registry : str, optional
        Host, with its port where needed; docker.io by default.
    ask_helpers : bool
        Run credential helpers to see whether they have a login; else the one that would be asked
        is named. The login itself is never shown.

    Returns
    -------
    DataFrame
        option : text, value : text (missing where nothing is set; no password is shown),
        source : text.

    Raises
    ------
    InvalidReference
        ``registry`` is no registry.
    ConfigError, InvalidArgument
        ``didlab.toml``, or a variable of the environment, is broken.

    Notes
    -----
    No request. A call's arguments go before what is shown.
    """
    name = parse_registry(DEFAULT_REGISTRY if registry is None else registry)
    file = userconfig.load()
    options, origins = effective.effective(name, {}, os.environ, file)
    rows = [_file(file)]
    for option in _OPTIONS:
        rows.append((option, _value(options, option), origins.get(option, effective.DEFAULT)))
        if option == "proxy" and options.proxy is None:
            rows[-1] = (option, *effective.environment_proxy(name, os.environ))
        if option == "ca":
            rows.append(_bundle())
    helper = options.helper(name)
    shown = helper
    if helper is not None and helpers.find_program(helper, os.environ) is None:
        shown = f"{helper} (docker-credential-{helper} is not installed)"
    rows.append(("credentials_helper", shown, origins.get("credentials_helper", effective.DEFAULT)))
    rows.append(("login", *_login(name, helper, ask_helpers)))
    current, sources = settings.current(), settings.origins()
    rows += [
        (field.name, _text(getattr(current, field.name)), sources[field.name])
        for field in fields(current)
    ]
    cells = [
        (option, value and printable(value, 2000), printable(source, 2000))
        for option, value, source in rows
    ]
    return frames.frame("show_config", cells, reference=name)


def _file(file: userconfig.UserConfig) -> tuple[str, str | None, str]:
    source = effective.DEFAULT
    if os.environ.get(userconfig.VARIABLE):
        source = f"environment {userconfig.VARIABLE}"
    where = userconfig.location()
    absent = None if where is None else f"{where} (not there)"
    return "file", file.path or absent, source


def _bundle() -> tuple[str, str | None, str]:
    path = environment_ca(os.environ)
    if path is None:
        return "ca_bundle", "certifi", effective.DEFAULT
    return "ca_bundle", path, f"environment {effective.setter(path, os.environ)}"


def _value(options: Options, name: str) -> str | None:
    value = getattr(options, name)
    if name == "proxy":
        return value and effective.masked(value)
    return _text(value)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, tuple):
        return (
            ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value) or None
        )
    return None if value is None else str(value)


def _login(registry: str, helper: str | None, ask: bool) -> tuple[str | None, str]:
    """Return kind and place of the login; what is broken is shown, since this is for finding it."""
    try:
        if ask:
            found = credentials.find(registry, helper=helper)
            place = None if found is None else found.source
        else:
            place = credentials.place(registry, helper=helper)
    except ConfigError as error:
        return f"broken: {error.message}", error.path or effective.DEFAULT
    if place is None:
        return None, effective.DEFAULT
    if place.startswith("docker-credential-"):
        return "found" if ask else "would be asked", place
    return "found", place
