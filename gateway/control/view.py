"""Turns what the supervisor knows into what the management API reports."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from importlib import metadata

from gateway.control import handover
from gateway.control.messages import Counts
from gateway.control.pod_table import PodRecord, PodTable
from gateway.control.policy_keeper import PolicyInForce, PolicyKeeper, PolicyRefusal
from gateway.control.reports import (
    EndedWorkersReport,
    PodReport,
    PodsReport,
    PolicyErrorReport,
    PolicyReport,
    ReadinessReport,
    StableReport,
    WaitingReport,
    WorkerReport,
)
from gateway.control.worker_process import WorkerProcess
from model_pod.wire.status import PodState
from policies import diff
from policies.snapshot.generation import Snapshot

Versions = AbstractSet[tuple[str, str]]
"""Models and their versions."""

# The requests that a pod gets while its inference process restarts wait in its queue.
_SERVES = (PodState.READY, PodState.RESTARTING)


def installed_version() -> str:
    """Return the installed version, "unknown" when it runs from a checkout that is not installed."""
    try:
        return metadata.version("penstock")
    except metadata.PackageNotFoundError:
        return "unknown"


def utc(unix_s: float) -> str:
    """Write a Unix time for people and programs."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def policy_report(
    policy: PolicyInForce, refusal: PolicyRefusal | None, waiting: WaitingReport | None, busy: Iterable[str]
) -> PolicyReport:
    """Report the generation in force, the one that waits, and the files that were refused."""
    errors = refusal.errors if refusal is not None else ()
    return PolicyReport(
        generation=policy.snapshot.generation,
        digest=policy.snapshot.digest,
        loaded_at=utc(policy.loaded_at_s),
        from_last_good=policy.is_recalled,
        changes=list(policy.changes),
        waiting=waiting,
        refused_at=utc(refusal.at_s) if refusal is not None else None,
        errors=[PolicyErrorReport(e.file, e.line, e.column, e.problem, e.fix) for e in errors],
        waiting_for=list(busy),
    )


def waiting_report(policy: PolicyKeeper, table: PodTable, now_s: float) -> WaitingReport | None:
    """Report the generation that is not in force yet, None when there is none."""
    waiting = policy.waiting
    if waiting is None:
        return None
    return WaitingReport(
        generation=waiting.snapshot.generation,
        changes=list(diff.changes(policy.in_force.snapshot, waiting.snapshot)),
        not_ready=[str(stable) for stable in handover.not_ready(waiting, table)],
        at_most_s=round(max(0.0, waiting.limit_s - now_s), 3),
    )


def pods_report(snapshot: Snapshot, table: PodTable, now_s: float, ready_once: Versions = frozenset()) -> PodsReport:
    """Report every pod."""
    pods = [pod_report(record, now_s) for record in table.values()]
    return PodsReport(snapshot.generation, pods, _stable_versions(snapshot, table, ready_once))


def pod_report(record: PodRecord, now_s: float) -> PodReport:
    """Report one pod."""
    place, status, launch = record.place, record.status, record.place.launch
    return PodReport(
        name=place.name,
        model=place.model,
        version=place.version,
        address=place.address,
        archive=launch.archive if launch is not None else "",
        device_wanted=launch.device if launch is not None else "",
        state=record.state.value,
        was_ready=record.was_ready,
        message=record.message,
        probed_s_ago=round(now_s - record.probed_s, 3) if record.probed_s is not None else None,
        device=status.device if status is not None else None,
        queued_rows=status.queued_rows if status is not None else None,
        running_rows=status.running_rows if status is not None else None,
        restarts=status.restarts if status is not None else None,
        pid=status.pid if status is not None else None,
        inference_pid=status.inference_pid if status is not None else None,
        load_s=status.load_s if status is not None else None,
        device_s=round(status.device_s + status.running_s, 6) if status is not None else None,
        batches=status.batches if status is not None else None,
        batch_rows=status.batch_rows if status is not None else None,
    )


def worker_report(worker: WorkerProcess, now_s: float) -> WorkerReport:
    """Report one worker."""
    counts = worker.counts
    return WorkerReport(
        index=worker.index,
        pid=worker.pid,
        generation=worker.generation,
        is_accepting=worker.is_accepting,
        uptime_s=round(now_s - worker.on_duty_s, 3),
        requests=counts.requests,
        by_reason=counts.by_reason,
        in_flight=counts.in_flight,
        connections=counts.connections,
        waiting=counts.waiting,
        ejected=counts.ejected,
    )


def ended_report(total: Counts) -> EndedWorkersReport:
    """Report what ended workers have counted."""
    return EndedWorkersReport(requests=total.requests, by_reason=total.by_reason)


def _stable_versions(snapshot: Snapshot, table: PodTable, ready_once: Versions) -> list[StableReport]:
    return [_stable(route.model, route.stable, table.values(), ready_once) for route in snapshot.routes.values()]


def readiness_report(
    snapshot: Snapshot,
    table: PodTable,
    workers_accepting: int,
    workers_wanted: int,
    is_draining: bool,
    ready_once: Versions = frozenset(),
) -> ReadinessReport:
    """Report whether workers are up, every stable version has been ready once, and one of them serves now."""
    stable = _stable_versions(snapshot, table, ready_once)
    served = {(route.model, route.stable) for route in snapshot.routes.values()}
    serves = not served or any(
        record.state in _SERVES and (record.place.model, record.place.version) in served for record in table.values()
    )
    return ReadinessReport(
        is_ready=not is_draining and workers_accepting > 0 and serves and all(one.was_ready for one in stable),
        workers_wanted=workers_wanted,
        workers_accepting=workers_accepting,
        stable_versions=stable,
    )


def _stable(model: str, version: str, records: Iterable[PodRecord], ready_once: Versions) -> StableReport:
    pods = [record for record in records if (record.place.model, record.place.version) == (model, version)]
    return StableReport(
        model=model,
        version=version,
        is_ready=any(record.state is PodState.READY for record in pods),
        was_ready=(model, version) in ready_once or any(record.was_ready for record in pods),
    )
