"""Told: objectives and their counts as the mesh tells them, made into what judges."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct

from policies.snapshot.slos import BurnAlert, Guards, Objective
from telemetry.slo.alerts import Tier
from telemetry.slo.events import EventCount
from telemetry.slo.windows import LEVELS, Slots

_LEVEL_OF = {level.slot_s: level for level in LEVELS}


class ToldAlert(Struct, frozen=True):
    """One alert of an objective, as far as judging needs it."""

    severity: str
    name: str
    factor: float
    long_s: float
    short_s: float
    tier: str = "fast"


class ToldObjective(Struct, frozen=True):
    """One objective of one model; what else is told of it is passed over.

    Attributes:
        good, bad: events of its period.
    """

    name: str
    model: str
    target: float
    period_s: float
    good: int
    bad: int
    owner: str = ""
    good_when: str = ""
    alerts: tuple[ToldAlert, ...] = ()
    guards: Guards = Guards()
    likely_within_s: float = 0.0


class ToldLevel(Struct, frozen=True):
    """Counts in slots of one length, one after another."""

    slot_s: int
    starts_s: tuple[int, ...]
    good: tuple[int, ...]
    bad: tuple[int, ...]


class ToldSlots(Struct, frozen=True):
    """All that is counted of an objective.

    Attributes:
        attended: from when to when somebody counted.
    """

    at_s: float
    levels: tuple[ToldLevel, ...]
    attended: tuple[tuple[float, float], ...] = ()


def objective_of(told: ToldObjective) -> Objective:
    """Return the objective that judges as the one that was told of does."""
    tiers = {alert.tier for alert in told.alerts}
    return Objective(
        told.name,
        told.owner,
        told.period_s,
        told.target,
        model=told.model,
        alerts=tuple(
            BurnAlert(one.severity, one.name, one.factor, one.long_s, one.short_s)
            for one in told.alerts
            if one.tier not in (Tier.LIKELY, Tier.EXHAUSTED)
        ),
        guards=told.guards,
        likely_within_s=told.likely_within_s if Tier.LIKELY in tiers else 0.0,
        tells_exhausted=Tier.EXHAUSTED in tiers,
    )


def slots_of(told: ToldSlots) -> Slots:
    """Return what was counted; of levels that are not known here nothing."""
    slots = Slots()
    for level in told.levels:
        if level.slot_s in _LEVEL_OF:
            for start_s, good, bad in zip(level.starts_s, level.good, level.bad, strict=True):
                slots.put_back(_LEVEL_OF[level.slot_s], start_s, EventCount(good, bad))
    return slots


def unknown(told: ToldSlots, from_s: float, to_s: float) -> tuple[tuple[float, float], ...]:
    """Return from when to when nobody counted in a time."""
    known = sorted(
        (max(begin, from_s), min(end, to_s)) for begin, end in told.attended if begin < to_s and end > from_s
    )
    edges = [(from_s, from_s), *known, (to_s, to_s)]
    merged = [edges[0]]
    for begin, end in edges[1:]:
        if begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple((before[1], after[0]) for before, after in pairwise(merged) if after[0] - before[1] > LEVELS[0].slot_s)
