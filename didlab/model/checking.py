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
    printable,
)
from didlab.files import sniff
from didlab.model.findings import Findings
from didlab.model.measuring import Measured
from didlab.model.snapshot import MAX_DEPTH, config_platform
from didlab.model.verifying_config import odd_config
from didlab.model.verifying_types import odd_types
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
    """What a manifest or index leads to: images by digest, how many are absent, if all is sound.

    ``depth``: how many indexes there are above an image. ``honest``: digests fit.
    """

    images: dict[str, ImageFacts]
    absent: int
    sound: bool
    depth: int = 0
    honest: bool = True


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
        nested = node.depth > 1
        return EntryFacts(
            subject, descriptor.digest, name, images, node.absent, sound, nested, node.honest
        )

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
        fits = self._found_digest(descriptor, raw)
        # containerd stores by digest, and believes the size unless it is none.
        honest = fits or (descriptor.size > 0 and self._digest(descriptor, raw) == digest)
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
            return self._children(parsed, depth, honest=honest)
        return _Node({digest: self.image(parsed, descriptor)}, 0, True, honest=honest)

    def _children(self, index: ImageIndex, depth: int, *, honest: bool) -> _Node:
        made = _Node({}, 0, True, 1, honest)
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
            made.honest = made.honest and below.honest
            made.depth = max(made.depth, below.depth + 1)
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
        return self._same(descriptor, self._digest(descriptor, raw), len(raw))

    @staticmethod
    def _digest(descriptor: Descriptor, raw: bytes) -> str:
        return digests.of(raw, digests.algorithm(descriptor.digest))

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
            odd = odd_types(self._found, manifest, image=False)
            return ImageFacts(digest, manifest.config.digest, sound=whole, artifact=True, odd=odd)
        config, sound, unread = self._config(manifest)
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
        dated = config is None or dates(self._found, manifest.config.digest, config)
        odd = odd_types(self._found, manifest)
        if config is not None:
            odd += odd_config(self._found, manifest.config.digest, config.json, docker=False)
        told = descriptor.platform if descriptor is not None else None
        return ImageFacts(
            digest, image_id, layers, sound, counted, dated=dated, unread=unread, odd=odd,
            platform=None if told is None else (told.os, told.architecture),
        )  # fmt: skip

    def _config(self, manifest: ImageManifest) -> tuple[ImageConfig | None, bool, bool]:
        """Return the config, whether its digest is right, and whether it cannot be read."""
        raw, _ = self._document(manifest.config, "error")
        if raw is None:
            return None, False, False
        sound = self._found_digest(manifest.config, raw)
        try:
            return configs.parse(raw), sound, False
        except BROKEN as error:
            self._found.failed("config", manifest.config.digest, error)
            return None, sound, True

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
        return replace(known, unpacks=unpacked_as(self._found, digest, measured, diff_id))

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
        return LayerFacts(digest, measured.kind, fits, behind=bool(measured.behind))


def dates(found: Findings, subject: str, config: ImageConfig) -> bool:
    """Check that Go's programs can read a config's times, without which they refuse all of it."""
    steps = config.json.get("history")
    told = [config.json.get("created")]
    told += [step.get("created") for step in steps or () if isinstance(step, dict)]
    bad = [one for one in told if one is not None and configs.parse_time(one) is None]
    return found.check(
        "config", subject, not bad, severity="warning", expected="RFC 3339",
        actual=printable(bad[0], 60) if bad else None, detail="created" if bad else None,
    )  # fmt: skip


def unpacked_as(found: Findings, subject: str, measured: Measured, diff_id: str) -> bool | None:
    """Check that a layer unpacks to its diff_id.

    Returns whether nothing speaks against it; None where it unpacks to something else.
    """
    actual = measured.unpacked.get(digests.algorithm(diff_id))
    severity: Severity = "warning" if measured.unknown else "error"
    passed = found.check(
        "diff_id", subject, actual == diff_id, severity=severity, expected=diff_id,
        actual=actual, detail=measured.problem,
    )  # fmt: skip
    if measured.behind:
        found.check(
            "layer", subject, False, severity="warning",
            detail=measured.behind,
        )  # fmt: skip
    if passed or measured.unknown:
        return True
    return False if actual is None else None
