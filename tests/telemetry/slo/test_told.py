"""What the mesh tells of an objective judges as the objective itself."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from gateway.control.slo_past_view import slots_report
from gateway.control.slo_view import slo_report
from policies.snapshot.slos import Guards
from telemetry.slo.alerts import alerts_of
from telemetry.slo.told import ToldLevel, ToldObjective, ToldSlots, objective_of, slots_of, unknown
from telemetry.slo.windows import LEVELS
from tests.gateway.control.objectives import AVAILABILITY, DAY_S, SNAPSHOT, START_S, engine, events, tally

FULL = replace(AVAILABILITY, likely_within_s=DAY_S, tells_exhausted=True, guards=Guards(10, 2, 0.05))


def test_an_objective_is_made_again_from_what_is_told() -> None:
    slos = engine(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, FULL.name: FULL}))
    body = msgspec.json.encode(slo_report(slos, START_S).slos[0])
    made = objective_of(msgspec.json.decode(body, type=ToldObjective))
    assert alerts_of(made) == alerts_of(FULL)
    assert (made.target, made.period_s, made.guards) == (FULL.target, FULL.period_s, FULL.guards)


def test_counts_are_made_again_from_what_is_told() -> None:
    slos = engine()
    for at in range(0, 4 * 86_400, 1234):
        slos.take(1, tally(START_S + at, events(100, at % 7)), START_S + at)
    now_s = START_S + 4 * 86_400
    body = msgspec.json.encode(slots_report(slos, "digits-availability", "digits", now_s))
    made = slots_of(msgspec.json.decode(body, type=ToldSlots))
    own = slos.counts.of("digits-availability", "digits")
    for window_s in (300.0, 3600.0, 6 * 3600.0, 3 * DAY_S, 30 * DAY_S):
        for ago_s in (0, 600, 7200, 86_400):
            assert made.count(window_s, now_s - ago_s) == own.count(window_s, now_s - ago_s)


def test_slots_of_a_length_that_is_not_known_are_passed_over() -> None:
    assert not slots_of(ToldSlots(0.0, (ToldLevel(7, (0,), (1,), (1,)),))).count(LEVELS[-1].reach_s, 100.0)


@pytest.mark.parametrize(
    ("attended", "gone"),
    [
        (((0.0, 1000.0),), ()),
        (((0.0, 300.0), (500.0, 1000.0)), ((300.0, 500.0),)),
        (((500.0, 1000.0), (0.0, 300.0), (250.0, 505.0)), ()),
        (((0.0, 300.0), (305.0, 900.0)), ()),
        ((), ((200.0, 800.0),)),
        (((0.0, 100.0), (900.0, 950.0)), ((200.0, 800.0),)),
        (((300.0, 400.0),), ((200.0, 300.0), (400.0, 800.0))),
    ],
)
def test_times_in_which_nobody_counted_are_told(
    attended: tuple[tuple[float, float], ...], gone: tuple[tuple[float, float], ...]
) -> None:
    assert unknown(ToldSlots(1000.0, (), attended), 200.0, 800.0) == gone
