"""Counters of a replay: they charge as the gateway does, in the time of the traffic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.limits import QuotaCharge, RateCharge, SlotCharge
from gateway.decide.quota_windows import window_at
from gateway.trial.memory_counters import NOT_TOLD, Costs, MemoryCounters, QuotaUse
from policies.snapshot.tenant import Quota
from tests.gateway.policy import policy

ACCOUNT = "tenant/ads/quota/day/bytes"
DAY = Quota("day", "bytes", 1000, "calendar-day")
# 2027-01-15, eight in the morning.
MORNING_S = 1_800_000_000.0


def counters(quota: Quota = DAY) -> MemoryCounters:
    made = MemoryCounters(policy(quotas=(quota,)), Costs())
    made.at(MORNING_S)
    return made


def used(state: MemoryCounters) -> int:
    standing = state.standing(ACCOUNT)
    assert standing is not None
    return standing.used


def test_a_rate_stands_where_it_was_charged() -> None:
    state = counters()
    assert state.tat_ns("r") == 0
    state.charge([RateCharge("r", 0, 700)], None, MORNING_S)
    assert state.tat_ns("r") == 700


def test_a_place_is_free_again_when_its_request_is_answered() -> None:
    state = counters()
    state.charge([SlotCharge("s", 5)], None, MORNING_S + 2.0)
    state.charge([SlotCharge("s", 5)], None, MORNING_S + 1.0)
    held = []
    for later_s in (0.5, 1.0, 1.5, 2.0):
        state.at(MORNING_S + later_s)
        held.append(state.in_flight("s"))
    assert held == [2, 1, 1, 0]


def test_a_quota_is_charged_what_a_request_used_and_else_what_was_reserved() -> None:
    state = counters()
    state.charge([QuotaCharge(ACCOUNT, "bytes", 10)], (1, 70, 0, 0), MORNING_S)
    state.charge([QuotaCharge(ACCOUNT, "bytes", 10)], None, MORNING_S)
    assert used(state) == 80


def test_a_new_window_begins_unused() -> None:
    state = counters()
    state.charge([QuotaCharge(ACCOUNT, "bytes", 10)], None, MORNING_S)
    state.at(MORNING_S + 12 * 3600.0)
    assert used(state) == 10
    state.at(MORNING_S + 16 * 3600.0)
    assert used(state) == 0


def test_what_was_used_before_counts_in_the_window_and_not_in_the_pace() -> None:
    use = QuotaUse(DAY)
    use.begin(500, MORNING_S)
    use.add(20, MORNING_S)
    assert (use.standing(MORNING_S).used, use.total) == (520, 20)


def test_nobody_knows_a_quota_that_is_in_no_file() -> None:
    assert counters().standing("tenant/ads/quota/none") is None


@given(
    st.sampled_from(["calendar-hour", "calendar-day", "calendar-week", "rolling-1h", "rolling-24h"]),
    st.lists(st.tuples(st.floats(0.0, 30_000.0), st.integers(1, 50)), max_size=60),
)
def test_use_in_the_window_is_never_less_than_what_a_list_of_it_says(per: str, events: list[tuple[float, int]]) -> None:
    use = QuotaUse(Quota("q", "requests", 100, per))
    now_s, taken = MORNING_S, []
    for gap_s, amount in events:
        now_s += gap_s
        use.add(amount, now_s)
        taken.append((now_s, amount))
    window = window_at(per, "UTC", now_s)
    begins_s = now_s - window.rolling_s if window.rolling_s else window.start_s
    truly = sum(amount for at_s, amount in taken if at_s >= begins_s)
    at_most = sum(amount for at_s, amount in taken if at_s >= begins_s - (window.slot_s if window.rolling_s else 0.0))
    assert truly <= use.standing(now_s).used <= at_most


def test_what_a_request_will_cost_is_the_mean_of_what_others_did() -> None:
    costs = Costs()
    assert costs.mean("digits", "1", "device_time") == 1
    costs.learn("digits", "1", 90, 10, 900, 0, 1000)
    costs.learn("digits", "1", 90, 10, 1100, 0, 3000)
    state = MemoryCounters(policy(), costs)
    assert state.estimate("digits", "1", "device_time") == 1000
    assert state.estimate("digits", "1", "tokens") == 1
    assert state.estimate("digits", "2", "device_time") == 1
    assert costs.of_one_refused("digits", "1", 500) == ((1, 510, 1000, 0), 0.002)
    assert costs.of_one_refused("digits", "1", 0) == ((1, 100, 1000, 0), 0.002)
    assert costs.of_one_refused("digits", "2", 500) is None


def test_what_a_pod_does_not_tell_is_charged_as_it_was_reserved() -> None:
    costs, state = Costs(), counters()
    costs.learn("digits", "1", 90, 10, NOT_TOLD, 0, 1000)
    assert costs.of_one_refused("digits", "1", 0) == ((1, 100, NOT_TOLD, NOT_TOLD), 0.001)
    state.charge([QuotaCharge(ACCOUNT, "bytes", 10)], (1, NOT_TOLD, NOT_TOLD, NOT_TOLD), MORNING_S)
    assert used(state) == 10
