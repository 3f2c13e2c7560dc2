"""One layer of an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from didlab.errors import BlobNotFound
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.views import text

if TYPE_CHECKING:
    from didlab.export.report import SaveReport
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
        """Where a non-distributable layer lies; never fetched by itself."""
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

    def stream(self) -> Iterator[bytes]:
        """Yield the layer's bytes as stored, in pieces as they arrive.

        One request, `size` bytes; a break in the middle is mended by a further request from
        where it happened. Nothing is verified before the end: only when the iterator ends
        without an error do size and digest match.

        Raises
        ------
        DigestMismatch, SizeMismatch
            At the end.
        BlobNotFound, TransportError
        """
        from didlab.export.fetch import resuming
        from didlab.export.foreign import explained

        source = self._manifest._snapshot.source
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

        Raises
        ------
        InvalidArgument, DestinationExists, DiskFull, WriteFailed, DigestMismatch, TransportError
        """
        from didlab.export.archive import save_blob
        from didlab.export.names import blob_name
        from didlab.model import destination

        return save_blob(
            self._manifest._snapshot.source,
            self._descriptor,
            destination.file(path, lambda _: blob_name(self._descriptor)),
            overwrite=overwrite,
            progress=progress,
        )

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

    def _facts(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "size": self.size,
            "media_type": self.media_type,
            "position": self._position,
            "diff_id": self.diff_id,
            "created_by": self.created_by,
        }
