"""An alert fires when arithmetic says so: at ``long * factor * budget / share of bad``, to one evaluation.

Times are those of the workbook's windows at 99.9 %, after a clean past, judged every 10 s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from random import Random

import pytest

from policies.snapshot.slos import BurnAlert, Objective
from telemetry.slo.evaluate import evaluate
from telemetry.slo.events import EventCount
from telemetry.slo.simulate import Fault, Interval, simulate
from telemetry.slo.windows import Slots
from tests.telemetry.slo.objectives import DAY_S, HOUR_S, PAGE_FAST, PAGE_SLOW, TICKET_FAST, TICKET_SLOW, objective

EVERY_S = 10
# Windows of more than two hours begin with a whole minute: what is of that before the window waters it down.
COARSE_S = 60
RATE_PER_S = 100
DAYS = float(os.environ.get("PENSTOCK_QUIET_DAYS", "0.2"))


def first(alert: BurnAlert, bad_share: str, minutes: int) -> Interval | None:
    """When the alert fires first, by the pure judge."""
    fault = Fault(Fraction(bad_share), minutes * 60, Fraction(RATE_PER_S))
    (course,) = simulate(objective(0.999, alerts=(alert,)), fault).courses
    return course.fires[0] if course.fires else None


@pytest.mark.parametrize(
    ("alert", "bad_share", "after_s"),
    [
        (PAGE_FAST, "1", 51.84),
        (PAGE_FAST, "0.1", 518.4),
        (PAGE_FAST, "0.05", 1036.8),
        (PAGE_FAST, "0.02", 2592.0),
        (PAGE_FAST, "0.01", None),
        (PAGE_SLOW, "1", 129.6),
        (PAGE_SLOW, "0.1", 1296.0),
        (PAGE_SLOW, "0.02", 6480.0),
        (PAGE_SLOW, "0.005", None),
        (TICKET_FAST, "1", 259.2),
        (TICKET_FAST, "0.1", 2592.0),
        (TICKET_SLOW, "1", 259.2),
        (TICKET_SLOW, "0.1", 2592.0),
        (TICKET_SLOW, "0.001", None),
    ],
    ids=lambda value: value.name if isinstance(value, BurnAlert) else str(value),
)
def test_a_fault_is_found_when_arithmetic_says(alert: BurnAlert, bad_share: str, after_s: float | None) -> None:
    found = first(alert, bad_share, 180)
    if after_s is None:
        assert found is None
        return
    watered_s = after_s * (COARSE_S / alert.long_s if alert.long_s > 2 * HOUR_S else 0.0)
    assert found is not None
    assert after_s < found.begins_s <= after_s + EVERY_S + watered_s


@pytest.mark.parametrize(
    ("alert", "reset_s"),
    [(PAGE_FAST, 295.68), (PAGE_SLOW, 1789.2), (TICKET_FAST, 7178.4)],
    ids=["page fast", "page slow", "ticket fast"],
)
def test_an_alert_ends_when_its_short_window_has_forgotten(alert: BurnAlert, reset_s: float) -> None:
    """After an outage that fills the short window: ``short * (1 - factor * budget)``."""
    minutes = int(alert.short_s // 60)
    found = first(alert, "1", minutes)
    assert found is not None
    assert found.ends_s is not None
    assert reset_s - EVERY_S <= found.ends_s - minutes * 60 <= reset_s + EVERY_S


def test_a_total_outage_of_half_an_hour_pages_within_a_minute_and_lets_go_within_five() -> None:
    found = first(PAGE_FAST, "1", 30)
    assert found == Interval(60, 30 * 60 + 300)


def at_half_the_threshold(days: float, wanted: Objective) -> Iterator[int]:
    """Count bad events as chance has them, at half of what the fast page waits for, and yield what fires."""
    random, slots, start_s = Random(7), Slots(), 1_800_000_000
    share = 14.4 * 0.001 / 2
    per_slot = RATE_PER_S * EVERY_S
    for slot in range(int(days * DAY_S) // EVERY_S):
        at_s = start_s + slot * EVERY_S
        mean, spread = per_slot * share, (per_slot * share * (1 - share)) ** 0.5
        bad = max(0, round(random.gauss(mean, spread)))
        slots.add(at_s, EventCount(per_slot - bad, bad), at_s)
        yield sum(verdict.fires for verdict in evaluate(wanted, slots, at_s + EVERY_S).verdicts)


def test_half_of_what_a_page_waits_for_pages_nobody() -> None:
    """``make soak`` looks at 30 days (PENSTOCK_QUIET_DAYS)."""
    assert sum(at_half_the_threshold(DAYS, objective(0.999, alerts=(PAGE_FAST,)))) == 0
