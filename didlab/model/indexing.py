"""Indexes of an image's layers: remembered, from tables of contents, or by a pass over each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from didlab import _pausing as pausing
from didlab import settings
from didlab.errors import (
    BlobNotFound,
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
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
from didlab.files.underway import Claim, Key, claims
from didlab.files.wellknown import Capture
from didlab.model.keeping import Keeping, bring
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sources.base import BlobReader, Source

#: Layers that are read at the same time where nobody says otherwise.
TOGETHER = 4
#: Seconds that a thread which was called off gets to put away what it began.
LEAVE = 2.0

Claimed = dict[Key, Claim]

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
) -> tuple[list[LayerIndex], dict[str, dict[bytes, bytes]]]:
    """Return the index of each layer, and what was captured on the way, by layer's digest.

    However many threads want a layer, one of them lists it and the others wait.

    Raises
    ------
    DigestMismatch
        A layer's blob, or what it decompresses to, is not what was promised.
    CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError
    """
    found: dict[Key, LayerIndex] = {}
    captured: dict[str, dict[bytes, bytes]] = {}
    missing = {_key(one.descriptor): one.descriptor for one in wanted}
    while missing := _unknown(missing, found):
        own, others = claims.take(missing)
        try:
            # Somebody may have listed one between the look and the claim.
            rest = _unknown({key: missing[key] for key in own}, found)
            for key in [key for key in own if key not in rest]:
                own[key].finish(found[key])

            def done(made: LayerIndex, own: Claimed = own) -> None:
                own[made.digest, made.size].finish(made)

            for made, content in _made(source, list(rest.values()), title, manner, capture, done):
                found[made.digest, made.size] = made
                captured[made.digest] = content
        finally:
            for claim in own.values():
                claim.finish(None)
        # What others gave up is taken over in the next round.
        for key, claim in others.items():
            there = claim.wait()
            if there is not None and there.vouched in ("", toc.vouched(missing[key])):
                found[key] = there
    listed = [found[_key(one.descriptor)] for one in wanted]
    for one, index in zip(wanted, listed, strict=True):
        check_diff_id(one, index.diff_id, source.location)
    if manner.keep:  # also what was listed before, by whoever did not ask to keep it
        before = [one.descriptor for one in wanted if one.descriptor.digest not in captured]
        bring(source, before, title, manner.progress)
    return listed, captured


def known_index(descriptor: Descriptor) -> LayerIndex | None:
    """Return the index of a layer that was listed before, as its descriptor would have it."""
    return kept.index(descriptor.digest, descriptor.size, toc.vouched(descriptor))


def _key(descriptor: Descriptor) -> Key:
    return descriptor.digest, descriptor.size


def _unknown(missing: dict[Key, Descriptor], found: dict[Key, LayerIndex]) -> dict[Key, Descriptor]:
    """Return what is missing still; what is remembered goes to ``found``."""
    for key, descriptor in missing.items():
        if key not in found and (known := known_index(descriptor)) is not None:
            found[key] = known
    return {key: descriptor for key, descriptor in missing.items() if key not in found}


def _made(
    source: Source,
    descriptors: Sequence[Descriptor],
    title: str,
    manner: Manner,
    capture: Capture | None,
    done: Callable[[LayerIndex], object],
) -> Iterator[tuple[LayerIndex, dict[bytes, bytes]]]:
    """List layers: by their tables of contents, the others by a pass over each."""
    rest = []
    for descriptor in descriptors:
        made = _listed(source, descriptor)
        if made is None:
            rest.append(descriptor)
        else:
            done(made)
            yield made, {}
    if rest:
        yield from Passes(source, rest, title, manner, capture, done).run()


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
        vouched=toc.vouched(descriptor),
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
        done: Callable[[LayerIndex], object] = lambda _: None,
    ) -> None:
        self._source = source
        # The largest first: it is the one that the others wait for.
        self._waiting = sorted(descriptors, key=lambda descriptor: descriptor.size)
        self._order = [descriptor.digest for descriptor in descriptors]
        self._title = title
        self._manner = manner
        self._capture = capture
        self._done = done
        self._lock = threading.Lock()
        self._stop = pausing.Stop()
        self._over = threading.Event()
        self._working = 0
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
        self._working = count
        shown = 0
        try:
            for thread in threads:
                thread.start()
            # Not by join(): Python 3.11 takes a thread for ended whose join() was interrupted.
            while not self._over.wait(pausing.LOOK):
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
            for thread in threads:
                if thread.ident is not None:
                    thread.join(LEAVE)
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
        try:
            self._passes()
        finally:
            with self._lock:
                self._working -= 1
                if not self._working:
                    self._over.set()

    def _passes(self) -> None:
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
        keeping = Keeping(descriptor, wanted=self._manner.keep)
        try:
            made = scan.run(self._counted(reader, keeping), descriptor.size, abort=reader.abort)
            keeping.commit()
        except BlobNotFound as error:
            raise explained(error, descriptor) from None
        except (MalformedContent, LimitExceeded) as error:
            # Of several layers, which one it is.
            message = f"layer {descriptor.digest}: {error.message}"
            raise type(error)(message, **error.fields()) from None
        finally:
            keeping.abandon()
            with self._lock:
                self._readers.discard(reader)
        for warning in made.warnings:
            _log.warning("layer %s: %s", descriptor.digest, warning)
        kept.keep_index(made)
        self._done(made)
        return made, scan.captured

    def _counted(self, reader: BlobReader, keeping: Keeping) -> Iterator[bytes]:
        for piece in resuming(reader):
            keeping.write(piece)
            yield piece
            with self._lock:
                self._came += len(piece)
