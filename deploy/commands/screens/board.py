"""Decides what a running mesh does from two looks at it: rates and shares are what happened between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.control.reports import PodReport, StableReport, StatusReport
from gateway.control.slo_reports import ActivityReport, AlertReport, ModelActivityReport, ObjectiveReport, SloReport

# The worst first; what is not named is fine.
_STATES = ("page", "exhausted", "likely", "ticket", "no_data", "ok")
_SERVING = ("ready", "restarting")
# Pods are probed once a second or so: what lies closer together says nothing of a rate.
_LEAST_BETWEEN_S = 0.2


class Look(Struct, frozen=True):
    """What the management API said at one moment.

    Attributes:
        at_s: any clock that only goes forward.
        status: None where whoever asks may not see the whole mesh.
    """

    at_s: float
    pods: Sequence[PodReport]
    stable: Sequence[StableReport]
    slo: SloReport
    activity: ActivityReport
    status: StatusReport | None = None


class PodLine(Struct, frozen=True):
    """One pod; what is None is not known.

    Attributes:
        batch_rows: of its batches since the look before, on average.
        busy: share of the time since then in which a batch held its device.
    """

    name: str
    model: str
    version: str
    state: str
    device: str
    queued_rows: int | None
    running_rows: int | None
    batch_rows: float | None
    busy: float | None
    restarts: int | None
    message: str


class VersionLine(Struct, frozen=True):
    """One version of a model; what is None could not be measured.

    Attributes:
        budget: what is left of the error budget of the model's worst objective, below 0 when more was spent.
        is_budget_sure: there were enough events to trust it.
        state: of its pods where too few are ready, else of its model's objectives, the worst.
        busy: of its pods together, 1 for all of them all the time.
    """

    model: str
    version: str
    is_stable: bool
    requests_per_s: float
    error_ratio: float | None
    p50_s: float | None
    p99_s: float | None
    queued_rows: int | None
    running_rows: int | None
    batch_rows: float | None
    busy: float | None
    budget: float | None
    is_budget_sure: bool
    state: str
    ready_pods: int
    pods: int


class FiringLine(Struct, frozen=True):
    """An alert that fires.

    Attributes:
        lasted_s: since it began to.
        exhaustion_s: until its objective's budget ends; 0 once it has, None when it does not at this pace.
    """

    severity: str
    slo: str
    model: str
    name: str
    long_s: float
    long_burn: float
    lasted_s: float
    exhaustion_s: float | None


class Headline(Struct, frozen=True):
    """The mesh in one line; what is None is not for whoever asks."""

    mesh: str
    state: str
    generation: int | None
    uptime_s: float | None
    requests_per_s: float
    in_flight: int | None
    waiting: int | None
    workers: int | None
    workers_wanted: int | None
    span_s: float


class Board(Struct, frozen=True):
    """All that is shown; ``at`` is in seconds since the epoch."""

    at: float
    headline: Headline
    firing: tuple[FiringLine, ...]
    versions: tuple[VersionLine, ...]
    pods: tuple[PodLine, ...]


def board(before: Look | None, now: Look) -> Board:
    """Return what the mesh does now; without a look before there are no means and shares of pods."""
    earlier = {pod.name: pod for pod in before.pods} if before is not None else {}
    between_s = now.at_s - before.at_s if before is not None else 0.0
    pods = tuple(_pod(earlier.get(pod.name), pod, between_s) for pod in sorted(now.pods, key=lambda pod: pod.name))
    return Board(now.slo.at, _headline(now), _firing(now.slo), _versions(now, earlier, pods), pods)


def _headline(now: Look) -> Headline:
    status, per_s = now.status, sum(one.requests_per_s for one in now.activity.models)
    if status is None:
        return Headline("", "", None, None, per_s, None, None, None, None, now.activity.span_s)
    return Headline(
        status.mesh,
        "draining" if status.is_draining else "ready" if status.readiness.is_ready else "not ready",
        status.generation,
        status.uptime_s,
        per_s,
        sum(worker.in_flight for worker in status.workers),
        sum(worker.waiting for worker in status.workers),
        status.readiness.workers_accepting,
        status.readiness.workers_wanted,
        now.activity.span_s,
    )


def _firing(slo: SloReport) -> tuple[FiringLine, ...]:
    lines = [
        FiringLine(
            alert.severity,
            one.name,
            one.model,
            alert.name,
            alert.long_s,
            alert.long_burn,
            max(0.0, slo.at - (alert.since or slo.at)),
            one.exhaustion_s if one.remaining_ratio is not None else None,
        )
        for one in slo.slos
        for alert in one.alerts
        if alert.state == "firing"
    ]
    return tuple(sorted(lines, key=lambda line: (line.severity != "page", line.model, line.slo, line.name)))


def _pod(before: PodReport | None, now: PodReport, between_s: float) -> PodLine:
    is_same = before is not None and before.pid == now.pid and between_s >= _LEAST_BETWEEN_S
    held_s = _grown(before.device_s, now.device_s) if before is not None and is_same else None
    return PodLine(
        now.name,
        now.model,
        now.version,
        now.state,
        now.device or "",
        now.queued_rows,
        now.running_rows,
        _mean_rows([(before, now)] if before is not None and is_same else []),
        min(1.0, held_s / between_s) if held_s is not None else None,
        now.restarts,
        now.message,
    )


def _mean_rows(looks: Iterable[tuple[PodReport, PodReport]]) -> float | None:
    """Return how many rows the batches had that ran between two looks, of all pods together."""
    batches = rows = 0.0
    for before, now in looks:
        batches += _grown(before.batches, now.batches) or 0
        rows += _grown(before.batch_rows, now.batch_rows) or 0
    return rows / batches if batches else None


def _grown(before: float | None, now: float | None) -> float | None:
    """Return by how much a count grew; None where it is not known, or began anew."""
    return now - before if before is not None and now is not None and now >= before else None


def _versions(now: Look, earlier: dict[str, PodReport], lines: Sequence[PodLine]) -> tuple[VersionLine, ...]:
    by_version: defaultdict[tuple[str, str], list[PodLine]] = defaultdict(list)
    for line in lines:
        by_version[line.model, line.version].append(line)
    reports = {pod.name: pod for pod in now.pods}
    measured = {(one.model, one.version): one for one in now.activity.models}
    stable = {(one.model, one.version) for one in now.stable}
    objectives: defaultdict[str, list[ObjectiveReport]] = defaultdict(list)
    for one in now.slo.slos:
        objectives[one.model].append(one)
    return tuple(
        _version(
            key,
            key in stable,
            measured.get(key),
            by_version[key],
            objectives[key[0]],
            _mean_rows((earlier[pod.name], reports[pod.name]) for pod in by_version[key] if pod.batch_rows is not None),
        )
        for key in sorted(by_version.keys() | measured.keys() | stable)
    )


def _version(
    key: tuple[str, str],
    is_stable: bool,
    measured: ModelActivityReport | None,
    pods: Sequence[PodLine],
    objectives: Sequence[ObjectiveReport],
    batch_rows: float | None,
) -> VersionLine:
    worst = min(
        (one for one in objectives if one.remaining_ratio is not None),
        key=lambda one: one.remaining_ratio or 0.0,
        default=None,
    )
    busy = [pod.busy for pod in pods if pod.busy is not None]
    return VersionLine(
        *key,
        is_stable,
        measured.requests_per_s if measured is not None else 0.0,
        measured.error_ratio if measured is not None else None,
        measured.p50_s if measured is not None else None,
        measured.p99_s if measured is not None else None,
        _sum(pod.queued_rows for pod in pods),
        _sum(pod.running_rows for pod in pods),
        batch_rows,
        sum(busy) / len(busy) if busy else None,
        worst.remaining_ratio if worst is not None else None,
        worst.is_enough if worst is not None else False,
        _state(pods, objectives),
        sum(pod.state == "ready" for pod in pods),
        len(pods),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _state(pods: Sequence[PodLine], objectives: Sequence[ObjectiveReport]) -> str:
    """Return how a version is in one word: what its pods are while none serves, else how its objectives are kept."""
    if not pods:
        return "no pod"
    if all(pod.state not in _SERVING for pod in pods):
        return pods[0].state
    states = {objective_state(one) for one in objectives}
    return next((state for state in _STATES if state in states), "-").replace("_", " ")


def objective_state(objective: ObjectiveReport) -> str:
    """Return an objective's state; a ticket that only foretells the budget's end is ``likely``."""
    if objective.status != "ticket":
        return objective.status
    firing = [alert for alert in objective.alerts if alert.state == "firing"]
    return "likely" if firing and all(_is_likely(alert) for alert in firing) else "ticket"


def _is_likely(alert: AlertReport) -> bool:
    return alert.tier == "likely"
