"""The checks that come along, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from didlab.audits.fleet.check import Check
from didlab.audits.fleet.results import Columns, told
from didlab.errors import PackagesInvalid
from didlab.files.looks import Look
from didlab.views import secrets
from didlab.views.frames import SCHEMAS

if TYPE_CHECKING:
    from didlab.audits.fleet.view import ImageView

#: What `didlab.audit` does where nobody says: no layer is read for these.
DEFAULT = ("config", "layers")


def _config(image: ImageView) -> dict[str, Any]:
    """Tell what the config says.

    Returns
    -------
    dict
        user : text (missing means root), entrypoint : text, cmd : text (secrets hidden),
        working_dir : text, ports : text, volumes : text (separated by commas),
        healthcheck : bool, env : text (names of the variables), labels : text (their names).
    """
    config = image.config()
    return {
        "user": config.user or None,
        "entrypoint": _command(config.entrypoint),
        "cmd": _command(config.cmd),
        "working_dir": config.working_dir or None,
        "ports": ", ".join(config.exposed_ports) or None,
        "volumes": ", ".join(config.volumes) or None,
        "healthcheck": config.healthcheck is not None,
        # Values may be anything; secrets() looks at them.
        "env": ", ".join(config.env) or None,
        "labels": ", ".join(config.labels) or None,
    }


def _command(words: tuple[str, ...]) -> str | None:
    return _hidden(" ".join(words)) or None


def _hidden(text: str) -> str:
    """Return text without what the check ``secrets`` finds in it."""
    from didlab.audits.secrets.texts import hidden

    return hidden(text)


def _labels(image: ImageView) -> Iterator[dict[str, Any]]:
    """Yield the labels: name : text, value : text (secrets hidden)."""
    for name, value in image.config().labels.items():
        yield {"name": name, "value": _hidden(secrets.masked(name, str(value)))}


def _layers(image: ImageView) -> Any:
    return _without(image.layers().rename(columns={"digest": "layer_digest"}))


def _waste(image: ImageView) -> Any:
    return _without(image.waste())


def _without(made: Any) -> Any:
    """Hide secrets in the commands that made the layers."""
    made["created_by"] = [
        _hidden(text) if isinstance(text, str) else None for text in made["created_by"]
    ]
    return made


def _size(image: ImageView) -> dict[str, Any]:
    """Tell what it costs to download.

    Returns
    -------
    dict
        size : int64 (bytes of config and distinct layers), layers : int64, largest : Int64
        (bytes of the largest layer), largest_layer : Int64 (its position).
    """
    sizes = [int(size) for size in image.layers()["size"]]
    largest = max(range(len(sizes)), key=sizes.__getitem__, default=None)
    return {
        "size": image.size(),
        "layers": len(sizes),
        "largest": sizes[largest] if largest is not None else None,
        "largest_layer": largest,
    }


def _os(image: ImageView) -> dict[str, Any]:
    """Tell which distribution it is of, and until when that is looked after.

    Returns
    -------
    dict
        id : category, version : category, codename : category, name : category (missing where
        os-release does not say), eol : text, eol_lts : text (last days of support and of
        long-term support, ISO 8601), supported : bool (missing where no date is known).
    """
    found = image.os()
    return {
        "id": found.id,
        "version": found.version,
        "codename": found.codename,
        "name": found.pretty_name,
        "eol": found.eol.isoformat() if found.eol else None,
        "eol_lts": found.eol_lts.isoformat() if found.eol_lts else None,
        "supported": found.supported(),
    }


def _packages(image: ImageView) -> Columns:
    """List the packages, as `Manifest.packages`, without a DataFrame for each image.

    What of their files could not be read is an error beside them.
    """
    from didlab.audits import packages

    layers = image._inside()
    where = packages.distro(layers)
    there = packages.sources(layers)
    rows = [row for source in there for row in packages.rows_of(source, where)]
    rows.sort(key=packages.order)
    names = [column.name for column in SCHEMAS["packages"]]
    values = map(list, zip(*rows, strict=True)) if rows else ([] for _ in names)
    columns = Columns(zip(names, values, strict=True))
    if problems := packages.problems(there):
        more = f"{len(problems)} files cannot be read in full, first " if problems[1:] else ""
        columns.error = told(PackagesInvalid(more + problems[0]))
    return columns


def _secret_looks() -> tuple[Look, ...]:
    from didlab.audits.secrets.look import SecretsLook

    return (SecretsLook(),)


def _user_looks() -> tuple[Look, ...]:
    from didlab.audits.users import ShadowLook

    return (ShadowLook(),)


def _certificate_looks() -> tuple[Look, ...]:
    from didlab.audits.certificates import CertificatesLook

    return (CertificatesLook(),)


def _packages_looks() -> tuple[Look, ...]:
    from didlab.audits.ecosystems.look import PackagesLook

    return (PackagesLook(),)


def _made(
    name: str,
    function: Callable[[ImageView], Any],
    looks: Callable[[], tuple[Look, ...]] = tuple,
    *,
    layers: bool = True,
    schema: str | None = None,
) -> Check:
    return Check(name, function, (), layers, "1", schema or name, looks)


#: Each returns the frame of its name, or what its schema says.
CHECKS: Mapping[str, Check] = {
    one.name: one
    for one in (
        _made("config", _config, layers=False, schema="audit_config"),
        _made("labels", _labels, layers=False, schema="audit_labels"),
        _made("layers", _layers, layers=False),
        _made("size", _size, layers=False, schema="audit_size"),
        _made("os", _os, schema="audit_os"),
        _made("packages", _packages, _packages_looks),
        _made("secrets", lambda image: image.secrets(), _secret_looks),
        _made("setuid", lambda image: image.setuid()),
        _made("users", lambda image: image.users(), _user_looks),
        _made("certificates", lambda image: image.certificates(), _certificate_looks),
        _made("waste", _waste),
    )
}
