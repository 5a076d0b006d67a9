"""Decides what the executive dashboard holds: what was promised and kept, what it cost, what happened."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from telemetry.hub.dashboards.happenings import Changes, Happening, happenings
from telemetry.hub.dashboards.known import models
from telemetry.hub.measured.answers import Measured, Point
from telemetry.hub.shown.answers import Objective, Overview

WORST = 5
MOST_OBJECTIVES = 20


class Cost(Struct, frozen=True):
    """What inference cost; what is None cannot be said.

    Attributes:
        device_s: devices' time that requests were charged for.
        per_thousand_s: of it, for a thousand answered requests.
        pod_s: devices' time that pods had, busy or not; idle_s is what no batch used.
    """

    device_s: float
    per_thousand_s: float | None
    pod_s: float
    idle_s: float | None
    idle_ratio: float | None


class Executive(Struct, frozen=True):
    """The answer of ``/api/executive``.

    Attributes:
        success_ratio: share of requests whose status is below 500.
        kept: objectives whose budget is not spent, of those that had events.
        worst: the models' objectives with the least of their budget left.
        points: the whole mesh in steps.
        active_models, active_versions: had a request in the span.
        observed_ratio: for how much of the span the counters were read.
    """

    mesh: str
    span: str
    at_s: float
    step_s: int
    requests: int
    success_ratio: float | None
    kept: int
    judged: int
    objectives: tuple[Objective, ...]
    objective_count: int
    worst: tuple[Objective, ...]
    points: tuple[Point, ...]
    active_models: int
    active_versions: int
    served_models: int
    cost: Cost
    happenings: tuple[Happening, ...]
    observed_ratio: float
    error: str = ""


def executive(overview: Overview, measured: Measured, changes: Changes) -> Executive:
    """Return the dashboard; those objectives come first that have least left."""
    ordered = by_budget(overview.slos)
    judged = [slo for slo in ordered if slo.remaining_ratio is not None]
    whole = measured.whole.summed if measured.whole is not None else None
    span_s = measured.at_s - measured.starts[0] if measured.starts else 0.0
    return Executive(
        overview.mesh,
        measured.span,
        measured.at_s,
        measured.step_s,
        whole.requests if whole is not None else 0,
        1 - whole.error_ratio if whole is not None and whole.error_ratio is not None else None,
        sum((slo.remaining_ratio or 0.0) > 0 for slo in judged),
        len(judged),
        tuple(ordered[:MOST_OBJECTIVES]),
        len(ordered),
        worst_models(judged),
        measured.points,
        sum(bool(one.summed.requests) for one in measured.models),
        sum(bool(one.summed.requests and one.version) for one in measured.versions),
        len(models(overview)),
        cost_of(measured),
        happenings(overview.slos, changes, measured.starts[0] if measured.starts else measured.at_s),
        min(1.0, measured.observed_s / span_s) if span_s > 0 else 0.0,
        overview.error or measured.error,
    )


def by_budget(objectives: Iterable[Objective]) -> list[Objective]:
    """Return the objectives, those with least of their budget left first, and those without events last."""
    return sorted(
        objectives,
        key=lambda slo: (slo.remaining_ratio is None, slo.remaining_ratio or 0.0, slo.model, slo.name),
    )


def worst_models(ordered: Iterable[Objective]) -> tuple[Objective, ...]:
    """Return of each of the worst models the objective that has least left."""
    found: dict[str, Objective] = {}
    for slo in ordered:
        found.setdefault(slo.model, slo)
    return tuple(found.values())[:WORST]


def cost_of(measured: Measured) -> Cost:
    """Return what the span cost."""
    whole = measured.whole.summed if measured.whole is not None else None
    if whole is None:
        return Cost(0.0, None, 0.0, None, None)
    answered = whole.by_class.get("2xx", 0) + whole.by_class.get("3xx", 0)
    idle_s = max(0.0, whole.pod_s - whole.busy_s) if whole.pod_s else None
    return Cost(
        whole.device_s,
        whole.device_s / answered * 1000 if answered else None,
        whole.pod_s,
        idle_s,
        idle_s / whole.pod_s if idle_s is not None else None,
    )
