"""The workbook's alerts are what the workbook says, fit their period, and can fire."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.burn_alerts import unreachable, usual_alerts
from policies.snapshot.slos import BurnAlert

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
PAGE_FAST = BurnAlert("page", "page fast", 14.4, HOUR_S, 5 * MINUTE_S)
PAGE_SLOW = BurnAlert("page", "page slow", 6.0, 6 * HOUR_S, 30 * MINUTE_S)
TICKET_FAST = BurnAlert("ticket", "ticket fast", 3.0, DAY_S, 2 * HOUR_S)
TICKET_SLOW = BurnAlert("ticket", "ticket slow", 1.0, 3 * DAY_S, 6 * HOUR_S)

targets = st.integers(1, 99_999).map(lambda share: share / 100_000)


def windows(alerts: tuple[BurnAlert, ...]) -> list[tuple[str, float, float]]:
    return [(alert.name, alert.long_s, alert.short_s) for alert in alerts]


def test_thirty_days_have_the_four_alerts_of_the_workbook() -> None:
    assert usual_alerts(30 * DAY_S, 0.999) == (PAGE_FAST, PAGE_SLOW, TICKET_FAST, TICKET_SLOW)


@pytest.mark.parametrize(
    ("alert", "share_of_budget"), [(PAGE_FAST, 2), (PAGE_SLOW, 5), (TICKET_FAST, 10), (TICKET_SLOW, 10)]
)
def test_an_alert_fires_at_the_share_of_the_budget_that_the_workbook_names(
    alert: BurnAlert, share_of_budget: int
) -> None:
    spent = Fraction(repr(alert.factor)) * Fraction(alert.long_s) / Fraction(30 * DAY_S)
    assert spent == Fraction(share_of_budget, 100)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (28, [("page fast", 3360.0, 280.0), ("page slow", 20160.0, 1680.0)]),
        (7, [("page fast", 840.0, 70.0), ("page slow", 5040.0, 420.0)]),
        (90, [("page fast", 10800.0, 900.0), ("page slow", 64800.0, 5400.0)]),
    ],
)
def test_another_period_scales_the_windows_and_keeps_the_factors(
    days: int, expected: list[tuple[str, float, float]]
) -> None:
    alerts = usual_alerts(days * DAY_S, 0.999)
    assert windows(alerts[:2]) == expected
    assert [alert.factor for alert in alerts] == [14.4, 6.0, 3.0, 1.0]


def test_a_window_that_scales_to_less_than_four_slots_is_raised_to_four() -> None:
    assert windows(usual_alerts(DAY_S, 0.999)) == [
        ("page fast", 480.0, 40.0),
        ("page slow", 720.0, 60.0),
        ("ticket fast", 2880.0, 240.0),
        ("ticket slow", 8640.0, 720.0),
    ]


def test_an_alert_that_would_fire_only_after_the_budget_is_spent_is_left_out() -> None:
    # In an hour, eight minutes at 14.4 times the allowed rate are 192 % of the budget; at 6 times they are 80 %.
    assert windows(usual_alerts(HOUR_S, 0.999)) == [
        ("page slow", 480.0, 40.0),
        ("ticket fast", 480.0, 40.0),
        ("ticket slow", 480.0, 40.0),
    ]


def test_an_alert_that_could_never_fire_is_left_out() -> None:
    assert [alert.name for alert in usual_alerts(30 * DAY_S, 0.9)] == ["page slow", "ticket fast", "ticket slow"]


@given(st.floats(HOUR_S, 90 * DAY_S), targets)
def test_every_usual_alert_fits_its_period_and_can_fire(period_s: float, target: float) -> None:
    for alert in usual_alerts(period_s, target):
        assert unreachable(alert, target) == ""
        assert 40 <= alert.short_s == alert.long_s / 12
        assert alert.short_s % 10 == 0
        assert alert.factor * alert.long_s < period_s


@pytest.mark.parametrize(
    ("factor", "target", "can_fire"),
    [
        (10.0, 0.9, False),  # every event bad is exactly ten times too fast, and it waits for more
        (9.99, 0.9, True),
        (1000.0, 0.999, False),
        (999.9, 0.999, True),
        (14.4, 0.93, False),
        (14.4, 0.931, True),
        (6.0, 0.8333, False),
        (6.0, 0.8334, True),
    ],
)
def test_an_alert_can_fire_if_its_factor_is_below_the_fastest_burn_rate(
    factor: float, target: float, can_fire: bool
) -> None:
    alert = BurnAlert("page", "page 1h", factor, HOUR_S, 5 * MINUTE_S)
    assert (unreachable(alert, target) == "") is can_fire


def test_what_never_fires_is_told_with_the_mend() -> None:
    assert (
        unreachable(PAGE_FAST, 0.9)
        == "page fast waits for more than 14.4x, and the budget burns at most 10x when every event is bad: write less."
    )
