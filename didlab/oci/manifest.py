"""Image manifests and indexes: the bytes as received, with what they say parsed beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from didlab import errors
from didlab.oci import digest as digests
from didlab.oci import media_types, schema1, strict_json
from didlab.oci.descriptor import Descriptor
from didlab.oci.fields import Members, Names

__all__ = ["MANIFEST_LIMIT", "ImageIndex", "ImageManifest", "kind", "parse"]

#: The most bytes a manifest may have; registries accept at least this much, few accept more.
MANIFEST_LIMIT = 4 * 1024 * 1024

_NAMES = Names(
    "schemaVersion mediaType artifactType config layers manifests fsLayers subject annotations"
)
#: Config types that Docker takes for an image's in a schema 2 manifest: old registries wrote them.
_MISLABELLED_CONFIGS = frozenset({"application/octet-stream", "application/json", "text/html"})


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One config and an ordered list of layers, base first.

    ``raw`` are the bytes as received and ``digest`` theirs (sha256). Two are equal when their
    bytes are.
    """

    raw: bytes = field(repr=False)
    digest: str = field(compare=False)
    media_type: str
    config: Descriptor = field(compare=False)
    layers: tuple[Descriptor, ...] = field(compare=False)
    annotations: dict[str, str] = field(compare=False, default_factory=dict)
    subject: Descriptor | None = field(compare=False, default=None)
    artifact_type: str | None = field(compare=False, default=None)

    @property
    def is_image(self) -> bool:
        """Whether it describes a container image; if not, it is an artifact."""
        if self.layers and all(media_types.is_companion(one.media_type) for one in self.layers):
            return False  # whatever its config is dressed as
        config = self.config.media_type
        declared = self.artifact_type
        return (declared is None or media_types.is_config(declared)) and (
            media_types.is_config(config)
            or (self.media_type == media_types.DOCKER_MANIFEST and config in _MISLABELLED_CONFIGS)
        )


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """A list of manifests, usually one for each platform; ``raw`` and ``digest`` as above."""

    raw: bytes = field(repr=False)
    digest: str = field(compare=False)
    media_type: str
    manifests: tuple[Descriptor, ...] = field(compare=False)
    annotations: dict[str, str] = field(compare=False, default_factory=dict)
    subject: Descriptor | None = field(compare=False, default=None)
    artifact_type: str | None = field(compare=False, default=None)


def parse(raw: bytes, media_type: str | None = None) -> ImageManifest | ImageIndex:
    """Parse a manifest or index.

    Parameters
    ----------
    raw : bytes
        The document as received.
    media_type : str, optional
        What it came as: a ``Content-Type`` or the type in its descriptor. One that is no
        manifest type says nothing and is ignored.

    Raises
    ------
    ManifestInvalid
        It is neither.
    TypeConfusion
        Other tools could read another image from it.
    Unsupported
        It is schema 1 (see `didlab.oci.schema1`).
    LimitExceeded
        It is larger than `MANIFEST_LIMIT`.
    """
    document = strict_json.loads(
        raw, limit=MANIFEST_LIMIT, error=errors.ManifestInvalid, what="the manifest"
    )
    members = Members(document, "", errors.ManifestInvalid, _NAMES)
    assert isinstance(document, dict)
    indexed = _shape(members)
    came_as, media_type = _types(members, media_type)
    if schema1.is_schema1(document, came_as or media_type):
        schema1.refuse()
    if members.integer("schemaVersion", 2**31) != 2:
        members.refuse_member("schemaVersion", "is not 2")
    known = media_type or came_as
    if known and media_types.is_index(known) != indexed:
        raise errors.TypeConfusion(
            f"the manifest is said to be {known}, but has the fields of "
            + ("an index" if indexed else "an image manifest"),
            expected=known,
        )
    return _index(raw, members, known) if indexed else _image(raw, members, known)


def _shape(members: Members) -> bool:
    """Return whether the document has the fields of an index."""
    image = "config" in members or "layers" in members
    index = "manifests" in members
    old = "fsLayers" in members
    if image + index + old > 1:
        # CVE-2021-41190: what it is would depend on who asks.
        raise errors.TypeConfusion(
            "the manifest has fields of an index and of an image manifest"
            if not old
            else "the manifest has fields of schema 1 and of a newer type",
            hint="no honest tool writes such a document",
        )
    if not (image or index or old) and members.raw("schemaVersion") != 1:
        members.refuse("the document has neither layers nor manifests", "")
    return index


def _types(members: Members, media_type: str | None) -> tuple[str, str]:
    """Return the known manifest type it came as, and the one it says it is ("" for none)."""
    came_as = media_types.essence(media_type)
    if not media_types.is_known_manifest(came_as):
        came_as = ""
    says = members.text("mediaType") or ""
    if says and not media_types.is_known_manifest(says):
        members.refuse_member("mediaType", f"is '{errors.printable(says, 100)}': no manifest type")
    if says and came_as and says != came_as:
        raise errors.TypeConfusion(
            f"the manifest came as {came_as}, but says it is {says}",
            expected=came_as,
            actual=says,
        )
    return came_as, says


def _image(raw: bytes, members: Members, media_type: str) -> ImageManifest:
    for key in ("config", "layers"):
        if members.raw(key) is None:
            members.refuse_member(key, "is missing")
    config = Descriptor.from_json(members.raw("config"), "config")
    layers = _descriptors(members, "layers")
    if not media_type:
        # OCI lets the field be absent, Docker does not; the config's type tells them apart.
        docker = config.media_type == media_types.DOCKER_CONFIG
        media_type = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
    return ImageManifest(raw, digests.of(raw), media_type, config, layers, **_common(members))


def _index(raw: bytes, members: Members, media_type: str) -> ImageIndex:
    if members.raw("manifests") is None:
        members.refuse_member("manifests", "is missing")
    manifests = _descriptors(members, "manifests")
    return ImageIndex(
        raw, digests.of(raw), media_type or media_types.OCI_INDEX, manifests, **_common(members)
    )


def _common(members: Members) -> dict[str, Any]:
    subject = members.raw("subject")
    return {
        "annotations": members.strings("annotations"),
        "subject": None if subject is None else Descriptor.from_json(subject, "subject"),
        "artifact_type": members.text("artifactType") or None,
    }


def _descriptors(members: Members, key: str) -> tuple[Descriptor, ...]:
    found = tuple(
        Descriptor.from_json(value, f"{key}[{position}]")
        for position, value in enumerate(members.array(key))
    )
    _check_agreement(members, key, found)
    return found


def _check_agreement(members: Members, key: str, found: Iterable[Descriptor]) -> None:
    """One content has one size and one type, however often it is listed."""
    seen: dict[str, tuple[int, str]] = {}
    for position, descriptor in enumerate(found):
        facts = (descriptor.size, descriptor.media_type)
        if seen.setdefault(descriptor.digest, facts) != facts:
            members.refuse_member(
                f"{key}[{position}]", "names content listed before with another size or type"
            )


def kind(descriptor: Descriptor) -> Literal["image", "index", "attestation", "other"]:
    """Return what an index's entry leads to."""
    if descriptor.annotations.get("vnd.docker.reference.type") == "attestation-manifest":
        return "attestation"
    if media_types.is_index(descriptor.media_type):
        return "index"
    if not media_types.is_manifest(descriptor.media_type):
        return "other"
    if descriptor.artifact_type and not media_types.is_config(descriptor.artifact_type):
        return "other"
    platform = descriptor.platform
    # Nothing runs on unknown/unknown: builders mark companions of the images with it.
    return "other" if platform is not None and platform.os == "unknown" else "image"
