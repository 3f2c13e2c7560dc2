"""Progress for a log: a line now and then, no bar that draws over itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from didlab.errors import printable
from didlab.export.progress.state import State
from didlab.sizes import human

#: Seconds between two lines.
EVERY = 10.0


class Lines:
    """A line every `EVERY` seconds, one for each note, and one at the end."""

    ticks = True

    def __init__(self, total: int, title: str, there: int) -> None:
        self.state = State(total, title, there)
        self._told = self.state.now

    def update(self, n: int) -> None:
        """Count bytes."""
        self.state.update(n)
        self._look()

    def tell(self, done: int, total: int, notes: Sequence[str]) -> None:
        """Tell what happened."""
        self.state.tell(done, total, notes)
        for note in notes:
            self._say(f"{self.state.title}: {note}")
        self._look()

    def close(self) -> None:
        """Tell how it ended."""
        self._say(self.state.summary)

    def _look(self) -> None:
        state = self.state
        if state.now - self._told >= EVERY:
            self._told = state.now
            so_far = f"{human(state.n)} of {human(state.total)}"
            self._say(
                " · ".join(filter(None, (f"{state.title}: {state.percent}%", so_far, state.done)))
            )

    @staticmethod
    def _say(text: str) -> None:
        print(printable(text, 1000), file=sys.stderr, flush=True)
