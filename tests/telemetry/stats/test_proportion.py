from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.stats.proportion import Z_95, wilson


@pytest.mark.parametrize(("successes", "trials"), [(8, 10), (1, 3), (950, 1000), (3, 100_000)])
def test_at_its_ends_the_score_test_just_does_not_reject(successes: int, trials: int) -> None:
    for end in wilson(successes, trials):
        deviation = math.sqrt(end * (1 - end) / trials)
        assert abs(successes / trials - end) == pytest.approx(Z_95 * deviation, rel=1e-9)


def test_all_and_none_say_something() -> None:
    # With none of n the upper end is z² / (n + z²).
    assert wilson(0, 20) == pytest.approx((0.0, Z_95**2 / (20 + Z_95**2)))
    assert wilson(20, 20) == pytest.approx((20 / (20 + Z_95**2), 1.0))


def test_nothing_tried_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_what_was_counted_lies_within(counted: tuple[int, int]) -> None:
    successes, trials = counted
    low, high = wilson(successes, trials)
    assert 0.0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1.0
