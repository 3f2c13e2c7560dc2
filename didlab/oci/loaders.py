"""What each loader demands of an archive: from facts about one to what would happen. Pure.

Read from the loaders' sources and tried with them: dockerd 20.10, podman 4.3, skopeo 1.9, ctr 1.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from didlab.errors import InvalidReference
from didlab.oci.reference import Reference

__all__ = [
    "ArchiveFacts",
    "EntryFacts",
    "ImageFacts",
    "LayerFacts",
    "Severity",
    "Verdict",
    "pulls",
    "verdicts",
]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer: ``kind`` is how it is compressed, None where it is not there.

    ``sound``: it is what it is said to be. ``left_out``: it is missing on purpose (a thin tar).
    """

    subject: str
    kind: str | None
    sound: bool = True
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image; ``image_id`` is the digest of its config, None where that cannot be read.

    ``artifact``: it is none, such as an attestation beside one.
    """

    subject: str
    image_id: str | None
    layers: tuple[LayerFacts, ...] = ()
    sound: bool = True
    counted: bool = True
    bad_tags: tuple[str, ...] = ()
    artifact: bool = False

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
    """One entry of ``index.json``; ``absent`` counts images of an index that are not there."""

    subject: str
    digest: str
    name: str | None = None
    images: tuple[ImageFacts, ...] = ()
    absent: int = 0
    sound: bool = True


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
    """

    packed: str
    layout: bool = False
    docker: tuple[ImageFacts, ...] | None = None
    oci: tuple[EntryFacts, ...] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a loader takes an archive, by which command, and why not or under which name."""

    loader: str
    command: str
    takes: bool
    severity: Severity
    demand: str
    detail: str = ""


def verdicts(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Yield what each loader would do."""
    for rule in (_docker, _containerd, _podman, _ctr, _skopeo_docker, _skopeo_oci, _crane):
        yield from rule(facts)


def pulls(images: Sequence[ImageFacts]) -> Iterator[Verdict]:
    """Yield what is to be known of pulling images from a registry."""
    if any("zstd" in image.kinds for image in images):
        yield Verdict(
            "docker", "docker pull, before 23", False, "warning", _NO_ZSTD, "there are zstd layers"
        )


_UNPACK = "the archive as a whole is {}: unpack it first"
#: skopeo 1.9 and podman 4.3 take it for a plain tar, while they read zstd.
_GZIP = "not all versions read an archive that is gzip as a whole: unpack it first"
_NO_ZSTD = "layers plain, or in gzip"
_KINDS = {"folder": "a folder", "gzip": "compressed", "zstd": "compressed"}
_Flaw = tuple[str, Severity]


def _flaw(images: Sequence[ImageFacts]) -> _Flaw | None:
    """Return why a loader that needs all of the images refuses them."""
    for image in images:
        who = image.subject
        if image.image_id is None:
            return f"{who}: the config cannot be read", "error"
        if not image.sound:
            return f"{who}: the manifest or config is damaged", "error"
        if not image.counted:
            return f"{who}: the config names another number of layers", "error"
        bad = [
            layer.subject for layer in image.layers if layer.kind is not None and not layer.sound
        ]
        if bad:
            return f"{who}: the layer {bad[0]} is not what it is said to be", "error"
        absent = [layer for layer in image.layers if layer.kind is None]
        if absent:
            thin = all(layer.left_out for layer in absent)
            how = "left out" if thin else "missing"
            return f"{who}: {len(absent)} of {len(image.layers)} layers are {how}", (
                "warning" if thin else "error"
            )
    return None


def _entries_flaw(facts: ArchiveFacts) -> _Flaw | None:
    for entry in facts.oci or ():
        if not entry.sound:
            return f"{entry.subject}: its manifest is missing or damaged", "error"
        # One image goes by its name; of several, the digest tells which.
        one = len(entry.images) == 1
        found = _flaw([replace(i, subject=entry.subject) if one else i for i in entry.images])
        if found is not None:
            return found
    return None if facts.oci else ("index.json lists no image", "error")


def _judge(loader: str, command: str, demand: str, flaw: _Flaw | None, detail: str) -> Verdict:
    if flaw is None:
        return Verdict(loader, command, True, "info", demand, detail)
    return Verdict(loader, command, False, flaw[1], demand, flaw[0])


def _unfit(loader: str, command: str, demand: str, why: str) -> Verdict:
    """Say that the form is not this loader's, which is no fault of the archive."""
    return Verdict(loader, command, False, "info", demand, why)


# --- the rules -------------------------------------------------------------------------------


def _docker(facts: ArchiveFacts) -> Iterator[Verdict]:
    command = "docker load"
    demand = "a tar with manifest.json; every layer that the daemon lacks, equal to its diff_id"
    if facts.packed == "folder" or facts.docker is None:
        why = "it is a folder" if facts.packed == "folder" else "there is no manifest.json"
        yield _unfit("docker", command, demand, why)
        return
    flaw = _tags_flaw(facts.docker) or _flaw(facts.docker)
    if flaw is not None and flaw[1] == "warning":
        flaw = (f"{flaw[0]}: it loads only where the daemon has them in the same places", flaw[1])
    yield _judge("docker", command, demand, flaw, "")
    zstd = any("zstd" in image.kinds for image in facts.docker)
    if flaw is None and (zstd or facts.packed == "zstd"):
        why = "there are zstd layers" if zstd else "the archive as a whole is zstd"
        yield Verdict("docker", "docker load, before 23", False, "warning", _NO_ZSTD, why)


def _tags_flaw(images: Sequence[ImageFacts]) -> _Flaw | None:
    bad = [tag for image in images for tag in image.bad_tags]
    return (f"{bad[0]!r} is no name with a tag", "error") if bad else None


def _names_flaw(images: Sequence[ImageFacts]) -> _Flaw | None:
    """Return why containerd, which adds a tag where there is none, refuses a name."""
    for image in images:
        for tag in image.bad_tags:
            try:
                Reference.parse(tag)
            except InvalidReference:
                return f"{tag!r} is no name", "error"
    return None


def _containerd(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Docker's containerd store; index.json wins, and children may be missing."""
    command = "docker load"
    demand = (
        "a tar; by index.json where oci-layout is there, else by manifest.json; no blob missing"
    )
    if facts.packed == "folder":
        yield _unfit("containerd", command, demand, "it is a folder")
    elif facts.layout and facts.oci is not None:
        yield _judge("containerd", command, demand, _entries_flaw(facts), "by index.json")
    elif facts.docker is not None:
        flaw = _names_flaw(facts.docker) or _flaw(facts.docker)
        yield _judge("containerd", command, demand, flaw, "by manifest.json")
    else:
        yield _unfit("containerd", command, demand, "there is no oci-layout, nor manifest.json")


def _ctr(facts: ArchiveFacts) -> Iterator[Verdict]:
    command = "ctr images import"
    demand = "as docker load in the containerd store; every image of an index"
    if facts.packed == "folder":
        yield _unfit("ctr", command, demand, "it is a folder")
    elif facts.packed != "tar":
        yield Verdict("ctr", command, False, "warning", demand, _UNPACK.format(facts.packed))
    elif facts.layout and facts.oci is not None:
        flaw = _entries_flaw(facts)
        absent = [entry for entry in facts.oci if entry.absent]
        if flaw is None and absent:
            flaw = (
                f"{absent[0].subject}: {absent[0].absent} images of the index are not here; "
                "--platform imports one that is",
                "warning",
            )
        nameless = any(entry.name is None for entry in facts.oci)
        how = "--base-name or --digests is needed for images without a full name"
        yield _judge("ctr", command, demand, flaw, how if nameless else "by index.json")
    elif facts.docker is not None:
        flaw = _names_flaw(facts.docker) or _flaw(facts.docker)
        yield _judge("ctr", command, demand, flaw, "by manifest.json")
    else:
        yield _unfit("ctr", command, demand, "there is no oci-layout, nor manifest.json")


def _podman(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Judge for podman, which tries OCI first, then docker-archive."""
    command = "podman load"
    demand = "an OCI layout or tar with one image, or a tar with manifest.json; no layer missing"
    whole = _entries_flaw(facts) if facts.oci is not None else None
    if facts.oci is not None and len(facts.oci) == 1 and whole is None:
        yield _judge("podman", command, demand, None, "by index.json")
    elif facts.docker is not None and facts.packed != "folder":
        flaw = whole or _tags_flaw(facts.docker) or _flaw(facts.docker)
        if flaw is None and facts.packed == "gzip":
            flaw = (_GZIP, "warning")
        yield _judge("podman", command, demand, flaw, "by manifest.json")
    elif facts.oci is not None and whole is None:
        several = f"index.json lists {len(facts.oci)} images, and there is no manifest.json"
        yield _judge("podman", command, demand, (several, "warning"), "")
    elif facts.oci is not None:
        yield _judge("podman", command, demand, whole, "")
    else:
        yield _unfit("podman", command, demand, "it is a folder without index.json")


def _skopeo_docker(facts: ArchiveFacts) -> Iterator[Verdict]:
    command, demand = "docker-archive:", "a tar with manifest.json; no layer missing"
    if facts.packed == "folder" or facts.docker is None:
        why = "it is a folder" if facts.packed == "folder" else "there is no manifest.json"
        yield _unfit("skopeo", command, demand, why)
        return
    flaw = _flaw(facts.docker)
    if flaw is None and facts.packed == "gzip":
        flaw = (_GZIP, "warning")
    several = "a name or :@POSITION behind the path is needed" if len(facts.docker) > 1 else ""
    yield _judge("skopeo", command, demand, flaw, several)


def _skopeo_oci(facts: ArchiveFacts) -> Iterator[Verdict]:
    command = "oci:" if facts.packed == "folder" else "oci-archive:"
    demand = "index.json; no layer missing"
    if facts.oci is None:
        yield _unfit("skopeo", command, demand, "there is no index.json")
        return
    several = "a tag behind the path is needed" if len(facts.oci) > 1 else ""
    yield _judge("skopeo", command, demand, _entries_flaw(facts), several)


def _crane(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Judge for crane, which tells by the first layer whether all are compressed."""
    command, demand = "crane push", "a tar with manifest.json; all layers compressed, or none"
    if facts.packed != "tar" or facts.docker is None:
        why = (
            "there is no manifest.json" if facts.docker is None else f"it is {_KINDS[facts.packed]}"
        )
        yield _unfit("crane", command, demand, why)
        return
    flaw = _flaw(facts.docker)
    for image in facts.docker:
        if flaw is None and "tar" in image.kinds and len(image.kinds) > 1:
            flaw = (f"{image.subject}: some layers are compressed and others not", "warning")
    if flaw is None and len(facts.docker) != 1:
        flaw = (f"it reads one image, here are {len(facts.docker)}", "warning")
    yield _judge("crane", command, demand, flaw, "")
