"""Waiting, calling it off, and how long to wait at all: shared by whatever asks again."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TypeVar

from didlab.errors import InvalidArgument

T = TypeVar("T")

log = logging.getLogger("didlab")

#: Seconds between two looks of whoever waits for something that cannot be called off itself. Also
#: in the main thread: on Windows a bare wait sees no Ctrl-C.
LOOK = 0.05
#: The longest wait for a rate limit that happens without asking the user.
LONGEST = 20.0


class Stopped(Exception):
    """The job that waited was called off."""


class Stop(threading.Event):
    """Calls off what several threads do for one call; set it, and nobody waits any more.

    Reads and connects do not look at events. Whoever is about to wait in one says with `cutting`
    how it can be cut off.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cuts: dict[object, Callable[[], object]] = {}
        self._guard = threading.Lock()

    def set(self) -> None:
        """Call everything off."""
        super().set()
        with self._guard:
            cuts = list(self._cuts.values())
        for cut in cuts:
            with contextlib.suppress(Exception):
                cut()

    @contextlib.contextmanager
    def cutting(self, cut: Callable[[], object]) -> Iterator[None]:
        """Have ``cut`` called, from another thread, when this is set while the block runs."""
        key = object()
        with self._guard:
            self._cuts[key] = cut
        try:
            if self.is_set():  # looked at after it was entered: no moment is between
                raise Stopped
            yield
        finally:
            with self._guard:
                del self._cuts[key]


#: Set by workers: waiting ends, with an error, when it is set.
stop: ContextVar[threading.Event | None] = ContextVar("didlab_stop", default=None)


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a place that asks for it is waited for, and who is told of the wait."""

    longest: float = LONGEST
    #: Called with what to say, the host, and the seconds.
    tell: Callable[[str, str, float], object] | None = None

    def __post_init__(self) -> None:
        seconds = self.longest
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
            raise InvalidArgument("wait= takes seconds, 0 or more")

    def told(self, host: str, seconds: float) -> None:
        """Tell of a wait that somebody would wonder about."""
        if seconds < 1:
            return
        at = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        text = f"{host} asks to wait: going on in {seconds:.0f} s, at {at}"
        log.info(text)
        if self.tell is not None:
            self.tell(text, host, seconds)


#: How long the calls of this thread wait for rate limits.
patience: ContextVar[Patience] = ContextVar("didlab_patience", default=Patience())  # noqa: B039


def pause(attempt: int, *, jitter: float | None = None) -> float:
    """Return the seconds to wait after failure number ``attempt``: 0.1 doubling up to 5.

    >>> [pause(n, jitter=1.0) for n in (1, 2, 3, 9)]
    [0.1, 0.2, 0.4, 5.0]
    """
    factor = random.uniform(0.75, 1.25) if jitter is None else jitter  # noqa: S311
    return float(min(0.1 * 2 ** min(attempt - 1, 9), 5.0) * factor)


def wait(seconds: float) -> None:
    """Sleep, unless the job of this thread is called off meanwhile."""
    event = stop.get()
    seconds = min(seconds, threading.TIMEOUT_MAX)
    if event is None:
        time.sleep(seconds)
    elif event.wait(seconds):
        raise Stopped


def check() -> None:
    """Raise `Stopped` if the job of this thread was called off."""
    event = stop.get()
    if event is not None and event.is_set():
        raise Stopped


@contextlib.contextmanager
def cutting(cut: Callable[[], object]) -> Iterator[None]:
    """Have ``cut`` called when the job of this thread is called off while the block runs."""
    job = stop.get()
    if isinstance(job, Stop):
        with job.cutting(cut):
            yield
    else:
        yield


def aside(job: Callable[[], T], name: str) -> T:
    """Do what cannot be interrupted in a thread of its own, and wait for it.

    So Ctrl-C, and a stop, leave it at once; the thread ends when the system lets it.
    """
    done = threading.Event()
    answer: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(job())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            failure.append(error)
        finally:
            done.set()

    context = copy_context()
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()
    while not done.wait(LOOK):
        check()
    if failure:
        raise failure[0]
    return answer[0]
