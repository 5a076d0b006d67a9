"""What limits did, by name and within bounds."""

from __future__ import annotations

from gateway.control.busy_tenants import OTHER
from gateway.control.limit_totals import MAX_LIMITS, LimitTotals
from gateway.control.messages import LimitUses


def test_what_every_worker_tells_adds_up() -> None:
    totals = LimitTotals()
    totals.add(LimitUses({"gold": 2, "gpu-day": 1}, {"new": 5}), now_s=0.0)
    totals.add(LimitUses({"gold": 3}, {"gold": 1}), now_s=1.0)
    assert totals.refused == {"gold": 5, "gpu-day": 1}
    assert totals.observed == {"new": 5, "gold": 1}


def full() -> LimitTotals:
    totals = LimitTotals()
    for number in range(MAX_LIMITS):
        totals.add(LimitUses({f"limit-{number}": 1}, {}), now_s=float(number))
    return totals


def test_a_limit_that_finds_no_place_is_counted_with_others() -> None:
    totals = full()
    totals.add(LimitUses({"one-more": 4, "limit-0": 1, "other": 2}, {"two-more": 3}), now_s=float(MAX_LIMITS))
    assert len(totals.refused) == MAX_LIMITS + 1
    assert (totals.refused[OTHER], totals.refused["limit-0"], totals.observed[OTHER]) == (6, 2, 3)


def test_the_limit_that_has_been_silent_for_longest_gives_its_place() -> None:
    totals = full()
    totals.add(LimitUses({"limit-0": 1}, {}), now_s=1000.0)
    totals.add(LimitUses({"one-more": 4}, {}), now_s=3602.0)
    assert totals.refused["one-more"] == 4
    assert totals.refused["limit-0"] == 2
    assert "limit-1" not in totals.refused
    assert OTHER not in totals.refused
