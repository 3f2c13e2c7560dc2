"""When further connections pay: the pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab.export.pace import FAST, GAIN, SMALLEST, Meter, Running, candidate, cut, gained, worth

MB = 1_000_000
slow = Running(40 * MB, 4e6, 1.0)


@pytest.mark.parametrize(
    ("running", "proved", "expected"),
    [
        (slow, False, True),
        (Running(40 * MB, FAST, 1.0), False, False),
        (Running(2 * SMALLEST - 1, 1.0, 1.0), True, False),
        (Running(40 * MB, 4e6, 0.05), False, False),
        (Running(2 * MB, 4e6, 1.0), False, False),
        (Running(2 * MB, 4e6, 1.0), True, True),
        (Running(40 * MB, 0.0, 1.0), True, False),
    ],
    ids=["slow", "fast", "short", "too early", "nearly done", "but it paid before", "silent"],
)
def test_what_is_worth_cutting(running, proved, expected):
    assert worth(running, proved=proved) is expected


def test_the_longest_lasting_is_cut():
    longer = Running(80 * MB, 4e6, 1.0)
    assert candidate([slow, longer, slow], proved=False) == 1
    assert candidate([], proved=True) is None


RUNNING = st.builds(
    Running,
    st.integers(0, 10**12),
    st.floats(0, 1e10, allow_nan=False),
    st.floats(0, 1e6, allow_nan=False),
)


@given(st.lists(RUNNING, max_size=9), st.booleans())
def test_the_candidate_is_worth_it_and_none_lasts_longer(running, proved):
    chosen = candidate(running, proved=proved)
    good = [stretch for stretch in running if worth(stretch, proved=proved)]
    if chosen is None:
        assert good == []
    else:
        assert running[chosen] in good
        assert running[chosen].seconds == max(stretch.seconds for stretch in good)


@given(st.integers(0, 2**50), st.integers(2 * SMALLEST, 2**50))
def test_both_parts_of_a_cut_are_large_enough(position, left):
    at = cut(position, position + left)
    assert at - position >= SMALLEST
    assert position + left - at >= SMALLEST


@given(st.floats(1, 1e10), st.floats(1, 1e10))
def test_what_counts_as_a_gain(before, after):
    assert gained(before, after) is (after >= GAIN * before)


@given(st.lists(st.tuples(st.floats(0.001, 5), st.integers(0, MB)), min_size=1, max_size=30))
def test_rates_are_those_of_what_came(looks):
    meter, now, came = Meter(0.0), 0.0, 0
    for seconds, more in looks:
        now, came = now + seconds, came + more
        meter.read(now, came)
    fastest = max(more / seconds for seconds, more in looks)
    assert 0 <= meter.rate(1.0) <= fastest * 1.001 + 0.001
    assert meter.rate(1e9) == pytest.approx(came / now)


def test_a_rate_forgets_what_was_long_ago():
    meter = Meter(0.0)
    for second in range(1, 11):
        meter.read(float(second), min(second, 5) * 100)
    assert meter.rate(3.0) == 0.0
    assert meter.rate(10.0) == 50.0
    assert Meter(0.0).rate(1.0) == 0.0
