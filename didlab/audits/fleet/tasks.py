"""What executors run: one layer learned, one image looked at. Functions of values to values.

Logins do not travel: a worker elsewhere takes its own, from its docker configuration or
environment.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from didlab import _pausing as pausing
from didlab.audits.fleet import luggage
from didlab.audits.fleet.check import Check
from didlab.audits.fleet.packing import Packed
from didlab.audits.fleet.reads import ReadsLook
from didlab.audits.fleet.results import Result, plain, told
from didlab.audits.fleet.view import ImageView
from didlab.errors import DidlabError
from didlab.files.looks import Look
from didlab.files.underway import Key
from didlab.model import learning
from didlab.model.indexing import Manner, Wanted
from didlab.model.manifest import Manifest
from didlab.sources.base import Source
from didlab.sources.cached import shared


@dataclass(frozen=True, slots=True)
class LayerJob:
    """Learn one layer: index and facts, in one pass where nothing is known."""

    token: str
    source: Source
    wanted: Wanted
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class LayerDone:
    """``error`` says why nothing was learned; ``luggage`` is for those without our store."""

    error: str | None = None
    luggage: bytes | None = None


@dataclass(frozen=True, slots=True)
class ImageJob:
    """Run checks over one image whose layers are known.

    Attributes
    ----------
    broken : mapping
        Digest of a layer that cannot be read -> why.
    documents : tuple
        Digest and content of manifest and config, for processes that never saw them.
    luggage : mapping
        What was learned of layers, for processes without our store.
    last : bool
        Whether to go without what is missing, rather than to ask for it.
    """

    token: str
    manifest: Manifest
    references: tuple[str, ...]
    platform: str
    digest: str
    checks: tuple[Check | Packed, ...]
    looks: tuple[Look, ...]
    layers: tuple[Wanted, ...]
    broken: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[tuple[str, bytes], ...] = ()
    luggage: Mapping[Key, bytes] = field(default_factory=dict)
    last: bool = False


@dataclass(frozen=True, slots=True)
class ImageDone:
    """Results by check; or the layers whose luggage is ``missing``."""

    results: Mapping[str, Result] = field(default_factory=dict)
    seconds: float = 0.0
    missing: tuple[Key, ...] = ()


def learn(job: LayerJob, count: Callable[[int], object] | None = None) -> LayerDone:
    """Learn one layer; ``count`` hears of bytes that came, in the process that coordinates."""
    descriptor = job.wanted.descriptor
    with _stoppable(job.token):
        try:
            manner = Manner(_Counter(count) if count else False)
            learning.learned(
                job.source, [job.wanted], job.looks, f"auditing {descriptor.digest}", manner
            )
        except pausing.Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, others go on
            return LayerDone(told(error))
        return LayerDone(luggage=_luggage(job))


def _luggage(job: LayerJob) -> bytes | None:
    descriptor = job.wanted.descriptor
    home = luggage.home(job.token)
    if home is None:
        away = luggage.place(job.token) == "away"
        return luggage.pack(descriptor, job.looks) if away else None
    if home.store is None:
        # What this process remembers is bounded: a fleet's layers are more.
        packed = luggage.pack(descriptor, job.looks)
        if packed is not None:
            home.put((descriptor.digest, descriptor.size), packed)
    return None


def look(job: ImageJob) -> ImageDone:
    """Run the checks over one image."""
    began = time.monotonic()
    with _stoppable(job.token):
        for digest, raw in job.documents:
            shared.put(job.manifest._snapshot.source.location, digest, raw)
        missing = _settle(job)
        if missing and not job.last:
            return ImageDone(missing=missing)
        results = {check.name: _run(check, job) for check in job.checks}
        return ImageDone(results, time.monotonic() - began)


def _settle(job: ImageJob) -> tuple[Key, ...]:
    """Make layers known here; return those of which nothing is to be had."""
    home = luggage.home(job.token)
    missing: list[Key] = []
    for one in job.layers:
        key = (one.descriptor.digest, one.descriptor.size)
        if one.descriptor.digest in job.broken or luggage.known(one.descriptor, job.looks):
            continue
        content = job.luggage.get(key)
        if content is None and home is not None:
            content = home.get(key)
        if content is not None:
            luggage.unpack(content, key)
        else:
            missing.append(key)
    return tuple(missing)


def _run(packed: Check | Packed, job: ImageJob) -> Result:
    if packed.layers and job.broken:
        return Result(error="; ".join(dict.fromkeys(job.broken.values())))
    try:
        check = packed.unpacked() if isinstance(packed, Packed) else packed
    except Exception as error:  # noqa: BLE001 - importing runs anything
        hint = "its function must be importable there, or cloudpickle installed here"
        return Result(
            error=f"{told(error)} (the check did not reach process {os.getpid()}: {hint})"
        )
    reads = next((one for one in job.looks if isinstance(one, ReadsLook)), None)
    view = ImageView(
        job.manifest,
        job.references,
        job.platform,
        job.digest,
        look=reads,
        layers=check.layers,
    )
    try:
        return plain(check(view), check.name, check.schema)
    except pausing.Stopped:
        raise
    except (DidlabError, Exception) as error:  # noqa: BLE001 - of this check alone
        return Result(error=told(error))


@contextlib.contextmanager
def _stoppable(token: str) -> Iterator[None]:
    """Let the audit be called off, where the task runs in its process."""
    home = luggage.home(token)
    if home is None:
        yield
        return
    mark = pausing.stop.set(home.stop)
    try:
        pausing.check()
        yield
    finally:
        pausing.stop.reset(mark)


class _Counter:
    def __init__(self, count: Callable[[int], Any]) -> None:
        self._count = count

    def update(self, n: int) -> None:
        self._count(n)
