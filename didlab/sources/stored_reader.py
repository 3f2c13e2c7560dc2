"""Reading what is in a store on this disk, with the place that it came from behind it."""

from __future__ import annotations

from collections.abc import Callable, Generator

from didlab.blobs.store import BlobStore
from didlab.errors import InvalidArgument
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import BlobReader


class StoredReader:
    """A blob in a store on this disk, or elsewhere should it turn out to be gone or damaged.

    Each read opens the file anew: no descriptor is held by objects that live long.
    """

    def __init__(
        self,
        store: BlobStore | None,
        descriptor: Descriptor,
        elsewhere: Callable[[], BlobReader],
        places: tuple[str, ...] = (),
        served_by: str = "the local store",
    ) -> None:
        self._store = store
        self._descriptor = descriptor
        self._elsewhere = elsewhere
        self._inner: BlobReader | None = None
        self._here = served_by
        #: Where it can be had besides: whoever asks shares them out over many blobs.
        self.places = places

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._descriptor.size

    @property
    def ranged(self) -> bool | None:
        """True, but where it is read from elsewhere."""
        return True if self._inner is None else self._inner.ranged

    @property
    def served_by(self) -> str | None:
        """The local store, or who served instead."""
        return self._here if self._inner is None else self._inner.served_by

    def read_at(self, start: int, stop: int) -> bytes:
        """Return exactly the bytes from ``start`` to ``stop`` (half-open)."""
        if not 0 <= start <= stop <= self.size:
            raise InvalidArgument(f"there are no bytes {start} to {stop} in {self.size}")
        return b"".join(self.stream(start, stop))

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Yield the bytes from ``start`` to ``stop``; from elsewhere what cannot be read here."""
        stop = self.size if stop is None else stop
        if self._inner is None and self._store is not None:
            blob = self._store.open(self._descriptor.digest, self.size)
            if blob is not None:
                with blob:
                    pieces = blob.pieces(start, stop)
                    while start < stop:
                        try:
                            data = next(pieces, b"")
                        except OSError:
                            data = b""
                        if not data:
                            self._store.discard(self._descriptor.digest)
                            break
                        start += len(data)
                        yield data
                if start >= stop:
                    return
        if self._inner is None:
            self._inner = self._elsewhere()
        yield from self._inner.stream(start, stop, place=place, strict=strict)

    def abort(self) -> None:
        """End the stream under way, where it comes from elsewhere."""
        if self._inner is not None:
            self._inner.abort()
