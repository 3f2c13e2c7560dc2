"""Indexes of an image's layers: remembered, from tables of contents, or by a pass over each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from didlab import _pausing as pausing
from didlab import settings
from didlab.blobs import store as stores
from didlab.blobs.ingest import Ingest
from didlab.errors import (
    BlobNotFound,
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    LocalStoreError,
    MalformedContent,
    ProtocolError,
    Unsupported,
)
from didlab.export import progress as bars
from didlab.export.fetch import resuming
from didlab.export.foreign import explained
from didlab.files import kept, toc
from didlab.files.blocks import fetch
from didlab.files.index import LayerIndex
from didlab.files.scan import Scan
from didlab.files.wellknown import Capture
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sources.base import BlobReader, Source

#: Layers that are read at the same time where nobody says otherwise.
TOGETHER = 4

_log = logging.getLogger("didlab")


@dataclass(frozen=True, slots=True)
class Manner:
    """What the user said about looking inside.

    ``keep``: a layer that has to be read whole is added to the local store.
    """

    progress: Any = None
    keep: bool = False

    def __post_init__(self) -> None:
        bars.check(self.progress)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A layer to look into, with the digest that its config promises for the uncompressed tar."""

    descriptor: Descriptor
    diff_id: str | None


def indexes(
    source: Source,
    wanted: Sequence[Wanted],
    title: str,
    manner: Manner,
    capture: Capture | None = None,
) -> tuple[list[LayerIndex], dict[bytes, bytes]]:
    """Return the index of each layer, and what was captured on the way, upper layers first.

    Raises
    ------
    DigestMismatch
        A layer's blob, or what it decompresses to, is not what was promised.
    CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError
    """
    found: dict[str, LayerIndex] = {}
    missing: dict[str, Descriptor] = {}
    for one in wanted:
        descriptor = one.descriptor
        known = kept.index(descriptor.digest, descriptor.size) or _listed(source, descriptor)
        if known is not None:
            found[descriptor.digest] = known
        else:
            missing[descriptor.digest] = descriptor
    captured: dict[bytes, bytes] = {}
    if missing:
        passes = Passes(source, list(missing.values()), title, manner, capture)
        for index, content in passes.run():
            found[index.digest] = index
            for path, data in content.items():
                captured.setdefault(path, data)
    for one in wanted:
        check_diff_id(one, found[one.descriptor.digest].diff_id, source.location)
    return [found[one.descriptor.digest] for one in wanted], captured


def check_diff_id(wanted: Wanted, actual: str | None, where: str) -> None:
    """Raise DigestMismatch where a layer's tar is not the one that the config promises.

    ``actual`` is None where only a table of contents was read: then nobody knows.
    """
    promised = wanted.diff_id
    # Computed is sha256 only; another algorithm cannot be compared.
    if None in (promised, actual) or promised == actual or not str(promised).startswith("sha256:"):
        return
    raise DigestMismatch(
        f"layer {wanted.descriptor.digest} at {where} decompresses to {actual}, "
        f"the config promises {promised}",
        expected=promised,
        actual=actual,
        hint="manifest and config do not belong together",
    )


def _listed(source: Source, descriptor: Descriptor) -> LayerIndex | None:
    """Return an index from the layer's own table of contents, where one is vouched for."""
    finder = toc.find(descriptor)
    if finder is None:
        return None
    reader = source.open(descriptor)
    try:
        table, chunks = finder.read(lambda start, stop: fetch(reader, start, stop), descriptor.size)
    except (MalformedContent, IntegrityError, LimitExceeded, ProtocolError, Unsupported) as error:
        _log.warning(
            "the table of contents of %s cannot be used, the layer is read whole: %s",
            descriptor.digest,
            error,
        )
        return None
    made = LayerIndex(
        descriptor.digest,
        descriptor.size,
        finder.kind,
        rows=len(table),
        table=lambda: table,
        chunks=lambda: chunks,
    )
    kept.keep_index(made)
    return made


class Passes:
    """Layers read whole, several at a time, each once."""

    def __init__(
        self,
        source: Source,
        descriptors: Sequence[Descriptor],
        title: str,
        manner: Manner,
        capture: Capture | None,
    ) -> None:
        self._source = source
        # The largest first: it is the one that the others wait for.
        self._waiting = sorted(descriptors, key=lambda descriptor: descriptor.size)
        self._order = [descriptor.digest for descriptor in descriptors]
        self._title = title
        self._manner = manner
        self._capture = capture
        self._lock = threading.Lock()
        self._stop = pausing.Stop()
        self._came = 0
        self._readers: set[BlobReader] = set()
        self._results: dict[str, tuple[LayerIndex, dict[bytes, bytes]]] = {}
        self._error: BaseException | None = None

    def run(self) -> list[tuple[LayerIndex, dict[bytes, bytes]]]:
        """Do them all; return index and captured files of each, the uppermost first."""
        total = sum(descriptor.size for descriptor in self._waiting)
        count = min(len(self._waiting), max(TOGETHER, settings.current().workers))
        bar = bars.start(self._manner.progress, total, self._title)
        threads = [
            threading.Thread(
                target=copy_context().run, args=(self._work,), name="didlab-look", daemon=True
            )
            for _ in range(count)
        ]
        shown = 0
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(pausing.LOOK / count)
                pausing.check()
                came = self._came
                if came != shown:
                    bar.update(came - shown)
                    shown = came
            if self._came != shown:
                bar.update(self._came - shown)
        finally:
            self._halt()
            bar.close()
        if self._error is not None:
            raise self._error
        return [self._results[digest] for digest in reversed(self._order)]

    def _halt(self) -> None:
        self._stop.set()
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.abort()

    def _work(self) -> None:
        pausing.stop.set(self._stop)
        while not self._stop.is_set():
            with self._lock:
                if not self._waiting:
                    return
                descriptor = self._waiting.pop()
            try:
                self._results[descriptor.digest] = self._pass(descriptor)
            except BaseException as error:  # noqa: BLE001 - raised by the thread that called
                with self._lock:
                    if self._error is None and not isinstance(error, pausing.Stopped):
                        self._error = error
                self._halt()
                return

    def _pass(self, descriptor: Descriptor) -> tuple[LayerIndex, dict[bytes, bytes]]:
        reader = self._source.open(descriptor)
        with self._lock:
            self._readers.add(reader)
        verifier = Verifier(descriptor.digest, descriptor.size, where=self._source.location)
        scan = Scan(verifier, media_type=descriptor.media_type, capture=self._capture)
        ingest = _ingest(descriptor) if self._manner.keep else None
        try:
            made = scan.run(self._counted(reader, ingest), descriptor.size, abort=reader.abort)
            if ingest is not None:
                ingest.commit()
        except BlobNotFound as error:
            raise explained(error, descriptor) from None
        finally:
            if ingest is not None:
                ingest.abandon()
            with self._lock:
                self._readers.discard(reader)
        for warning in made.warnings:
            _log.warning("layer %s: %s", descriptor.digest, warning)
        kept.keep_index(made)
        return made, scan.captured

    def _counted(self, reader: BlobReader, ingest: Ingest | None) -> Iterator[bytes]:
        for piece in resuming(reader):
            if ingest is not None:
                ingest.write(piece)
            yield piece
            with self._lock:
                self._came += len(piece)


def _ingest(descriptor: Descriptor) -> Ingest | None:
    """Begin to take a layer into the local store, unless it is there or there is none."""
    store = stores.default()
    if store is None or store.present(descriptor.digest, descriptor.size):
        return None
    try:
        return store.begin(descriptor.digest, descriptor.size)
    except (LocalStoreError, LimitExceeded) as error:
        _log.warning("%s is not kept: %s", descriptor.digest, error)
        return None
