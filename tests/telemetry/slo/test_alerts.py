"""An alert fires when both windows burn faster than its factor and there is enough data to tell."""

from __future__ import annotations

import pytest

from policies.snapshot import BurnAlert, Guards
from telemetry.slo.alerts import AlertState, Firing, Status, Verdict, after, judge, status
from telemetry.slo.events import NO_EVENTS, EventCount
from tests.telemetry.slo.objectives import NO_GUARDS, PAGE_FAST, PAGE_SLOW

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
        (Guards(0, 0, 0.01), "not enough data: 1 bad of 5 events in the long window may be chance"),
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
    inactive, firing = Firing.INACTIVE, Firing.FIRING
    assert [(state.state, state.since_s) for state in states] == [
        (inactive, None),
        (inactive, None),
        (firing, 11),
        (firing, 11),
        (inactive, 13),
        (inactive, 13),
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
