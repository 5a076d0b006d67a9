"""Budgets of shadows: so much of devices' time in each period."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.budget import NOT_TOLD, DeviceBudget, cost_us
from policies.snapshot.release import ShadowLimits

HOUR = ShadowLimits(device_s=2.0, device_per_s=3600.0)


def test_it_is_used_up_within_a_period_and_full_in_the_next() -> None:
    budget = DeviceBudget(HOUR)
    budget.spend(1_999_999, 7200.0)
    assert budget.has_room(7201.0)
    budget.spend(1, 7202.0)
    assert not budget.has_room(10_799.0)
    assert budget.has_room(10_800.0)


def test_without_a_budget_there_is_always_room() -> None:
    budget = DeviceBudget(ShadowLimits())
    budget.spend(10**12, 0.0)
    assert budget.has_room(0.0)


def test_what_was_used_holds_over_a_restart_within_the_period() -> None:
    before = DeviceBudget(HOUR)
    before.spend(2_000_000, 7200.0)
    after = DeviceBudget(HOUR, before.period, before.used_us)
    assert not after.has_room(7300.0)
    assert after.has_room(10_800.0)


def test_where_nobody_tells_a_cost_it_is_the_time_it_took() -> None:
    assert cost_us(7, 1.0) == 7
    assert cost_us(0, 1.0) == 0
    assert cost_us(NOT_TOLD, 0.5) == 500_000


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 100)), max_size=50))
def test_no_more_is_used_in_a_period_than_the_budget_and_the_last_copy(spent: list[tuple[int, float]]) -> None:
    budget = DeviceBudget(HOUR)
    used = largest = 0
    now_s = 7200.0
    for cost, pause_s in spent:
        now_s = min(now_s + pause_s, 10_799.0)
        if budget.has_room(now_s):
            budget.spend(cost, now_s)
            used, largest = used + cost, max(largest, cost)
    assert used < 2_000_000 + largest or used == 0
