"""Statistics of passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.spread import median_interval, pass_ratios, spread

POSITIVE = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=20)


def test_a_spread_is_written_with_its_range() -> None:
    assert spread([3.0, 1.0, 2.5]).written(1) == "2.5 [1.0..3.0]"


def test_a_spread_of_seconds_can_be_written_in_microseconds() -> None:
    assert spread([0.00002]).written(1, scale=1e6) == "20.0 [20.0..20.0]"


def test_no_passes_have_no_spread() -> None:
    with pytest.raises(ValueError, match="at least one"):
        spread([])


def test_a_slowdown_that_hits_a_whole_pass_leaves_its_ratio_alone() -> None:
    assert pass_ratios([100.0, 50.0], [200.0, 100.0]) == [0.5, 0.5]


def test_passes_without_a_reference_are_left_out() -> None:
    assert pass_ratios([1.0, 2.0], [0.0, 4.0]) == [0.5]


@settings(max_examples=20)
@given(POSITIVE)
def test_an_interval_holds_the_median_and_stays_within_the_values(values: list[float]) -> None:
    low, high = median_interval(values)
    assert min(values) <= low <= spread(values).median <= high <= max(values)


@settings(max_examples=5)
@given(POSITIVE)
def test_an_interval_is_the_same_each_time(values: list[float]) -> None:
    assert median_interval(values) == median_interval(values)


def test_more_agreeing_passes_narrow_the_interval() -> None:
    few, many = [0.8, 1.0, 1.2], [0.8, 1.2] + [1.0] * 40
    assert median_interval(many) == (1.0, 1.0)
    assert median_interval(few) == (0.8, 1.2)
