"""Every request that was made, kept for people: method, place, status, bytes, seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Older rows are dropped: a notebook left open for a week must not fill the memory.
LIMIT = 20_000


@dataclass(slots=True)
class Row:
    """One request; ``bytes`` grows while its body is read."""

    method: str
    host: str
    path: str
    attempt: int
    mirror: str | None
    #: What the place is to the registry, and how it was spoken to.
    role: str = ""
    scheme: str = ""
    started: float = field(default_factory=time.time)
    status: int | None = None
    bytes: int = 0
    seconds: float = 0.0
    error: str | None = None
    _clock: float = field(default_factory=time.monotonic, repr=False)

    def touch(self) -> None:
        """Note that something arrived: the request has lasted until now."""
        self.seconds = time.monotonic() - self._clock


class RequestLog:
    """The requests of one registry, oldest first; safe to use from several threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._rows: deque[Row] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def begin(self, row: Row) -> Row:
        """Add a row for a request that is about to be sent.

        Its path comes without the query, where signatures and tokens travel.
        """
        with self._lock:
            self._rows.append(row)
        return row

    def __iter__(self) -> Iterator[Row]:
        with self._lock:
            return iter(list(self._rows))
