"""What each loader demands of an archive: from facts about one to what would happen. Pure.

Read from the loaders' sources and tried with them: dockerd 20.10, podman 4.3, skopeo 1.9, ctr 1.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from didlab.oci import loader_facts as flaws
from didlab.oci.loader_facts import (
    LEFT_OUT,
    ArchiveFacts,
    EntryFacts,
    Flaw,
    ImageFacts,
    LayerFacts,
    Link,
    Odd,
    Reader,
    Severity,
)

__all__ = [
    "ArchiveFacts",
    "EntryFacts",
    "ImageFacts",
    "LayerFacts",
    "Link",
    "Odd",
    "Reader",
    "Severity",
    "Verdict",
    "pulls",
    "verdicts",
]


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
_NO_INDEX: Flaw = ("oci-layout is there, and index.json is not", "error")
_VERSION: Flaw = ("oci-layout is not of version 1.0.0", "error")
_SAME = "an image for the platform of the machine"
_MANIFEST: Flaw = ("manifest.json cannot be read, at which containerd looks all the same", "error")
_PURE = "layers with nothing behind the end of gzip"


def _judge(loader: str, command: str, demand: str, flaw: Flaw | None, detail: str) -> Verdict:
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
    flaw = (
        flaws.tags_flaw(facts.docker)
        or flaws.items_flaw(facts.docker, "docker")
        or flaws.steps_flaw(facts.docker)
        or flaws.system_flaw(facts.docker)
        or flaws.later_flaw(facts)
    )
    if flaw is not None and flaw[0].endswith(LEFT_OUT):
        flaw = (f"{flaw[0]}: it loads only where the daemon has them in the same places", flaw[1])
    yield _judge("docker", command, demand, flaw, "")
    if flaw is not None:
        return
    zstd = any("zstd" in image.kinds for image in facts.docker)
    if zstd or facts.packed == "zstd":
        why = "there are zstd layers" if zstd else "the archive as a whole is zstd"
        yield Verdict("docker", "docker load, before 23", False, "warning", _NO_ZSTD, why)
    for image in facts.docker:
        if image.platform is not None and image.platform[0] == "windows":
            why = f"{image.subject}: cannot load windows image on linux"
            yield Verdict("docker", "docker load, on Linux", False, "warning", demand, why)
            break
    yield from _without_pigz("docker", command, facts.docker)


def _without_pigz(loader: str, command: str, images: Sequence[ImageFacts]) -> Iterator[Verdict]:
    """Tell that what Docker and containerd unpack with pigz, Go's own reader refuses."""
    layer = flaws.behind(images)
    if layer is not None:
        why = f"the layer {layer} has something behind the end of gzip"
        yield Verdict(loader, f"{command}, without pigz", False, "warning", _PURE, why)


def _containerd(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Docker's containerd store; index.json wins, and children may be missing."""
    command = "docker load"
    demand = (
        "a tar; by index.json where oci-layout is there, else by manifest.json; no blob missing"
    )
    if facts.packed == "folder":
        yield _unfit("containerd", command, demand, "it is a folder")
    elif facts.layout:
        yield _judge("containerd", command, demand, _layout_flaw(facts), "by index.json")
    elif facts.docker is not None:
        flaw = _imported_flaw(facts.docker)
        yield _judge("containerd", command, demand, flaw, "by manifest.json")
    else:
        yield _unfit("containerd", command, demand, "there is no oci-layout, nor manifest.json")


def _layout_flaw(facts: ArchiveFacts) -> Flaw | None:
    """Return what containerd finds wrong with a layout."""
    if facts.oci is None:
        return _NO_INDEX
    if not facts.legible:
        return _MANIFEST
    return flaws.entries_flaw(facts.by_digest, "containerd") if facts.fits else _VERSION


def _imported_flaw(images: Sequence[ImageFacts]) -> Flaw | None:
    """Return what containerd finds wrong with the images of manifest.json."""
    return (
        flaws.names_flaw(images)
        or flaws.items_flaw(images, "containerd")
        or flaws.hard_links_flaw(images)
        or flaws.kinds_flaw(images)
        or flaws.nowhere_flaw(images)
    )


def _ctr(facts: ArchiveFacts) -> Iterator[Verdict]:
    command = "ctr images import"
    demand = "as docker load in the containerd store; every image of an index"
    if facts.packed == "folder":
        yield _unfit("ctr", command, demand, "it is a folder")
        return
    if not facts.layout and facts.docker is None:
        yield _unfit("ctr", command, demand, "there is no oci-layout, nor manifest.json")
        return
    groups: list[Sequence[ImageFacts]]
    if facts.packed != "tar":
        flaw: Flaw | None = (_UNPACK.format(facts.packed), "warning")
        how, groups = "", []
    elif facts.layout:
        flaw = _layout_flaw(facts)
        entries = facts.by_digest or ()
        absent = [entry for entry in entries if entry.absent]
        if flaw is None and absent:
            flaw = (
                f"{absent[0].subject}: {absent[0].absent} images of the index are not here; "
                "--platform imports one that is",
                "warning",
            )
        nameless = any(entry.name is None for entry in entries)
        how = "--base-name or --digests is needed for images without a full name"
        how = how if nameless else "by index.json"
        groups = [entry.images for entry in entries]
    else:
        images = facts.docker or ()
        flaw, how = _imported_flaw(images), "by manifest.json"
        groups = [[image] for image in images]
    yield _judge("ctr", command, demand, flaw, how)
    if flaw is not None:
        return
    other = flaws.elsewhere(groups)
    if other is not None:
        why = f"{other[0]} is for {other[1]}: --platform {other[1]} imports it"
        yield Verdict("ctr", f"{command}, on linux/amd64", False, "info", _SAME, why)
    yield from _without_pigz("ctr", command, [image for group in groups for image in group])


def _podman(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Judge for podman, which tries OCI first, then docker-archive."""
    command = "podman load"
    demand = "an OCI layout or tar with one image, or a tar with manifest.json; no layer missing"
    whole = None
    if facts.oci is not None:
        whole = flaws.later_flaw(facts) or flaws.entries_flaw(facts.oci, "podman")
        whole = whole or flaws.nested_flaw(facts.oci)
    if facts.oci is not None and len(facts.oci) == 1 and whole is None:
        yield _judge("podman", command, demand, None, "by index.json")
    elif facts.by_first is not None and facts.packed != "folder":
        # Whatever is wrong with index.json, the other list is tried next.
        flaw = (
            flaws.tags_flaw(facts.by_first)
            or flaws.items_flaw(facts.by_first, "podman")
            or flaws.links_flaw(facts.by_first)
        )
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
    images = facts.by_first
    if facts.packed == "folder" or images is None:
        why = "it is a folder" if facts.packed == "folder" else "there is no manifest.json"
        yield _unfit("skopeo", command, demand, why)
        return
    flaw = flaws.items_flaw(images, "skopeo") or flaws.links_flaw(images)
    if flaw is None and facts.packed == "gzip":
        flaw = (_GZIP, "warning")
    several = "a name or :@POSITION behind the path is needed" if len(images) > 1 else ""
    yield _judge("skopeo", command, demand, flaw, several)


def _skopeo_oci(facts: ArchiveFacts) -> Iterator[Verdict]:
    command = "oci:" if facts.packed == "folder" else "oci-archive:"
    demand = "index.json; no layer missing"
    if facts.oci is None:
        yield _unfit("skopeo", command, demand, "there is no index.json")
        return
    several = "a tag behind the path is needed" if len(facts.oci) > 1 else ""
    flaw = flaws.later_flaw(facts) or flaws.entries_flaw(facts.oci, "skopeo")
    flaw = flaw or flaws.nested_flaw(facts.oci)
    yield _judge("skopeo", command, demand, flaw, several)


def _crane(facts: ArchiveFacts) -> Iterator[Verdict]:
    """Judge for crane, which tells by the first layer whether all are compressed."""
    command, demand = "crane push", "a tar with manifest.json; all layers compressed, or none"
    if facts.packed != "tar" or facts.docker is None:
        why = (
            "there is no manifest.json" if facts.docker is None else f"it is {_KINDS[facts.packed]}"
        )
        yield _unfit("crane", command, demand, why)
        return
    flaw = flaws.items_flaw(facts.docker)
    for image in facts.docker:
        if flaw is None and "tar" in image.kinds and len(image.kinds) > 1:
            flaw = (f"{image.subject}: some layers are compressed and others not", "warning")
    if flaw is None and len(facts.docker) != 1:
        flaw = (f"it reads one image, here are {len(facts.docker)}", "warning")
    yield _judge("crane", command, demand, flaw, "")
