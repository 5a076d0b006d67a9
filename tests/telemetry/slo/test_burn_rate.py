"""Burn rates are counts divided once, and compared as the decimals that people wrote."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.slo.burn_rate import burn_rate, burns_faster
from telemetry.slo.events import NO_EVENTS, EventCount


def test_the_allowed_share_of_bad_events_burns_once() -> None:
    assert burn_rate(EventCount(good=999, bad=1), 0.999) == 1.0


def test_all_bad_burns_as_often_as_the_budget_fits_into_all() -> None:
    assert burn_rate(EventCount(bad=7), 0.999) == 1000.0


def test_silence_does_not_burn() -> None:
    assert burn_rate(NO_EVENTS, 0.999) == 0.0
    assert not burns_faster(NO_EVENTS, 0.999, 0.0)


def test_what_is_ignored_does_not_dilute() -> None:
    assert burn_rate(EventCount(good=90, bad=10, ignored=900), 0.9) == 1.0


def test_exactly_the_factor_is_not_faster() -> None:
    exactly = EventCount(good=9856, bad=144)
    # 14.4 * (1 - 0.999) is 0.014400000000000013 in floating point, and other factors and targets err the other way.
    assert not burns_faster(exactly, 0.999, 14.4)
    assert burns_faster(exactly + EventCount(bad=1), 0.999, 14.4)


@pytest.mark.parametrize(("target", "factor"), [(0.995, 6.0), (0.99, 14.4), (0.9, 3.0), (0.9999, 1.0), (0.97, 14.4)])
def test_exactly_the_factor_is_never_faster_whatever_the_target(target: float, factor: float) -> None:
    share = Fraction(repr(factor)) * (1 - Fraction(repr(target)))
    exactly = EventCount(good=share.denominator - share.numerator, bad=share.numerator)
    assert not burns_faster(exactly, target, factor)


@given(
    good=st.integers(0, 10**9),
    bad=st.integers(0, 10**9),
    target_hundredths=st.integers(1, 9999),
    factor_tenths=st.integers(1, 10_000),
)
def test_faster_is_what_rationals_say(good: int, bad: int, target_hundredths: int, factor_tenths: int) -> None:
    target, factor = target_hundredths / 10_000, factor_tenths / 10
    budget = Fraction(10_000 - target_hundredths, 10_000)
    is_faster = good + bad > 0 and Fraction(bad, good + bad) / budget > Fraction(factor_tenths, 10)
    assert burns_faster(EventCount(good, bad), target, factor) == is_faster
