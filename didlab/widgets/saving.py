"""How far a save or a listing got, for a bar; and the Stop button's way into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from didlab import _pausing as pausing
from didlab.sizes import human
from didlab.widgets.jobs import Halted

#: Seconds between two pictures of a bar: each is a message to the browser.
EVERY = 0.15


@dataclass(frozen=True, slots=True)
class Stand:
    """How far something got.

    Attributes
    ----------
    state : str
        ``idle``, ``running``, ``stopped``, ``done``, ``failed``.
    done, total : int
        Bytes; a total of 0 is not known yet.
    text : str
        For a line beside the bar; not escaped.
    exists : bool
        A save was refused because another file is there.
    """

    state: str = "idle"
    done: int = 0
    total: int = 0
    text: str = ""
    exists: bool = False

    @property
    def share(self) -> float:
        """From 0 to 1."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0


class Meter:
    """A progress object (`didlab.export.progress`): tells of a `Stand`, and ends what was stopped.

    The library calls it from the thread that waits, many times a second: so that is where a stop
    is raised, as Ctrl-C would be.
    """

    ticks = True

    def __init__(self, stop: pausing.Stop, show: Callable[[Stand], object], what: str) -> None:
        self._stop = stop
        self._show = show
        self._what = what
        self._began = time.monotonic()
        self._shown = 0.0
        self._first: int | None = None
        self.done = 0
        self.total = 0
        self._layers = ""
        self._note = ""

    def reset(self, total: int) -> None:
        """Begin anew with so many bytes: another bar of the same call."""
        self.done, self.total, self._first = 0, total, None
        self._look(now=True)

    def update(self, n: int) -> None:
        """Count bytes."""
        self.done += n
        if self._first is None:
            # What was there before counts as done, not as speed.
            self._first, self._began = self.done, time.monotonic()
        self._look()

    def tell(self, done: int, total: int, notes: Sequence[str]) -> None:
        """Take note of layers that are done and of what happened."""
        self._layers = f"{done} of {total} layers"
        if notes:
            self._note = notes[-1]
        self._look()

    def stand(self, state: str = "running", text: str | None = None) -> Stand:
        """Return how far it is."""
        return Stand(state, self.done, self.total, self._line() if text is None else text)

    def _line(self) -> str:
        parts = [self._what]
        if self.total:
            parts.append(f"{human(self.done)} of {human(self.total)}")
        seconds = time.monotonic() - self._began
        came = self.done - (self._first or 0)
        if came > 0 and seconds > 0.5:
            parts.append(f"{human(came / seconds)}/s")
        return " · ".join(part for part in (*parts, self._layers, self._note) if part)

    def _look(self, *, now: bool = False) -> None:
        if self._stop.is_set():
            raise Halted
        moment = time.monotonic()
        if now or moment - self._shown >= EVERY:
            self._shown = moment
            self._show(self.stand())
