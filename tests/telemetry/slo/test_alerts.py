"""An alert fires when both windows burn faster than its factor and there is enough data to tell."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.snapshot.slos import BurnAlert, Guards
from telemetry.slo.alerts import (
    AlertState,
    Firing,
    Status,
    Tier,
    Verdict,
    after,
    alerts_of,
    judge,
    judge_any,
    likely_factor,
    status,
    windows,
)
from telemetry.slo.events import NO_EVENTS, EventCount
from tests.telemetry.slo.objectives import DAY_S, HOUR_S, NO_GUARDS, PAGE_FAST, PAGE_SLOW, objective

BURNING = EventCount(good=900, bad=100)
CALM = EventCount(good=1000)
FIRES = Verdict(True, 100.0, 100.0)
RESTS = Verdict(False, 0.0, 0.0)


@pytest.mark.parametrize(
    ("long", "short", "fires"),
    [(BURNING, BURNING, True), (BURNING, CALM, False), (CALM, BURNING, False), (BURNING, NO_EVENTS, False)],
)
def test_an_alert_fires_when_both_windows_burn(long: EventCount, short: EventCount, fires: bool) -> None:
    assert judge(PAGE_FAST, 0.999, NO_GUARDS, long, short).fires is fires


def test_a_verdict_says_how_fast_both_windows_burn() -> None:
    verdict = judge(PAGE_FAST, 0.999, NO_GUARDS, BURNING, EventCount(good=95, bad=5))
    assert verdict == Verdict(True, long_burn=100.0, short_burn=50.0)


def smallest_firing(alert: BurnAlert, target: float, guards: Guards, total: int) -> int:
    counts = (EventCount(total - bad, bad) for bad in range(total + 1))
    return next(events.bad for events in counts if judge(alert, target, guards, events, events).fires)


@pytest.mark.parametrize(
    ("target", "alert", "total", "naive", "guarded"),
    [
        *((0.999, PAGE_FAST, *row) for row in ((5, 1, 2), (20, 1, 3), (60, 1, 5))),
        *((0.999, PAGE_FAST, *row) for row in ((100, 2, 6), (300, 5, 11), (1000, 15, 25))),
        *((0.999, PAGE_SLOW, *row) for row in ((5, 1, 2), (20, 1, 2), (60, 1, 3))),
        *((0.999, PAGE_SLOW, *row) for row in ((100, 1, 4), (300, 2, 7), (1000, 7, 13))),
        *((0.99, PAGE_FAST, *row) for row in ((5, 1, 4), (20, 3, 8), (60, 9, 16))),
        *((0.99, PAGE_FAST, *row) for row in ((100, 15, 24), (300, 44, 59), (1000, 145, 171))),
    ],
)
def test_a_guard_asks_for_as_many_bad_events_as_chance_seldom_makes(
    target: float, alert: BurnAlert, total: int, naive: int, guarded: int
) -> None:
    assert smallest_firing(alert, target, NO_GUARDS, total) == naive
    assert smallest_firing(alert, target, Guards(chance_below=0.01), total) == guarded


@pytest.mark.parametrize(
    ("guards", "why"),
    [
        (Guards(20, 0, 0.0), "not enough data: 5 events in the long window, and 20 are asked for"),
        (Guards(0, 3, 0.0), "not enough data: 1 bad events in the long window, and 3 are asked for"),
        (Guards(0, 0, 0.01), "not enough data: 1 bad of 5 events in the long window, and above 14.4x may be chance"),
    ],
)
def test_what_holds_an_alert_back_is_told(guards: Guards, why: str) -> None:
    few = EventCount(good=4, bad=1)
    assert judge(PAGE_FAST, 0.999, guards, few, few) == Verdict(False, 200.0, 200.0, why)


def test_as_many_events_as_are_asked_for_are_enough() -> None:
    asked_for = EventCount(good=17, bad=3)
    assert judge(PAGE_FAST, 0.999, Guards(20, 3, 0.0), asked_for, asked_for).fires


def test_nothing_holds_back_what_would_not_fire() -> None:
    assert judge(PAGE_FAST, 0.999, Guards(20, 3), CALM, CALM).held_back == ""


def test_an_alert_that_asks_for_no_guard_fires_on_one_failure() -> None:
    assert judge(PAGE_FAST, 0.999, NO_GUARDS, EventCount(bad=1), EventCount(bad=1)).fires


def test_an_alert_fires_since_it_began_to_and_rests_since_it_ended() -> None:
    states = [AlertState()]
    for now_s, verdict in enumerate([RESTS, FIRES, FIRES, RESTS, RESTS, FIRES], start=10):
        states.append(after(states[-1], verdict, now_s))
    inactive, firing, resolved = Firing.INACTIVE, Firing.FIRING, Firing.RESOLVED
    assert [(state.state, state.since_s) for state in states] == [
        (inactive, None),
        (inactive, None),
        (firing, 11),
        (firing, 11),
        (resolved, 13),
        (resolved, 13),
        (firing, 15),
    ]


SPENT = EventCount(good=99_000, bad=1000)


@pytest.mark.parametrize(
    ("firing", "period", "word"),
    [
        (["ticket", "page"], SPENT, Status.PAGE),
        (["ticket"], SPENT, Status.EXHAUSTED),
        ([], SPENT, Status.EXHAUSTED),
        (["ticket"], CALM, Status.TICKET),
        ([], CALM, Status.OK),
        ([], EventCount(good=99, bad=1), Status.OK),  # -900 % by too few events to tell
        ([], EventCount(ignored=5), Status.NO_DATA),
    ],
)
def test_an_objective_is_as_urgent_as_its_most_urgent_news(firing: list[str], period: EventCount, word: Status) -> None:
    assert status(firing, period, 0.999) is word


WHOLE = objective(0.999)
FORETELLING = replace(WHOLE, likely_within_s=DAY_S, tells_exhausted=True)
LIKELY, EXHAUSTED = alerts_of(FORETELLING)[4:]
A_MONTH = EventCount(good=28_800_000)


def month(bad: int) -> EventCount:
    return EventCount(28_800_000 - bad, bad)


def hours(count: int, bad_per_mille: float) -> EventCount:
    """What is of so many hours of a month's steady traffic."""
    requests = count * 40_000
    bad = round(requests * bad_per_mille / 1000)
    return EventCount(requests - bad, bad)


def test_an_objective_has_its_burn_rates_and_the_end_of_its_budget() -> None:
    assert [(alert.name, alert.severity, alert.tier.value) for alert in alerts_of(FORETELLING)] == [
        ("page fast", "page", "fast"),
        ("page slow", "page", "slow"),
        ("ticket fast", "ticket", "fast"),
        ("ticket slow", "ticket", "slow"),
        ("breach likely", "ticket", "likely"),
        ("budget exhausted", "ticket", "exhausted"),
    ]
    assert (LIKELY.long_s, LIKELY.short_s, LIKELY.within_s) == (6 * HOUR_S, 30 * 60.0, DAY_S)
    assert (EXHAUSTED.long_s, EXHAUSTED.short_s) == (30 * DAY_S, 30 * DAY_S)
    assert [alert.name for alert in alerts_of(WHOLE)] == [alert.name for alert in alerts_of(FORETELLING)][:4]


def test_of_alerts_that_were_written_the_shortest_of_a_severity_is_the_fast_one() -> None:
    written = (
        BurnAlert("page", "page 6h", 6.0, 6 * HOUR_S, 1800.0),
        BurnAlert("page", "page 1h", 14.4, HOUR_S, 300.0),
        BurnAlert("ticket", "ticket 3d", 1.0, 3 * DAY_S, 6 * HOUR_S),
    )
    tiers = [alert.tier for alert in alerts_of(objective(0.999, alerts=written))]
    assert tiers == [Tier.SLOW, Tier.FAST, Tier.FAST]


def test_windows_are_those_of_burn_rates_and_of_what_foretells() -> None:
    assert windows(FORETELLING) == [300, 1800, 3600, 7200, 21600, 86400, 259200]
    twelve = replace(WHOLE, likely_within_s=DAY_S / 2, alerts=())
    assert windows(twelve) == [900, 3 * HOUR_S]


@pytest.mark.parametrize(
    ("spent", "per_mille", "fires"),
    [
        # A whole budget ends within a day at 30 times the pace that is allowed, and at no less.
        (0.0, 30.1, True),
        (0.0, 29.9, False),
        # A tenth of it at 3 times.
        (0.9, 3.05, True),
        (0.9, 2.95, False),
        # The last hundredth at any pace above what is allowed.
        (0.99, 1.05, True),
        (0.99, 0.95, False),
    ],
)
def test_a_breach_is_likely_if_what_is_left_ends_in_time(spent: float, per_mille: float, fires: bool) -> None:
    period = month(round(28_800 * spent))
    verdict = judge_any(LIKELY, FORETELLING, period, hours(6, per_mille), _half(per_mille))
    assert verdict.fires is fires
    assert likely_factor(FORETELLING, period) == pytest.approx(max(1.0, 30 * (1 - spent)))


def _half(per_mille: float) -> EventCount:
    """What is of half an hour."""
    bad = round(20_000 * per_mille / 1000)
    return EventCount(20_000 - bad, bad)


def test_a_fault_that_is_over_makes_no_breach_likely() -> None:
    assert not judge_any(LIKELY, FORETELLING, month(28_000), hours(6, 10.0), EventCount(good=20_000)).fires
    assert not judge_any(LIKELY, FORETELLING, month(28_000), hours(6, 10.0), NO_EVENTS).fires


def test_of_a_budget_that_is_spent_another_alert_tells() -> None:
    spent = month(28_800)
    assert not judge_any(LIKELY, FORETELLING, spent, hours(6, 50.0), _half(50.0)).fires
    assert judge_any(EXHAUSTED, FORETELLING, spent, spent, spent).fires


def test_a_budget_is_exhausted_when_as_much_is_bad_as_may_be() -> None:
    assert judge_any(EXHAUSTED, FORETELLING, month(28_800), A_MONTH, A_MONTH).fires
    assert not judge_any(EXHAUSTED, FORETELLING, month(28_799), A_MONTH, A_MONTH).fires


def test_neither_is_told_of_a_young_service() -> None:
    young = EventCount(good=99, bad=1)
    verdict = judge_any(EXHAUSTED, FORETELLING, young, young, young)
    assert not verdict.fires
    assert verdict.held_back == "not enough data: 100 events in the period allow 0.1 bad ones"
    quiet = EventCount(good=4997, bad=3)
    verdict = judge_any(LIKELY, FORETELLING, quiet, EventCount(400, 1), EventCount(100, 1))
    assert verdict.held_back == "not enough data: 5000 events in the period allow 5 bad ones"


def test_guards_hold_back_what_foretells_too() -> None:
    guarded = replace(FORETELLING, guards=Guards(min_bad_events=50, chance_below=0.0))
    verdict = judge_any(LIKELY, guarded, month(28_790), EventCount(1000, 40), EventCount(100, 10))
    assert verdict.held_back == "not enough data: 40 bad events in the long window, and 50 are asked for"
