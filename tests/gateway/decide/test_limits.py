"""GCRA against exact rational arithmetic: never over the rate in any interval, and never stingier than it must be."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.limits import charge_rate, interval_ns, nanoseconds, room

NS = 10**9
rates = st.integers(1, 50) | st.sampled_from([1000, 5000, 100_000])
gaps = st.lists(st.integers(0, NS // 3) | st.integers(0, 300_000), min_size=1, max_size=80)


def admitted_ns(rate_per_s: float, burst: int, arrival_gaps_ns: list[int]) -> list[int]:
    now_ns, tat_ns, times = 1000 * NS, 0, []
    for gap_ns in arrival_gaps_ns:
        now_ns += gap_ns
        verdict = charge_rate("x", rate_per_s, burst, tat_ns, now_ns / NS)
        if verdict.charge is not None:
            assert verdict.charge.seen_tat_ns == tat_ns
            tat_ns = verdict.charge.new_tat_ns
            times.append(now_ns)
    return times


@given(rates, st.integers(1, 20), gaps)
def test_no_interval_sees_one_request_more_than_burst_plus_rate(rate: int, burst: int, arrivals: list[int]) -> None:
    times = admitted_ns(float(rate), burst, arrivals)
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + Fraction(rate * (times[last] - times[first]), NS)


@given(rates, st.integers(1, 20), gaps)
def test_it_admits_just_what_an_exact_token_bucket_admits(rate: int, burst: int, arrivals: list[int]) -> None:
    interval_ns = -(-NS // rate)
    tokens, expected = Fraction(burst), 0
    for gap_ns in arrivals:
        tokens = min(Fraction(burst), tokens + Fraction(gap_ns, interval_ns))
        if tokens >= 1:
            tokens -= 1
            expected += 1
    assert len(admitted_ns(float(rate), burst, arrivals)) == expected


@given(st.floats(0.001, 1e6), st.integers(1, 20))
def test_a_refused_caller_is_admitted_after_the_time_it_was_told(rate: float, burst: int) -> None:
    tat_ns = 1000 * NS
    for _ in range(burst):
        verdict = charge_rate("x", rate, burst, tat_ns, 1000.0)
        assert verdict.charge is not None
        tat_ns = verdict.charge.new_tat_ns
    refused = charge_rate("x", rate, burst, tat_ns, 1000.0)
    assert refused.charge is None
    assert charge_rate("x", rate, burst, tat_ns, 1000.0 + refused.retry_after_s + 1e-9).charge is not None


@given(rates, st.integers(1, 50), st.integers(0, 60), st.floats(0.0, 1.0))
def test_what_is_told_to_be_left_is_what_is_admitted(rate: int, burst: int, charged: int, later_s: float) -> None:
    tat_ns = 0
    for _ in range(charged):
        verdict = charge_rate("x", float(rate), burst, tat_ns, 1000.0)
        tat_ns = verdict.charge.new_tat_ns if verdict.charge else tat_ns
    left = room(interval_ns(float(rate)), burst, tat_ns, nanoseconds(1000.0 + later_s))
    for _ in range(left):
        verdict = charge_rate("x", float(rate), burst, tat_ns, 1000.0 + later_s)
        assert verdict.charge is not None
        tat_ns = verdict.charge.new_tat_ns
    assert charge_rate("x", float(rate), burst, tat_ns, 1000.0 + later_s).charge is None


def test_a_burst_is_admitted_whole_at_once() -> None:
    assert len(admitted_ns(3.0, 7, [0] * 20)) == 7


def test_a_rate_that_was_raised_holds_at_once() -> None:
    hourly_ns = interval_ns(1000 / 3600)
    tat_ns = 5000 * NS + 1000 * hourly_ns  # all of an hour's requests were spent at once
    first = charge_rate("x", 1000.0, 1000, tat_ns, 5000.0)
    assert first.charge is not None
    refused = charge_rate("x", 1000.0, 1000, first.charge.new_tat_ns, 5000.0)
    assert refused.charge is None
    assert refused.retry_after_s == 0.001


def test_a_worker_that_decides_by_an_older_moment_gets_nothing_for_it() -> None:
    spent_ns = 5001 * NS + 1000 * interval_ns(1000.0)
    assert charge_rate("x", 1000.0, 1000, spent_ns, 5000.0).charge is None
