"""How many tasks run at a time: more while the process waits, two while it is busy."""

from __future__ import annotations

import pytest

from didlab.audits.fleet import pace
from didlab.audits.fleet.pace import Pace


class Clock:
    """Time, and the processor's, as a test has them go by."""

    def __init__(self) -> None:
        self.now = self.worked = 100.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.worked

    def go(self, seconds: float, busy: float) -> None:
        self.now += seconds
        self.worked += seconds * busy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


def begun(of: Pace, running: int) -> int:
    """How many run when as many as may have begun."""
    while of.allows(running):
        running += 1
    return running


def test_a_slow_line_gets_more_and_more_tasks(clock: Clock) -> None:
    made = Pace(6)
    running = begun(made, 0)
    assert running == 2
    for expected in (3, 4, 5, 6, 6):
        clock.go(0.3, busy=0.2)
        running = begun(made, running)
        assert running == expected


def test_a_busy_process_gets_two(clock: Clock) -> None:
    made = Pace(6)
    running = begun(made, 0)
    for _ in range(5):
        clock.go(0.3, busy=1.4)
        running = begun(made, running)
    assert running == 2
    assert begun(made, 1) == 2  # one that ended makes room


def test_what_became_busy_goes_back_to_two(clock: Clock) -> None:
    made = Pace(6)
    for _ in range(2):
        clock.go(0.3, busy=0.1)
        begun(made, 2 if not _ else 3)
    assert begun(made, 0) == 4
    clock.go(0.3, busy=1.5)
    assert begun(made, 4) == 4
    assert begun(made, 0) == 2


def test_nothing_is_decided_in_a_moment(clock: Clock) -> None:
    made = Pace(6)
    clock.go(0.1, busy=0.0)
    assert begun(made, 0) == 2


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_than_were_asked_for(clock: Clock, most: int) -> None:
    made = Pace(most)
    clock.go(10, busy=0.0)
    assert begun(made, 0) == most
