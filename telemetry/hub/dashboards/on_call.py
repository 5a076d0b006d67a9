"""Decides what the on-call dashboard holds: what fires, which models are in trouble, and what may be the cause."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from telemetry.hub.dashboards.happenings import Changes, Happening, happenings
from telemetry.hub.dashboards.known import commonest, models
from telemetry.hub.measured.answers import Measured, Of, Point, Summed
from telemetry.hub.measured.fold import MESH_COUNTS
from telemetry.hub.shown.answers import Objective, Overview, Pod

MODELS_OF_A_PAGE = 25
CHARTED = 3
"""Models whose durations are drawn: those in most trouble."""

MOST_PODS = 50
MOST_REASONS = 12


class Burning(Struct, frozen=True):
    """An objective: how fast its budget burns, and when it ends at this pace."""

    objective: Objective
    exhaustion_s: float | None


class ModelLine(Struct, frozen=True):
    """One model.

    Attributes:
        rates: requests per second, step by step.
        worst: the worst state of its objectives.
        not_ready: pods that are not ready, of ``pod_count``.
    """

    model: str
    summed: Summed | None
    rates: tuple[float | None, ...]
    objectives: tuple[Objective, ...]
    worst: str
    not_ready: int
    pod_count: int
    queued_rows: int


class OnCall(Struct, frozen=True):
    """The answer of ``/api/on-call``; pages count from 1.

    Attributes:
        firing: objectives of which alerts fire, those that page first, then whose budget ends first.
        charted: the models whose durations are worth a chart.
        pods: those that are not ready or were restarted.
        counts: of the whole mesh, in the order of importance; what did not happen is 0.
        reasons: refusals and failures, the most frequent first.
        reasons_left_out: requests whose reasons are not among them.
        dropped: of telemetry, in the span.
    """

    mesh: str
    span: str
    at_s: float
    step_s: int
    whole: Summed | None
    points: tuple[Point, ...]
    firing: tuple[Burning, ...]
    models: tuple[ModelLine, ...]
    model_count: int
    page: int
    page_count: int
    charted: tuple[str, ...]
    pods: tuple[Pod, ...]
    pods_left_out: int
    counts: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, int], ...]
    reasons_left_out: int
    dropped: int
    happenings: tuple[Happening, ...]
    error: str = ""


_RANK = {"page": 0, "exhausted": 1, "ticket": 2, "ok": 3, "no_data": 4}
_DROPPED = "telemetry dropped"


def on_call(overview: Overview, measured: Measured, changes: Changes, page: int = 1) -> OnCall:
    """Return the dashboard; models in trouble come first, a page that is not there is the last."""
    lines = model_lines(overview, measured)
    page_count = max(1, -(-len(lines) // MODELS_OF_A_PAGE))
    page = min(max(1, page), page_count)
    whole = measured.whole.summed if measured.whole is not None else None
    reasons, reasons_left_out = commonest({} if whole is None else whole.reasons, MOST_REASONS)
    troubled = [pod for pod in overview.pods if pod.state != "ready" or pod.restarts]
    troubled.sort(key=lambda pod: (pod.state == "ready", -(pod.restarts or 0), pod.name))
    return OnCall(
        overview.mesh,
        measured.span,
        measured.at_s,
        measured.step_s,
        whole,
        measured.points,
        burning(overview.slos),
        tuple(lines[(page - 1) * MODELS_OF_A_PAGE : page * MODELS_OF_A_PAGE]),
        len(lines),
        page,
        page_count,
        tuple(line.model for line in lines if line.summed is not None and line.summed.requests)[:CHARTED],
        tuple(troubled[:MOST_PODS]),
        max(0, len(troubled) - MOST_PODS),
        tuple((what, measured.mesh.get(what, 0)) for what in MESH_COUNTS if what != _DROPPED),
        reasons,
        reasons_left_out,
        measured.mesh.get(_DROPPED, 0),
        happenings(overview.slos, changes, measured.starts[0] if measured.starts else measured.at_s),
        overview.error or measured.error,
    )


def burning(objectives: Iterable[Objective]) -> tuple[Burning, ...]:
    """Return the objectives of which an alert fires."""
    firing = [slo for slo in objectives if any(alert.state == "firing" for alert in slo.alerts)]
    forever = float("inf")
    firing.sort(
        key=lambda slo: (
            _RANK.get(slo.status, 0),
            forever if slo.exhaustion_s is None else slo.exhaustion_s,
            slo.model,
            slo.name,
        )
    )
    return tuple(Burning(slo, slo.exhaustion_s) for slo in firing)


def model_lines(overview: Overview, measured: Measured) -> list[ModelLine]:
    """Return every model, those in trouble first."""
    by_model = {one.model: one for one in measured.models}
    names = by_model.keys() | models(overview)
    lines = [_line(name, by_model.get(name), overview) for name in names]
    return sorted(lines, key=_trouble)


def _line(name: str, of: Of | None, overview: Overview) -> ModelLine:
    objectives = tuple(slo for slo in overview.slos if slo.model == name)
    pods = [pod for pod in overview.pods if pod.model == name]
    worst = min((slo.status for slo in objectives), key=lambda status: _RANK.get(status, 0), default="no_data")
    return ModelLine(
        name,
        of.summed if of is not None else None,
        of.rates if of is not None else (),
        objectives,
        worst,
        sum(pod.state != "ready" for pod in pods),
        len(pods),
        sum(pod.queued_rows or 0 for pod in pods),
    )


def _trouble(line: ModelLine) -> tuple[int, bool, float, str]:
    """Return what a line is sorted by: its alerts, pods that are missing, the share of errors."""
    errors = (line.summed.error_ratio or 0.0) if line.summed is not None else 0.0
    return (min(3, _RANK.get(line.worst, 0)), not line.not_ready, -errors, line.model)
