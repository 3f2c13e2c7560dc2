"""Indexes of an image's layers: remembered, from tables of contents, or by a pass over each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from didlab.files.looking import Encoded
from didlab.files.looks import Look
from didlab.files.scan import Scan
from didlab.files.underway import Claim, Key, claims
from didlab.files.wellknown import Capture
from didlab.model.keeping import Keeping, bring
from didlab.model.together import Together
from didlab.oci.descriptor import Descriptor
from didlab.oci.digest import Verifier
from didlab.sources.base import Source

#: What looks learned of layers: by the layer, the look's name and the path.
Learned = dict[Key, dict[str, dict[bytes, Encoded]]]

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
    looks: Sequence[Look] = (),
    learned: Learned | None = None,
) -> tuple[list[LayerIndex], dict[str, dict[bytes, bytes]]]:
    """Return the index of each layer, and what was captured on the way, by layer's digest.

    However many threads want a layer, one of them lists it and the others wait. What ``looks``
    learn of layers that are listed now goes to ``learned``, too.

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

            made_now = _made(
                source, list(rest.values()), title, manner, capture, done, looks, learned
            )
            for made, content in made_now:
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
    looks: Sequence[Look],
    learned: Learned | None,
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
        passes = Passes(source, rest, title, manner, capture, done, looks=looks, learned=learned)
        yield from passes.run()


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


class Passes(Together[tuple[LayerIndex, dict[bytes, bytes]]]):
    """Layers read whole, several at a time, each once; index and captured files of each.

    The looks that every pass has go along.
    """

    def __init__(
        self,
        source: Source,
        descriptors: Sequence[Descriptor],
        title: str,
        manner: Manner,
        capture: Capture | None,
        done: Callable[[LayerIndex], object] = lambda _: None,
        *,
        looks: Sequence[Look] = (),
        learned: Learned | None = None,
    ) -> None:
        from didlab.audits.looks import always

        super().__init__(descriptors, title, manner.progress)
        self._source = source
        self._manner = manner
        self._capture = capture
        self._done = done
        self._looks = (*always(), *looks)
        self._learned = learned

    def _pass(self, descriptor: Descriptor) -> tuple[LayerIndex, dict[bytes, bytes]]:
        reader = self._source.open(descriptor)
        with self._lock:
            self._readers.add(reader)
        verifier = Verifier(descriptor.digest, descriptor.size, where=self._source.location)
        scan = Scan(
            verifier,
            media_type=descriptor.media_type,
            capture=self._capture,
            looks=self._looks,
        )
        keeping = Keeping(descriptor, wanted=self._manner.keep)
        try:
            pieces = self._counted(_kept(resuming(reader), keeping))
            made = scan.run(pieces, descriptor.size, abort=reader.abort)
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
        # Before the index: whoever finds that looks for facts next.
        for name, found in scan.facts.items():
            kept.keep_facts(made.digest, made.size, name, found)
        if self._learned is not None:
            self._learned[made.digest, made.size] = scan.facts
        kept.keep_index(made)
        self._done(made)
        return made, scan.captured


def _kept(pieces: Iterator[bytes], keeping: Keeping) -> Iterator[bytes]:
    for piece in pieces:
        keeping.write(piece)
        yield piece
