"""From a name to image manifests: the few small requests that an audit begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from didlab.audits.fleet.results import told
from didlab.audits.fleet.targets import Target
from didlab.errors import DidlabError, InvalidArgument, PlatformNotFound
from didlab.model import inside
from didlab.model.indexing import Wanted
from didlab.model.manifest import Manifest
from didlab.model.snapshot import Snapshot, config_platform
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import LocalName
from didlab.oci.manifest import ImageIndex
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.base import Source

#: None: the default platform; ``()``: all of them.
Platforms = tuple[Platform, ...] | None


@dataclass(frozen=True, slots=True)
class Unit:
    """One distinct image, small enough to hold ten thousand of.

    ``whole`` is kept where a digest alone does not lead back to it: local files, and schema 1.
    """

    digest: str
    platform: str
    source: Source
    reference: Reference
    pin: Descriptor
    config: Descriptor
    layers: tuple[Wanted, ...]
    whole: Manifest | None = None

    def manifest(self) -> Manifest:
        """Return it as what users hold: no request."""
        if self.whole is not None:
            return self.whole
        return Manifest._sharing(Snapshot(self.source, self.reference, self.pin), None)


@dataclass(frozen=True, slots=True)
class Found:
    """One row of the report to be: an image under a name, or why it is none."""

    reference: str
    platform: str | None = None
    digest: str | None = None
    created: datetime | None = None
    size: int | None = None
    layers: int | None = None
    error: str | None = None
    unit: Unit | None = None


def wanted(platform: str | Sequence[str] | None) -> Platforms:
    """Return what ``platform=`` means.

    Raises
    ------
    InvalidArgument
    """
    if platform is None:
        return None
    if platform == "all":
        return ()
    if isinstance(platform, str):
        return (Platform.parse(platform),)
    try:
        found = tuple(Platform.parse(one) for one in platform)
    except TypeError:
        found = ()
    if not found:
        raise InvalidArgument(
            'platform= takes "linux/arm64", a list of such, "all", or None for the default'
        )
    return found


def resolve(target: Target, platforms: Platforms) -> list[Found]:
    """Return the images behind a name: one to three requests, fewer for what is known."""
    try:
        if target.open is None:
            raise AssertionError("a target is opened or expanded")
        manifest = target.open()
        chosen = list(_chosen(manifest, platforms))
    except (DidlabError, OSError, ValueError) as error:
        return [Found(target.name, error=told(error))]
    return [_found(target.name, label, one) for label, one in chosen]


def _chosen(manifest: Manifest, platforms: Platforms) -> Iterator[tuple[Platform | None, Manifest]]:
    if platforms:
        yield from ((one, manifest) for one in platforms)
        return
    root = manifest._document()
    if not isinstance(root, ImageIndex):
        yield None, manifest
        return
    names = [Platform.parse(name) for name in manifest._platform_names()]
    if platforms is None:
        try:
            manifest._image()
        except PlatformNotFound:
            # An audit of a fleet goes on with what there is, and the row says what that is.
            if not names:
                raise
            yield names[0], manifest
        else:
            yield None, manifest
        return
    if not names:
        yield None, manifest
    yield from ((one, manifest) for one in names)


def _found(name: str, label: Platform | None, manifest: Manifest) -> Found:
    try:
        one = manifest if label is None else manifest[label]
        return _image(name, label, one)
    except (DidlabError, OSError, ValueError) as error:
        return Found(name, str(label) if label else None, error=told(error))


def _image(name: str, label: Platform | None, one: Manifest) -> Found:
    snapshot = one._snapshot
    image = one._image()
    if not image.is_image:
        raise snapshot.not_an_image(image)
    config = one._config()
    layers = tuple(inside.wanted(one))
    converted = snapshot.conversion is not None
    local = isinstance(snapshot.asked, LocalName)
    digest = one.digest() if converted else image.digest
    platform = str(label or config_platform(config))
    unit = Unit(
        digest,
        platform,
        snapshot.source,
        snapshot.asked,
        Descriptor(image.media_type, image.digest, len(image.raw)),
        image.config,
        layers,
        one if converted or local else None,
    )
    return Found(
        name,
        platform,
        digest,
        config.created,
        one.size(),
        len(layers),
        unit=unit,
    )
