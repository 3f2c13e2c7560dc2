"""Names for completing a key inside ``["``: bounded in time, never raising."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from didlab import settings
from didlab.errors import DidlabError

#: Seconds that one completion may wait, and between two questions.
WAIT = 1.5
AGAIN = 60.0


def _allowed() -> bool:
    try:
        return settings.current().completion
    except DidlabError:  # nonsense in the environment: the next call will say so
        return False


class Completer:
    """Asks for names in the background, at most once a minute; what came late serves next time."""

    def __init__(self, ask: Callable[[], list[str]]) -> None:
        self._ask = ask
        self._names: list[str] = []
        self._asked = float("-inf")
        self._lock = threading.Lock()

    def __call__(self) -> list[str]:
        """Return the names that are known within `WAIT` seconds; nothing on any failure."""
        if not _allowed():
            return list(self._names)
        with self._lock:
            due = time.monotonic() - self._asked > AGAIN
            if due:
                self._asked = time.monotonic()
        if due:
            worker = threading.Thread(target=self._run, name="didlab-complete", daemon=True)
            worker.start()
            worker.join(WAIT)
        return list(self._names)

    def _run(self) -> None:
        try:
            self._names = self._ask()
        except Exception:  # noqa: BLE001 - a completion that fails offers nothing
            return
