"""What both formats are written from: the image, its system, its packages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from didlab.audits import distribution
from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.purl import purl
from didlab.audits.packages import Installed, distro, installed
from didlab.files import paths

if TYPE_CHECKING:
    from didlab.audits.distribution import OperatingSystem
    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest
    from didlab.oci.reference import Reference

__all__ = ["Entry", "Image", "Material", "gather"]

#: Where an image does not say when it was made, or says what is no date for others.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Image(NamedTuple):
    """The image that a bill is about."""

    name: str
    digest: str
    image_id: str
    platform: str
    purl: str
    layers: tuple[str, ...]


class Entry(NamedTuple):
    """A package, its URL, and the file and layer that tell of it."""

    package: Package
    purl: str
    path: str
    layer: str


class Material(NamedTuple):
    """All that a bill is written from.

    Attributes
    ----------
    created : str
        As both formats have it: ``2026-11-24T12:00:00Z``.
    tool : str
        didlab's version.
    """

    image: Image
    system: OperatingSystem
    packages: tuple[Entry, ...]
    created: str
    tool: str


def gather(manifest: Manifest, layers: Layers, created: datetime | None) -> Material:
    """Return the material of one image. Costs what `packages` costs."""
    from didlab import __version__

    image = manifest._whole()
    config = manifest._config()
    digests = tuple(layer.digest for layer in image.layers)
    listed = installed(layers)
    where = distro(layers)
    name = manifest.reference
    variant = f"/{config.variant}" if config.variant else ""
    about = Image(
        clean(name.familiar()),
        image.digest,
        image.config.digest,
        clean(f"{config.os}/{config.architecture}{variant}"),
        image_purl(name, image.digest, config.architecture),
        digests,
    )
    entries = entries_of(listed, [purl(one.package, where) for one in listed], digests)
    made = created if created is not None else config.created or _EPOCH
    return Material(about, distribution.of(layers), entries, stamp(made), __version__)


def entries_of(
    listed: Sequence[Installed], urls: Sequence[str], digests: Sequence[str]
) -> tuple[Entry, ...]:
    """Return the packages in an order that does not depend on how they were found."""
    found = [
        Entry(
            Package.from_fact([None if t is None else clean(t) for t in one.package.to_fact()]),
            url,
            clean(paths.shown(one.path)),
            digests[one.layer],
        )
        for one, url in zip(listed, urls, strict=True)
    ]
    return tuple(sorted(found, key=_order))


def _order(one: Entry) -> tuple[str, ...]:
    package = one.package
    rest = (one.path, one.layer, *(text or "" for text in package.to_fact()))
    return package.ecosystem, one.purl, *rest


def image_purl(name: Reference, digest: str, architecture: str) -> str:
    """Return an image's package URL, of the type ``oci``."""
    last = name.repository.rpartition("/")[2].lower() or "image"
    told = {"arch": architecture, "repository_url": name.name.lower(), "tag": name.tag}
    if not name.registry:  # a file is no repository
        del told["repository_url"]
    words = [f"{key}={_quoted(value)}" for key, value in sorted(told.items()) if value]
    return f"pkg:oci/{_quoted(last)}@{_quoted(digest)}" + ("?" + "&".join(words) if words else "")


def stamp(moment: datetime) -> str:
    """Return a time as both formats write it.

    >>> stamp(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    utc = moment.astimezone(UTC).replace(microsecond=0, tzinfo=None)
    return f"{utc.isoformat()}Z"


def clean(text: str) -> str:
    """Return text that every reader of JSON takes: no halves of characters."""
    return text.encode("utf-8", "replace").decode()


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "replace"), safe=":")
