"""Layers into the local store, for those who look inside and say ``keep=True``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from didlab.blobs import store as stores
from didlab.blobs.ingest import Ingest
from didlab.errors import LimitExceeded, LocalStoreError
from didlab.export import progress as bars
from didlab.export.fetch import resuming
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import Source

_log = logging.getLogger("didlab")


class Keeping:
    """Takes a layer into the local store while it is listed; a disk that refuses is no failure."""

    def __init__(self, descriptor: Descriptor, *, wanted: bool) -> None:
        self._digest = descriptor.digest
        self._ingest: Ingest | None = None
        store = stores.default() if wanted else None
        if store is not None and not store.present(descriptor.digest, descriptor.size):
            with self._warning():
                self._ingest = store.begin(descriptor.digest, descriptor.size)

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        ingest = self._ingest
        if ingest is not None:
            with self._warning():
                ingest.write(piece)

    def commit(self) -> None:
        """Give the layer its name in the store."""
        ingest = self._ingest
        if ingest is not None:
            with self._warning():
                ingest.commit()

    def abandon(self) -> None:
        """Remove what was written, unless it was committed."""
        ingest, self._ingest = self._ingest, None
        if ingest is not None:
            ingest.abandon()

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except (LocalStoreError, LimitExceeded) as error:
            self.abandon()
            _log.warning("%s is not kept: %s", self._digest, error)

    @property
    def under_way(self) -> bool:
        """Whether there is anything to take in: a store that has no such blob and room for it."""
        return self._ingest is not None


def bring(source: Source, descriptors: Sequence[Descriptor], title: str, progress: Any) -> None:
    """Fetch the layers that the local store lacks, under one bar; some it refuses, warning."""
    store = stores.default()
    missing = [
        one
        for one in {one.digest: one for one in descriptors}.values()
        if store is not None and not store.present(one.digest, one.size)
    ]
    if not missing:
        return
    bar = bars.start(progress, sum(one.size for one in missing), title)
    try:
        for descriptor in missing:
            keeping = Keeping(descriptor, wanted=True)
            if not keeping.under_way:
                continue
            try:
                for piece in resuming(source.open(descriptor)):
                    keeping.write(piece)
                    bar.update(len(piece))
                keeping.commit()
            finally:
                keeping.abandon()
    finally:
        bar.close()
