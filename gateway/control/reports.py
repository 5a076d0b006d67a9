"""What the management API answers, as types; its OpenAPI is made from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gateway.control.slo_past_reports import AlertsReport, SlotsReport
from gateway.control.slo_reports import ActivityReport, HistoryQuestion, SloHistoryReport, SloReport

PodStateName = Literal["starting", "ready", "restarting", "failed", "draining"]


@dataclass(frozen=True)
class PolicyErrorReport:
    """One mistake in the policy files; lines and columns count from 1."""

    file: str
    line: int
    column: int
    problem: str
    fix: str


@dataclass(frozen=True)
class WaitingReport:
    """A good generation that is not in force yet.

    `changes` are against the one in force. `not_ready` are its stable versions, as MODEL/VERSION, without a ready pod;
    they are waited for at most `at_most_s` longer.
    """

    generation: int
    changes: list[str]
    not_ready: list[str]
    at_most_s: float


@dataclass(frozen=True)
class PolicyReport:
    """The policy in force, and what is wrong with the files if they were refused.

    `loaded_at` and `refused_at` are UTC in ISO 8601. `from_last_good` is true while the gateway runs on the policy that
    it kept, because the files were refused at its start. `changes` are against the generation before. `waiting` is the
    generation that comes next, null when there is none. `waiting_for` are changed files that another program still has
    open for writing.
    """

    generation: int
    digest: str
    loaded_at: str
    from_last_good: bool
    changes: list[str]
    waiting: WaitingReport | None
    refused_at: str | None
    errors: list[PolicyErrorReport]
    waiting_for: list[str]


@dataclass(frozen=True)
class PodReport:
    """One pod: what should run, and what its last probe found.

    `archive` and `device` are empty for a pod that somebody else runs. `probed_s_ago` is null before the first probe.
    What follows it is the pod's own account, null for a server that gives none. `device_s` says for how many seconds
    batches held the device since the pod started, the one that runs now included, `batches` and `batch_rows` how many
    have run and their rows: of two answers, the difference is what happened between.
    """

    name: str
    model: str
    version: str
    address: str
    archive: str
    device_wanted: str
    state: PodStateName
    was_ready: bool
    message: str
    probed_s_ago: float | None
    device: str | None
    queued_rows: int | None
    running_rows: int | None
    restarts: int | None
    pid: int | None
    inference_pid: int | None
    load_s: float | None
    device_s: float | None = None
    batches: int | None = None
    batch_rows: int | None = None


@dataclass(frozen=True)
class PodsReport:
    """Every pod of the generation in force, and the versions that should be stable; a caller's models alone."""

    generation: int
    pods: list[PodReport]
    stable_versions: list[StableReport]


@dataclass(frozen=True)
class WorkerReport:
    """One gateway worker; its counts are cumulative since it started.

    `waiting` are requests that wait for a pod to have room; `ejected` are ready pods that the worker leaves out because
    they failed its requests.
    """

    index: int
    pid: int
    generation: int
    is_accepting: bool
    uptime_s: float
    requests: int
    by_reason: dict[str, int]
    in_flight: int
    connections: int
    waiting: int = 0
    ejected: int = 0


@dataclass(frozen=True)
class EndedWorkersReport:
    """The counts of all workers that have ended; with those of the workers that run, they are the mesh's."""

    requests: int
    by_reason: dict[str, int]


@dataclass(frozen=True)
class StableReport:
    """Whether a model's stable version has a pod that is ready, and one that was."""

    model: str
    version: str
    is_ready: bool
    was_ready: bool


@dataclass(frozen=True)
class ReadinessReport:
    """Why the mesh is ready or not: a generation, its workers, every stable version ready once, and one of them now."""

    is_ready: bool
    workers_wanted: int
    workers_accepting: int
    stable_versions: list[StableReport]


@dataclass(frozen=True)
class AddressesReport:
    """Where the mesh listens; a port that was asked for as 0 is the one that was given."""

    inference: list[str]
    management: list[str]
    metrics: list[str]
    inference_grpc: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StatusReport:
    """The whole mesh at a glance. `started_at` is UTC in ISO 8601; `version` is Penstock's."""

    mesh: str
    version: str
    pid: int
    started_at: str
    uptime_s: float
    is_draining: bool
    generation: int
    readiness: ReadinessReport
    workers: list[WorkerReport]
    worker_restarts: int
    workers_to_replace: int
    ended_workers: EndedWorkersReport
    pods: list[PodReport]
    addresses: AddressesReport
    state_dir: str


@dataclass(frozen=True)
class RestartReport:
    """Every worker is being replaced; as many as this have yet to give way, which the status tells as well."""

    workers_to_replace: int


@dataclass(frozen=True)
class LiveReport:
    """The supervisor runs."""

    live: bool = True


@dataclass(frozen=True)
class RefusalReport:
    """The body of every refusal; `reason` is from a closed registry."""

    error: str
    code: int
    type: str
    message: str
    reason: str
    retryable: bool
    request_id: str


@dataclass(frozen=True)
class MeshView:
    """What the management API can see of the mesh.

    `slo_history` takes a question, and refuses one for an objective that is not there; `slo_slots` takes the name of an
    objective and a model, and does so too; `activity` takes how far back.
    """

    policy: Callable[[], PolicyReport]
    pods: Callable[[], PodsReport]
    status: Callable[[], StatusReport]
    slo: Callable[[], SloReport]
    slo_history: Callable[[HistoryQuestion], SloHistoryReport]
    slo_slots: Callable[[str, str], SlotsReport]
    alerts: Callable[[], AlertsReport]
    activity: Callable[[float], ActivityReport]
