"""GCRA against exact arithmetic: never over the rate in any interval, and never stingier than it must be."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.limits import charge_rate

gaps = st.lists(st.floats(0.0, 0.4, allow_nan=False), min_size=1, max_size=80)


def admitted_times(rate_per_s: float, burst: int, arrival_gaps: list[float]) -> list[float]:
    now_s, tat_s, times = 1000.0, 0.0, []
    for gap in arrival_gaps:
        now_s += gap
        verdict = charge_rate("x", rate_per_s, burst, tat_s, now_s)
        if verdict.charge is not None:
            assert verdict.charge.seen_tat_s == tat_s
            tat_s = verdict.charge.new_tat_s
            times.append(now_s)
    return times


@given(st.integers(1, 50), st.integers(1, 20), gaps)
def test_no_interval_sees_more_than_burst_plus_rate(rate: int, burst: int, arrival_gaps: list[float]) -> None:
    times = admitted_times(float(rate), burst, arrival_gaps)
    for first in range(len(times)):
        for last in range(first, len(times)):
            seconds = Fraction(times[last]) - Fraction(times[first])
            assert last - first + 1 <= burst + rate * seconds + Fraction(1, 10**6)


@given(st.integers(1, 50), st.integers(1, 20), gaps)
def test_it_admits_just_what_an_exact_token_bucket_admits(rate: int, burst: int, arrival_gaps: list[float]) -> None:
    tokens, now, expected = Fraction(burst), Fraction(1000), 0
    close_call = False
    for gap in arrival_gaps:
        now += Fraction(gap)
        tokens = min(Fraction(burst), tokens + Fraction(gap) * rate)
        close_call = close_call or abs(tokens - 1) < Fraction(1, 10**6)
        if tokens >= 1:
            tokens -= 1
            expected += 1
    if not close_call:  # on the very edge, rounding may go either way
        assert len(admitted_times(float(rate), burst, arrival_gaps)) == expected


@given(st.integers(1, 50), st.integers(1, 20))
def test_a_refused_caller_is_admitted_after_the_time_it_was_told(rate: int, burst: int) -> None:
    tat_s = 1000.0
    for _ in range(burst):
        verdict = charge_rate("x", float(rate), burst, tat_s, 1000.0)
        assert verdict.charge is not None
        tat_s = verdict.charge.new_tat_s
    refused = charge_rate("x", float(rate), burst, tat_s, 1000.0)
    assert refused.charge is None
    assert charge_rate("x", float(rate), burst, tat_s, 1000.0 + refused.retry_after_s + 1e-9).charge is not None


def test_a_burst_is_admitted_whole_at_once() -> None:
    times = admitted_times(3.0, 7, [0.0] * 20)
    assert len(times) == 7
    assert all(later == earlier for earlier, later in pairwise(times))
