"""What is left of a budget is by events, goes below zero, and says for how long it lasts."""

from __future__ import annotations

from math import inf

import pytest

from telemetry.slo.budget import exhaustion_s, is_enough, is_exhausted, remaining_ratio
from telemetry.slo.events import NO_EVENTS, EventCount

HOUR_S = 3600.0


def test_a_budget_without_bad_events_is_whole() -> None:
    assert remaining_ratio(EventCount(good=5), 0.999) == 1.0


def test_without_events_there_is_no_budget_to_speak_of() -> None:
    assert remaining_ratio(NO_EVENTS, 0.999) is None
    assert remaining_ratio(EventCount(ignored=9), 0.999) is None


def test_an_overspent_budget_is_below_zero() -> None:
    assert remaining_ratio(EventCount(good=99, bad=1), 0.999) == -9.0


@pytest.mark.parametrize(("total", "enough"), [(9_999, False), (10_000, True)])
def test_there_is_enough_data_once_ten_bad_events_fit_into_the_budget(total: int, enough: bool) -> None:
    assert is_enough(EventCount(good=total - 1, bad=1), 0.999) is enough


@pytest.mark.parametrize(("bad", "exhausted"), [(0, False), (9, False), (10, True), (11, True)])
def test_a_budget_is_exhausted_when_all_that_may_be_bad_is(bad: int, exhausted: bool) -> None:
    assert is_exhausted(EventCount(good=10_000 - bad, bad=bad), 0.999) is exhausted


def test_no_events_exhaust_no_budget() -> None:
    assert not is_exhausted(NO_EVENTS, 0.999)


def test_a_budget_lasts_as_long_as_what_is_left_of_it_at_the_pace_of_the_window() -> None:
    # 100 bad events are allowed, 40 are spent, and the last hour had 20: three hours more.
    assert exhaustion_s(EventCount(good=99_960, bad=40), EventCount(good=500, bad=20), HOUR_S, 0.999) == 3 * HOUR_S


def test_a_budget_lasts_for_ever_while_nothing_is_bad() -> None:
    assert exhaustion_s(EventCount(good=99_960, bad=40), EventCount(good=500), HOUR_S, 0.999) == inf


def test_a_spent_budget_lasts_no_longer() -> None:
    assert exhaustion_s(EventCount(good=10, bad=40), EventCount(bad=20), HOUR_S, 0.999) == 0.0
