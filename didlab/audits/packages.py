"""The packages of an image: what its layers' databases tell, as far as they hold in the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from didlab.audits import distribution
from didlab.audits.ecosystems.look import Found, PackagesLook, found
from didlab.audits.ecosystems.package import ECOSYSTEMS, Package
from didlab.audits.ecosystems.purl import Distro, purl
from didlab.audits.holding import Held, holding
from didlab.errors import InvalidArgument, MalformedContent, printable
from didlab.files import paths as names
from didlab.files.looking import Encoded
from didlab.views import frames

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers


_log = logging.getLogger("didlab")
#: Bytes of facts of one file that are worth remembering, and not too many to: some thousand
#: packages.
_REMEMBERED = range(4 * 1024, 512 * 1024)


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


def rows(listed: Iterable[Installed], where: Distro | None) -> list[tuple[Any, ...]]:
    """Return the rows of the table, sorted."""
    return sorted(_rows(listed, where), key=order)


def _rows(listed: Iterable[Installed], where: Distro | None) -> Iterator[tuple[Any, ...]]:
    for package, path, layer in listed:
        yield (
            *(package.ecosystem, package.name, package.version, package.architecture),
            *(package.source, package.license, purl(package, where), names.shown(path), layer),
        )


def order(row: tuple[Any, ...]) -> tuple[str, ...]:
    """Return what the rows of the table are sorted by."""
    return row[0], row[1], row[2] or "", row[7], row[3] or ""


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
    there = sources(layers)
    return [one for source in there for one in known(source)], problems(there)


class Version(NamedTuple):
    """What one layer's version of a file tells, as it is kept."""

    layer: int
    facts: Encoded


class Source(NamedTuple):
    """A file of the merged file system that tells of packages.

    Attributes
    ----------
    path, key : bytes
        Where it is there, and where in its layer.
    versions : tuple of Version
        The one that holds, then those that lower layers have.
    """

    path: bytes
    key: bytes
    versions: tuple[Version, ...]


def sources(layers: Layers) -> list[Source]:
    """Return the files that tell of packages. Raises as `Layers.learn`."""
    look = PackagesLook()
    told = layers.recorded([look])[look.name]
    return [
        Source(held.path, held.key, tuple(_versions(told, held)))
        for held in holding(layers, look, told)
    ]


def _versions(told: Sequence[Mapping[bytes, Encoded]], held: Held) -> Iterator[Version]:
    for layer in range(held.layer, -1, -1):
        facts = told[layer].get(held.key)
        if facts is not None:
            yield Version(layer, facts)


def problems(of: Iterable[Source]) -> list[str]:
    """Return of each file what could not be read; of one with several names once."""
    found: dict[tuple[int, bytes], str] = {}
    for source in of:
        layer, facts = source.versions[0]
        if wrong := _found(facts).problems:
            where = f"{names.shown(source.path)} of layer {layer}"
            found.setdefault((layer, source.key), f"{where}: {printable('; '.join(wrong), 500)}")
    return list(found.values())


def known(source: Source) -> Sequence[Installed]:
    """Return the packages that a file tells of; images of a fleet have most files in common."""
    return _remembered(source) if _weight(source) in _REMEMBERED else _installed(source)


def rows_of(source: Source, where: Distro | None) -> Sequence[tuple[Any, ...]]:
    """Return the rows of one file's packages."""
    weight = _weight(source)
    if weight in _REMEMBERED:
        return _many_rows(source, where)
    return _few_rows(source, where) if weight < _REMEMBERED.start else _rows_of(source, where)


def _rows_of(source: Source, where: Distro | None) -> tuple[tuple[Any, ...], ...]:
    return tuple(_rows(known(source), where))


_many_rows = lru_cache(maxsize=64)(_rows_of)
_few_rows = lru_cache(maxsize=10_000)(_rows_of)


def _weight(source: Source) -> int:
    return sum(len(version.facts) for version in source.versions)


def _installed(source: Source) -> tuple[Installed, ...]:
    """Say of each package since which layer the file has told of this version of it."""
    (held, facts), *lower = source.versions
    packages = _found(facts).packages
    since = {_name(package): held for package in packages}
    # A layer that changes one package writes the whole database again.
    going = {_name(package): package.version for package in packages} if lower else {}
    for layer, earlier in lower:
        if not going:
            break
        before = {_name(one): one.version for one in _found(earlier).packages}
        going = {
            name: version
            for name, version in going.items()
            if name in before and before[name] == version
        }
        since.update(dict.fromkeys(going, layer))
    return tuple(Installed(package, source.path, since[_name(package)]) for package in packages)


_remembered = lru_cache(maxsize=64)(_installed)


def _name(package: Package) -> tuple[str, str, str | None]:
    return package.ecosystem, package.name, package.architecture


def _found(facts: Encoded) -> Found:
    if len(facts) in _REMEMBERED:
        return _parsed(facts)
    return _parsed_few(facts) if len(facts) < _REMEMBERED.start else _parse(facts)


def _parse(facts: Encoded) -> Found:
    try:
        return found(json.loads(facts))
    except MalformedContent as error:
        return Found(None, [], [error.message])
    except (TypeError, ValueError):
        return Found(None, [], ["no facts about packages"])


_parsed = lru_cache(maxsize=64)(_parse)
_parsed_few = lru_cache(maxsize=10_000)(_parse)


def distro(layers: Layers) -> Distro | None:
    """Return whose distribution an image is, by its os-release; None where it does not say.

    Costs nothing once it is listed: the file comes along. By a table of contents, a request.
    """
    system = distribution.of(layers)
    return Distro(system.id, system.version) if system.id else None
