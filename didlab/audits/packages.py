"""The packages of an image: what its layers' databases tell, as far as they hold in the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.audits import distribution
from didlab.audits.ecosystems.look import Found, PackagesLook, found
from didlab.audits.ecosystems.package import ECOSYSTEMS, Package
from didlab.audits.ecosystems.purl import Distro, purl
from didlab.audits.holding import Held, holding
from didlab.errors import (
    InvalidArgument,
    MalformedContent,
    printable,
)
from didlab.files import paths as names
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers


_log = logging.getLogger("didlab")
#: Packages of one file that are worth remembering, and not too many to.
_REMEMBERED = range(50, 5000)


class Installed(NamedTuple):
    """A package of an image: the file that tells of it, and the layer that brought this version."""

    package: Package
    path: bytes
    layer: int


def frame(layers: Layers, reference: str, *, ecosystem: str | None = None) -> pd.DataFrame:
    """Return the table ``packages``.

    Raises
    ------
    InvalidArgument
        The ecosystem is none that is known. And as `Layers.learn`.
    """
    if ecosystem is not None and ecosystem not in ECOSYSTEMS:
        raise InvalidArgument(
            f"packages() knows no ecosystem {printable(str(ecosystem), 40)}",
            hint="one of " + ", ".join(ECOSYSTEMS),
        )
    listed = [one for one in installed(layers) if ecosystem in (None, one.package.ecosystem)]
    return frames.frame("packages", rows(listed, distro(layers)), reference=reference)


def rows(listed: Sequence[Installed], where: Distro | None) -> list[tuple[Any, ...]]:
    """Return the rows of the table, sorted."""
    made = [
        (
            *(package.ecosystem, package.name, package.version, package.architecture),
            *(package.source, package.license, purl(package, where), names.shown(path), layer),
        )
        for package, path, layer in listed
    ]
    return sorted(made, key=lambda row: (row[0], row[1], row[2] or "", row[7], row[3] or ""))


def installed(layers: Layers) -> list[Installed]:
    """Return the packages of the merged file system; a warning says what could not be read.

    Raises
    ------
    As `Layers.learn`.
    """
    listed, problems = read(layers)
    for problem in problems:
        _log.warning("packages: %s", problem)
    return listed


def read(layers: Layers) -> tuple[list[Installed], list[str]]:
    """Return the packages of the merged file system, and of each file what could not be read.

    Raises
    ------
    As `Layers.learn`.
    """
    look = PackagesLook()
    told = layers.learn([look])[look.name]
    seen: set[tuple[int, bytes]] = set()
    listed: list[Installed] = []
    problems: list[str] = []
    for held in holding(layers, look, told):
        now = _read(told, held.layer, held.key)
        listed += _since(told, held, now)
        if now.problems and (held.layer, held.key) not in seen:
            seen.add((held.layer, held.key))
            told_of = f"{names.shown(held.path)} of layer {held.layer}"
            problems.append(f"{told_of}: {printable('; '.join(now.problems), 500)}")
    return listed, problems


def _since(told: Sequence[dict[bytes, Any]], held: Held, now: Found) -> Iterator[Installed]:
    """Say of each package since which layer the file has told of this version of it."""
    since = {_name(package): held.layer for package in now.packages}
    # A layer that changes one package writes the whole database again.
    going = {_name(package): package.version for package in now.packages}
    for layer in range(held.layer - 1, -1, -1):
        if not going:
            break
        if held.key not in told[layer]:
            continue
        before = {_name(one): one.version for one in _read(told, layer, held.key).packages}
        going = {
            name: version
            for name, version in going.items()
            if name in before and before[name] == version
        }
        since.update(dict.fromkeys(going, layer))
    for package in now.packages:
        yield Installed(package, held.path, since[_name(package)])


def _name(package: Package) -> tuple[str, str, str | None]:
    return package.ecosystem, package.name, package.architecture


def _read(told: Sequence[dict[bytes, Any]], layer: int, key: bytes) -> Found:
    facts = told[layer][key]
    try:
        if len(facts) in _REMEMBERED:
            return _remembered(tuple(map(tuple, facts)))
        return found(facts)
    except MalformedContent as error:
        return Found(None, [], [error.message])
    except TypeError:
        return Found(None, [], ["no facts about packages"])


@lru_cache(maxsize=64)
def _remembered(facts: tuple[tuple[Any, ...], ...]) -> Found:
    """Return what facts mean; the images of a fleet have most databases in common."""
    return found(list(facts))


def distro(layers: Layers) -> Distro | None:
    """Return whose distribution an image is, by its os-release; None where it does not say.

    Costs nothing once it is listed: the file comes along. By a table of contents, a request.
    """
    system = distribution.of(layers)
    return Distro(system.id, system.version) if system.id else None
