"""The parts of a supervisor, and which of them hears of which: made once, when policy is loaded and addresses bound."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from gateway.control.alerting.delivery import AlertDelivery
from gateway.control.audit.log import AuditLog
from gateway.control.config import SupervisorConfig
from gateway.control.copies_desk import CopiesDesk
from gateway.control.copies_process import COPIES_LEFT, CopiesKeeper, CopiesSpec
from gateway.control.discovery.discovery import Discovery
from gateway.control.discovery.resolver import ThreadedResolver
from gateway.control.drift_desk import DriftDesk
from gateway.control.drift_watch import DriftWatch
from gateway.control.events import Say
from gateway.control.generation_switch import GenerationSwitch
from gateway.control.jwks_keeper import JwksKeeper
from gateway.control.key_book import KeyBook
from gateway.control.limit_folder import LimitFolder
from gateway.control.limit_rows import limit_rows
from gateway.control.listeners import Listeners
from gateway.control.log_desk import LogDesk
from gateway.control.mesh_pods import MeshPods
from gateway.control.messages import Pods
from gateway.control.policy_keeper import PolicyKeeper
from gateway.control.quota_keeper import QuotaKeeper
from gateway.control.rolling_restart import RollingRestart
from gateway.control.rollouts.keeper import RolloutKeeper, Surroundings
from gateway.control.slo_keeper import SloKeeper
from gateway.control.view import installed_version
from gateway.control.worker_desk import WorkerDesk
from gateway.control.worker_process import WorkerSpec
from gateway.control.workers import Workers
from gateway.copies.reports import ShadowSays
from gateway.decisions.folder import FOLDER as DECISIONS
from gateway.limits.file import open_table
from gateway.limits.table import LimitTable, RowKind
from policies.snapshot.generation import Snapshot


class Parts:
    """Every part that decides, keeps or watches something; none of them runs before the supervisor starts it.

    Attributes:
        limits_fd: of the limit table, which workers inherit.
    """

    def __init__(
        self,
        config: SupervisorConfig,
        state: Path,
        policy: PolicyKeeper,
        listeners: Listeners,
        audit: AuditLog,
        say: Say,
    ) -> None:
        self.state = state
        self.policy = policy
        self.listeners = listeners
        self.audit = audit
        self.limits_fd = open_table(state, config.workers, _rates_of(self.in_force()))
        spec = _worker_spec(config, state, listeners, self.limits_fd)
        self.workers = Workers(spec, policy.blob(self.in_force()), say)
        self.switch = GenerationSwitch(self.workers)
        self.copies_desk = CopiesDesk(time.time)
        self.copies = CopiesKeeper(
            CopiesSpec(state, config.records, installed_version()),
            self.copies_desk,
            partial(self.workers.keep_told, "copies"),
            say,
            leftovers=tuple(state / name for name in COPIES_LEFT),
        )
        self.pods = MeshPods(say, self._show_pods)
        self.discovery = Discovery(self.pods.follow, ThreadedResolver(), say)
        self.slos = SloKeeper(state, say)
        slos = self.slos.engine
        self.alerts = AlertDelivery(self.slos.outboxes, slos.firing_notices, say, slos.past.told)
        self.limits = LimitTable(self.limits_fd)
        self.limit_folder = LimitFolder(self.limits)
        self.workers.listeners += [self.slos, self.limit_folder]
        self.pods.on_account.append(self.slos.loaded)
        self.copies_desk.on_labelled.append(self.slos.labelled)
        self.jwks = JwksKeeper(state, lambda keys: self.workers.keep_told(f"keys of {keys.issuer}", keys), say)
        self.keys = KeyBook(state, partial(self.workers.keep_told, "revoked keys"), say)
        self.workers.listeners += [self.jwks, self.keys]
        self.quotas = QuotaKeeper(state, self.limits, say)
        self.workers.listeners.append(self.quotas)
        around = Surroundings(
            pods=lambda: self.pods.table,
            counts=lambda: self.slos.engine.counts,
            is_same=lambda model, shadow: self.copies_desk.verdict(model, shadow) is ShadowSays.SAME,
        )
        self.rollouts = RolloutKeeper(state, around, partial(self.workers.keep_told, "releases"), audit, say)
        self.workers.listeners.append(self.rollouts)
        self.copies_desk.on_labelled.append(self.rollouts.labelled)
        self.rolling = RollingRestart(self.workers, self.switch, say)
        self.worker_desk = WorkerDesk(self.rolling, audit, say)
        self.drift = DriftDesk(state, self.in_force, say, labels=lambda: self.copies_desk.counts.labels)
        self.drift_watch = DriftWatch(self.drift, self.in_force, partial(self.workers.keep_told, "drifting"))
        self.logs = LogDesk(state, self.in_force, audit, say)

    def in_force(self) -> Snapshot:
        """Return the generation by which requests are decided."""
        return self.policy.in_force.snapshot

    def _show_pods(self, pods: Pods) -> None:
        self.workers.show_pods(pods)
        self.copies.show_pods(pods)


def _worker_spec(config: SupervisorConfig, state: Path, listeners: Listeners, limits_fd: int) -> WorkerSpec:
    return WorkerSpec(
        listen_fds=tuple(one.socket.fileno() for one in listeners.of_workers if one.certificate is None),
        tls_fds=tuple(one.socket.fileno() for one in listeners.of_workers if one.certificate is not None),
        grpc_fds=tuple(one.socket.fileno() for one in listeners.inference_grpc),
        limits_fd=limits_fd,
        worker_count=config.workers,
        program=config.worker_program,
        records=config.records,
        package=installed_version(),
        decisions=str(state / DECISIONS),
    )


def _rates_of(snapshot: Snapshot) -> list[str]:
    return [key for key, kind in limit_rows(snapshot) if kind is RowKind.RATE]
