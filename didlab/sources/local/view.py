"""What an archive holds, seen by one of the two rules there are; and which one to go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from didlab.errors import InvalidArgument, ManifestNotFound, NotAnImage, Unsupported, printable
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import same_name
from didlab.sources.local.members import Member, Members

#: Names that an error lists.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of an archive.

    Attributes
    ----------
    position : int
        Which one it is in the archive's own list, from 0.
    names : tuple of str
        What the archive calls it, as written there.
    describe : callable
        Gives the descriptor of its manifest or index, for one of its names or none. May read.
    key : object
        Equal where two entries are the same image; free to know.
    likely : bool
        Whether it is an image, as far as the list says.
    also : tuple of str
        What it may be called as well, where no name is meant.
    """

    position: int
    names: tuple[str, ...]
    describe: Callable[[str | None], Descriptor]
    key: object
    likely: bool = True
    also: tuple[str, ...] = ()


class View(Protocol):
    """An archive by one rule."""

    @property
    def format(self) -> str:
        """``oci`` or ``docker-archive``."""

    @property
    def members(self) -> Members:
        """What it is a view of."""

    def listed(self) -> Sequence[Listed]:
        """Return the images, in the archive's order."""

    def document(self, digest: str) -> bytes | None:
        """Return a document that the archive does not hold as a file."""

    def find(self, digest: str) -> Member | None:
        """Return the file that holds a blob."""


def choose(view: View, label: str | None, where: str) -> Descriptor:
    """Return the image that a label stands for; without one, the only image there is.

    Raises
    ------
    ManifestNotFound
        With the names that there are.
    InvalidArgument
        Several could be meant.
    """
    listed = view.listed()
    if label is None:
        return _only(listed, where)
    if label.startswith("@"):
        return _numbered(listed, label, where)
    for image in listed:
        for name in image.names:
            if same_name(name, label):
                return image.describe(name)
    for image in listed:
        if label in image.also:
            return image.describe(image.names[0])
    raise absent(listed, label, where)


def _only(listed: Sequence[Listed], where: str) -> Descriptor:
    if not listed:
        raise ManifestNotFound(f"{where} holds no image", reference=where)
    for some in (
        listed,
        [image for image in listed if image.names],
        [image for image in listed if image.likely],
    ):
        if len({image.key for image in some}) == 1:
            first = some[0]
            return first.describe(first.names[0] if first.names else None)
    names = available(listed)
    raise InvalidArgument(
        f"{where} holds {len(listed)} images: {_shown(names)}",
        hint=f"name one: didlab.open(path, name={printable(names[0], 200)!r})",
        available=_told(names),
    )


def _numbered(listed: Sequence[Listed], label: str, where: str) -> Descriptor:
    digits = label[1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) < 9):
        raise InvalidArgument(f"{printable(label, 100)} is no position of an image, such as @0")
    if int(digits) >= len(listed):
        raise absent(listed, label, where)
    image = listed[int(digits)]
    return image.describe(image.names[0] if image.names else None)


def available(listed: Iterable[Listed]) -> tuple[str, ...]:
    """Return what names each image: its names, else its position."""
    return tuple(name for image in listed for name in image.names or (f"@{image.position}",))


def absent(listed: Sequence[Listed], label: str, where: str) -> ManifestNotFound:
    """Return the error for an image that an archive does not hold."""
    names = available(listed)
    return ManifestNotFound(
        f"{where} has no image {printable(label, 200)}; there is {_shown(names) or 'none'}",
        available=_told(names),
        reference=printable(label, 300),
    )


def _told(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(printable(name, 300) for name in names[:_SHOWN])


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(name, 200) for name in names[:_SHOWN]) + more


def with_annotation(descriptor: Descriptor, key: str, value: str) -> Descriptor:
    """Return the descriptor with one annotation more."""
    return replace(descriptor, annotations={**descriptor.annotations, key: value})


def of(members: Members, transport: str) -> View:
    """Return the view that a transport asks for; without one, OCI's where it is there.

    Raises
    ------
    NotAnImage
        It is something else, and what.
    Unsupported
        A `docker save` from before Docker 1.10.
    """
    from didlab.sources.local.docker import DockerView
    from didlab.sources.local.oci import OciView

    index, manifest = members.find("index.json"), members.find("manifest.json")
    layout = members.find("oci-layout")
    is_oci = index is not None and (layout is not None or _has(members, "blobs"))
    if transport.startswith("oci"):
        if index is None or not is_oci:
            raise _refused(members, "an OCI image layout", docker=manifest is not None)
        return OciView(members, index, layout)
    if transport == "docker-archive":
        if manifest is None:
            raise _refused(members, "a docker-archive", oci=is_oci)
        return DockerView(members, manifest)
    if index is not None and is_oci:
        return OciView(members, index, layout)
    if manifest is not None:
        return DockerView(members, manifest)
    raise _refused(members, "an image archive")


def _refused(
    members: Members, wanted: str, *, oci: bool = False, docker: bool = False
) -> NotAnImage | Unsupported:
    where = members.name
    if oci or docker:
        other = "an OCI image layout" if oci else "a docker-archive"
        return NotAnImage(
            f"{where} is {other}, not {wanted}",
            hint=f"open the path itself, or as {'oci-archive' if oci else 'docker-archive'}:",
        )
    tops: set[str] = set()
    ends: set[str] = set()
    for name, _ in zip(members.names(), range(5000), strict=False):
        top, _, rest = name.partition("/")
        tops.add(top)
        ends.add(rest)
    if "repositories" in tops or {"layer.tar", "json"} <= ends:
        return Unsupported(
            f"{where} is a docker save from before Docker 1.10, without a manifest.json",
            hint="load it with a Docker up to 28 and save it again",
        )
    if len({"etc", "usr", "bin", "var", "lib"} & tops) >= 2:
        return NotAnImage(
            f"{where} is a file system (a docker export, or one layer), not {wanted}",
            hint="docker import makes an image of it",
        )
    if "Chart.yaml" in tops | ends:
        return NotAnImage(f"{where} is a Helm chart, not {wanted}")
    if "index.json" in tops or "blobs" in tops:
        return NotAnImage(f"{where} is a part of an OCI image layout: its index.json is missing")
    kind = "folder" if members.kind == "folder" else "tar"
    some = ", ".join(printable(name, 60) for name in sorted(tops)[:5])
    return NotAnImage(
        f"{where} is a {kind} without a manifest.json or index.json, so not {wanted}"
        + (f"; it holds {some}" if some else "; it is empty"),
    )


def _has(members: Members, top: str) -> bool:
    return any(name == top or name.startswith(f"{top}/") for name in members.names())
