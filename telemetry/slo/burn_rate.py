"""Burn rate: how many times faster than allowed an error budget is being spent.

Targets and factors are the decimals that people wrote, not the binary fractions nearest to them: exactly 14.4 times the
budget of 99.9 % is not more than 14.4 times, whatever ``14.4 * (1 - 0.999)`` is in floating point.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from telemetry.slo.events import EventCount


# What is cached are numbers of policies, which are few: to read and multiply decimals takes longer than all else here.
@lru_cache(maxsize=1024)
def budget_share(target: float) -> Fraction:
    """Return the share of events that may be bad.

    Args:
        target: share of events that must be good, 0 < target < 1 (0.999, never 99.9).
    """
    return 1 - Fraction(repr(target))


@lru_cache(maxsize=1024)
def bad_share(target: float, factor: float) -> Fraction:
    """Return the share of bad events that burns the budget exactly ``factor`` times too fast."""
    return Fraction(repr(factor)) * budget_share(target)


def burn_rate(events: EventCount, target: float) -> float:
    """Return how many times faster than allowed one window spent the error budget.

    1.0 spends exactly the whole budget over the objective's period; 0.0 for a window with no events, because silence is
    a different alert.

    Source: Google SRE Workbook, chapter 5.
    """
    if events.total == 0:
        return 0.0
    budget = budget_share(target)
    # Of integers, so that it is rounded once.
    return (events.bad * budget.denominator) / (events.total * budget.numerator)


def burns_faster(events: EventCount, target: float, factor: float) -> bool:
    """Return whether the window burns faster than ``factor``, exactly: the factor itself is not faster."""
    share = bad_share(target, factor)
    return events.bad * share.denominator > events.total * share.numerator
