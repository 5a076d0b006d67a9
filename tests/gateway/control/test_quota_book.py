"""When a gateway asks the ledger, how much for, and what it tells of a quota."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.ledger.protocol import Grant, Lease
from gateway.control.quota_book import OfTenant, QuotaBook, Rate, Reading, quotas_of
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import LadderStep, Quota, Tenant

NOW = 1_782_907_200.0
LADDER = (LadderStep(0.8, "warn"), LadderStep(1.0, "demote"), LadderStep(1.2, "refuse"))


def of(limit: int = 1000, ladder: tuple[LadderStep, ...] = (LadderStep(1.0, "refuse"),)) -> OfTenant:
    return OfTenant("ads", Quota("day", "requests", limit, "calendar-day", ladder=ladder))


def lease(granted: int = 0, used: int = 0, others: int = 0) -> Lease:
    return Lease("tenant/ads/quota/day/requests", granted, used, others, NOW + 3600.0, NOW + 3600.0)


def book(limit: int = 1000, granted: int = 10, used: int = 0, others: int = 0) -> QuotaBook:
    found = QuotaBook(of(limit), (), NOW)
    found.measure(Reading(granted, used), NOW)
    found.take(lease(granted, used, others), NOW)
    return found


def test_every_quota_of_a_generation_is_found_by_account() -> None:
    tenant = Tenant("ads", "team", "gold", (), (), quotas=(of().quota,))
    assert quotas_of(Snapshot(1, "", Mesh("m"), tenants={"ads": tenant})) == {"tenant/ads/quota/day/requests": of()}


def test_a_quiet_quota_asks_for_a_hundredth() -> None:
    assert book(limit=5000).wanted == 50
    assert book(limit=7).wanted == 1


def test_a_busy_quota_asks_for_two_seconds() -> None:
    busy = book(limit=100_000)
    busy.measure(Reading(30_000, 20_000), NOW + 10.0)
    assert busy.wanted == pytest.approx(4000, rel=0.01)


def test_near_the_end_half_of_what_is_left_is_asked_for_until_that_is_one() -> None:
    assert book(limit=1000, used=990).wanted == 5
    assert book(limit=1000, used=999).wanted == 1
    assert book(limit=1000, used=1000).wanted == 1
    assert book(limit=1000, used=500, others=496).wanted == 2


def test_a_request_that_waits_needs_more_than_there_is() -> None:
    waiting = book(limit=1000, granted=5)
    waiting.waited = 700
    assert waiting.claim(Reading(5, 0)).want == 705
    waiting.waited = 1
    assert waiting.claim(Reading(400, 0)).want == 800


def test_near_the_end_a_request_that_waits_gets_all_that_is_left() -> None:
    waiting = book(limit=1000, used=990, granted=990)
    assert waiting.claim(Reading(990, 990)).want == 5
    waiting.waited = 1
    assert waiting.claim(Reading(990, 990)).want == 10


def test_the_ledger_is_asked_when_something_was_used_or_is_waited_for_or_the_window_ends() -> None:
    row = Reading(10, 0)
    resting = book()
    assert not resting.is_due(row, NOW + 1.0)
    assert resting.is_due(Reading(10, 1), NOW + 1.0)
    assert resting.is_due(row, NOW + 3600.0)
    resting.waited = 1
    assert resting.is_due(row, NOW + 1.0)
    assert QuotaBook(of(), (), NOW).is_due(row, NOW)


def test_the_ledger_is_asked_when_little_is_left_unused_but_not_for_what_is_not_there() -> None:
    assert book(granted=4).is_due(Reading(4, 0), NOW)
    assert not book(used=1000, granted=1000).is_due(Reading(1000, 1000), NOW)


def test_a_changed_limit_or_grant_is_claimed_at_once() -> None:
    changed = book()
    changed.set_terms(of(2000), (), NOW)
    assert changed.is_due(Reading(10, 0), NOW)
    granted = book()
    grant = Grant("g", granted.account, 500, NOW + 60.0, "local", "", NOW)
    granted.set_terms(of(), [grant], NOW)
    assert (granted.limit, granted.cap) == (1500, 1500)
    assert granted.is_due(Reading(10, 0), NOW)
    assert not granted.are_terms_old(NOW + 59.0)
    assert granted.are_terms_old(NOW + 60.0)
    granted.set_terms(of(), [grant], NOW + 60.0)
    assert granted.limit == 1000


def test_the_cap_is_where_the_ladder_refuses_and_there_is_none_without() -> None:
    assert QuotaBook(of(1000, LADDER), (), NOW).cap == 1200
    assert QuotaBook(of(1000, LADDER[:2]), (), NOW).cap is None


def test_much_more_than_is_wanted_is_given_back() -> None:
    full = book(limit=1000)
    assert full.to_keep(Reading(20, 0)) == 20
    assert full.to_keep(Reading(500, 0)) == 10


def test_use_that_fell_is_believed_when_the_next_reading_shows_it_too() -> None:
    falling = book()
    falling.measure(Reading(100, 80), NOW)
    readings = (80, 0, 80, 60, 70, 30, 20, 90)
    assert [falling.believed(Reading(100, used)).used for used in readings] == [80, 80, 80, 80, 70, 70, 30, 90]


def test_each_step_is_told_once_when_it_is_passed() -> None:
    climbing = QuotaBook(of(1000, LADDER), (), NOW)
    told = []
    for used in (0, 799, 800, 900, 1000, 1300):
        climbing.take(lease(used=used), NOW)
        told.append(climbing.steps_passed())
    warned, demoted, refused = (
        f"quota day of tenant ads passed {w}" for w in ("80% (warn)", "100% (demote)", "120% (refuse)")
    )
    assert told == [[], [], [warned], [], [demoted], [refused]]


def test_a_step_is_told_again_only_after_use_fell_clearly_below_it() -> None:
    swinging = QuotaBook(of(1000, LADDER), (), NOW)
    told = []
    for used in (0, 810, 790, 810, 700, 810):
        swinging.take(lease(used=used), NOW)
        told.append(bool(swinging.steps_passed()))
    assert told == [False, True, False, False, False, True]


def test_what_was_passed_before_the_start_is_not_told_again() -> None:
    found = QuotaBook(of(1000, LADDER), (), NOW)
    found.take(lease(used=900), NOW)
    assert found.steps_passed() == []


@given(st.floats(0.1, 1e6), st.floats(0.05, 20.0), st.integers(1, 50))
def test_a_steady_rate_is_known_from_the_first(per_s: float, step_s: float, steps: int) -> None:
    rate = Rate(300.0)
    for _ in range(steps):
        rate.add(per_s * step_s, step_s)
    assert rate.per_s == pytest.approx(per_s, rel=1e-6)


def test_a_rate_forgets() -> None:
    rate = Rate(1.0)
    rate.add(100.0, 1.0)
    rate.add(0.0, 10.0)
    assert rate.per_s < 0.01


def test_time_that_goes_back_says_nothing_of_a_rate() -> None:
    rate = Rate(1.0)
    rate.add(100.0, -5.0)
    assert rate.per_s == 0.0
