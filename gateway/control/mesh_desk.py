"""Mesh desk: shows what a supervisor's parts know, to the management API and to metrics; it changes nothing."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable

from gateway.control.mesh_facts import MeshFacts
from gateway.control.parts import Parts
from gateway.control.pod_table import PodTable, with_unresolved
from gateway.control.reports import AddressesReport, MeshView, PodsReport, PolicyReport, StatusReport
from gateway.control.rollout_reports import RolloutReport
from gateway.control.rollouts.view import rollouts_report
from gateway.control.slo_past_reports import AlertsReport, SlotsReport
from gateway.control.slo_past_view import alerts_report, slots_report
from gateway.control.slo_reports import ActivityReport, HistoryQuestion, SloHistoryReport, SloReport
from gateway.control.slo_view import activity_report, history_report, slo_report
from gateway.control.view import (
    ended_report,
    installed_version,
    pod_report,
    pods_report,
    policy_report,
    readiness_report,
    utc,
    waiting_report,
    worker_report,
)
from gateway.decide.rollouts.progress import stage_of
from gateway.decide.stage import Stage
from telemetry.logs.log import LOG


class MeshDesk:
    """What is known of the mesh at the moment when somebody asks.

    Args:
        started_s: by the monotonic clock.
        started_at_s: Unix seconds.
    """

    def __init__(self, parts: Parts, is_draining: Callable[[], bool], started_s: float, started_at_s: float) -> None:
        self._parts = parts
        self._is_draining = is_draining
        self._started_s = started_s
        self._started_at_s = started_at_s

    @property
    def view(self) -> MeshView:
        """What the management API can see."""
        return MeshView(
            self._policy_report,
            self._pods_report,
            self._status_report,
            self._slo_report,
            self._slo_history,
            self._slo_slots,
            self._alerts_report,
            self._activity_report,
        )

    def stages(self) -> dict[str, Stage]:
        """Return by model where its canary stands."""
        return {model: stage_of(rollout.progress) for model, rollout in self._parts.rollouts.rollouts.items()}

    def facts(self) -> MeshFacts:
        """Return the mesh at this moment, as metrics show it."""
        parts = self._parts
        total, running = parts.workers.total, parts.workers.running
        return MeshFacts(
            generation=parts.in_force().generation,
            worker_restarts=parts.workers.restarts,
            pods=tuple(parts.pods.table.values()),
            dropped={
                **parts.slos.dropped,
                ("audit_records", "unavailable"): parts.audit.unrecorded,
                **{("copies", why): count for why, count in total.copies_lost.items()},
            },
            is_refused=parts.policy.refusal is not None,
            reloads=dict(parts.policy.reloads),
            jwks_stale_s=parts.jwks.stale_s,
            quotas=parts.quotas.standings,
            rollouts=self._rollouts_shown(),
            limit_rows=parts.limits.row_count,
            loop_lag_s={worker.index: worker.counts.lag_s for worker in running},
            waiting=total.waiting,
            retries={"sent": total.retries, "no_budget": total.retries_refused},
            ejected={worker.index: worker.counts.ejected for worker in running},
            waits=total.waits,
            ejections=total.ejections,
            links={worker.index: worker.counts.links for worker in running},
            shadows=parts.copies_desk.reports,
            copies=parts.copies_desk.counts,
            alerts_sent=parts.slos.outboxes.counts,
            host_name=socket.gethostname(),
            log_lines=dict(Counter(total.log_lines) + Counter(dict(LOG.lines))),
            log_suppressed=total.log_suppressed + LOG.suppressed,
        )

    def _policy_report(self) -> PolicyReport:
        policy = self._parts.policy
        waiting = waiting_report(policy, self._parts.pods.table, time.monotonic())
        return policy_report(policy.in_force, policy.refusal, waiting, policy.watch.busy)

    def _pods_report(self) -> PodsReport:
        snapshot = self._parts.in_force()
        return pods_report(snapshot, self._shown_pods(), time.monotonic(), self._parts.pods.ready_once)

    def _shown_pods(self) -> PodTable:
        return with_unresolved(self._parts.pods.table, self._parts.discovery.unresolved)

    def _status_report(self) -> StatusReport:
        parts, now_s = self._parts, time.monotonic()
        snapshot = parts.in_force()
        accepting = len(parts.workers.accepting)
        pods, wanted = parts.pods, parts.workers.wanted
        readiness = readiness_report(snapshot, pods.table, accepting, wanted, self._is_draining(), pods.ready_once)
        return StatusReport(
            mesh=snapshot.mesh.name,
            version=installed_version(),
            pid=os.getpid(),
            started_at=utc(self._started_at_s),
            uptime_s=round(now_s - self._started_s, 3),
            is_draining=self._is_draining(),
            generation=snapshot.generation,
            readiness=readiness,
            workers=[worker_report(worker, now_s) for worker in parts.workers.running],
            worker_restarts=parts.workers.restarts,
            workers_to_replace=parts.rolling.left,
            ended_workers=ended_report(parts.workers.ended),
            pods=[pod_report(record, now_s) for record in self._shown_pods().values()],
            addresses=AddressesReport(
                [listener.address for listener in parts.listeners.inference],
                [listener.address for listener in parts.listeners.management],
                [listener.address for listener in parts.listeners.metrics],
                [listener.address for listener in parts.listeners.inference_grpc],
            ),
            state_dir=str(parts.state),
        )

    def _rollouts_shown(self) -> tuple[RolloutReport, ...]:
        keeper = self._parts.rollouts
        return rollouts_report(keeper.rollouts.values(), keeper.generation, time.time()).rollouts

    def _slo_report(self) -> SloReport:
        return slo_report(self._parts.slos.engine, time.time())

    def _slo_history(self, question: HistoryQuestion) -> SloHistoryReport:
        return history_report(self._parts.slos.engine, question, time.time())

    def _activity_report(self, within_s: float) -> ActivityReport:
        return activity_report(self._parts.slos.engine, within_s, time.time())

    def _slo_slots(self, slo: str, model: str) -> SlotsReport:
        return slots_report(self._parts.slos.engine, slo, model, time.time())

    def _alerts_report(self) -> AlertsReport:
        return alerts_report(self._parts.slos.engine, self._parts.slos.outboxes.untold, time.time())
