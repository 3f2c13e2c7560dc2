"""Facts about an archive, and what loaders find wrong with them. Pure; see `loaders`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from didlab.errors import InvalidReference
from didlab.oci.reference import Reference

Severity = Literal["error", "warning", "info"]
Link = Literal["", "symbolic", "hard"]
#: Who reads a list of an archive: containerd stands for ctr, too.
Reader = Literal["docker", "containerd", "podman", "skopeo"]
LEFT_OUT = "left out"
#: Why a loader refuses, and how grave that is.
Flaw = tuple[str, Severity]


@dataclass(frozen=True, slots=True)
class Odd:
    """What some readers refuse though nothing is damaged."""

    why: str
    readers: tuple[Reader, ...]


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer: ``kind`` is how it is compressed, None where it is not there.

    ``sound``: its bytes are what they are said to be. ``unpacks``: and their diff_id, too; None
    where that is another and they can be unpacked. ``behind``: something follows the end of gzip.
    ``left_out``: it is missing on purpose (a thin tar).
    ``link``: the member of a docker-archive is a link; ``again``: the same layer came before it.
    """

    subject: str
    kind: str | None
    sound: bool = True
    left_out: bool = False
    link: Link = ""
    again: bool = False
    unpacks: bool | None = True
    behind: bool = False


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image; ``image_id`` is the digest of its config, None where that cannot be read.

    ``artifact``: it is none, such as an attestation beside one. ``steps``: entries of the history
    that made a layer. ``dated``: its times can be read. ``unread``: the config is there, and
    cannot be read. ``odd``: who refuses it for what else. ``platform``: operating system and
    architecture by which containerd chooses, None where it does not.
    """

    subject: str
    image_id: str | None
    layers: tuple[LayerFacts, ...] = ()
    sound: bool = True
    counted: bool = True
    bad_tags: tuple[str, ...] = ()
    artifact: bool = False
    steps: int = 0
    dated: bool = True
    unread: bool = False
    odd: tuple[Odd, ...] = ()
    platform: tuple[str, str] | None = None

    @property
    def missing(self) -> int:
        """How many layers are not there."""
        return sum(layer.kind is None for layer in self.layers)

    @property
    def kinds(self) -> set[str]:
        """How the layers are compressed."""
        return {layer.kind for layer in self.layers if layer.kind is not None}


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """One entry of ``index.json``; ``absent`` counts images of an index that are not there.

    ``nested``: an index inside an index. ``honest``: manifests are what their digests say, at
    which containerd alone looks.
    """

    subject: str
    digest: str
    name: str | None = None
    images: tuple[ImageFacts, ...] = ()
    absent: int = 0
    sound: bool = True
    nested: bool = False
    honest: bool = True


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """An archive or layout.

    Attributes
    ----------
    packed : str
        ``tar``, ``gzip``, ``zstd`` or ``folder``.
    layout : bool
        Whether ``oci-layout`` is there.
    docker : tuple of ImageFacts or None
        The items of ``manifest.json``; None where there is none.
    oci : tuple of EntryFacts or None
        The entries of ``index.json``; None where there is none.
    fits, legible : bool
        Whether ``oci-layout`` tells the version that there is, and ``manifest.json`` can be read.
    later : str
        A hard link to what comes behind it: whoever unpacks the archive (Docker, and podman and
        skopeo by ``index.json``) fails.
    first, best : optional
        ``docker`` and ``oci`` as they are by the first of members that come twice, and by those
        that are what their names say; None where none comes twice.
    """

    packed: str
    layout: bool = False
    docker: tuple[ImageFacts, ...] | None = None
    oci: tuple[EntryFacts, ...] | None = None
    fits: bool = True
    legible: bool = True
    later: str = ""
    first: tuple[ImageFacts, ...] | None = None
    best: tuple[EntryFacts, ...] | None = None

    @property
    def by_first(self) -> tuple[ImageFacts, ...] | None:
        """What podman and skopeo find by ``manifest.json``."""
        return self.docker if self.first is None else self.first

    @property
    def by_digest(self) -> tuple[EntryFacts, ...] | None:
        """What containerd, which keeps all there is, finds by ``index.json``."""
        return self.oci if self.best is None else self.best


def images_flaw(
    images: Sequence[ImageFacts], reader: Reader | None = None, *, oci: bool = False
) -> Flaw | None:
    """Return why a loader that needs all of the images refuses them.

    ``oci``: by ``index.json``, where podman trusts the manifest, and skopeo looks into nothing.
    """
    bytes_only = oci and reader == "skopeo"
    for image in images:
        who = image.subject
        if image.image_id is None and not (bytes_only and image.unread):
            return f"{who}: the config cannot be read", "error"
        if not image.sound:
            return f"{who}: the manifest or config is damaged", "error"
        if not image.counted:
            return f"{who}: the config names another number of layers", "error"
        if not image.dated and not bytes_only:
            return f"{who}: the config has a time that is none", "warning"
        # An index may have an artifact beside its images, which is nobody's to load.
        for odd in image.odd if not image.artifact or len(images) == 1 else ():
            if reader in odd.readers:
                return f"{who}: {odd.why}", "warning"
        here = [layer for layer in image.layers if layer.kind is not None]
        careless = bytes_only or (oci and reader == "podman")
        for layer in here:
            wrong = layer.unpacks is None and not careless
            if not layer.sound or wrong or (layer.unpacks is False and not bytes_only):
                return f"{who}: the layer {layer.subject} is not what it is said to be", "error"
        for layer in here:
            if layer.behind and reader in ("podman", "skopeo") and not bytes_only:
                what = "has something behind the end of gzip"
                return f"{who}: the layer {layer.subject} {what}", "warning"
        absent = [layer for layer in image.layers if layer.kind is None]
        if absent:
            thin = all(layer.left_out for layer in absent)
            how = LEFT_OUT if thin else "missing"
            return f"{who}: {len(absent)} of {len(image.layers)} layers are {how}", (
                "warning" if thin else "error"
            )
    return None


def entries_flaw(entries: Sequence[EntryFacts] | None, reader: Reader) -> Flaw | None:
    """Return why the entries of index.json are refused."""
    for entry in entries or ():
        if not entry.sound or (not entry.honest and reader == "containerd"):
            return f"{entry.subject}: its manifest is missing or damaged", "error"
        if not entry.images and not entry.absent:
            return f"{entry.subject}: it leads to nothing that a loader knows", "warning"
        # One image goes by its name; of several, the digest tells which.
        one = len(entry.images) == 1
        named = [replace(i, subject=entry.subject) if one else i for i in entry.images]
        found = images_flaw(named, reader, oci=True)
        if found is not None:
            return found
    return None if entries else ("index.json lists no image", "error")


def items_flaw(images: Sequence[ImageFacts], reader: Reader | None = None) -> Flaw | None:
    """Return why the images of manifest.json are refused."""
    return (
        images_flaw(images, reader)
        if images
        else ("manifest.json lists no image that can be read", "error")
    )


def system_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why dockerd, which knows two operating systems, refuses another: it breaks off."""
    for image in images:
        system = image.platform[0] if image.platform else ""
        if system not in ("", "linux", "windows"):
            return f"{image.subject}: it is for an operating system that Docker lacks", "warning"
    return None


def nowhere_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why containerd finds no platform that an image fits."""
    for image in images:
        if image.platform is not None and not image.platform[1]:
            return f"{image.subject}: the config names no architecture", "warning"
    return None


def elsewhere(groups: Sequence[Sequence[ImageFacts]]) -> tuple[str, str] | None:
    """Return the first image, and its platform, that the usual machine passes over.

    ``groups``: the images of which one must fit.
    """
    for group in groups:
        kinds = [image.platform for image in group if not image.artifact]
        if kinds and all(kind is not None and kind[1] and not _usual(*kind) for kind in kinds):
            system, architecture = kinds[0] or ("", "")
            return group[0].subject, f"{system or 'linux'}/{architecture}"
    return None


def _usual(system: str, architecture: str) -> bool:
    names = ("amd64", "x86_64", "x86-64", "386", "i386")
    return system.lower() in ("", "linux") and architecture.lower() in names


def behind(images: Sequence[ImageFacts]) -> str | None:
    """Return the layer that something follows; with pigz, Docker and containerd do not see it."""
    layers = (layer for image in images for layer in image.layers)
    return next((layer.subject for layer in layers if layer.behind), None)


def links_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why podman and skopeo, which take a link's size for its layer's, refuse a link."""
    for image in images:
        for layer in image.layers:
            if layer.link and not layer.again:
                how = f"the layer {layer.subject} is a {layer.link} link"
                return f"{image.subject}: {how}", "warning"
    return None


def later_flaw(facts: ArchiveFacts) -> Flaw | None:
    """Return why whoever unpacks the archive refuses it."""
    how = f"{facts.later} is a hard link to what comes later"
    return (how, "warning") if facts.later else None


def hard_links_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why containerd, which follows symbolic links alone, refuses a link."""
    for image in images:
        for layer in image.layers:
            if layer.link == "hard":
                return f"{image.subject}: the layer {layer.subject} is a hard link", "warning"
    return None


def kinds_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why containerd, which reads gzip and zstd, refuses a layer that Docker takes."""
    for image in images:
        for layer in image.layers:
            if layer.kind == "other":
                what = f"the layer {layer.subject} is neither a tar nor gzip nor zstd"
                return f"{image.subject}: {what}", "warning"
    return None


def steps_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why Docker's classic store, which fits histories to layers, refuses one."""
    for image in images:
        if image.steps > len(image.layers):
            many = f"{image.steps} layers, there are {len(image.layers)}"
            return f"{image.subject}: the config's history tells of {many}", "warning"
    return None


def tags_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why a loader that needs a tag in each name refuses one."""
    bad = [tag for image in images for tag in image.bad_tags]
    return (f"{bad[0]!r} is no name with a tag", "error") if bad else None


def names_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return why containerd, which adds a tag where there is none, refuses a name."""
    for image in images:
        for tag in image.bad_tags:
            try:
                Reference.parse(tag)
            except InvalidReference:
                return f"{tag!r} is no name", "error"
    return None


def nested_flaw(entries: Sequence[EntryFacts]) -> Flaw | None:
    """Return why skopeo and podman, which look for images one level down, refuse an index."""
    nested = [entry.subject for entry in entries if entry.nested]
    return (f"{nested[0]}: an index inside an index", "warning") if nested else None
