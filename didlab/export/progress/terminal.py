"""A bar of tqdm's on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from didlab.export.progress.state import State

#: Seconds after which a bar is drawn anew though no byte came: its clock goes on.
REDRAW = 1.0


class Bar:
    """One line: bytes, speed, time left, layers done, the latest note."""

    ticks = True

    def __init__(self, total: int, title: str, there: int, delay: float) -> None:
        self.state = State(total, title, there)
        self._shown = ""
        self._drawn = self.state.now + delay
        self.bar = _bar(
            total=total,
            initial=there,
            desc=title,
            delay=delay,
            dynamic_ncols=True,
        )

    def update(self, n: int) -> None:
        """Count bytes."""
        self.state.update(n)
        self.bar.update(n)

    def tell(self, done: int, total: int, notes: Sequence[str]) -> None:
        """Show layers that are done and what happened."""
        self.state.tell(done, total, notes)
        postfix, now = self.state.postfix, self.state.now
        # Not before its time: what is over within that time shows nothing.
        if now >= self._drawn and (postfix != self._shown or now - self._drawn >= REDRAW):
            self.bar.set_postfix_str(postfix, refresh=True)
            self._drawn, self._shown = now, postfix

    def close(self) -> None:
        """Leave the final state where it is."""
        self.bar.set_postfix_str(self.state.postfix, refresh=False)
        self.bar.close()


def _bar(**options: Any) -> Any:
    from tqdm import tqdm

    class Plain(tqdm):  # type: ignore[type-arg]
        # No thread that looks after it: a save leaves none behind, and looks itself.
        monitor_interval = 0

    return Plain(**common(), **options)


def common() -> dict[str, Any]:
    """Return what all bars are told."""
    return {
        "unit": "B",
        "unit_scale": True,
        "unit_divisor": 1000,
        "mininterval": 0.1,
        "miniters": 1,
        "smoothing": 0.1,
    }
