"""What every ledger must do, whatever it is stored in."""

from __future__ import annotations

import pytest

from gateway.control.ledger.protocol import MAX_GRANTS, REFUND_WITHIN_S, Claim, Grant, Ledger, TooManyGrants
from tests.gateway.control.ledger.conftest import Bench

NOON = 1_782_907_200.0  # 2026-07-01T12:00:00Z
DAY = 86_400.0
ACCOUNT = "tenant/ads/quota/day"


def claim(
    used: int = 0,
    held: int = 0,
    want: int = 0,
    cap: int | None = 100,
    account: str = ACCOUNT,
    per: str = "calendar-day",
) -> Claim:
    return Claim(account, per, "UTC", cap, used, held, want)


def granted(ledger: Ledger, holder: str, number: int, said: Claim, now_s: float = NOON) -> int:
    return ledger.renew(holder, number, [said], now_s)[0].granted_total


def test_a_holder_gets_what_it_wants_while_there_is_room(ledger: Ledger) -> None:
    lease = ledger.renew("a", 1, [claim(want=30)], NOON)[0]
    assert (lease.granted_total, lease.window_used, lease.outstanding_others) == (30, 0, 0)
    assert lease.resets_at_s == lease.window_end_s == NOON + DAY / 2


def test_nothing_is_let_beyond_the_cap(ledger: Ledger) -> None:
    assert granted(ledger, "a", 1, claim(want=70)) == 70
    assert granted(ledger, "b", 1, claim(want=70)) == 30
    assert granted(ledger, "c", 1, claim(want=70)) == 0


def test_without_a_cap_everything_is_let(ledger: Ledger) -> None:
    assert granted(ledger, "a", 1, claim(want=10**12, cap=None)) == 10**12


def test_what_is_used_is_counted_once_and_lets_others_know(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=50)], NOON)
    ledger.renew("a", 2, [claim(used=20, held=50, want=30)], NOON)
    lease = ledger.renew("b", 1, [claim(want=100)], NOON)[0]
    assert (lease.granted_total, lease.window_used, lease.outstanding_others) == (50, 20, 30)


def test_a_call_that_comes_twice_or_late_changes_nothing(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=50)], NOON)
    second = [claim(used=20, held=50, want=30)]
    first_answer = ledger.renew("a", 2, second, NOON)
    assert ledger.renew("a", 2, second, NOON) == first_answer
    assert ledger.renew("a", 1, [claim(want=100)], NOON) == first_answer
    assert sum(ledger.use(ACCOUNT).values()) == 20
    assert ledger.last_number("a") == 2


def test_an_answer_that_was_lost_costs_nothing(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=100)], NOON)  # its answer never arrives
    assert granted(ledger, "b", 1, claim(want=100)) == 0
    assert granted(ledger, "a", 2, claim(held=0, want=10)) == 10
    assert granted(ledger, "b", 2, claim(want=100)) == 90


def test_what_a_holder_returns_is_let_to_others(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=100)], NOON)
    ledger.renew("a", 2, [claim(used=10, held=20, want=0)], NOON)
    assert granted(ledger, "b", 1, claim(want=100)) == 80


def test_a_lower_cap_takes_nothing_that_is_held_and_lets_nothing_more(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=80)], NOON)
    assert granted(ledger, "a", 2, claim(used=10, held=80, want=80, cap=20)) == 80
    assert granted(ledger, "b", 1, claim(want=1, cap=20)) == 0


def test_what_was_reserved_comes_back(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=100)], NOON)
    ledger.renew("a", 2, [claim(used=90, held=100, want=100)], NOON + 1)
    lease = ledger.renew("a", 3, [claim(used=15, held=100, want=100)], NOON + 60)[0]
    assert lease.window_used == 15
    assert lease.granted_total == 100
    assert sum(ledger.use(ACCOUNT).values()) == 15


def test_what_comes_back_too_late_stays_used(ledger: Ledger) -> None:
    hour = "rolling-1h"
    ledger.renew("a", 1, [claim(want=100, per=hour)], NOON)
    ledger.renew("a", 2, [claim(used=90, held=100, per=hour)], NOON)
    lease = ledger.renew("a", 3, [claim(used=15, held=100, per=hour)], NOON + REFUND_WITHIN_S + 60)[0]
    assert lease.window_used == 90


def test_the_next_window_begins_with_what_is_held_from_the_last(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=60)], NOON)
    tomorrow = NOON + DAY
    lease = ledger.renew("b", 1, [claim(want=100)], tomorrow)[0]
    assert (lease.window_used, lease.granted_total) == (0, 40)
    assert granted(ledger, "a", 2, claim(used=60, held=60, want=50), tomorrow) == 60
    assert sum(ledger.use(ACCOUNT).values()) == 60


def test_a_rolling_window_lets_its_use_go_slot_by_slot(ledger: Ledger) -> None:
    used = held = 0
    for number, at_s in enumerate((NOON, NOON + 1800), start=1):
        held = granted(ledger, "a", 2 * number - 1, claim(used, held, 50, per="rolling-1h"), at_s)
        used = held
        ledger.renew("a", 2 * number, [claim(used, held, 0, per="rolling-1h")], at_s)
    full = ledger.renew("a", 9, [claim(used, held, 50, per="rolling-1h")], NOON + 3600)[0]
    assert (full.window_used, full.granted_total) == (100, used)
    assert full.resets_at_s == NOON + 12.5 + 3600
    half = ledger.renew("a", 10, [claim(used, held, 50, per="rolling-1h")], full.resets_at_s)[0]
    assert (half.window_used, half.granted_total) == (50, used + 50)


def test_another_period_of_the_same_account_counts_what_was_used_before(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=60)], NOON)
    ledger.renew("a", 2, [claim(used=60, held=60)], NOON)
    lease = ledger.renew("a", 3, [claim(used=60, held=60, want=100, per="rolling-24h")], NOON)[0]
    assert (lease.window_used, lease.granted_total) == (60, 100)


def test_an_abandoned_holder_leaves_its_unused_part_used(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=60)], NOON)
    ledger.renew("a", 2, [claim(used=20, held=60, want=40)], NOON)
    assert ledger.holders() == ["a"]
    assert ledger.abandon("a", NOON) == {ACCOUNT: 40}
    assert ledger.abandon("a", NOON) == {}
    assert ledger.holders() == []
    assert granted(ledger, "b", 1, claim(want=100)) == 40


def test_a_clock_that_goes_back_a_little_stands_still(ledger: Ledger) -> None:
    midnight = NOON + DAY / 2
    ledger.renew("a", 1, [claim(want=100)], midnight - 1)
    ledger.renew("a", 2, [claim(used=100, held=100)], midnight + 1)
    lease = ledger.renew("a", 3, [claim(used=100, held=100, want=100)], midnight - 1)[0]
    assert lease.granted_total == 100
    assert lease.window_end_s == midnight + DAY


def test_a_clock_that_was_years_ahead_forgets_no_use_and_frees_the_quota_within_two_days(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=100)], NOON)
    ledger.renew("a", 2, [claim(used=40, held=100, want=60)], NOON)
    ledger.renew("a", 3, [claim(used=100, held=100)], NOON + 10_000 * DAY)
    assert granted(ledger, "a", 4, claim(used=100, held=100, want=50), NOON + 10) == 100
    assert granted(ledger, "a", 5, claim(used=100, held=100, want=50), NOON + 2 * DAY) == 150


def test_accounts_know_nothing_of_each_other(ledger: Ledger) -> None:
    leases = ledger.renew("a", 1, [claim(want=5, account=f"tenant/t{n}/quota/q") for n in range(50)], NOON)
    assert [lease.granted_total for lease in leases] == [5] * 50
    assert [lease.account for lease in leases] == [f"tenant/t{n}/quota/q" for n in range(50)]


def test_nothing_recorded_is_lost_when_the_process_is_killed(kept_bench: Bench) -> None:
    ledger = kept_bench.open()
    ledger.renew("a", 1, [claim(want=60)], NOON)
    before = ledger.renew("a", 2, [claim(used=20, held=60, want=40)], NOON)
    ledger.add_grant(GRANT, NOON)
    kept_bench.crash(ledger)
    reopened = kept_bench.open()
    assert reopened.last_number("a") == 2
    assert reopened.renew("a", 2, [claim(used=20, held=60, want=40)], NOON) == before
    assert reopened.grants() == [GRANT]


GRANT = Grant("g1", ACCOUNT, 1000, NOON + DAY, "local", "launch week", NOON)


def test_a_grant_is_kept_until_it_is_ended(ledger: Ledger) -> None:
    ledger.add_grant(GRANT, NOON)
    assert ledger.grants() == [GRANT]
    assert ledger.end_grant("g1", "key:ops", NOON + 5) == GRANT
    assert [(grant.until_s, grant.ended_by) for grant in ledger.grants()] == [(NOON + 5, "key:ops")]
    assert ledger.end_grant("g1", "key:ops", NOON + 6) is None
    assert ledger.end_grant("g2", "key:ops", NOON + 6) is None


def test_grants_that_ended_long_ago_are_forgotten(ledger: Ledger) -> None:
    ledger.add_grant(GRANT, NOON)
    later = Grant("g2", ACCOUNT, 1, NOON + 200 * DAY, "local", "again", NOON + 120 * DAY)
    ledger.add_grant(later, NOON + 120 * DAY)
    assert ledger.grants() == [later]


def test_there_are_only_so_many_grants(ledger: Ledger) -> None:
    for n in range(MAX_GRANTS):
        ledger.add_grant(Grant(f"g{n}", ACCOUNT, 1, NOON + DAY, "local", "", NOON), NOON)
    with pytest.raises(TooManyGrants):
        ledger.add_grant(Grant("one more", ACCOUNT, 1, NOON + DAY, "local", "", NOON), NOON)
    assert len(ledger.grants()) == MAX_GRANTS


def test_a_grant_that_has_ended_gives_way_to_a_new_one_the_first_that_ended_first(ledger: Ledger) -> None:
    for n in range(MAX_GRANTS):
        ledger.add_grant(Grant(f"g{n}", ACCOUNT, 1, NOON + DAY + n % 2 * DAY, "local", "", NOON), NOON)
    ledger.end_grant("g3", "local", NOON + 2)
    ledger.end_grant("g5", "local", NOON + 1)
    ledger.add_grant(Grant("new", ACCOUNT, 1, NOON + 9 * DAY, "local", "", NOON + 3), NOON + 3)
    kept = {grant.id for grant in ledger.grants()}
    assert len(kept) == MAX_GRANTS
    assert kept >= {"new", "g3"}
    assert "g5" not in kept
    ledger.add_grant(Grant("newer", ACCOUNT, 1, NOON + 9 * DAY, "local", "", NOON + 3), NOON + 3)
    with pytest.raises(TooManyGrants):
        ledger.add_grant(Grant("newest", ACCOUNT, 1, NOON + 9 * DAY, "local", "", NOON + 3), NOON + 3)
    ledger.add_grant(Grant("tomorrow", ACCOUNT, 1, NOON + 9 * DAY, "local", "", NOON + DAY), NOON + DAY)
    assert len(ledger.grants()) == MAX_GRANTS


def test_accounts_that_nobody_uses_are_forgotten_unless_the_clock_jumped(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=10)], NOON)
    ledger.abandon("a", NOON)
    later = NOON + 40 * DAY
    ledger.tidy(later)
    assert sum(ledger.use(ACCOUNT).values()) == 10
    ledger.tidy(later + 60)
    assert ledger.use(ACCOUNT) == {}


def test_an_account_that_is_held_is_not_forgotten(ledger: Ledger) -> None:
    ledger.renew("a", 1, [claim(want=10)], NOON)
    ledger.tidy(NOON + 40 * DAY)
    ledger.tidy(NOON + 40 * DAY)
    assert granted(ledger, "b", 1, claim(want=100), NOON + 40 * DAY) == 90
