from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.stats.drift import (
    CLASSES_APART,
    Distance,
    Says,
    class_bins,
    distance,
    limit,
    noise_floor,
    number_bins,
    number_ends,
    verdict,
)
from telemetry.stats.sketch import sketched

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=30)


def test_known_counts_give_the_known_distances() -> None:
    forth = distance((100, 200, 300, 400), (150, 250, 250, 350), pseudo=0.0)
    back = distance((150, 250, 250, 350), (100, 200, 300, 400), pseudo=0.0)
    assert forth.psi == pytest.approx(0.047223, abs=5e-7)
    assert forth.kl == pytest.approx(0.024289, abs=5e-7)
    assert back.kl == pytest.approx(0.022934, abs=5e-7)
    assert forth.js == pytest.approx(0.092108, abs=5e-7)
    assert [forth.ks, forth.tvd] == pytest.approx([0.10, 0.10])


def test_equal_shares_are_no_distance_apart() -> None:
    same = distance((10, 20, 30), (100, 200, 300), pseudo=0.0)
    assert (same.psi, same.kl, same.js, same.ks, same.tvd) == pytest.approx((0, 0, 0, 0, 0))


@given(COUNTS, st.data())
def test_distances_are_finite_and_within_their_bounds(reference: list[int], data: st.DataObject) -> None:
    later = data.draw(st.lists(st.integers(0, 10_000), min_size=len(reference), max_size=len(reference)))
    found = distance(reference, later)
    assert 0 <= found.psi < 100
    assert -1e-9 <= found.js <= 1 + 1e-9
    assert 0 <= found.tvd <= 1 + 1e-9
    assert found.ks <= found.tvd + 1e-9


def test_nothing_at_all_is_no_distance() -> None:
    assert distance((), ()) == Distance(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 50)
    assert not distance((0, 0), (0, 0)).is_enough


def test_the_floor_is_what_chance_makes() -> None:
    assert noise_floor(10, 1000, 1000) == pytest.approx(0.018)
    assert noise_floor(10, 200, 200) == pytest.approx(0.09)
    assert noise_floor(10, 0, 1000) == 0.0


def test_the_limit_is_never_within_the_noise() -> None:
    assert limit(0.2, 0.018) == 0.2
    assert limit(0.2, 0.09) == pytest.approx(0.27)


def test_bins_are_tenths_of_the_reference_and_what_is_beyond_it() -> None:
    reference, later = number_bins(sketched(range(1, 1001)), sketched([0.5, 500.0, 5000.0]))
    assert (reference[0], reference[-1]) == (0, 0)
    assert (later[0], later[-1], sum(later)) == (1, 1, 3)
    assert len(reference) == 12
    assert all(50 <= count <= 160 for count in reference[1:-1])  # to the width of a bucket


def test_bins_follow_from_the_reference_alone() -> None:
    reference = sketched(range(1, 1001))
    first, _ = number_bins(reference, sketched(range(1, 100)))
    second, _ = number_bins(reference, sketched(range(900, 2000)))
    assert first == second


def test_a_reference_of_one_number_has_one_bin_and_what_is_around_it() -> None:
    assert number_bins(sketched([3.0] * 10), sketched([3.0, 4.0, 1.0])) == ([0, 10, 0], [1, 1, 1])


def test_an_empty_reference_has_one_bin() -> None:
    assert number_bins(sketched([]), sketched([1.0, 2.0])) == ([0], [2])


def test_classes_beyond_the_commonest_are_one() -> None:
    reference = {str(number): 100 - number for number in range(CLASSES_APART + 5)}
    known, new = class_bins(reference, {"0": 7, "new": 3, str(CLASSES_APART + 1): 2})
    assert len(known) == len(new) == CLASSES_APART + 1
    assert (known[0], known[-1]) == (100, sum(100 - n for n in range(CLASSES_APART, CLASSES_APART + 5)))
    assert (new[0], new[-1]) == (7, 5)


@pytest.mark.parametrize("rows", [500, 1500])
def test_the_same_distribution_is_almost_never_above_the_limit(rows: int) -> None:
    draw = random.Random(7)
    above = 0
    for _ in range(100):
        reference, later = (sketched(draw.gauss(0, 1) for _ in range(count)) for count in (1000, rows))
        found = distance(*number_bins(reference, later))
        assert found.is_enough
        above += found.psi > limit(0.2, found.floor)
    assert above <= 1


def test_the_mean_of_many_is_about_the_floor() -> None:
    draw = random.Random(11)
    found = []
    for _ in range(40):
        first, second = (sketched(draw.gauss(0, 1) for _ in range(1000)) for _ in range(2))
        found.append(distance(*number_bins(first, second)))
    assert sum(one.psi for one in found) / sum(one.floor for one in found) == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("shift", [0.6, -0.6, 2.0])
def test_a_shift_is_above_the_limit(shift: float) -> None:
    draw = random.Random(13)
    reference = sketched(draw.gauss(0, 1) for _ in range(2000))
    found = distance(*number_bins(reference, sketched(draw.gauss(shift, 1) for _ in range(1000))))
    assert found.psi > limit(0.2, found.floor)


def test_a_larger_shift_is_a_larger_distance() -> None:
    draw = random.Random(17)
    reference = sketched(draw.gauss(0, 1) for _ in range(2000))
    found = [
        distance(*number_bins(reference, sketched(draw.gauss(shift, 1) for _ in range(2000)))).psi
        for shift in (0.0, 0.3, 0.6, 1.2)
    ]
    assert all(less < more for less, more in pairwise(found))


def _period(psi: float, rows: int = 1000) -> Distance:
    return Distance(psi, 0.02, 0.0, 0.0, 0.0, 0.0, rows, 1000, 450)


@pytest.mark.parametrize(
    ("psi", "says"),
    [
        ((0.3, 0.3, 0.3), Says.DRIFTS),
        ((0.1, 0.3, 0.3), Says.MOVED),
        ((0.3, 0.3), Says.MOVED),
        ((0.3, 0.3, 0.3, 0.1), Says.STEADY),
        ((0.2, 0.2, 0.2), Says.STEADY),
        ((), Says.TOO_FEW),
    ],
)
def test_three_in_a_row_are_drift(psi: tuple[float, ...], says: Says) -> None:
    assert verdict([_period(one) for one in psi], 0.2, is_learnt=True) is says


def test_periods_with_too_few_rows_say_nothing() -> None:
    assert verdict([_period(0.9, rows=100)] * 3, 0.2, is_learnt=True) is Says.TOO_FEW
    mixed = [_period(0.3), _period(0.0, rows=10), _period(0.3), _period(0.3)]
    assert verdict(mixed, 0.2, is_learnt=True) is Says.DRIFTS


def test_nothing_is_said_before_there_is_a_reference() -> None:
    assert verdict([_period(0.9)] * 3, 0.2, is_learnt=False) is Says.LEARNING


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.lists(st.floats(-1e6, 1e6), max_size=200))
def test_the_ends_of_bins_are_one_fewer_than_bins_and_ascend(first: list[float], second: list[float]) -> None:
    reference, later = sketched(first), sketched(second)
    ends = number_ends(reference, later)
    assert len(ends) + 1 == len(number_bins(reference, later)[0])
    assert ends == sorted(ends)
    assert number_ends(sketched([]), later) == []
