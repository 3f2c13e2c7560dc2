"""How a save is to be done, and the doing of it, whatever it writes."""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from didlab import _pausing as pausing
from didlab import settings
from didlab.errors import InvalidArgument
from didlab.export import pace, progress
from didlab.export.blobwork import NOTE, BlobWork
from didlab.export.engine import Transfer
from didlab.export.report import Made
from didlab.sources.base import Source, local_place


@dataclass(frozen=True, slots=True)
class Manner:
    """What the user said about how to save; checked when made.

    ``workers`` None: start with the setting's number, and open more where a line is slow.
    ``keep``: what came is added to the local store.
    """

    overwrite: bool = False
    progress: Any = None
    workers: int | None = None
    wait: float = pausing.LONGEST
    keep: bool = False

    def __post_init__(self) -> None:
        pausing.Patience(self.wait)  # says what is wrong with it
        progress.check(self.progress)
        if self.workers is not None:
            object.__setattr__(self, "workers", _whole(self.workers))

    @property
    def lanes(self) -> tuple[int, int]:
        """How many connections to start with, and the most."""
        if self.workers is not None:
            return self.workers, self.workers
        start = settings.current().workers
        return start, max(start, pace.MOST)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for rate limits as long as the user allows, in what this thread does meanwhile."""
        token = pausing.patience.set(pausing.Patience(self.wait, progress.teller(self.progress)))
        try:
            yield
        finally:
            pausing.patience.reset(token)


def _whole(number: object) -> int:
    # Whatever is a whole number by itself, NumPy's too.
    if not isinstance(number, bool):
        with contextlib.suppress(TypeError):
            whole = operator.index(number)  # type: ignore[arg-type]
            if 1 <= whole <= 64:
                return whole
    raise InvalidArgument("workers= is a whole number from 1 to 64")


def note_every(total: int) -> int:
    """Return how often to write the journal of a save of ``total`` bytes.

    Killed at any moment, all lanes together lose one percent, or one MiB.
    """
    return max(NOTE, total // 100 // pace.MOST)


def run(works: Sequence[BlobWork], kept: int, manner: Manner, *, title: str) -> Made:
    """Bring every blob to its place, showing how far it is; ``kept`` bytes are there already."""
    began = time.monotonic()
    total = sum(work.size for work in works)
    start, most = manner.lanes
    transfer = Transfer(works, start=start, most=most, wait=manner.wait)
    bar = progress.start(manner.progress, total, title, there=kept)
    try:
        transfer.run(bar)
    except KeyboardInterrupt as interrupt:
        from didlab.views import tracebacks

        if not interrupt.args:
            interrupt.args = ("what came is kept: the same call goes on from there",)
        tracebacks.shorten(interrupt)
        raise
    finally:
        bar.close()
    came, served = over_the_network(total - kept, transfer.served, (w.source for w in works))
    return Made(
        downloaded=came,
        reused=total - came,
        seconds=time.monotonic() - began,
        served=served,
        notes=transfer.places.notes,
    )


def over_the_network(
    came: int, served: Mapping[str, int], sources: Iterable[Source]
) -> tuple[int, dict[str, int]]:
    """Return how many of the bytes that came were not here, and which hosts brought them."""
    here = {local_place(source) for source in sources}
    local = sum(count for place, count in served.items() if place in here)
    hosts = {place: count for place, count in served.items() if place not in here}
    # Damaged bytes are read again, and count once.
    return (max(0, came - local) if hosts else 0 if local else came), hosts
