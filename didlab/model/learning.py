"""What looks tell of an image's layers: remembered, along with a listing, or read afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from didlab.export import progress as bars
from didlab.files import kept, toc
from didlab.files.index import LayerIndex
from didlab.files.looking import Encoded
from didlab.files.looks import Facts, Look
from didlab.files.underway import Claims, Key
from didlab.model import indexing
from didlab.model.indexing import Learned, Manner, check_diff_id, indexes, known_index
from didlab.model.keeping import bring
from didlab.model.rereading import Job, Readings
from didlab.oci.descriptor import Descriptor
from didlab.sources.base import Source

#: One for the process, as for listings.
_claims = Claims()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_claims.after_fork)


def learned(
    source: Source,
    layers: Sequence[indexing.Wanted],
    looks: Sequence[Look],
    title: str,
    manner: Manner,
) -> dict[str, list[dict[bytes, Facts]]]:
    """Return what looks tell of each layer: by their names, then by position, by path.

    However many threads want it of a layer, one of them reads it and the others wait.

    Raises
    ------
    DigestMismatch, CompressionInvalid, TarInvalid, LimitExceeded, BlobNotFound, TransportError
    """
    found = recorded(source, layers, looks, title, manner)
    return {
        name: [{path: json.loads(text) for path, text in of_layer.items()} for of_layer in told]
        for name, told in found.items()
    }


def recorded(
    source: Source,
    layers: Sequence[indexing.Wanted],
    looks: Sequence[Look],
    title: str,
    manner: Manner,
) -> dict[str, list[Mapping[bytes, Encoded]]]:
    """Return what `learned` does as it is kept: who reads many images knows it by its bytes."""
    found = Learning(source, layers, looks, title, manner).run()
    return {look.name: [found[_key(one.descriptor)][look.name] for one in layers] for look in looks}


def _key(descriptor: Descriptor) -> Key:
    return descriptor.digest, descriptor.size


class Learning:
    """One call of `learned`."""

    def __init__(
        self,
        source: Source,
        layers: Sequence[indexing.Wanted],
        looks: Sequence[Look],
        title: str,
        manner: Manner,
    ) -> None:
        self._source = source
        self._layers = {_key(one.descriptor): one for one in layers}
        self._looks = looks
        self._title = title
        self._manner = manner
        self._found: Learned = {key: {} for key in self._layers}
        self._indexes: dict[Key, LayerIndex] = {}

    def run(self) -> Learned:
        """Learn what is not known."""
        self._remember()
        missing = self._missing()
        for key in missing:
            index = known_index(self._layers[key].descriptor)
            if index is not None:
                check_diff_id(self._layers[key], index.diff_id, self._source.location)
                self._indexes[key] = index
        unlisted = [self._layers[key] for key in missing if key not in self._indexes]
        # One bar for listing and for reading where there is both.
        jobs = self._jobs([key for key in missing if key in self._indexes]) if unlisted else {}
        both = sum(job.bytes for job in jobs.values())
        bar: bars.Progress | None = None
        progress = self._manner.progress
        if both:
            total = both + sum(one.descriptor.size for one in unlisted)
            bar = bars.start(progress, total, self._title)
            progress = _Part(bar)
        try:
            if unlisted:
                self._list(unlisted, progress)
            while missing := self._missing():
                self._read(missing, jobs, progress)
        finally:
            if bar is not None:
                bar.close()
        return self._found

    def _missing(self) -> list[Key]:
        names = {look.name for look in self._looks}
        return [key for key, known in self._found.items() if not names <= known.keys()]

    def _remember(self) -> None:
        for key, known in self._found.items():
            vouched = toc.vouched(self._layers[key].descriptor)
            for look in self._looks:
                if look.name not in known:
                    facts = kept.facts(*key, look.name, vouched)
                    if facts is not None:
                        known[look.name] = dict(facts)

    def _list(self, unlisted: Sequence[indexing.Wanted], progress: Any) -> None:
        now: Learned = {}
        manner = Manner(progress, self._manner.keep)
        made, _ = indexes(
            self._source, unlisted, self._title, manner, looks=self._looks, learned=now
        )
        self._indexes.update(
            (_key(one.descriptor), index) for one, index in zip(unlisted, made, strict=True)
        )
        names = {look.name for look in self._looks}
        for key, told in now.items():
            self._found[key].update({name: told[name] for name in names & told.keys()})
        # Another thread may have listed some with the same looks.
        self._remember()

    def _read(self, missing: Sequence[Key], jobs: dict[Key, Job], progress: Any) -> None:
        own, others = _claims.take(missing)
        try:
            self._remember()
            mine = [key for key in own if key in self._missing()]
            if mine and self._manner.keep:
                layers = [self._layers[key].descriptor for key in mine]
                bring(self._source, layers, self._title, progress)
            todo = {key: jobs[key] for key in mine if key in jobs}
            todo.update(self._jobs([key for key in mine if key not in todo]))
            if todo:
                for key, told in Readings(self._source, todo, self._title, progress).run():
                    self._found[key].update(told)
        finally:
            for claim in own.values():
                claim.finish(None)
        for claim in others.values():
            claim.wait()
        if others:
            self._remember()

    def _jobs(self, keys: Sequence[Key]) -> dict[Key, Job]:
        jobs = {}
        for key in keys:
            looks = [look for look in self._looks if look.name not in self._found[key]]
            jobs[key] = Job(self._layers[key].descriptor, self._indexes[key], looks)
        return jobs


class _Part:
    """A part of what one bar shows: its end is not the bar's."""

    def __init__(self, bar: bars.Progress) -> None:
        self._bar = bar

    def update(self, n: int) -> None:
        """Pass on."""
        self._bar.update(n)
