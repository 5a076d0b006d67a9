from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.stats.sketch import (
    COARSEST_SCALE,
    FINEST_SCALE,
    HIGHEST_OCTAVE,
    MAX_BUCKETS,
    Sketch,
    alike,
    bars,
    is_sound,
    mean,
    merged,
    quantile,
    sketched,
)

NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=400)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_sketches_add_up_to_the_same_in_any_order(first: list[float], second: list[float], third: list[float]) -> None:
    one, two, three = map(sketched, (first, second, third))
    at_once = sketched([*first, *second, *third])
    assert merged((merged((one, two)), three)) == at_once
    assert merged((one, merged((two, three)))) == at_once
    assert merged((three, one, two)) == at_once


@pytest.mark.parametrize("seed", range(20))
def test_wide_and_narrow_ones_add_up_to_the_same_in_any_order(seed: int) -> None:
    draw = random.Random(seed)
    parts = [[draw.choice((-1, 1)) * 10 ** draw.uniform(-30, 15) for _ in range(300)] for _ in range(3)]
    parts.append([draw.gauss(100, 1) for _ in range(50)])
    one, two, three, four = map(sketched, parts)
    at_once = sketched(number for part in parts for number in part)
    assert merged((merged((one, four)), merged((two, three)))) == at_once
    assert merged((merged((merged((one, two)), three)), four)) == at_once


@given(NUMBERS)
def test_a_sketch_holds_every_finite_number_within_its_bounds(numbers: list[float]) -> None:
    sketch = sketched(numbers)
    assert sketch.count == sum(map(math.isfinite, numbers))
    assert len(sketch.positive) + len(sketch.negative) <= MAX_BUCKETS
    assert is_sound(sketch)


@given(st.floats(min_value=2.0**-60, max_value=2.0**60))
def test_a_number_lies_in_its_bucket_and_is_told_no_more_exactly(number: float) -> None:
    (bar,) = bars(sketched([number]))
    assert bar.middle == pytest.approx(number, rel=0.003)
    (same,) = bars(sketched([bar.middle]))
    assert same == bar


def test_a_card_number_cannot_be_read_out_of_a_sketch() -> None:
    assert sketched([4111111111111111.0]) == sketched([4111111111111234.0])


def test_few_different_numbers_are_told_finely_and_many_coarsely() -> None:
    assert sketched([1000.0, 1001.0, 1015.0]).scale == FINEST_SCALE
    assert sketched(2.0 ** (step / 40) for step in range(1000)).scale == COARSEST_SCALE


def test_the_smallest_numbers_count_as_zero_where_there_are_too_many() -> None:
    sketch = sketched(2.0 ** (step / 8) for step in range(-200, 100))
    assert sketch.zeros > 0
    assert len(sketch.positive) <= MAX_BUCKETS
    assert quantile(sketch, 1.0) == pytest.approx(2.0 ** (99 / 8), rel=0.05)


def test_quantiles_and_the_mean_are_right_to_the_width_of_a_bucket() -> None:
    sketch = sketched(range(1, 1001))
    assert quantile(sketch, 0.5) == pytest.approx(500, rel=0.05)
    assert quantile(sketch, 0.9) == pytest.approx(900, rel=0.05)
    assert mean(sketch) == pytest.approx(500.5, rel=0.01)
    assert (quantile(Sketch(), 0.5), mean(Sketch())) == (0.0, 0.0)


def test_bars_are_in_the_order_of_their_numbers() -> None:
    middles = [bar.middle for bar in bars(sketched([-100.0, -1.0, 0.0, 2.0, 300.0]))]
    assert middles == sorted(middles)


def test_two_sketches_are_made_alike_without_losing_a_number() -> None:
    wide, narrow = sketched(2.0 ** (step / 40) for step in range(2000)), sketched([1.5, 1e-9])
    first, second = alike(wide, narrow)
    assert (first.scale, first.octave) == (second.scale, second.octave)
    assert (first.count, second.count) == (2000, 2)


@pytest.mark.parametrize(
    "sketch",
    [
        Sketch(scale=FINEST_SCALE + 1),
        Sketch(scale=COARSEST_SCALE - 1),
        Sketch(octave=HIGHEST_OCTAVE + 1),
        Sketch(zeros=-1),
        Sketch(positive={0: 0}),
        Sketch(negative={1: -5}),
        Sketch(positive={10**9: 1}),
        Sketch(positive=dict.fromkeys(range(MAX_BUCKETS + 1), 1)),
        Sketch(scale=3, octave=0, positive={-1: 1}),
    ],
)
def test_a_sketch_that_cannot_be_ours_is_told(sketch: Sketch) -> None:
    assert not is_sound(sketch)
