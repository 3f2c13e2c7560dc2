"""Layers that were read whole once, to convert their image, and are to be read again."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from didlab.blobs.ingest import Ingest
from didlab.blobs.store import BlobStore
from didlab.errors import DidlabError
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import BlobReader, Source, WrapperSource
from didlab.sources.stored_reader import StoredReader

#: What a temporary folder holds; the disk sets a limit before.
_LIMIT = 2**62


class KeepingSource(WrapperSource):
    """Keeps every blob that is streamed from its start to its end in a temporary folder.

    For machines without a local store. The folder goes with the object, or by `drop`. Copies by
    pickle keep nothing: they are the inner source.
    """

    def __init__(self, inner: Source) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._remove: Callable[[], object] | None = None
        self._store: BlobStore | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self.inner,)

    def open(self, descriptor: Descriptor) -> BlobReader:
        """Return a reader of what was kept, else one that keeps what it reads."""
        store = self._store
        if store is not None and store.present(descriptor.digest, descriptor.size):
            # It came from there just now.
            return StoredReader(
                store,
                descriptor,
                lambda: self.inner.open(descriptor),
                served_by=self.inner.location,
            )
        return KeepingReader(self.inner.open(descriptor), descriptor, self._begin)

    def blob_size(self, digest: str) -> int:
        """Pass on."""
        from didlab.sources.sizing import blob_size

        return blob_size(self.inner, digest)

    def drop(self) -> None:
        """Remove what was kept."""
        with self._lock:
            remove, self._remove, self._store = self._remove, None, None
        if remove is not None:
            remove()

    def _begin(self, descriptor: Descriptor) -> Ingest | None:
        """Begin to keep a blob; None where it cannot be done: it is fetched again then."""
        try:
            with self._lock:
                if self._store is None:
                    folder = tempfile.mkdtemp(prefix="didlab-")
                    # At the latest at the interpreter's end.
                    self._remove = weakref.finalize(self, _removed, folder, os.getpid())
                    self._store = BlobStore(Path(folder) / "layers", _LIMIT)
                store = self._store
            return store.begin(descriptor.digest, descriptor.size)
        except (DidlabError, OSError):
            return None


def _removed(folder: str, owner: int) -> None:
    # A forked child ends as well; the folder is its parent's.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _same(source: Source) -> Source:
    return source


class KeepingReader:
    """Passes a blob on and keeps it, as far as it comes in order."""

    def __init__(
        self,
        inner: BlobReader,
        descriptor: Descriptor,
        begin: Callable[[Descriptor], Ingest | None],
    ) -> None:
        self._inner = inner
        self._descriptor = descriptor
        self._begin = begin
        self._ingest: Ingest | None = None
        self._begun = False

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._inner.size

    @property
    def ranged(self) -> bool | None:
        """As the place does."""
        return self._inner.ranged

    @property
    def served_by(self) -> str | None:
        """The place that served last."""
        return self._inner.served_by

    @property
    def places(self) -> tuple[str, ...]:
        """The places that may have it."""
        return self._inner.places

    def read_at(self, start: int, stop: int) -> bytes:
        """Pass on; a part is not kept."""
        return self._inner.read_at(start, stop)

    def stream(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        place: str | None = None,
        strict: bool = False,
    ) -> Generator[bytes]:
        """Pass on, and keep what goes on where the last stream ended."""
        position = start
        for data in self._inner.stream(start, stop, place=place, strict=strict):
            self._keep(position, data)
            position += len(data)
            yield data

    def abort(self) -> None:
        """End the stream under way, from another thread."""
        self._inner.abort()

    def _keep(self, position: int, data: bytes) -> None:
        if position == 0 and not self._begun:
            self._begun = True
            self._ingest = self._begin(self._descriptor)
        ingest = self._ingest
        if ingest is None:
            return
        known = ingest.received - position
        if not 0 <= known < len(data):  # a gap, or a place that began again
            return
        try:
            ingest.write(data[known:])
            if ingest.received == self.size:
                self._ingest = None
                ingest.commit()
        except DidlabError:  # a full disk; wrong content is told by whoever reads
            self._give_up(ingest)

    def _give_up(self, ingest: Ingest) -> None:
        self._ingest = None
        ingest.abandon()

    def __del__(self) -> None:
        ingest = getattr(self, "_ingest", None)
        if ingest is not None:
            ingest.abandon()
