"""How fast a queue drains is measured while something waits, and what would be too late is told with the numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.lateness import DrainRate, would_be_late


def drained(rate_per_s: float, cost: float, for_s: float, begin_s: float = 100.0) -> tuple[DrainRate, float]:
    """A queue that has drained evenly so long, and the moment of the last one that left."""
    drain = DrainRate()
    drain.begin(begin_s)
    now_s = begin_s
    for number in range(1, int(rate_per_s * for_s) + 1):
        now_s = begin_s + number / rate_per_s
        drain.took(cost, now_s)
    return drain, now_s


@given(st.floats(20.0, 10_000.0), st.floats(1.0, 1e6))
def test_an_even_drain_is_measured_within_a_tenth(rate_per_s: float, cost: float) -> None:
    drain, now_s = drained(rate_per_s, cost, 1.0)
    assert drain.per_s(now_s) == pytest.approx(rate_per_s * cost, rel=0.1)


def test_a_few_say_nothing_yet() -> None:
    drain, now_s = drained(10.0, 1.0, 0.7)
    assert drain.per_s(now_s) == 0.0


def test_a_stall_is_seen_while_it_lasts() -> None:
    drain, now_s = drained(100.0, 1.0, 2.0)
    before = drain.per_s(now_s)
    assert drain.per_s(now_s + 4.0) < 0.25 * before


def test_pods_that_run_batches_may_take_a_batch_at_once_again() -> None:
    drain = DrainRate()
    drain.begin(0.0)
    for second in range(1, 11):
        for _ in range(32):
            drain.took(1.0, float(second))
    assert drain.wait_s(20.0, 10.9) == 0.0
    assert 0.8 <= drain.wait_s(64.0, 10.9) <= 2.0


def test_time_in_which_nothing_waits_is_not_measured() -> None:
    drain, now_s = drained(100.0, 1.0, 2.0)
    before = drain.per_s(now_s)
    drain.stop(now_s)
    drain.begin(now_s + 5.0)
    assert drain.per_s(now_s + 5.0) == pytest.approx(before)


def test_what_was_measured_long_ago_is_forgotten() -> None:
    drain, now_s = drained(100.0, 1.0, 2.0)
    drain.stop(now_s)
    assert drain.per_s(now_s + 9.0) > 0.0
    assert drain.is_forgotten(now_s + 11.0)
    assert drain.per_s(now_s + 11.0) == 0.0
    drain.begin(now_s + 11.0)
    assert drain.per_s(now_s + 11.5) == 0.0


def test_while_something_waits_nothing_is_forgotten() -> None:
    drain, now_s = drained(100.0, 1.0, 2.0)
    assert not drain.is_forgotten(now_s + 60.0)


def test_what_would_be_late_is_told_both_numbers() -> None:
    told = would_be_late(10.0, 10.25, wait_s=0.2, service_s=0.1)
    assert told == "the answer would take about 300 ms and the deadline is in 250 ms"


def test_what_can_just_make_it_is_let_in() -> None:
    assert would_be_late(10.0, 10.25, wait_s=0.125, service_s=0.125) == ""


def test_with_nothing_ahead_everything_is_let_in_so_that_better_times_are_noticed() -> None:
    assert would_be_late(10.0, 10.25, wait_s=0.0, service_s=60.0) == ""
