"""How many tasks run at a time in one process: as many as keep it busy."""

from __future__ import annotations

import time

#: Tasks that run at a time whatever else goes on: what one cannot use the other does.
_ALWAYS = 2
#: Seconds between two looks at what the process does.
_LOOK = 0.25
#: A process that uses this part of a processor is busy with what it has.
_BUSY = 0.8


class Pace:
    """Lets more tasks of a kind begin while the process waits for others.

    A slow line is best shared by many requests; a fast one keeps the processors busy with two
    layers, and more of them only get into each other's way: the interpreter is one.

    Parameters
    ----------
    most : int
        Tasks at a time, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = min(most, _ALWAYS)
        self._mark = time.monotonic(), time.process_time()

    def allows(self, running: int) -> bool:
        """Whether one more may begin beside ``running`` others."""
        if running < self._allowed:
            return True
        now, worked = time.monotonic(), time.process_time()
        waited = now - self._mark[0]
        if running >= self._most or waited < _LOOK:
            return False
        busy = (worked - self._mark[1]) / waited
        self._mark = now, worked
        self._allowed = running + 1 if busy < _BUSY else min(self._most, _ALWAYS)
        return running < self._allowed
