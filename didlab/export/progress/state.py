"""What a bar has to show besides bytes: layers, the latest note, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from didlab.sizes import human

#: Seconds for which a note stays at least; then until bytes come again.
STAYS = 10.0


class State:
    """Bytes, layers and notes of one save."""

    def __init__(
        self, total: int, title: str, there: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.title = title
        self.n = there
        self.layers: tuple[int, int] | None = None
        self._there = there
        self._clock = clock
        self._began = clock()
        self._note = ""
        self._noted = 0.0

    def update(self, n: int) -> None:
        """Count bytes."""
        self.n += n
        if self._note and n > 0 and self.now - self._noted > STAYS:
            self._note = ""

    def tell(self, done: int, total: int, notes: Sequence[str]) -> None:
        """Take note of layers that are done and of what happened."""
        self.layers = done, total
        if notes:
            self._note, self._noted = notes[-1], self.now

    @property
    def now(self) -> float:
        """The time of its clock."""
        return self._clock()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return self.now - self._began

    @property
    def whole(self) -> bool:
        """Whether everything is here, and verified as far as is known."""
        return self.n >= self.total and (self.layers is None or self.layers[0] == self.layers[1])

    @property
    def postfix(self) -> str:
        """``3/7 layers``, and the latest note while it is of interest."""
        parts = [self.done] if self.done else []
        if self._note and not self.whole:
            parts.append(self._note)
        return ", ".join(parts)

    @property
    def done(self) -> str:
        """``3/7 layers``."""
        if self.layers is None:
            return ""
        done, total = self.layers
        return f"{done}/{total} layer{'' if total == 1 else 's'}"

    @property
    def percent(self) -> int:
        """Rounded down: 100 is said of what is whole."""
        return 100 if self.whole else min(99, 100 * self.n // max(self.total, 1))

    @property
    def summary(self) -> str:
        """How far it got, in one line."""
        size = human(self.total) if self.whole else f"{human(self.n)} of {human(self.total)}"
        parts = [f"{self.title}: {self.percent}%", size, self.done, f"{self.seconds:.1f} s"]
        came = self.n - self._there
        if came > 0 and self.seconds > 0:
            parts.append(f"{human(int(came / self.seconds))}/s")
        if not self.whole:
            parts.append("stopped")
        return " · ".join(part for part in parts if part)
