"""Names on their way to images: many at a time, in threads here, where the logins are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from didlab import _pausing as pausing
from didlab.audits.fleet import resolving, workers
from didlab.audits.fleet.handing import Handing
from didlab.audits.fleet.report import INTERRUPTED
from didlab.audits.fleet.resolving import Found
from didlab.audits.fleet.targets import Target

#: A name's place among the others; of one that stands for several, theirs below it.
_At = tuple[int, ...]


class Naming:
    """Targets, and the images found behind them so far.

    Parameters
    ----------
    count : int
        Names that are resolved at a time.
    tasks : Handing
        What takes answers in.
    heard : callable
        Called with what was found behind a name, by whoever takes answers in.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        platforms: resolving.Platforms,
        count: int,
        tasks: Handing,
        stop: pausing.Stop,
        heard: Callable[[Sequence[Found]], object],
    ) -> None:
        self._waiting: deque[tuple[_At, Target]] = deque(
            ((number,), target) for number, target in enumerate(targets)
        )
        self._left = {at: target.name for at, target in self._waiting}
        self._found: dict[_At, list[Found]] = {}
        self._platforms = platforms
        self._threads = workers.Threads(count)
        self._most = count + 2
        self._out = 0
        self._tasks = tasks
        self._stop = stop
        self._heard = heard

    @property
    def busy(self) -> bool:
        """Whether anything is waiting or out."""
        return bool(self._waiting or self._out)

    def hand_out(self) -> None:
        """Have more names resolved, as many as may be at a time."""
        while self._waiting and self._out < self._most:
            self._submit(*self._waiting.popleft())

    def close(self) -> None:
        """Let the threads end when they are done."""
        self._threads.close()

    def listed(self) -> list[Found]:
        """Return what was found, in the order of the names; the rest was interrupted."""
        rest = {at: [Found(name, error=INTERRUPTED)] for at, name in self._left.items()}
        found = {**self._found, **rest}
        return [one for at in sorted(found) for one in found[at]]

    def _submit(self, at: _At, target: Target) -> None:
        def done(answer: list[Target] | list[Found]) -> None:
            self._out -= 1
            if target.expand is None:
                self._is(at, [one for one in answer if isinstance(one, Found)])
                return
            del self._left[at]
            more = [one for one in answer if isinstance(one, Target)]
            for number, one in reversed(list(enumerate(more))):
                self._waiting.appendleft(((*at, number), one))
                self._left[(*at, number)] = one.name

        def failed(error: str) -> None:
            self._out -= 1
            self._is(at, [Found(target.name, error=error)])

        self._out += 1
        self._tasks.submit(
            self._threads, done, failed, _resolved, self._stop, target, self._platforms
        )

    def _is(self, at: _At, found: list[Found]) -> None:
        del self._left[at]
        self._found[at] = found
        self._heard(found)


def _resolved(
    stop: pausing.Stop, target: Target, platforms: resolving.Platforms
) -> list[Target] | list[Found]:
    pausing.stop.set(stop)
    pausing.check()
    if target.expand is not None:
        return target.expand()
    return resolving.resolve(target, platforms)
