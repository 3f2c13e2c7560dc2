"""An image under a name: its platforms, documents, layers; what else it can do is mixed in."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from didlab.errors import InvalidArgument, LayerNotFound
from didlab.model import choosing, known, tables
from didlab.model.completion import Completer
from didlab.model.config import Config
from didlab.model.converted import MARK
from didlab.model.imageattached import ImageAttached
from didlab.model.imageaudits import ImageAudits
from didlab.model.imagecopying import ImageCopying
from didlab.model.imagefiles import ImageFiles
from didlab.model.imagesaving import ImageSaving
from didlab.model.imageviews import ImageViews
from didlab.model.indexing import Manner
from didlab.model.snapshot import Snapshot
from didlab.oci import artifacts
from didlab.oci.config import HistoryEntry, ImageConfig
from didlab.oci.descriptor import Descriptor
from didlab.oci.manifest import ImageIndex, ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.base import Source
from didlab.views import cards, frames, text

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.inside import Layers
    from didlab.model.layer import Layer
    from didlab.model.registry import Registry
    from didlab.model.repository import Repository

#: Seconds that the HTML card may wait for the manifest and config.
CARD_SECONDS = 3.0


class Manifest(ImageFiles, ImageSaving, ImageCopying, ImageAttached, ImageAudits, ImageViews):
    """An image (or index of images) under a name. Lazy: made without any request.

    Made by `didlab.open`, ``repository["tag"]`` or ``manifest["linux/arm64"]``. The first
    question pins the digest, so that everything afterwards describes the same bytes; `refresh`
    gives a new object that asks again.

    On an index, calls about one image (`layers`, `config`, `history`, `image_id`, `size`, `save`)
    are about the default platform: ``DOCKER_DEFAULT_PLATFORM``, else ``linux/`` and this
    machine's architecture. `digest`, `raw` and `json` are about the index itself.

    Attributes
    ----------
    reference : Reference
        The name it was opened under; of an image in a local file its own name there, once that
        was looked into (see `didlab.open`).
    repository : Repository or None
        Where it lies; None for local files.
    registry : Registry or None
        The registry of that.
    """

    def __init__(
        self, source: Source, reference: Reference, platform: Platform | None = None
    ) -> None:
        self._snapshot = Snapshot(source, reference)
        self._platform = platform
        self._completer = Completer(self._platform_names)

    @classmethod
    def _sharing(cls, snapshot: Snapshot, platform: Platform | None) -> Manifest:
        made = cls.__new__(cls)
        made._snapshot = snapshot
        made._platform = platform
        made._completer = Completer(made._platform_names)
        return made

    # --- free --------------------------------------------------------------------------------

    @property
    def reference(self) -> Reference:
        """The name it was opened under, or its own where it lies in a file."""
        return self._snapshot.reference

    @property
    def repository(self) -> Repository | None:
        """The repository it lies in; None for local files."""
        from didlab.model.repository import Repository

        return Repository._of(self._snapshot.source)

    @property
    def registry(self) -> Registry | None:
        """The registry it lies at; None for local files."""
        repository = self.repository
        return repository.registry if repository is not None else None

    # --- platforms ---------------------------------------------------------------------------

    def platforms(self, *, sizes: bool = False) -> pd.DataFrame:
        """List what the index holds, one row for each entry.

        A single image gives one row. Attestations and nested indexes have rows of their own
        (see ``kind``); what a nested index holds follows its row.

        Parameters
        ----------
        sizes : bool
            Add the columns ``layers`` and ``size``, at one request for each image row.

        Returns
        -------
        DataFrame
            platform : category, os : category, architecture : category, variant : category,
            os_version : text, kind : category (image, attestation, index, other),
            digest : text, manifest_size : int64 (bytes of the manifest itself);
            with ``sizes``: layers : Int64, size : Int64 (bytes of the layers as stored).

        Raises
        ------
        ManifestNotFound, RepositoryNotFound, AuthError, TransportError, ManifestInvalid

        Notes
        -----
        Costs one request on an index (none when known), two on a single image (its config says
        the platform), a challenge and a token once for each repository.
        """
        return frames.frame(
            "platforms",
            tables.platforms(self._snapshot, sizes=sizes),
            also="platforms+sizes" if sizes else None,
            reference=str(self.reference),
        )

    def platform(self, name: str | Platform) -> Manifest:
        """Return the image for a platform, checked to be there.

        Parameters
        ----------
        name : str
            ``linux/arm64``, ``linux/arm/v7``, ``arm64`` …; matched as containerd does:
            ``linux/arm64`` takes ``arm64/v8``, ``linux/arm`` the best variant.

        Raises
        ------
        PlatformNotFound
            With what there is (a KeyError, too).
        InvalidArgument
            This object is about another platform already.

        Notes
        -----
        Costs what `platforms` does; ``manifest[name]`` is the same without asking.
        """
        made = self[name]
        made._snapshot.manifest(made._platform)
        return made

    def __getitem__(self, name: str | Platform) -> Manifest:
        if not isinstance(name, str | Platform):
            raise InvalidArgument(
                f"a manifest is indexed by a platform, not by {type(name).__name__}",
                hint='m["linux/arm64"]; a layer is m.layer(0)',
            )
        wanted = Platform.parse(name) if isinstance(name, str) else name
        own = self._platform
        if own is not None:
            if wanted.normalized() != own.normalized():
                raise about_one_already(self.reference, own, wanted)
            wanted = own
        self._snapshot.check(wanted)
        return self._sharing(self._snapshot, wanted)

    #: Iterating would index by 0, 1, … and there is no natural answer.
    __iter__ = None

    # --- documents ---------------------------------------------------------------------------

    def _document(self) -> ImageManifest | ImageIndex:
        """Return what this object is about: the platform's manifest, or the root."""
        return self._snapshot.document_for(self._platform)

    def _image(self) -> ImageManifest:
        return self._snapshot.outline(self._platform)

    def _whole(self) -> ImageManifest:
        return self._snapshot.manifest(self._platform)

    def digest(self) -> str:
        """Return the digest of the bytes received (the index's own on an index)."""
        return self._document().digest

    def media_type(self) -> str:
        """Return the media type of the manifest or index."""
        return self._document().media_type

    def raw(self) -> bytes:
        """Return the manifest or index as received; `digest` is of these bytes.

        Of a signed manifest of schema 1 it is of what was signed, a part of them; registries make
        the signatures anew for every answer, and nobody verifies them here.
        """
        return self._document().raw

    def json(self) -> dict[str, Any]:
        """Return the manifest or index as plain dicts and lists, a copy."""
        import json

        document: dict[str, Any] = json.loads(self._document().raw)
        return document

    def annotations(self) -> dict[str, str]:
        """Return the annotations of the manifest or index."""
        return dict(self._document().annotations)

    def config(self) -> Config:
        """Return the image's config: a read-only mapping, with the usual fields as attributes.

        Raises
        ------
        NotAnImage
            For artifacts.
        PlatformNotFound, ConfigInvalid, TransportError

        Notes
        -----
        One request, after those for the manifest; none when known. An image of schema 1 has no
        config: the one that Docker would make of it needs every layer, read once and kept.
        """
        return Config(self._snapshot.config(self._whole()))

    def _config(self) -> ImageConfig:
        return self._snapshot.config(self._image())

    def image_id(self) -> str:
        """Return the digest of the config: the ID that Docker and podman show after a load.

        Costs no request beyond the manifest's; of schema 1 what `config` costs.

        Raises
        ------
        NotAnImage
        """
        image = self._whole()
        if not image.is_image:
            raise self._snapshot.not_an_image(image)
        return image.config.digest

    def size(self) -> int:
        """Return the bytes to download for the platform: config and distinct layers."""
        image = self._image()
        blobs = {layer.digest: layer.size for layer in image.layers}
        return image.config.size + sum(blobs.values())

    # --- layers ------------------------------------------------------------------------------

    def layers(self) -> pd.DataFrame:
        """List the layers, base first.

        Returns
        -------
        DataFrame
            position : int64, digest : text, diff_id : text, media_type : category,
            size : int64 (bytes as stored), created : datetime64[us, UTC], created_by : text,
            comment : text. The last three come from the history, lined up; missing where the
            history does not say, as ``diff_id`` is for artifacts.

        Raises
        ------
        ManifestInvalid
            The config names another number of layers than the manifest.
        PlatformNotFound, TransportError

        Notes
        -----
        Costs the manifest and the config.
        """
        rows = tables.layers(self._snapshot, self._image())
        return frames.frame("layers", rows, reference=str(self.reference))

    def layer(self, which: int | str) -> Layer:
        """Return one layer, by position (negative from the top) or digest.

        Of a digest seven digits or more will do, with or without ``sha256:``, if they are those
        of one layer only.

        Raises
        ------
        LayerNotFound
            An IndexError and a KeyError, too.
        InvalidArgument
            The beginning of several digests, which ``available`` lists; or no position.
        """
        from didlab.model.layer import Layer

        number = None if isinstance(which, str) else _position(which)
        layers = self._image().layers
        if number is None:
            position = choosing.by_digest(str(which), layers, self.reference)
            return Layer(self, position, layers[position])
        position = number + len(layers) if number < 0 else number
        if not 0 <= position < len(layers):
            raise LayerNotFound(
                f"{self.reference} has {text.count(len(layers), 'layer')}, there is no layer "
                f"{number}",
                reference=str(self.reference),
                available=tuple(str(number) for number in range(len(layers))),
            )
        return Layer(self, position, layers[position])

    def iter_layers(self) -> Iterator[Layer]:
        """Yield the layers, base first."""
        from didlab.model.layer import Layer

        for position, layer in enumerate(self._image().layers):
            yield Layer(self, position, layer)

    def history(self) -> pd.DataFrame:
        """List the steps that made the image, oldest first, lined up with its layers.

        Returns
        -------
        DataFrame
            position : int64, created : datetime64[us, UTC], created_by : text, comment : text,
            author : text, empty_layer : bool, layer : Int64 (position of the layer that the step
            made, missing where it made none), digest : text, size : Int64 (of that layer).

        Raises
        ------
        NotAnImage, PlatformNotFound, TransportError
        """
        rows = tables.history(self._snapshot, self._image())
        return frames.frame("history", rows, reference=str(self.reference))

    def _layers(self, manner: Manner) -> Layers:
        from didlab.model.inside import Layers

        return Layers(self, manner)

    # --- identity ----------------------------------------------------------------------------

    def refresh(self) -> Manifest:
        """Return a new object for the same name that asks anew."""
        return Manifest(self._snapshot.source, self._snapshot.asked, self._platform)

    def _address(self) -> tuple[Any, ...]:
        return (self._snapshot.source.location, self._snapshot.asked, self._platform)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Manifest):
            return self._address() == other._address()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._address())

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        # The pin travels along: a worker describes the same bytes.
        return _restore, (
            self._snapshot.source,
            self._snapshot.asked,
            self._platform,
            self._snapshot.pin,
        )

    # --- look --------------------------------------------------------------------------------

    def _known_config(self) -> ImageConfig | None:
        image = self._snapshot.known_manifest(self._platform)
        return self._snapshot.known_config(image) if image is not None else None

    def _known_history(self, layer: int) -> HistoryEntry | None:
        image = self._snapshot.known_manifest(self._platform)
        config = self._known_config()
        if image is None or config is None:
            return None
        return tables.steps_of_layers(config, len(image.layers))[layer]

    def _facts(self) -> dict[str, Any]:
        """Return what is in memory; what cannot be known yet is missing."""
        facts: dict[str, Any] = {
            "reference": self.reference.familiar(),
            "location": self._snapshot.source.location,
            "platform": str(self._platform) if self._platform else None,
        }
        root = self._snapshot.known_root
        image = self._snapshot.known_manifest(self._platform)
        conversion = self._snapshot.conversion
        if conversion is not None:
            facts["converted"] = MARK
            if conversion.known_whole is not None:
                facts["image_id"] = conversion.known_whole.config.digest
        # What this object is about, which the index is not where a platform was asked for.
        own = root if self._platform is None else image
        if own is not None:
            facts["digest"] = own.digest
            facts["media_type"] = own.media_type
            facts["artifact_type"] = artifacts.type_of(own)
            facts["annotations"] = dict(own.annotations)
        if isinstance(root, ImageIndex):
            images = [d for d in root.manifests if d.platform and d.platform.os != "unknown"]
            facts["platforms"] = [str(d.platform) for d in images]
            rows = known.platforms(self._snapshot, image)
            if self._platform is None:
                facts["index"] = rows
            else:
                rows = [row for row in rows if row["chosen"]]
            facts["attested"] = any(row["attested"] for row in rows)
        if image is not None:
            if image.is_image and conversion is None:
                facts["image_id"] = image.config.digest
            facts["media_types"] = [layer.media_type for layer in image.layers]
            facts["layers"] = [(layer.digest, layer.size) for layer in image.layers]
            facts["size"] = image.config.size + sum(size for _, size in facts["layers"])
            config = self._known_config() if image.is_image else None
            if config is not None:
                facts["config"] = Config(config)._facts()
                facts["os"] = self._snapshot.systems.get(image.digest)
                facts["made_by"] = [
                    entry.created_by if entry else None
                    for entry in tables.steps_of_layers(config, len(image.layers))
                ]
        return facts

    def __repr__(self) -> str:
        return text.manifest(self._facts())

    def _repr_html_(self) -> str:
        return cards.manifest(self._facts, self._config, seconds=CARD_SECONDS)

    def _platform_names(self) -> list[str]:
        # An entry that does not say its platform cannot be asked for by it.
        named = (str(p) for _, p in self._snapshot.images() if p.os != "unknown")
        return list(dict.fromkeys(named))

    def _ipython_key_completions_(self) -> list[str]:
        return self._completer()


def about_one_already(reference: Reference, own: Platform, wanted: object) -> InvalidArgument:
    """Return the error for a platform asked of what is about another one."""
    return InvalidArgument(
        f"{reference} is about {own} already, not about {wanted}",
        hint="ask the manifest that was opened without a platform",
        reference=str(reference),
    )


def _position(which: object) -> int:
    # Whatever is a whole number by itself, NumPy's too; neither True nor 3.0 is meant as one.
    if not isinstance(which, bool):
        try:
            return operator.index(which)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise InvalidArgument(
        "a layer is chosen by its position, a whole number, or by its digest, not by "
        f"{type(which).__name__}"
    )


def _restore(
    source: Source, reference: Reference, platform: Platform | None, pin: Descriptor | None
) -> Manifest:
    return Manifest._sharing(Snapshot(source, reference, pin), platform)
