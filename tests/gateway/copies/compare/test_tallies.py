"""What is counted stays bounded, and says what it has seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.compare.outcome import Outcome
from gateway.copies.compare.tallies import MOST, MOST_TENANTS, OTHER, OutputTally, Slices, Times, Worst
from gateway.copies.reports import Difference, SliceReport


def test_an_infinite_difference_is_the_largest_and_not_in_the_mean() -> None:
    tally = OutputTally()
    for value in (0.0, 0.5, math.inf):
        tally.add(Outcome(0.0, value, value))
    assert (tally.total, tally.measured, tally.largest) == (0.5, 2, MOST)


def test_what_neither_side_has_is_not_compared() -> None:
    tally = OutputTally()
    tally.add(None)
    tally.add(Outcome(math.inf, unlike="missing"))
    assert (tally.absent, tally.compared, tally.differ, tally.unlike) == (1, 1, 1, 1)
    assert not tally.has_number


@given(st.lists(st.floats(1e-4, 100.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.99]))
def test_a_quantile_is_within_a_few_percent(times: list[float], share: float) -> None:
    told = Times()
    for took_s in times:
        told.add(took_s)
    exact = sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
    assert told.quantile_s(share) == pytest.approx(exact, rel=0.03)


def test_times_beyond_what_is_told_apart_are_in_the_last_buckets() -> None:
    told = Times()
    for took_s in (0.0, 1e9):
        told.add(took_s)
    assert len(told.buckets) == 2
    assert Times().quantile_s(0.5) == 0.0


def test_tenants_beyond_the_busiest_are_others() -> None:
    slices = Slices()
    for number in range(2000):
        slices.add(f"tenant-{number}", 100, number % 2 == 0)
    for _ in range(3):
        slices.add("tenant-7", 100, True)
    tenants = [each for each in slices.reports() if each.by == "tenant"]
    assert len(tenants) == MOST_TENANTS + 1
    assert tenants[0] == SliceReport("tenant", "tenant-7", 4, 3)
    assert tenants[-1].name == OTHER
    assert sum(each.compared for each in tenants) == 2003
    assert sum(each.differ for each in tenants) == 1003


def test_sizes_are_told_by_powers_of_four() -> None:
    slices = Slices()
    for size in (0, 255, 256, 1023, 1024, 4095, 4096, 2**20):
        slices.add("ads", size, False)
    assert [(each.name, each.compared) for each in slices.reports() if each.by == "size"] == [
        ("below 256 B", 2),
        ("256 B to 1 KiB", 2),
        ("1 KiB to 4 KiB", 2),
        ("4 KiB to 16 KiB", 1),
        ("1 MiB to 4 MiB", 1),
    ]


def difference(distance: float, at_s: float) -> Difference:
    return Difference(f"r-{at_s:g}", "trace", "ads", at_s, "/label", distance, "", "")


def test_the_largest_differences_stay_and_of_equal_ones_the_latest() -> None:
    worst = Worst()
    for number in range(100):
        each = difference(float(number % 30), float(number))
        if worst.has_room_for(each.distance, each.at_s):
            worst.add(each)
    assert len(worst.kept) == 20
    assert [(each.distance, each.at_s) for each in worst.kept[-3:]] == [(29.0, 29.0), (29.0, 59.0), (29.0, 89.0)]
    worst.forget_before(80.0)
    assert all(each.at_s >= 80.0 for each in worst.kept)
