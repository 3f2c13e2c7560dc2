"""An image of schema 1 as everything above sees it: a Docker image with a config.

Its layers' sizes are asked for when somebody wants them. Its config, and so the image ID, needs
the digests of the uncompressed layers: each is read once, and kept for the save that follows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from didlab._once import Once
from didlab.blobs import derived
from didlab.blobs import store as stores
from didlab.errors import DidlabError, LocalStoreError, MalformedContent, ManifestInvalid
from didlab.export.report import SaveReport
from didlab.files import kept
from didlab.model.indexing import Manner, Passes
from didlab.oci import config as configs
from didlab.oci import digest as digests
from didlab.oci import manifest as manifests
from didlab.oci import media_types, schema1_config, strict_json
from didlab.oci.config import ImageConfig
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageManifest
from didlab.oci.schema1 import Schema1
from didlab.sources import sizing
from didlab.sources.base import Source
from didlab.sources.schema1 import KeepingSource

#: How a converted image is marked wherever it is shown.
MARK = "converted from schema 1"

#: The diff_id of an empty tar; its blob is fetched when it is saved.
_EMPTY_DIFF_ID = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
_NOTE_LIMIT = 1024 * 1024
_TYPES = {
    "gzip": media_types.DOCKER_LAYER,
    "zstd": media_types.DOCKER_LAYER_ZSTD,
    "tar": media_types.DOCKER_LAYER_TAR,
}

_log = logging.getLogger("didlab")


class Conversion:
    """One image of schema 1, converted as far as it is asked for.

    Parameters
    ----------
    source : Source
        Where it lies.
    name : str
        What it is called, for messages.
    old : Schema1
    """

    def __init__(self, source: Source, name: str, old: Schema1) -> None:
        self.source = source
        self.old = old
        self.name = name
        self._outline = Once(self._sized)
        self._whole = Once(self._converted)
        self._draft = Once(self._drafted)
        self._manner = Manner()
        self._final: ImageConfig | None = None
        # Bytes of layers that were read to convert it, until somebody takes note.
        self._read = 0

    # --- without reading layers --------------------------------------------------------------

    def root(self) -> ImageManifest:
        """Return what the name stands for at the registry; its layers are in the `outline`."""
        raw = self._draft().raw
        config = Descriptor(media_types.DOCKER_CONFIG, digests.of(raw), len(raw))
        old = self.old
        return ImageManifest(old.raw, old.digest, old.media_type, config, ())

    @property
    def known_outline(self) -> ImageManifest | None:
        """What `outline` returns, if it is here already."""
        return self._outline.known

    @property
    def known_whole(self) -> ImageManifest | None:
        """What `whole` returns, if it is here already."""
        return self._whole.known

    @property
    def known_config(self) -> ImageConfig | None:
        """What `config` returns, if it is here already."""
        return self._draft.known if self._final is None else self._final

    def config(self) -> ImageConfig:
        """Return the config: all of it but the diff_ids, until `whole` was asked for."""
        return self._draft() if self._final is None else self._final

    def _drafted(self) -> ImageConfig:
        unknown = [schema1_config.UNKNOWN] * len(self.old.layers)
        return replace(self._parsed(schema1_config.convert(self.old, unknown)), diff_ids=())

    def _parsed(self, raw: bytes) -> ImageConfig:
        config = configs.parse(raw)
        # What Docker takes where a config does not say.
        return replace(
            config,
            os=config.os or "linux",
            architecture=config.architecture or self.old.architecture or "amd64",
        )

    def outline(self) -> ImageManifest:
        """Return the image with its layers and their sizes, one request for each of them.

        Raw bytes, digest and type are those at the registry. The config's size is right; its
        digest stands for one that is not known.
        """
        return self._outline()

    def _sized(self) -> ImageManifest:
        wanted = dict.fromkeys(self.old.layers)
        note = self._recall()
        sizes = {digest: note[digest] for digest in wanted if digest in note}
        missing = [digest for digest in wanted if digest not in sizes]
        if missing:
            sizes |= sizing.blob_sizes(self.source, missing)
        layers = tuple(
            Descriptor(media_types.DOCKER_LAYER, digest, sizes[digest])
            for digest in self.old.layers
        )
        return replace(self.root(), layers=layers)

    def diff_ids(self) -> Sequence[str | None]:
        """Return what is known of the layers' diff_ids: no layer is read for it."""
        if self._final is not None:
            return self._final.diff_ids
        return [self._known_diff_id(layer) for layer in self.outline().layers]

    def _known_diff_id(self, layer: Descriptor) -> str | None:
        if layer.digest == sizing.EMPTY_LAYER:
            return _EMPTY_DIFF_ID
        found = kept.index(layer.digest, layer.size)
        return None if found is None else found.diff_id

    # --- with their diff_ids -----------------------------------------------------------------

    def whole(self, progress: Any = None) -> ImageManifest:
        """Return the image as a Docker schema 2 manifest: the first time, layers are read.

        Parameters
        ----------
        progress : bool or object, optional
            As for `Manifest.save`.

        Raises
        ------
        DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError
        """
        self._manner = Manner(progress, keep=True)
        return self._whole()

    def _converted(self) -> ImageManifest:
        layers = self.outline().layers
        found = self._looked(layers)
        config = schema1_config.convert(self.old, [found[layer.digest][0] for layer in layers])
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media_types.DOCKER_MANIFEST,
                "config": _json(
                    Descriptor(media_types.DOCKER_CONFIG, digests.of(config), len(config))
                ),
                "layers": [
                    _json(replace(layer, media_type=found[layer.digest][1])) for layer in layers
                ],
            },
            separators=(",", ":"),
        ).encode()
        made = manifests.parse(raw, media_types.DOCKER_MANIFEST)
        if not isinstance(made, ImageManifest):
            raise ManifestInvalid(f"{self.name}: the conversion is no image manifest")
        self._final = self._parsed(config)
        self._remember({layer.digest: layer.size for layer in layers})  # proved by now
        return made

    def _looked(self, layers: Sequence[Descriptor]) -> dict[str, tuple[str, str]]:
        """Return diff_id and media type of each layer by its digest, reading what nobody read."""
        found: dict[str, tuple[str, str]] = {}
        missing: dict[str, Descriptor] = {}
        for layer in layers:
            if layer.digest == sizing.EMPTY_LAYER:
                found[layer.digest] = _EMPTY_DIFF_ID, media_types.DOCKER_LAYER
                continue
            index = kept.index(layer.digest, layer.size)
            if index is not None and index.diff_id is not None and index.kind in _TYPES:
                found[layer.digest] = index.diff_id, _TYPES[index.kind]
            else:
                missing[layer.digest] = layer
        if missing:
            for index, _ in self._passed(list(missing.values())):
                if index.diff_id is None:
                    raise AssertionError("a pass tells the diff_id")
                found[index.digest] = index.diff_id, _TYPES[index.compression]
        return found

    def _passed(self, missing: Sequence[Descriptor]) -> Any:
        if stores.default() is None and not isinstance(self.source, KeepingSource):
            self.source = KeepingSource(self.source)
        found = Passes(self.source, missing, f"converting {self.name}", self._manner, None).run()
        self._read += sum(layer.size for layer in missing)
        return found

    def saved(self) -> int:
        """Take note of a save, which wants no kept layers any more.

        Returns the bytes that came for it into the local store, though it found them there.
        """
        read, self._read = self._read, 0
        if isinstance(self.source, KeepingSource):
            self.source.drop()
            return 0
        return read

    # --- remembered sizes --------------------------------------------------------------------

    @property
    def _note(self) -> str:
        return f"sizes {self.source.location} {self.old.digest}"

    def _recall(self) -> dict[str, int]:
        store = stores.default()
        raw = None if store is None else derived.load(store.root, self._note)
        if raw is None:
            return {}
        try:
            found = strict_json.loads(raw, limit=_NOTE_LIMIT, error=MalformedContent, what="a note")
        except DidlabError:
            return {}
        pairs = found.items() if isinstance(found, dict) else ()
        return {name: size for name, size in pairs if type(size) is int and size >= 0}

    def _remember(self, sizes: dict[str, int]) -> None:
        store = stores.default()
        if store is None:
            return
        try:
            derived.keep(store.root, self._note, json.dumps(sizes).encode())
        except LocalStoreError as error:
            _log.warning("sizes of layers could not be kept: %s", error)


def noted(report: SaveReport, conversions: Iterable[Conversion | None]) -> SaveReport:
    """Return a report that says which images were converted, and counts what that took."""
    came, notes = 0, list(report.notes)
    for conversion in conversions:
        if conversion is not None:
            came += conversion.saved()
            old = conversion.old
            notes.append(f"{conversion.name} was {MARK}; its digest there is {old.digest}")
    came = min(came, report.reused)
    return replace(
        report,
        downloaded=report.downloaded + came,
        reused=report.reused - came,
        notes=tuple(notes),
    )


def _json(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": descriptor.digest,
    }
