"""One layer of an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from didlab.errors import BlobNotFound
from didlab.model.imagefiles import Location
from didlab.model.indexing import Manner, known_index
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.views import cards, text

if TYPE_CHECKING:
    import io

    import pandas as pd

    from didlab.export.report import SaveReport
    from didlab.files.content import Content
    from didlab.files.extract import Extracted
    from didlab.files.index import LayerIndex
    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest


class Layer:
    """A blob that holds one changeset of the file system. Made by `Manifest.layer`: no I/O.

    Attributes
    ----------
    digest : str
        Digest of the layer as stored (compressed).
    size : int
        Bytes as stored.
    media_type : str
        Declared format.
    position : int
        0 is the base.
    diff_id, created_by : str or None
        From the image's config; None until that is known (``m.layers()`` or ``m.config()``
        fetches it), and where it does not say.
    """

    __slots__ = ("_descriptor", "_manifest", "_position")

    def __init__(self, manifest: Manifest, position: int, descriptor: Descriptor) -> None:
        self._manifest = manifest
        self._position = position
        self._descriptor = descriptor

    @property
    def digest(self) -> str:
        """Digest of the layer as stored."""
        return self._descriptor.digest

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return self._descriptor.size

    @property
    def media_type(self) -> str:
        """Declared format."""
        return self._descriptor.media_type

    @property
    def position(self) -> int:
        """Place in the image; 0 is the base."""
        return self._position

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of the layer's descriptor."""
        return dict(self._descriptor.annotations)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where a non-distributable layer lies; asked only with ``foreign=True``."""
        return self._descriptor.urls

    @property
    def diff_id(self) -> str | None:
        """Digest of the uncompressed tar; None until the config is known."""
        config = self._manifest._known_config()
        if config is None or self._position >= len(config.diff_ids):
            return None
        return config.diff_ids[self._position]

    @property
    def created_by(self) -> str | None:
        """The command that made the layer; None until the config is known."""
        entry = self._manifest._known_history(self._position)
        return (entry.created_by or None) if entry is not None else None

    @property
    def manifest(self) -> Manifest:
        """The image that this is a layer of."""
        return self._manifest

    def stream(self, *, foreign: bool = False) -> Iterator[bytes]:
        """Yield the layer's bytes as stored, in pieces as they arrive.

        One request, `size` bytes; a break in the middle is mended by a further request from
        where it happened. Nothing is verified before the end: only when the iterator ends
        without an error do size and digest match.

        Parameters
        ----------
        foreign : bool
            As `save`.

        Raises
        ------
        DigestMismatch, SizeMismatch
            At the end.
        BlobNotFound, TransportError
        """
        from didlab.export.fetch import resuming
        from didlab.export.foreign import explained
        from didlab.sources.foreign import following

        source = following(self._manifest._snapshot.source, foreign)
        verifier = Verifier(self.digest, self.size, where=source.location)
        reader = source.open(self._descriptor)
        try:
            for data in resuming(reader):
                verifier.update(data)
                yield data
        except BlobNotFound as error:
            raise explained(error, self._descriptor) from None
        verifier.check()

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Any = None,
        foreign: bool = False,
    ) -> SaveReport:
        """Write the layer as stored (usually ``.tar.gz``) to a file, verified.

        Parameters
        ----------
        path : path-like
            The file; a directory gets ``sha256_<encoded>`` with the suffix of its format. ``~``
            is expanded.
        overwrite : bool
            Replace another file that is there already. The same content is left as it is.
        progress : bool or object, optional
            As `Manifest.save`.
        foreign : bool
            Where the registry does not hold it, fetch it from its `urls`, without any login.
            Looking inside (`files`, `read` …) does so on what was opened with ``foreign=True``.

        Raises
        ------
        InvalidArgument, DestinationExists, DiskFull, WriteFailed, DigestMismatch, TransportError
        BlobNotFound
        """
        from didlab.export.archive import save_blob
        from didlab.export.names import blob_name
        from didlab.model import destination
        from didlab.sources.foreign import following

        return save_blob(
            following(self._manifest._snapshot.source, foreign),
            self._descriptor,
            destination.file(path, lambda _: blob_name(self._descriptor)),
            overwrite=overwrite,
            progress=progress,
        )

    # --- inside ------------------------------------------------------------------------------

    def files(
        self,
        pattern: str | None = None,
        *,
        progress: Any = None,
        keep: bool = False,
    ) -> pd.DataFrame:
        r"""List the entries of the layer as stored: in its order, duplicates and whiteouts too.

        Parameters
        ----------
        pattern : str, optional
            Only paths like this: ``*``, ``?`` and ``[…]`` within one name, ``**`` over folders,
            ``{a,b}`` for either.
        progress : bool or object, optional
            As `Manifest.save`.
        keep : bool
            Add the layer to the local store where it has to be read whole.

        Returns
        -------
        DataFrame
            path : text (absolute, ``.wh.`` names as they are), type : category, size : int64,
            mode : int64, permissions : category, uid : int64, gid : int64,
            mtime : datetime64[us, UTC], linkname : text, layer : int64 (this one's position),
            whiteout : category (``file``, ``opaque``; missing for ordinary entries). Names that
            are no UTF-8 are shown with ``\x`` escapes; `read` takes them that way.

        Raises
        ------
        DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError

        Notes
        -----
        The first time the layer is read whole, `size` bytes in one request, and verified: its
        digest, and that of its uncompressed content against the config. A layer whose descriptor
        vouches for a table of contents (eStargz, zstd:chunked) costs one or two ranges instead.
        What was learned stays in the local store: later calls cost no request.
        """
        from didlab.files import paths
        from didlab.model import listing

        table = self._index(Manner(progress, keep)).table
        rows = None if pattern is None else paths.select(table, pattern)
        reference = str(self._manifest.reference)
        return listing.layer_frame(table, self._position, rows, reference)

    def tree(
        self,
        path: Location = "/",
        depth: int | None = None,
        *,
        progress: Any = None,
        keep: bool = False,
    ) -> text.Lines:
        """Return what the layer has below a folder as a tree to look at. Costs what `files` does.

        Parameters
        ----------
        path : path-like
            Where it begins.
        depth : int, optional
            How many levels; all of them if not given.
        """
        from didlab.files import merge, paths
        from didlab.files.tree import tree

        table = self._index(Manner(progress, keep)).table
        return text.Lines(tree(merge.merge([table]), paths.normalise(path), depth))

    def open(
        self,
        path: Location,
        *,
        verified: bool = True,
        progress: Any = None,
        keep: bool = False,
    ) -> io.BufferedReader:
        """Open a file as this layer has it, even if a later layer deletes or replaces it.

        Links are followed inside the layer.

        Parameters
        ----------
        path : path-like
            With or without the leading slash.
        verified : bool
            False: where the layer is not listed yet, stop as soon as the file came, before
            anything is verified. The whole file is read at once then, and a warning says so.
        progress, keep
            As `files`.

        Returns
        -------
        io.BufferedReader
            Seekable; `io.TextIOWrapper` makes it text.

        Raises
        ------
        PathNotFound, NotAFile, SpecialFile, LinkLoop
        DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError

        Notes
        -----
        Costs what `files` does where the layer is not listed yet; then the ranges that what is
        read lies in, checked against what the listing saw: about half a MiB each for gzip.
        """
        from didlab.files import reading

        content, name = self._content(path, verified, Manner(progress, keep))
        return reading.open_file(content, name)

    def read(
        self,
        path: Location,
        *,
        verified: bool = True,
        progress: Any = None,
        keep: bool = False,
    ) -> bytes:
        """Return the content of a file as this layer has it. See `open`.

        Raises
        ------
        LimitExceeded
            More than 2 GiB; besides the errors of `open`.
        """
        from didlab.files import reading

        content, name = self._content(path, verified, Manner(progress, keep))
        return reading.read_all(content, name)

    def extract(
        self,
        path: Location = "/",
        dest: str | os.PathLike[str] = ".",
        *,
        overwrite: bool = False,
        devices: bool = False,
        owner: bool = False,
        portable: bool = False,
        progress: Any = None,
        keep: bool = False,
    ) -> Extracted:
        """Write a file or folder of this layer below a local folder, safely.

        As `Manifest.extract`, of this layer alone; whiteouts are left out.
        """
        from didlab.files import merge
        from didlab.model import extraction

        manner = Manner(progress, keep)
        layers = self._layers(manner)
        index = layers.index(self._position)
        table = merge.merge([index.table])

        def content(row: int) -> Content:
            origin = table.origins[row] if table.origins is not None else -1
            return layers.content(self._position, index, table.entry(row), origin)

        return extraction.extract(
            table,
            content,
            path,
            dest,
            overwrite=overwrite,
            devices=devices,
            owner=owner,
            portable=portable,
            gather=partial(layers.gather, position=self._position),
        )

    def _layers(self, manner: Manner) -> Layers:
        from didlab.model.inside import Layers

        return Layers(self._manifest, manner)

    def _index(self, manner: Manner) -> LayerIndex:
        return self._layers(manner).index(self._position)

    def _content(
        self,
        path: Location,
        verified: bool,
        manner: Manner,
    ) -> tuple[Content, str]:
        from didlab.files import paths
        from didlab.model import unverified
        from didlab.model.inside import only
        from didlab.model.layerfiles import of_path

        wanted = paths.normalise(path)
        if not verified and known_index(self._descriptor) is None:
            found = unverified.first(self, wanted)
            if found is not None:
                return found, paths.shown(wanted)
        layers = self._layers(manner)
        index = layers.index(self._position, capture=only(wanted))
        content = of_path(layers, self._position, index, wanted, f"layer {self.digest}")
        return content, paths.shown(wanted)

    # --- identity ----------------------------------------------------------------------------

    def _address(self) -> tuple[Any, ...]:
        return (self._manifest._snapshot.source.location, self.digest, self._position)

    def __eq__(self, other: object) -> bool:
        return self._address() == other._address() if isinstance(other, Layer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._address())

    def __reduce__(self) -> tuple[Any, ...]:
        return Layer, (self._manifest, self._position, self._descriptor)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return text.layer(self._facts())

    def _repr_html_(self) -> str:
        facts = self._facts()
        known = self._manifest._facts()
        layers = known.get("layers") or ()
        facts["annotations"] = self.annotations
        facts["reference"] = known["reference"]
        facts["count"] = len(layers)
        facts["image_size"] = sum(size for _, size in layers)
        return cards.layer(facts)

    def _facts(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "size": self.size,
            "media_type": self.media_type,
            "position": self._position,
            "diff_id": self.diff_id,
            "created_by": self.created_by,
        }
