"""Budget: what is left of the bad events that an objective allows over its period, and for how long."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import Final

from telemetry.slo.burn_rate import budget_share
from telemetry.slo.events import EventCount

# So many bad events must fit into the budget before what is left of it says anything: one in the first hundred
# requests of a 99.9 % objective reads as -900 %.
ENOUGH_BAD_EVENTS: Final = 10


def remaining_ratio(period: EventCount, target: float) -> float | None:
    """Return the share of the error budget that is left: 1.0 for no bad event, below 0 when overspent.

    None without events: their budget is neither whole nor spent.
    """
    if period.total == 0:
        return None
    return float(1 - Fraction(period.bad, period.total) / budget_share(target))


def is_exhausted(period: EventCount, target: float) -> bool:
    """Return whether as many events were bad as may be, or more; not without any."""
    return period.bad > 0 and period.bad >= budget_share(target) * period.total


def is_enough(period: EventCount, target: float) -> bool:
    """Return whether the period has seen enough events for what is left of its budget to mean something."""
    return budget_share(target) * period.total >= ENOUGH_BAD_EVENTS


def ends_within(period: EventCount, window: EventCount, window_s: float, target: float, within_s: float) -> bool:
    """Return whether the budget is spent in less than this time if bad events go on as in the window, exactly."""
    left = budget_share(target) * period.total - period.bad
    return window.bad > 0 and left * Fraction(window_s) < Fraction(within_s) * window.bad


def exhaustion_s(period: EventCount, window: EventCount, window_s: float, target: float) -> float:
    """Return the seconds until the budget is spent if bad events go on as in the window; infinite without any."""
    if window.bad == 0:
        return inf
    left = budget_share(target) * period.total - period.bad
    return max(0.0, float(left * Fraction(window_s) / window.bad))
