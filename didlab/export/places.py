"""Which places a save may ask, what they were found to do, and which are left out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

from didlab.export.blobwork import BlobWork

#: Seconds for which it holds that more connections to a place bring nothing.
REMEMBERED = 300.0


@dataclass
class Memory:
    """What one place was found to do, kept for the process."""

    #: Whether it honours ranges; None as long as nobody asked for one.
    ranged: bool | None = None
    #: Until when nobody tries whether more connections bring more.
    useless_until: float = 0.0

    @property
    def may_cut(self) -> bool:
        """Whether a blob of this place may be cut for a further connection."""
        return self.ranged is not False and time.monotonic() >= self.useless_until

    def learn(self, *, gained: bool) -> None:
        """Remember what further connections brought."""
        self.useless_until = 0.0 if gained else time.monotonic() + REMEMBERED


_memories: dict[str, Memory] = {}
_lock = threading.Lock()


def memory(place: str) -> Memory:
    """Return what is known of a place."""
    with _lock:
        return _memories.setdefault(place, Memory())


class Places:
    """The places of one save: mirrors in order, then the registry; for each blob its own."""

    def __init__(self) -> None:
        self._dropped: set[str] = set()
        #: What happened, as it happened, for whoever watches.
        self.news: list[str] = []
        self._notes: list[str] = []
        self._broke: Counter[str] = Counter()
        self._quiet: dict[str, float] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What people may want to know afterwards."""
        broke = (
            f"{place} broke off {'once' if count == 1 else f'{count} times'}"
            for place, count in self._broke.items()
        )
        return (*self._notes, *broke)

    def usable(self, work: BlobWork) -> list[str]:
        """Return the places to ask for a blob, best first; ``""`` stands for the only one."""
        places = work.places
        good = [p for p in places if p not in self._dropped and p not in work.bad_places]
        fair = [p for p in places if p not in work.bad_places]
        return good or fair or list(places) or [""]

    def others(self, work: BlobWork, place: str) -> list[str]:
        """Return the places besides ``place`` that are not known to be bad for a blob."""
        return [p for p in self.usable(work) if p not in (place, "") and p not in work.bad_places]

    def drop(self, place: str, why: str) -> None:
        """Leave a place out for the rest of this save; what it brought stays."""
        if place not in self._dropped:
            self._dropped.add(place)
            self.note(f"{place} left out: {why}")

    def note(self, text: str) -> None:
        """Remember what happened."""
        self._notes.append(text)
        self.news.append(text)

    def tell(self, text: str) -> None:
        """Tell whoever watches; afterwards it is of no interest."""
        self.news.append(text)

    def rests(self, why: str, place: str, seconds: float) -> None:
        """Tell that a place takes no more requests for a while, and leave it alone meanwhile."""
        self._quiet[place] = time.monotonic() + seconds
        self.tell(why)

    def quiet(self, place: str) -> bool:
        """Whether a place asked not to be asked just now."""
        return time.monotonic() < self._quiet.get(place, 0.0)

    def may_cut(self, place: str) -> bool:
        """Whether one more connection to a place is worth a try."""
        return memory(place).may_cut and not self.quiet(place)

    def broke(self, place: str, why: str) -> None:
        """Tell of a failure after which the same place is asked again, and count it."""
        self._broke[place] += 1
        self.tell(f"{why}; asking again")
