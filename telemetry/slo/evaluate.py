"""Evaluate: all that is to be said of one objective now."""

from __future__ import annotations

from math import isinf
from typing import Protocol

from msgspec import Struct

from policies.snapshot.slos import Objective
from telemetry.slo.alerts import Tier, Verdict, alerts_of, judge_any, windows
from telemetry.slo.budget import exhaustion_s, is_enough, is_exhausted, remaining_ratio
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.events import EventCount


class Counted(Protocol):
    """What has counted events: one series, or several whose counts it adds, such as those of a model's versions."""

    def count(self, window_s: float, now_s: float) -> EventCount:
        """Return the events of the window that ends at ``now_s``."""


class Burn(Struct, frozen=True):
    """How fast one window burnt the budget."""

    window_s: float
    burn_rate: float
    events: EventCount


class Evaluation(Struct, frozen=True):
    """What is to be said of an objective.

    Attributes:
        period: events over the objective's period.
        remaining_ratio: share of the budget that is left, below 0 when overspent; None without events.
        is_enough: there were enough events for that to mean something.
        exhaustion_s: until it is spent if the shortest long window of the alerts, or without alerts the period, goes on
            as it was; 0.0 once it is spent, None for never: also while the shortest window of all has nothing bad, for
            what a long window still has of a fault that is over does not go on.
        burn: every window of its alerts, the shortest first.
        verdicts: one per alert of the objective, in the order of ``alerts_of``.
    """

    period: EventCount
    remaining_ratio: float | None
    is_enough: bool
    exhaustion_s: float | None
    burn: tuple[Burn, ...]
    verdicts: tuple[Verdict, ...]


def evaluate(objective: Objective, counted: Counted, now_s: float) -> Evaluation:
    """Return what is to be said of an objective by what has counted its events."""
    target = objective.target
    windows_s = windows(objective)
    events = {window_s: counted.count(window_s, now_s) for window_s in windows_s}
    period = events.get(objective.period_s) or counted.count(objective.period_s, now_s)
    at = {**events, objective.period_s: period}
    return Evaluation(
        period=period,
        remaining_ratio=remaining_ratio(period, target),
        is_enough=is_enough(period, target),
        exhaustion_s=_exhaustion_s(objective, period, events),
        burn=tuple(Burn(window_s, burn_rate(events[window_s], target), events[window_s]) for window_s in windows_s),
        verdicts=tuple(
            judge_any(alert, objective, period, at[alert.long_s], at[alert.short_s]) for alert in alerts_of(objective)
        ),
    )


def _exhaustion_s(objective: Objective, period: EventCount, events: dict[float, EventCount]) -> float | None:
    if is_exhausted(period, objective.target):
        return 0.0
    if events and not events[min(events)].bad:
        return None
    looking = [alert.long_s for alert in alerts_of(objective) if alert.tier is not Tier.EXHAUSTED]
    window_s = min(looking, default=objective.period_s)
    left_s = exhaustion_s(period, events.get(window_s, period), window_s, objective.target)
    return None if isinf(left_s) else left_s
