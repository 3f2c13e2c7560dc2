"""Manifests, configs and layers against what is said of them, wherever they lie."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

from didlab.errors import (
    FileChanged,
    IntegrityError,
    LimitExceeded,
    MalformedContent,
    NotFound,
    PathError,
    ProtocolError,
    Truncated,
    Unsupported,
)
from didlab.files import sniff
from didlab.model.findings import Findings
from didlab.model.measuring import Measured
from didlab.model.snapshot import MAX_DEPTH, config_platform
from didlab.oci import config as configs
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci import media_types
from didlab.oci.config import ImageConfig
from didlab.oci.descriptor import Descriptor
from didlab.oci.loaders import EntryFacts, ImageFacts, LayerFacts, Severity
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import select

#: What a broken image gives: a row. Anything else (no network, no right to it) is raised.
BROKEN = (
    IntegrityError,
    LimitExceeded,
    MalformedContent,
    NotFound,
    PathError,
    ProtocolError,
    Truncated,
    Unsupported,
)


class Place(Protocol):
    """Where content is looked for."""

    def document(self, descriptor: Descriptor) -> bytes | None:
        """Return small content as it is; None where there is none."""

    def blob(self, descriptor: Descriptor, algorithms: Collection[str]) -> Measured | None:
        """Read content whole; None where there is none."""


@dataclass(slots=True)
class _Node:
    """What a manifest or index leads to: images by digest, how many are absent, if all is sound."""

    images: dict[str, ImageFacts]
    absent: int
    sound: bool


class Checker:
    """Checks what descriptors lead to; each blob once.

    ``left_out`` are digests that are missing on purpose.
    """

    def __init__(self, place: Place, found: Findings, left_out: Collection[str] = ()) -> None:
        self._place = place
        self._found = found
        self._left_out = left_out
        self._layers: dict[str, LayerFacts] = {}
        self._measured: dict[str, Measured] = {}
        self._nodes: dict[tuple[Any, ...], _Node] = {}

    # --- documents -------------------------------------------------------------------------

    def entry(self, descriptor: Descriptor, subject: str, name: str | None = None) -> EntryFacts:
        """Check what an index's entry leads to, all the way down."""
        node = self._node(descriptor, "error", 1)
        sound = node.sound
        if not node.images and node.absent:
            self._found.check(
                "reference target",
                descriptor.digest,
                False,
                detail=f"{subject}: none of its images is here",
            )
            sound = False
        images = tuple(node.images.values())
        return EntryFacts(subject, descriptor.digest, name, images, node.absent, sound)

    def _node(self, descriptor: Descriptor, severity: Severity, depth: int) -> _Node:
        key = (descriptor.digest, descriptor.media_type, descriptor.size, descriptor.platform)
        known = self._nodes.get(key)
        if known is None:
            # Two names for one index, and indexes that name another one again and again.
            known = self._nodes[key] = self._look(descriptor, severity, depth)
        return known

    def _look(self, descriptor: Descriptor, severity: Severity, depth: int) -> _Node:
        digest = descriptor.digest
        if not media_types.is_known_manifest(descriptor.media_type):
            facts = self.layer(descriptor, None)
            return _Node({}, 0, facts.sound and facts.kind is not None)
        raw, missing = self._document(descriptor, severity)
        if raw is None:
            # A child may be missing: that is an index cut to some platforms.
            return _Node({}, int(missing), missing and severity != "error")
        sound = self._found_digest(descriptor, raw)
        try:
            parsed = manifests.parse(raw, descriptor.media_type)
        except BROKEN as error:
            check = "media type" if isinstance(error, IntegrityError) else "manifest"
            self._found.failed(check, digest, error)
            return _Node({}, 0, False)
        self._found.check(
            "media type",
            digest,
            parsed.media_type == descriptor.media_type,
            severity="warning",
            expected=descriptor.media_type,
            actual=parsed.media_type,
        )
        if isinstance(parsed, ImageIndex):
            return self._children(parsed, depth, sound=sound)
        facts_of = self.image(parsed, descriptor)
        return _Node({digest: replace(facts_of, sound=facts_of.sound and sound)}, 0, sound)

    def _children(self, index: ImageIndex, depth: int, *, sound: bool) -> _Node:
        made = _Node({}, 0, sound)
        if not self._found.check("depth", index.digest, depth <= MAX_DEPTH, expected=MAX_DEPTH):
            return _Node({}, 0, False)
        seen: set[str] = set()
        for child in index.manifests:
            if child.digest in seen:
                continue
            seen.add(child.digest)
            below = self._node(child, "warning", depth + 1)
            made.images.update(below.images)
            made.absent += below.absent if manifests.kind(child) in ("image", "index") else 0
            made.sound = made.sound and below.sound
        return made

    def _document(self, descriptor: Descriptor, severity: Severity) -> tuple[bytes | None, bool]:
        """Return the content, and where there is none whether it is missing or broken."""
        try:
            raw = self._place.document(descriptor)
        except FileChanged:
            raise
        except BROKEN as error:
            self._found.failed("digest", descriptor.digest, error)
            return None, False
        if raw is None:
            self._absent(descriptor, severity)
        return raw, raw is None

    def _absent(self, descriptor: Descriptor, severity: Severity, detail: str = "") -> None:
        self._found.check(
            "reference target", descriptor.digest, False, severity=severity,
            expected=f"{descriptor.size} bytes", actual="missing",
            detail=f"{descriptor.media_type} {detail}".strip(),
        )  # fmt: skip

    def _found_digest(self, descriptor: Descriptor, raw: bytes) -> bool:
        actual = digests.of(raw, digests.algorithm(descriptor.digest))
        return self._same(descriptor, actual, len(raw))

    def _same(self, descriptor: Descriptor, actual: str | None, size: int) -> bool:
        digest = descriptor.digest
        fits = self._found.check("size", digest, size == descriptor.size, expected=descriptor.size,
                                 actual=size)  # fmt: skip
        return (
            self._found.check("digest", digest, actual == digest, expected=digest, actual=actual)
            and fits
        )

    # --- images ------------------------------------------------------------------------------

    def image(self, manifest: ImageManifest, descriptor: Descriptor | None = None) -> ImageFacts:
        """Check an image's config and layers."""
        digest = manifest.digest
        if not manifest.is_image:
            parts = [self.layer(one, None) for one in (manifest.config, *manifest.layers)]
            whole = all(one.sound and one.kind is not None for one in parts)
            return ImageFacts(digest, manifest.config.digest, sound=whole, artifact=True)
        config, sound = self._config(manifest)
        counted = True
        diff_ids: tuple[str | None, ...] = (None,) * len(manifest.layers)
        if config is not None:
            counted = self._found.check(
                "layer count", digest, len(config.diff_ids) == len(manifest.layers),
                expected=len(config.diff_ids), actual=len(manifest.layers),
                detail="diff_ids of the config, layers of the manifest",
            )  # fmt: skip
            if counted:
                diff_ids = config.diff_ids
            if descriptor is not None and descriptor.platform is not None:
                own = config_platform(config)
                self._found.check(
                    "platform", digest, select(descriptor.platform, [own]) is not None,
                    severity="warning", expected=descriptor.platform, actual=own,
                )  # fmt: skip
        layers = tuple(
            self.layer(layer, diff_id)
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
        )
        image_id = manifest.config.digest if config is not None else None
        return ImageFacts(digest, image_id, layers, sound, counted)

    def _config(self, manifest: ImageManifest) -> tuple[ImageConfig | None, bool]:
        raw, _ = self._document(manifest.config, "error")
        if raw is None:
            return None, False
        sound = self._found_digest(manifest.config, raw)
        try:
            return configs.parse(raw), sound
        except BROKEN as error:
            self._found.failed("config", manifest.config.digest, error)
            return None, False

    def layer(self, descriptor: Descriptor, diff_id: str | None) -> LayerFacts:
        """Check a layer (or another blob, which has no diff_id)."""
        digest = descriptor.digest
        known = self._layers.get(digest)
        if known is None:
            known = self._layers[digest] = self._layer(descriptor, diff_id)
        measured = self._measured.get(digest)
        if measured is None or diff_id is None:
            return known
        # Two images may name one layer, and one of them falsely.
        fine = unpacked_as(self._found, digest, measured, diff_id)
        return replace(known, sound=known.sound and fine)

    def _layer(self, descriptor: Descriptor, diff_id: str | None) -> LayerFacts:
        digest = descriptor.digest
        algorithms = {digests.algorithm(one) for one in (digest, diff_id) if one is not None}
        try:
            measured = self._place.blob(descriptor, algorithms)
        except FileChanged:
            raise
        except NotFound:
            measured = None
        except BROKEN as error:
            self._found.failed("digest", digest, error)
            return LayerFacts(digest, "other", sound=False)
        if measured is None:
            if digest in self._left_out:
                return LayerFacts(digest, None, left_out=True)
            foreign = bool(descriptor.urls)
            how = "fetched from its urls" if foreign else ""
            self._absent(descriptor, "warning" if foreign else "error", how)
            return LayerFacts(digest, None)
        actual = measured.digests.get(digests.algorithm(digest))
        fits = self._same(descriptor, actual, measured.size)
        self._measured[digest] = measured
        if diff_id is not None and measured.kind != "other":
            odd = sniff.mismatch(measured.kind, descriptor.media_type)  # type: ignore[arg-type]
            self._found.check(
                "media type", digest, odd is None, severity="warning",
                expected=descriptor.media_type, actual=measured.kind, detail=odd,
            )  # fmt: skip
        return LayerFacts(digest, measured.kind, fits)


def unpacked_as(found: Findings, subject: str, measured: Measured, diff_id: str) -> bool:
    """Check that a layer unpacks to its diff_id; return whether nothing speaks against it."""
    actual = measured.unpacked.get(digests.algorithm(diff_id))
    severity: Severity = "warning" if measured.unknown else "error"
    passed = found.check(
        "diff_id", subject, actual == diff_id, severity=severity, expected=diff_id,
        actual=actual, detail=measured.problem,
    )  # fmt: skip
    return passed or measured.unknown
