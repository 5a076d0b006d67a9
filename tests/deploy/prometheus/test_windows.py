"""Steps and windows of the rules, decided from objectives."""

from __future__ import annotations

from msgspec.structs import replace

from deploy.prometheus.windows import selected, step_s
from policies.burn_alerts import usual_alerts
from policies.snapshot.slos import Objective
from telemetry.slo.alerts import windows
from tests.deploy.prometheus.table import objective

MONTH = objective("of a month")
WEEK_S = 7 * 86_400.0


def of_a_week() -> Objective:
    return replace(MONTH, period_s=WEEK_S, alerts=usual_alerts(WEEK_S, MONTH.target))


def test_an_objective_of_a_month_is_counted_by_minutes() -> None:
    assert step_s([MONTH]) == 60
    assert windows(MONTH) == [300.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0, 259_200.0]


def test_one_objective_with_short_windows_makes_all_be_counted_finely() -> None:
    assert step_s([MONTH, of_a_week()]) == 10


def test_no_objectives_are_counted_by_minutes() -> None:
    assert step_s([]) == 60


def test_every_window_is_whole_steps_and_four_at_least() -> None:
    for one in (MONTH, of_a_week(), replace(MONTH, period_s=3600.0, alerts=usual_alerts(3600.0, 0.99))):
        step = step_s([one])
        assert [length_s for length_s in windows(one) if length_s % step or length_s < 4 * step] == []


def test_a_range_holds_the_samples_of_its_steps_whichever_end_is_open() -> None:
    assert selected(300.0, 60) == "270s"
    assert selected(3600.0, 10) == "3595s"
    # What is no whole number of steps is the next more.
    assert selected(45.0, 10) == "45s"
