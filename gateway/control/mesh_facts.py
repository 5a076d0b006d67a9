"""What the supervisor knows of the mesh beside what was counted, for whoever shows it as metrics."""

from __future__ import annotations

from msgspec import Struct

from gateway.control.messages import Waits
from gateway.control.pod_table import PodRecord
from gateway.control.policy_changes import Outcome
from gateway.control.quota_view import Standing
from gateway.control.rollout_reports import RolloutReport
from gateway.control.slo_engine import Dropped
from gateway.copies.messages import CopyCounts
from gateway.copies.reports import ShadowReport


class MeshFacts(Struct, frozen=True):
    """The mesh at one moment.

    Attributes:
        dropped: what was not counted, not told or not kept since the supervisor's start.
        is_refused: the policy files are, and an earlier generation stays in force.
        reloads: changed sets of policy files since the supervisor's start, by what became of them.
        host_name: as TorchServe's metrics name the machine.
        quotas: how each stands.
        rollouts: where each stands.
        limit_rows: of the limit table, that are taken.
        loop_lag_s: by how much each worker's loop was late at worst lately, by its index.
        waiting: requests that wait for a pod to have room.
        retries: requests that a pod failed, by what became of them: ``sent`` to another, or ``no_budget``.
        ejected: how many pods each worker leaves out because they failed its requests, by its index.
        waits: of requests that waited for a pod to have room, and wait no more.
        ejections: by model, how often a worker left a pod out because it failed its requests.
        links: how many each worker has open to pods, by its index.
        shadows: what every shadow has come to.
        copies: what the copies process has counted since its start.
        log_lines: that the supervisor and its workers logged, by level.
        log_suppressed: that they did not log: too many of one event, or nobody read them.
        alerts_sent: what became of telling alerts, by receiver and result.
        jwks_stale_s: for how long each issuer's keys have been older than they should be.
    """

    generation: int
    worker_restarts: int
    pods: tuple[PodRecord, ...]
    dropped: dict[Dropped, int]
    host_name: str
    is_refused: bool = False
    reloads: dict[Outcome, int] = {}
    jwks_stale_s: dict[str, float] = {}
    quotas: tuple[Standing, ...] = ()
    rollouts: tuple[RolloutReport, ...] = ()
    limit_rows: int = 0
    loop_lag_s: dict[int, float] = {}
    waiting: int = 0
    retries: dict[str, int] = {}
    ejected: dict[int, int] = {}
    waits: tuple[Waits, ...] = ()
    ejections: dict[str, int] = {}
    links: dict[int, int] = {}
    shadows: tuple[ShadowReport, ...] = ()
    copies: CopyCounts = CopyCounts({}, {}, {})
    log_lines: dict[str, int] = {}
    log_suppressed: int = 0
    alerts_sent: dict[tuple[str, str], int] = {}
