"""What was usual lately: the pace of a burst, and a p99 that is never below the true one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.recent import ENOUGH, MINUTES, Pace, RecentDurations


def test_a_burst_shows_in_its_own_second_and_in_the_next() -> None:
    pace = Pace()
    for _ in range(50):
        pace.add(100.5)
    assert pace.per_s(100.9) == 50.0
    pace.add(101.5)
    assert pace.per_s(101.6) == 50.0
    assert pace.per_s(102.0) == 1.0
    assert pace.per_s(104.0) == 0.0


@given(st.lists(st.floats(0.0002, 190.0), min_size=ENOUGH, max_size=3 * ENOUGH))
def test_at_most_one_of_a_hundred_is_beyond_the_p99_and_it_is_not_far_off(durations_s: list[float]) -> None:
    recent = RecentDurations()
    for duration_s in durations_s:
        recent.add(duration_s, now_s=0.0)
    p99_s = recent.p99_s(now_s=1.0)
    assert p99_s is not None
    beyond = sum(duration_s > p99_s for duration_s in durations_s)
    assert beyond <= len(durations_s) // 100
    true_s = sorted(durations_s)[len(durations_s) - len(durations_s) // 100 - 1]
    assert true_s <= p99_s <= true_s * 1.2


@pytest.mark.parametrize("count", [0, ENOUGH - 1])
def test_too_few_say_nothing(count: int) -> None:
    recent = RecentDurations()
    for _ in range(count):
        recent.add(0.1, now_s=0.0)
    assert recent.p99_s(now_s=0.0) is None


def test_what_is_older_than_some_minutes_is_forgotten() -> None:
    recent = RecentDurations()
    for _ in range(ENOUGH):
        recent.add(0.1, now_s=0.0)
    assert recent.p99_s(now_s=60.0 * (MINUTES - 1)) is not None
    assert recent.p99_s(now_s=60.0 * MINUTES) is None


def test_beyond_every_edge_nothing_is_slow() -> None:
    recent = RecentDurations()
    for _ in range(ENOUGH):
        recent.add(1000.0, now_s=0.0)
    assert recent.p99_s(now_s=0.0) is None
