"""The oracle of the rules' tests, against a table that was reckoned by hand."""

from __future__ import annotations

import pytest

from deploy.prometheus.scenarios import Scenario, Span, Stretch, edges, firing_at, spans, totals, window
from telemetry.slo.budget import remaining_ratio
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.events import EventCount
from tests.deploy.prometheus.table import S1, S10, STEP_S, TABLE, Expected, objective


@pytest.mark.parametrize(("scenario", "target", "expected"), TABLE, ids=[one.name for one, _, _ in TABLE])
def test_alerts_fire_and_end_at_the_very_minute(scenario: Scenario, target: float, expected: Expected) -> None:
    assert spans(objective("any", target), scenario, STEP_S) == expected


def test_burn_rates_of_a_minute_of_s1_are_those_of_its_windows() -> None:
    counted = totals(S1)
    at = S1.before + 44
    burns = {steps: round(burn_rate(window(counted, at, steps), 0.999), 4) for steps in (5, 30, 60, 120, 360, 1440)}
    assert burns == {5: 20.0, 30: 20.0, 60: 14.6667, 120: 7.3333, 360: 2.4444, 1440: 0.6111}


def test_a_budget_weighs_events_and_not_time_as_in_s10() -> None:
    counted = totals(S10)
    assert counted[-1] == EventCount(good=960_000 + 4_320, bad=480)
    assert round(remaining_ratio(counted[-1], 0.999) or 0.0, 4) == 0.5025


def test_what_is_asked_for_lies_around_every_change() -> None:
    found = {"page fast": [Span(44, 62)], "page slow": [], "ticket fast": [Span(1, None)]}
    assert edges(found, 90) == [1, 43, 44, 61, 62, 90]
    assert firing_at(found, 43) == ["ticket fast"]
    assert firing_at(found, 44) == ["page fast", "ticket fast"]
    assert firing_at(found, 62) == ["ticket fast"]


def test_windows_before_the_first_step_are_empty() -> None:
    counted = totals(Scenario("two steps", (Stretch(2, 3, 1),)))
    assert window(counted, 2, 60) == EventCount(good=6, bad=2)
