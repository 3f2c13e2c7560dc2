"""When to open more connections, and which stretch to cut: pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

#: Connections of one save to start with, and the most to one host.
START = 4
MOST = 8
#: A connection at this rate (bytes a second) is not slow: cutting would cost more than it gains.
FAST = 64 * 1024 * 1024
#: A stretch is cut when the rest would take longer than this (seconds) …
WORTH = 1.0
#: … or, once more connections have proved their worth, longer than this.
WORTH_LATE = 0.3
#: No piece smaller than this is worth a request.
SMALLEST = 256 * 1024
#: More connections must bring this much more, or there will be no further ones.
GAIN = 1.15


class Meter:
    """Rates, from what had come at each look.

    >>> meter = Meter(0.0)
    >>> for second in range(1, 5):
    ...     meter.read(float(second), second * 100)
    >>> meter.rate(2.0)
    100.0
    """

    def __init__(self, now: float) -> None:
        self._marks: deque[tuple[float, int]] = deque([(now, 0)], maxlen=1000)

    def read(self, now: float, came: int) -> None:
        """Take note of what has come until now."""
        self._marks.append((now, came))

    def rate(self, seconds: float) -> float:
        """Return the bytes a second over the last ``seconds``, or as far back as known."""
        now, came = self._marks[-1]
        then, before = next(
            (mark for mark in reversed(self._marks) if mark[0] <= now - seconds), self._marks[0]
        )
        return (came - before) / (now - then) if now > then else 0.0


@dataclass(slots=True)
class Trial:
    """Whether more connections bring more: since when, the rate before, the best since."""

    since: float
    before: float
    best: float = 0.0


@dataclass(frozen=True, slots=True)
class Running:
    """A stretch under way: bytes left, bytes a second, seconds since it was asked for."""

    left: int
    rate: float
    age: float

    @property
    def seconds(self) -> float:
        """How long it will take by itself."""
        return self.left / self.rate if self.rate > 0 else float("inf")


def candidate(running: Sequence[Running], *, proved: bool) -> int | None:
    """Return which stretch to cut for one more connection: the longest-lasting, or None.

    >>> slow, fast = Running(40_000_000, 4e6, 0.5), Running(40_000_000, 4e8, 0.5)
    >>> candidate([fast, slow], proved=False), candidate([fast], proved=False)
    (1, None)
    """
    best: int | None = None
    for number, stretch in enumerate(running):
        if not worth(stretch, proved=proved):
            continue
        if best is None or stretch.seconds > running[best].seconds:
            best = number
    return best


def worth(stretch: Running, *, proved: bool) -> bool:
    """Whether cutting a stretch pays."""
    if stretch.left < 2 * SMALLEST or stretch.rate >= FAST:
        return False
    if stretch.age < 0.1 or stretch.rate <= 0:
        return False  # nothing is known yet; who answers nothing is not asked more often
    return stretch.seconds > (WORTH_LATE if proved else WORTH)


def cut(position: int, stop: int, *, others: float = 1.0) -> int:
    """Return where to cut what is left in two.

    >>> cut(0, 1000_000), cut(500, 1_000_500)
    (500000, 500500)
    """
    return position + int((stop - position) / (1 + others))


def gained(before: float, after: float) -> bool:
    """Whether more connections brought more, by the rates before and after.

    >>> gained(4e6, 8e6), gained(10e6, 10.4e6)
    (True, False)
    """
    return after >= before * GAIN
