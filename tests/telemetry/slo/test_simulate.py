"""What would fire is told as the worked examples have it, without a mesh."""

from __future__ import annotations

from fractions import Fraction

import pytest
from msgspec.structs import replace

from policies.snapshot.slos import Guards, Objective
from telemetry.slo.asked import changed
from telemetry.slo.evaluate import evaluate
from telemetry.slo.events import EventCount
from telemetry.slo.simulate import Fault, Interval, Simulation, replay, simulate
from telemetry.slo.windows import Slots
from tests.telemetry.slo.objectives import DAY_S, WORKBOOK, objective

MINUTE = 60
START_S = 1_800_000_000


def fault(bad_share: str, minutes: int, per_minute: int = 1000) -> Fault:
    return Fault(Fraction(bad_share), minutes * MINUTE, Fraction(per_minute, MINUTE))


def minutes_of(found: Simulation) -> dict[str, tuple[int, int]]:
    """The minutes at whose end each alert first fires and first does not, as the worked examples count them."""
    return {
        course.alert.name: (-(-one.begins_s // MINUTE), -(-one.ends_s // MINUTE))
        for course in found.courses
        for one in course.fires
        if one.ends_s is not None
    }


S9 = replace(objective(0.9), alerts=WORKBOOK)


@pytest.mark.parametrize(
    ("wanted", "told", "fires"),
    [
        (objective(0.999), fault("0.02", 60), {"page fast": (44, 62)}),
        (objective(0.999), fault("0.007", 400), {"page slow": (309, 405)}),
        (objective(0.999), fault("0.004", 24 * 60), {"ticket fast": (1081, 1470), "ticket slow": (1081, 1710)}),
        (objective(0.999), fault("0.002", 48 * 60), {"ticket slow": (2161, 3060)}),
        (
            objective(0.999),
            fault("1", 10),
            {"page fast": (1, 15), "page slow": (3, 40), "ticket fast": (5, 130), "ticket slow": (5, 370)},
        ),
        (objective(0.999), fault("0.0144", 120, 10_000), {}),
        (objective(0.999), fault("1", 1, 1), {"page fast": (1, 6)}),
        (S9, fault("1", 60), {}),
    ],
    ids=["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S9"],
)
def test_alerts_begin_and_end_exactly_as_in_the_worked_examples(
    wanted: Objective, told: Fault, fires: dict[str, tuple[int, int]]
) -> None:
    assert minutes_of(simulate(wanted, told)) == fires


def counted(*stretches: tuple[int, int, int], start_s: int = START_S) -> Slots:
    """Count so many minutes of so many good and bad requests, one stretch after another."""
    slots, at_s = Slots(), start_s
    for minutes, good, bad in stretches:
        for _ in range(minutes):
            slots.add(at_s, EventCount(good, bad), at_s)
            at_s += MINUTE
    return slots


def test_no_traffic_after_a_clean_history_fires_nothing() -> None:
    """S8: 2 h without a request are no burn, and no number that is none."""
    wanted = replace(objective(0.999), likely_within_s=DAY_S, tells_exhausted=True)
    slots = counted((300, 1000, 0))
    to_s = START_S + 300 * MINUTE + 2 * 3600
    found = replay(wanted, slots, to_s - 2 * 3600, to_s)
    assert [course.fires for course in found.courses] == [()] * 6
    assert found.remaining_ratio == 1.0
    at_end = evaluate(wanted, slots, to_s)
    assert {burn.burn_rate for burn in at_end.burn} == {0.0}


def test_what_is_left_of_a_budget_weighs_events_and_not_hours() -> None:
    """S10: 8 h with a tenth bad, of a hundredth of the traffic, leave half of the budget."""
    slots = counted((16 * 60, 1000, 0), (8 * 60, 9, 1))
    to_s = START_S + 86_400
    found = replay(objective(0.999), slots, to_s - 8 * 3600, to_s)
    assert found.remaining_ratio == float(1 - Fraction(480, 964_800) * 1000)
    assert round(found.remaining_ratio, 3) == 0.502


def test_a_replay_says_what_was_said_at_the_time() -> None:
    """S1 as it was counted: the same minutes, to the slot."""
    slots = counted((72 * 60, 1000, 0), (60, 980, 20), (20, 1000, 0))
    began_s = START_S + 72 * 3600
    found = replay(objective(0.999), slots, began_s, began_s + 80 * MINUTE)
    assert found.every_s == 10
    (page, *others) = found.courses
    assert [(-(-one.begins_s // MINUTE), -(-(one.ends_s or 0) // MINUTE)) for one in page.fires] == [(44, 62)]
    assert [course.fires for course in others] == [()] * 3


def test_a_replay_by_another_target_fires_otherwise() -> None:
    slots = counted((72 * 60, 1000, 0), (60, 980, 20), (20, 1000, 0))
    began_s = START_S + 72 * 3600
    lax = replay(changed(objective(0.999), "99%"), slots, began_s, began_s + 80 * MINUTE)
    assert [course.fires for course in lax.courses] == [()] * 4
    keen = replay(changed(objective(0.999), "", {"page fast": "7x"}), slots, began_s, began_s + 80 * MINUTE)
    assert -(-keen.courses[0].fires[0].begins_s // MINUTE) == 22


def test_of_long_ago_a_replay_judges_minutes() -> None:
    slots = counted((72 * 60, 1000, 0), (10, 0, 1000), (600, 1000, 0))
    began_s, to_s = START_S + 72 * 3600, START_S + 72 * 3600 + 610 * MINUTE
    found = replay(objective(0.999), slots, began_s, to_s)
    assert found.every_s == MINUTE
    assert [tuple(found.courses[at].fires) for at in range(4)] == [
        (Interval(1 * MINUTE, 15 * MINUTE),),
        (Interval(3 * MINUTE, 40 * MINUTE),),
        (Interval(5 * MINUTE, 130 * MINUTE),),
        (Interval(5 * MINUTE, 370 * MINUTE),),
    ]


def test_it_is_the_same_judge_as_of_what_is_counted() -> None:
    """Slots that count the same stream say the same in every slot."""
    wanted = objective(0.999, alerts=WORKBOOK[:2])
    told = Fault(Fraction(1, 10), 1200, Fraction(10))
    (course, *_) = simulate(wanted, told).courses
    start_s, slots = 1_800_000_000, Slots()
    fires = []
    for at_s in range(-7 * 3600, 3600, 10):
        bad = 10 if 0 <= at_s < 1200 else 0
        slots.add(start_s + at_s, EventCount(100 - bad, bad), start_s + at_s)
        if at_s >= 0 and evaluate(wanted, slots, start_s + at_s + 10).verdicts[0].fires:
            fires.append(at_s + 10)
    assert course.fires == (Interval(fires[0], fires[-1] + 10),)


def test_the_end_of_the_budget_is_foretold_and_told() -> None:
    wanted = replace(objective(0.999), likely_within_s=DAY_S, tells_exhausted=True)
    found = {course.alert.name: course for course in simulate(wanted, fault("0.2", 300)).courses}
    assert found["breach likely"].fires[0].begins_s < found["budget exhausted"].fires[0].begins_s
    # 0.1 % of 30 days at 20 % bad is 216 minutes' worth; a period is counted in slots of an hour.
    (spent,) = found["budget exhausted"].fires
    assert spent.begins_s == pytest.approx(216 * MINUTE, abs=MINUTE)
    assert spent.ends_s is None
    assert simulate(wanted, fault("0.2", 300)).cost == pytest.approx(300 / 216)


def test_few_requests_are_held_back_and_that_is_said() -> None:
    guarded = objective(0.999, guards=Guards())
    found = simulate(guarded, fault("1", 1, 1))
    assert [course.fires for course in found.courses] == [()] * 4
    assert "may be chance" in found.courses[0].held_back


def test_an_objective_without_alerts_fires_nothing() -> None:
    assert simulate(objective(0.999, alerts=()), fault("1", 5)).courses == ()
