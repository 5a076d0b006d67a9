"""Whether so many of so few could be chance is what the exact sum over the binomial distribution says."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.slo.chance import is_beyond_chance


def exact_tail(bad: int, total: int, share: Fraction) -> Fraction:
    return sum(
        (comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(bad, total + 1)), start=Fraction(0)
    )


@given(
    total=st.integers(1, 60),
    part=st.floats(0, 1),
    share_thousandths=st.integers(1, 999),
    chance_thousandths=st.integers(1, 500),
)
def test_the_answer_is_that_of_the_exact_sum(
    total: int, part: float, share_thousandths: int, chance_thousandths: int
) -> None:
    bad = round(part * total)
    share, chance_below = Fraction(share_thousandths, 1000), Fraction(chance_thousandths, 1000)
    tail = exact_tail(bad, total, share)
    if abs(tail - chance_below) > Fraction(1, 10**9):  # closer, rounding may decide
        is_beyond = bad > total * share and tail < chance_below
        assert is_beyond_chance(bad, total, float(share), float(chance_below)) is is_beyond


def test_all_bad_of_a_few_is_its_plain_probability() -> None:
    assert is_beyond_chance(3, 3, 0.1, 0.00101)
    assert not is_beyond_chance(3, 3, 0.1, 0.00099)


def test_no_more_than_expected_is_not_beyond_chance() -> None:
    assert not is_beyond_chance(0, 1000, 0.01, 1.0)
    assert not is_beyond_chance(10, 1000, 0.01, 1.0)


@pytest.mark.parametrize("total", [10**6, 10**8, 10**10])
def test_of_many_events_the_normal_distribution_tells_where_chance_ends(total: int) -> None:
    share = 0.0144
    spread = (total * share * (1 - share)) ** 0.5
    # A hundredth of a normal distribution is beyond 2.326 times its spread.
    assert not is_beyond_chance(round(total * share + 2.30 * spread), total, share, 0.01)
    assert is_beyond_chance(round(total * share + 2.36 * spread), total, share, 0.01)


def test_what_is_far_beyond_chance_is_found_to_be_so() -> None:
    assert is_beyond_chance(10**9, 10**9, 0.001, 1e-300)
    assert is_beyond_chance(50_000_000, 10**9, 0.001, 0.01)
