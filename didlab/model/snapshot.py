"""What one reference named when it was first asked, and what hangs below it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from didlab._once import Once
from didlab.errors import (
    ConfigInvalid,
    IntegrityError,
    LimitExceeded,
    MalformedContent,
    NotAnImage,
    PlatformNotFound,
)
from didlab.model.converted import Conversion
from didlab.oci import artifacts, local_name, media_types, schema1
from didlab.oci import config as configs
from didlab.oci import manifest as manifests
from didlab.oci.config import ImageConfig
from didlab.oci.descriptor import Descriptor
from didlab.oci.local_name import LocalName
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import Platform, default_platform, select
from didlab.oci.reference import Reference
from didlab.sources.base import Source

MAX_DEPTH = 8
MAX_NODES = 10_000
#: Entries without a platform that are looked into before giving up.
_UNMARKED = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of an index, nested ones unfolded; ``kind`` as the platforms table has it."""

    descriptor: Descriptor
    kind: str

    @property
    def platform(self) -> Platform:
        """The declared platform; ``unknown`` where none is."""
        return self.descriptor.platform or Platform("unknown", "unknown")


class Snapshot:
    """The content behind a reference, fetched as it is asked for, each part once.

    The first question pins the digest: everything later describes the same bytes. All manifests
    made from one (its platforms) share it.
    """

    def __init__(self, source: Source, reference: Reference, pin: Descriptor | None = None) -> None:
        self.source = source
        #: What was asked for: a part of the identity.
        self.asked = reference
        self._named_as = reference
        self._annotations: Mapping[str, str] = {}
        self._pin = pin
        if pin is not None:
            self._learn(pin)
        self._conversion: Conversion | None = None
        #: What an audit found out about an image's operating system, by the manifest's digest,
        #: for cards: ``name`` and ``end_of_life``.
        self.systems: dict[str, Mapping[str, Any]] = {}
        #: What to show progress with, should layers have to be read for a conversion.
        self.progress: Any = None
        self._root = Once(self._resolve)
        self._entries = Once(self._unfold)
        self._lock = threading.Lock()
        self._manifests: dict[str, Once[ImageManifest | ImageIndex]] = {}
        self._configs: dict[str, Once[ImageConfig]] = {}
        self._chosen: dict[Platform | None, ImageManifest] = {}

    # --- what is known already: no I/O -------------------------------------------------------

    @property
    def known_root(self) -> ImageManifest | ImageIndex | None:
        """Return the root document if it is here already."""
        return self._root.known

    @property
    def reference(self) -> Reference:
        """The name of the image: of one in a file, its own as soon as that is known."""
        return self._named_as

    @property
    def pin(self) -> Descriptor | None:
        """The pinned root, without its content."""
        root = self._root.known
        if root is None:
            return self._pin
        if self._conversion is not None:
            return self._conversion.old.descriptor
        return Descriptor(
            root.media_type, root.digest, len(root.raw), annotations=dict(self._annotations)
        )

    def known_manifest(self, platform: Platform | None) -> ImageManifest | None:
        """Return the image manifest for a platform if it is here already."""
        root = self._root.known
        if self._conversion is not None:
            own = config_platform(self._conversion.config())
            fits = platform is None or select(platform, [own]) is not None
            return self._conversion.known_outline if fits else None
        if isinstance(root, ImageManifest) and platform is None:
            return root
        return self._chosen.get(platform)

    def known_config(self, manifest: ImageManifest) -> ImageConfig | None:
        """Return the config of a manifest if it is here already."""
        if self._conversion is not None:
            return self._conversion.known_config
        once = self._configs.get(manifest.config.digest)
        return once.known if once is not None else None

    @property
    def conversion(self) -> Conversion | None:
        """How an image of schema 1 is seen as a newer one; None for others, and if not known."""
        return self._conversion

    def known_entries(self) -> list[Entry] | None:
        """Return the rows of the index if they are here already."""
        return self._entries.known

    # --- questions ---------------------------------------------------------------------------

    def root(self) -> ImageManifest | ImageIndex:
        """Return what the reference names: one request the first time."""
        return self._root()

    def _resolve(self) -> ImageManifest | ImageIndex:
        with self._named():
            descriptor = self._pin or self.source.resolve(self.asked)
            self._learn(descriptor)
            if media_types.is_schema1(descriptor.media_type):
                return self._convert(descriptor)
            return self._parsed(descriptor)

    def _learn(self, descriptor: Descriptor) -> None:
        """Remember what a file itself calls its image."""
        if isinstance(self.asked, LocalName):
            self._annotations = descriptor.annotations
            self._named_as = local_name.named(descriptor, self.asked)

    def _convert(self, descriptor: Descriptor) -> ImageManifest:
        content = self.source.fetch(descriptor)
        sent = descriptor.sent if isinstance(descriptor, schema1.SignedDescriptor) else b""
        # Signatures are dropped by whatever keeps content by its digest.
        signed = bool(sent) and schema1.payload(sent) == content
        old = schema1.parse(sent if signed else content, descriptor.media_type)
        conversion = Conversion(self.source, self.reference.familiar(), old)
        root = conversion.root()
        self._conversion = conversion
        return root

    def _parsed(self, descriptor: Descriptor) -> ImageManifest | ImageIndex:
        return manifests.parse(self.source.fetch(descriptor), descriptor.media_type)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Have errors about content say of which image it is."""
        try:
            yield
        except (MalformedContent, IntegrityError) as error:
            if error.reference is not None:
                raise
            name = str(self.reference)
            fields = {"host": self.reference.registry or None, **error.fields(), "reference": name}
            raise type(error)(f"{name}: {error.message}", **fields) from None

    def entries(self) -> list[Entry]:
        """Return the rows of the index, what a nested index holds behind its row.

        One request for each nested index. Empty for a single manifest.
        """
        return self._entries()

    def _unfold(self) -> list[Entry]:
        root = self.root()
        if isinstance(root, ImageManifest):
            return []
        rows: list[Entry] = []
        self._walk(root, rows, {root.digest}, 1)
        return rows

    def _walk(self, index: ImageIndex, rows: list[Entry], seen: set[str], depth: int) -> None:
        for descriptor in index.manifests:
            kind = manifests.kind(descriptor)
            rows.append(Entry(descriptor, kind))
            if len(rows) > MAX_NODES or depth > MAX_DEPTH:
                what = "depth of nested indexes" if depth > MAX_DEPTH else "entries of an index"
                limit = MAX_DEPTH if depth > MAX_DEPTH else MAX_NODES
                raise LimitExceeded(
                    f"{self.reference}: more than {limit}: {what}",
                    what=what,
                    limit=limit,
                    seen=limit + 1,
                )
            if kind == "index" and descriptor.digest not in seen:
                seen.add(descriptor.digest)
                child = self.document(descriptor)
                if isinstance(child, ImageIndex):
                    self._walk(child, rows, seen, depth + 1)

    def document(self, descriptor: Descriptor) -> ImageManifest | ImageIndex:
        """Return a manifest or index by its descriptor: one request the first time."""
        with self._lock:
            once = self._manifests.get(descriptor.digest)
            if once is None:
                once = self._manifests[descriptor.digest] = Once(lambda: self._parsed(descriptor))
        with self._named():
            return once()

    def outline(self, platform: Platform | None) -> ImageManifest:
        """Return the image manifest for a platform, as far as that is cheap.

        Of an image of schema 1 (see `Conversion.outline`) the config's digest is not known then.
        """
        root = self.document_for(platform)
        conversion = self._conversion
        if conversion is None:
            return root if isinstance(root, ImageManifest) else self.manifest(platform)
        with self._named():
            return conversion.outline()

    def document_for(self, platform: Platform | None) -> ImageManifest | ImageIndex:
        """Return the document that a platform's manifest, or without one the root, is at home."""
        root = self.root()
        if platform is None:
            return root
        if self._conversion is None or not isinstance(root, ImageManifest):
            return self.manifest(platform)
        self._check_single(root, platform)
        return root

    def diff_ids(self, manifest: ImageManifest) -> Sequence[str | None]:
        """Return the diff_id of each layer, None where it is not known.

        Raises
        ------
        ManifestInvalid
            The config names another number of layers than the manifest.
        """
        if self._conversion is not None:
            return self._conversion.diff_ids()
        if not manifest.is_image:
            return [None] * len(manifest.layers)
        config = self.config(manifest)
        configs.check_layer_count(config, len(manifest.layers))
        return config.diff_ids

    def manifest(self, platform: Platform | None) -> ImageManifest:
        """Return the image manifest for a platform, or for the default one.

        One of schema 1 is converted: its layers are read, the first time.

        Raises
        ------
        PlatformNotFound
            With what there is.
        """
        if platform in self._chosen:
            return self._chosen[platform]
        root = self.root()
        if isinstance(root, ImageManifest):
            if platform is not None:
                self._check_single(root, platform)
            found = root
            if self._conversion is not None:
                with self._named():
                    found = self._conversion.whole(self.progress)
                # Where there is no store, what was read is kept there.
                self.source = self._conversion.source
        else:
            found = self._select(platform)
        self._chosen[platform] = found
        return found

    def check(self, platform: Platform) -> None:
        """Raise PlatformNotFound if the index, known already, does not have this platform."""
        rows = self.known_entries()
        if rows is None:
            root = self.known_root
            if not isinstance(root, ImageIndex):
                return
            if any(manifests.kind(d) == "index" for d in root.manifests):
                return
            rows = self.entries()
        images = [row for row in rows if row.kind == "image"]
        if any(row.descriptor.platform is None for row in images):
            return
        if select(platform, [row.platform for row in images]) is None:
            raise self.missing(platform, rows)

    def _check_single(self, root: ImageManifest, platform: Platform) -> None:
        if not root.is_image:
            raise self.not_an_image(root)
        config = self.config(root)
        own = config_platform(config)
        if select(platform, [own]) is None:
            raise PlatformNotFound(
                f"{self.reference} is a single image for {own}, not for {platform}",
                reference=str(self.reference),
                available=(str(own),),
            )

    def _select(self, platform: Platform | None) -> ImageManifest:
        wanted = platform or default_platform()
        rows = self.entries()
        images = [row for row in rows if row.kind == "image"]
        at = select(wanted, [row.platform for row in images])
        if at is None:
            found = self._look_into_unmarked(images, wanted, alone=platform is None)
            if found is not None:
                return found
            raise self.missing(wanted, rows, default=platform is None)
        child = self.document(images[at].descriptor)
        if isinstance(child, ImageIndex):
            raise ConfigInvalid(f"{self.reference}: {child.digest} is an index, not a manifest")
        return child

    def _look_into_unmarked(
        self, images: list[Entry], wanted: Platform, *, alone: bool
    ) -> ImageManifest | None:
        """Find an image among entries that do not say their platform."""
        unmarked = [row for row in images if row.descriptor.platform is None][:_UNMARKED]
        for row in unmarked:
            child = self.document(row.descriptor)
            if not isinstance(child, ImageManifest) or not child.is_image:
                continue
            if alone and len(images) == 1:
                return child
            if select(wanted, [config_platform(self.config(child))]) is not None:
                return child
        return None

    def missing(
        self, wanted: Platform, rows: list[Entry], *, default: bool = False
    ) -> PlatformNotFound:
        """Return the error for a platform that is not there, with those that are."""
        offered = (self._known_platform(row.descriptor) for row in rows if row.kind == "image")
        available = tuple(dict.fromkeys(str(platform) for platform in offered if platform))
        why = ", the default platform here" if default else ""
        return PlatformNotFound(
            f"{self.reference} is not made for {wanted}{why}; there is "
            f"{', '.join(available) or 'nothing'}",
            reference=str(self.reference),
            available=available,
            hint=f'take one of them: m["{available[0]}"]' if available else None,
        )

    def _known_platform(self, descriptor: Descriptor) -> Platform | None:
        """Return the platform that an entry declares, or else its config if that is here."""
        if descriptor.platform is not None:
            return descriptor.platform
        once = self._manifests.get(descriptor.digest)
        child = once.known if once is not None else None
        config = self.known_config(child) if isinstance(child, ImageManifest) else None
        return config_platform(config) if config is not None else None

    def config(self, manifest: ImageManifest) -> ImageConfig:
        """Return the config of an image manifest: one request the first time.

        Raises
        ------
        NotAnImage
            The manifest is an artifact: its config is no image config.
        """
        if not manifest.is_image:
            raise self.not_an_image(manifest)
        if self._conversion is not None:
            return self._conversion.config()
        digest = manifest.config.digest
        with self._lock:
            once = self._configs.get(digest)
            if once is None:
                once = self._configs[digest] = Once(
                    lambda: configs.parse(self.source.fetch(manifest.config))
                )
        with self._named():
            return once()

    def not_an_image(self, manifest: ImageManifest) -> NotAnImage:
        """Return the error for an artifact that was asked for what only images have."""
        kind = artifacts.described(artifacts.type_of(manifest) or "of no type")
        return NotAnImage(
            f"{self.reference} is no image but an artifact: {kind}",
            hint="layers(), layer(0).stream(), layer(0).save() and json() work; what is about "
            "platforms, the config or files does not",
            reference=str(self.reference),
        )

    def images(self) -> Iterator[tuple[Descriptor, Platform]]:
        """Yield the images of the index with their declared platforms."""
        for row in self.entries():
            if row.kind == "image":
                yield row.descriptor, row.platform


def config_platform(config: ImageConfig) -> Platform:
    """Return the platform that an image's config declares."""
    return Platform(
        config.os or "unknown",
        config.architecture or "unknown",
        config.variant or "",
        config.os_version or "",
    )
