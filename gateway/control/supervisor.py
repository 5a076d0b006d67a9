"""The supervisor: owns the listening sockets, and puts policy, workers, probes and the management API together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.control import runtime_file, state_dir
from gateway.control.admin.sign_in import SignIn
from gateway.control.alerting.delivery import AlertDelivery
from gateway.control.audit.log import AuditLog
from gateway.control.copies_desk import CopiesDesk
from gateway.control.copies_process import CopiesKeeper, CopiesSpec
from gateway.control.desired import desired_pods, pod_places, pod_places_meanwhile
from gateway.control.desired_pods import FILE_NAME
from gateway.control.discovery.discovery import Discovery
from gateway.control.discovery.resolver import ThreadedResolver
from gateway.control.drift_desk import DriftDesk
from gateway.control.drift_watch import DriftWatch
from gateway.control.events import Say
from gateway.control.gateway_record import GatewayRecord
from gateway.control.generation_switch import GenerationSwitch, Vetoed
from gateway.control.http_servers import HttpServers, management_app, metrics_app
from gateway.control.jwks_keeper import JwksKeeper
from gateway.control.key_book import KeyBook
from gateway.control.key_desk import KeyDesk
from gateway.control.limit_folder import LimitFolder
from gateway.control.limit_rows import lack_of_rows, limit_rows
from gateway.control.listeners import BY_WORKERS, CERTIFICATES_EVERY_S, Listener, Listeners, look_at_certificates
from gateway.control.log_desk import LogDesk
from gateway.control.managed import Managed
from gateway.control.mesh_facts import MeshFacts
from gateway.control.mesh_pods import FIRST_LOOK_S, MeshPods
from gateway.control.messages import Pods
from gateway.control.past_desk import PastDesk
from gateway.control.pod_table import PodTable, with_unresolved
from gateway.control.policy_keeper import PolicyKeeper, Surroundings
from gateway.control.quota_desk import QuotaDesk
from gateway.control.quota_keeper import QuotaKeeper
from gateway.control.reports import AddressesReport, MeshView, PodsReport, PolicyReport, StatusReport
from gateway.control.rolling_restart import RollingRestart
from gateway.control.rollout_reports import RolloutReport
from gateway.control.rollouts.desk import RolloutDesk
from gateway.control.rollouts.keeper import RolloutKeeper
from gateway.control.rollouts.keeper import Surroundings as AroundRollouts
from gateway.control.rollouts.view import rollouts_report
from gateway.control.runtime_file import RunningMesh
from gateway.control.sample_desk import SampleDesk
from gateway.control.shadow_desk import ShadowDesk
from gateway.control.slo_keeper import SloKeeper
from gateway.control.slo_past_reports import AlertsReport, SlotsReport
from gateway.control.slo_past_view import alerts_report, slots_report
from gateway.control.slo_reports import ActivityReport, HistoryQuestion, SloHistoryReport, SloReport
from gateway.control.slo_view import activity_report, history_report, slo_report
from gateway.control.state_dir import write_private
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
from gateway.control.worker_desk import WorkerDesk
from gateway.control.worker_process import PROGRAM, WorkerSpec
from gateway.control.workers import GenerationBlob, Workers
from gateway.copies.reports import ShadowSays
from gateway.decide.rollouts.progress import stage_of
from gateway.decide.stage import Stage
from gateway.decisions.folder import FOLDER as DECISIONS
from gateway.limits.file import open_table
from gateway.limits.table import LimitTable, RowKind
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import error as error_line
from telemetry.logs.line import warning
from telemetry.logs.log import LOG
from telemetry.logs.raised import raised

if TYPE_CHECKING:
    from gateway.control.probe import PodProbes, Report

_DEFECT_PAUSE_S = 1.0
# What the copies process keeps of requests: once policy wants none of it, it removes that before it leaves.
COPIES_LEFT = ("recordings", "samples", "shadows.kept", "labels.db")


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """What the command line says.

    Attributes:
        workers: how many.
        local_key_sha256: of the key that this start adds to a tenant, "" for none.
        lifeline_fd: a pipe whose end means that whoever started us is gone; None without one.
        records: path of the sidecar's socket for what workers record; "" records nothing.
        runtime_file: where this user's commands look for the mesh.
        worker_program: the command of a worker before our options.
        audit_checkpoints: another file that checkpoints of the audit log are copied to, None without one.
    """

    policies: Path
    state: Path
    workers: int
    runtime_file: Path
    local_key_sha256: str = ""
    lifeline_fd: int | None = None
    records: str = ""
    drain_delay_s: float = 0.0
    drain_within_s: float = 30.0
    worker_program: tuple[str, ...] = PROGRAM
    audit_checkpoints: Path | None = None


class StopRequest:
    """Set by a signal, or by the end of whoever started us."""

    def __init__(self, lifeline_fd: int | None) -> None:
        self._asked = asyncio.Event()
        self.why = ""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ask, "SIGTERM")
        # To who runs it by hand it means that the terminal is gone, to all others a rolling restart.
        self.is_ended_by_hangup = lifeline_fd is None and os.isatty(0)
        if self.is_ended_by_hangup:
            loop.add_signal_handler(signal.SIGHUP, self._ask, "SIGHUP")
        else:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as long as there is nothing to restart
        if lifeline_fd is None:
            loop.add_signal_handler(signal.SIGINT, self._ask, "SIGINT")
        else:
            # Ctrl-C is for whoever started us, who then says what to do.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.set_blocking(lifeline_fd, False)
            loop.add_reader(lifeline_fd, self._read_lifeline, lifeline_fd)

    def _ask(self, why: str) -> None:
        self.why = self.why or why
        self._asked.set()

    def _read_lifeline(self, descriptor: int) -> None:
        try:
            ended = not os.read(descriptor, 1024)
        except BlockingIOError:
            return
        if ended:
            asyncio.get_running_loop().remove_reader(descriptor)
            self._ask("the parent process is gone")

    async def wait(self) -> None:
        """Return once it is set."""
        await self._asked.wait()


async def supervise(config: SupervisorConfig, say: Say) -> None:
    """Run one mesh's gateway until it is told to stop, then drain it.

    Raises:
        StateRefused, NoPolicy, ListenRefused: it cannot start.
    """
    stop = StopRequest(config.lifeline_fd)
    state = state_dir.prepare(config.state)
    lock = state_dir.lock(state)
    try:
        runtime_file.remove_stale(state)
        state_dir.remove_half_written(state)
        audit = AuditLog(state, say, config.audit_checkpoints)
        record = GatewayRecord(audit, installed_version())
        record.started()
        policy = PolicyKeeper(config.policies, state, config.local_key_sha256, say, changed=record.policy)
        try:
            first = await policy.load_first()
            listeners = await Listeners.bind(first.snapshot.mesh)
            await Supervisor(config, state, policy, listeners, audit, say).run(stop)
        finally:
            policy.close()
            record.stopped(stop.why or "it could not go on")
            audit.close()
    finally:
        os.close(lock)


class Supervisor:
    """A gateway whose policy is loaded and whose addresses are bound."""

    def __init__(
        self,
        config: SupervisorConfig,
        state: Path,
        policy: PolicyKeeper,
        listeners: Listeners,
        audit: AuditLog,
        say: Say,
    ) -> None:
        self._config = config
        self._state = state
        self._policy = policy
        self._listeners = listeners
        self._audit = audit
        self._say = say
        self._started_s = time.monotonic()
        self._started_at_s = time.time()
        self._is_draining = False
        self._token = state_dir.admin_token(state)
        self._runtime_files = (state / runtime_file.FILE_NAME, config.runtime_file)
        self._limits_fd = open_table(state, config.workers, _rates_of(policy.in_force.snapshot))
        spec = WorkerSpec(
            listen_fds=tuple(one.socket.fileno() for one in listeners.of_workers if one.certificate is None),
            tls_fds=tuple(one.socket.fileno() for one in listeners.of_workers if one.certificate is not None),
            grpc_fds=tuple(one.socket.fileno() for one in listeners.inference_grpc),
            limits_fd=self._limits_fd,
            worker_count=config.workers,
            program=config.worker_program,
            records=config.records,
            package=installed_version(),
            decisions=str(state / DECISIONS),
        )
        self._workers = Workers(spec, policy.blob(policy.in_force.snapshot), say)
        self._switch = GenerationSwitch(self._workers)
        self._copies_desk = CopiesDesk(time.time)
        self._copies = CopiesKeeper(
            CopiesSpec(state, config.records, installed_version()),
            self._copies_desk,
            partial(self._workers.keep_told, "copies"),
            say,
            leftovers=tuple(state / name for name in COPIES_LEFT),
        )
        self._pods = MeshPods(say, self._show_pods)
        self._discovery = Discovery(self._pods.follow, ThreadedResolver(), say)
        self._slos = SloKeeper(state, say)
        slos = self._slos.engine
        self._alerts = AlertDelivery(self._slos.outboxes, slos.firing_notices, say, slos.past.told)
        self._limits = LimitTable(self._limits_fd)
        self._limit_folder = LimitFolder(self._limits)
        self._workers.listeners += [self._slos, self._limit_folder]
        self._pods.on_account.append(self._slos.loaded)
        self._copies_desk.on_labelled.append(self._slos.labelled)
        self._jwks = JwksKeeper(state, lambda keys: self._workers.keep_told(f"keys of {keys.issuer}", keys), say)
        self._keys = KeyBook(state, lambda revoked: self._workers.keep_told("revoked keys", revoked), say)
        self._workers.listeners += [self._jwks, self._keys]
        self._quotas = QuotaKeeper(state, self._limits, say)
        self._workers.listeners.append(self._quotas)
        around = AroundRollouts(
            pods=lambda: self._pods.table,
            counts=lambda: self._slos.engine.counts,
            is_same=lambda model, shadow: self._copies_desk.verdict(model, shadow) is ShadowSays.SAME,
        )
        tell_releases = partial(self._workers.keep_told, "releases")
        self._rollouts = RolloutKeeper(state, around, tell_releases, audit, say)
        self._workers.listeners.append(self._rollouts)
        self._copies_desk.on_labelled.append(self._rollouts.labelled)
        self._rolling = RollingRestart(self._workers, self._switch, say)
        self._worker_desk = WorkerDesk(self._rolling, audit, say)
        self._drift = DriftDesk(
            state, lambda: policy.in_force.snapshot, say, labels=lambda: self._copies_desk.counts.labels
        )
        self._drift_watch = DriftWatch(
            self._drift, lambda: policy.in_force.snapshot, partial(self._workers.keep_told, "drifting")
        )
        self._logs = LogDesk(state, lambda: policy.in_force.snapshot, audit, say)
        self._by_signal: set[asyncio.Task[None]] = set()
        self._servers = HttpServers()
        self._sign_in = SignIn(
            self._token, lambda: policy.in_force.snapshot, lambda: self._keys.revoked, lambda: self._jwks.trusted
        )

    async def run(self, stop: StopRequest) -> None:
        """Serve until told to stop, then drain."""
        self._announce()
        self._follow(self._policy.in_force.snapshot, None)
        self._show_certificates(self._listeners.of_workers)
        await self._quotas.expect(self._policy.in_force.snapshot)
        await self._rollouts.begin(self._policy.in_force.snapshot)
        self._workers.start_all()
        tasks = [
            self._keep_running("the watch over workers", self._workers.watch),
            self._keep_running("the rolling restart", self._rolling.run),
            self._keep_running("the policy watch", self._follow_policy),
            self._keep_running("the objectives", self._slos.run),
            self._keep_running("the alerts", self._alerts.run),
            self._keep_running("the limits of workers that are gone", self._limit_folder.run),
            self._keep_running("the audit log", self._audit.run),
            self._keep_running("the issuers' keys", self._jwks.run),
            self._keep_running("the key book", self._keys.run),
            self._keep_running("the rollouts", self._rollouts.run),
            self._keep_running("the certificates", self._follow_certificates),
            self._keep_running("the log level", self._logs.run),
            self._keep_running("the drift watch", self._drift_watch.run),
        ]
        leasing = self._keep_running("the quotas", self._quotas.run)
        copying = self._keep_running("the copies", self._copies.run)
        servers = [
            *(
                self._keep_running("the management API", partial(self._serve_management, listener))
                for listener in self._listeners.management
            ),
            *(
                self._keep_running("the metrics", partial(self._serve_metrics, listener))
                for listener in self._listeners.metrics
            ),
        ]
        await self._probe_pods()
        if not stop.is_ended_by_hangup:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._restart_by_hangup)
        await stop.wait()
        await self._drain(stop.why, tasks, (leasing, copying), servers)

    def _restart_by_hangup(self) -> None:
        if not self._is_draining:
            task = asyncio.create_task(self._worker_desk.restart_by_signal("SIGHUP"), name="restart by signal")
            self._by_signal.add(task)
            task.add_done_callback(self._by_signal.discard)

    def _announce(self) -> None:
        mesh = self._running_mesh()
        for path in self._runtime_files:
            self._publish(path, mesh)
        self._say(
            f"generation {self._policy.in_force.snapshot.generation} in force; inference on "
            f"{mesh.inference or 'no address'}, management on {mesh.management or 'no address'}"
        )

    def _running_mesh(self) -> RunningMesh:
        inference, management, metrics = (
            # Commands and dashboards of this machine have no certificate to show.
            min(listeners, key=lambda listener: listener.asks_for_certificates, default=None)
            for listeners in (self._listeners.inference, self._listeners.management, self._listeners.metrics)
        )
        return RunningMesh(
            pid=os.getpid(),
            inference=inference.url if inference else "",
            management=management.url if management else "",
            token=self._token,
            state_dir=str(self._state),
            started_at=utc(self._started_at_s),
            metrics=metrics.url if metrics else "",
            inference_grpc=next((one.address for one in self._listeners.inference_grpc), ""),
            certificate=management.certificate.pem if management and management.certificate else "",
        )

    def _publish(self, path: Path, mesh: RunningMesh) -> None:
        other = runtime_file.named_instead(path, mesh)
        if other is not None:
            self._say(
                f"{path} names the mesh of {other.state_dir} (pid {other.pid}), which runs: commands for this one "
                f"need `--state {self._state}`"
            )
            return
        try:
            runtime_file.publish(path, mesh)
        except OSError as error:
            self._say(warning(f"{path} cannot be written, so commands need `--state {self._state}`: {error.strerror}"))

    def _keep_running(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start work that lasts as long as the supervisor; a defect in it is told and costs no traffic."""

        async def keep() -> None:
            while True:
                try:
                    await work()
                except Exception as error:
                    told = f"{name} failed and starts again in {_DEFECT_PAUSE_S:g} s: {raised(error)}"
                    self._say(error_line(told, "gateway.defect"))
                    await asyncio.sleep(_DEFECT_PAUSE_S)
                else:
                    return

        return asyncio.create_task(keep(), name=name)

    async def _follow_policy(self) -> None:
        await self._policy.follow(
            Surroundings(
                pods=lambda: self._pods.table,
                workers_accepting=lambda: len(self._workers.accepting),
                switch=self._switch_to,
                follow=self._follow,
            )
        )

    async def _switch_to(self, target: GenerationBlob) -> None:
        waiting = self._policy.waiting
        if waiting is None:
            await self._switch.to(target)
            return
        if lack := await asyncio.to_thread(lack_of_rows, waiting.snapshot, self._limits):
            raise Vetoed(lack)
        # Each worker commits at its time; what it then tells must find the objectives that it counts by.
        self._slos.expect(waiting.snapshot)
        await self._quotas.expect(waiting.snapshot)
        followed = self._policy.in_force.snapshot
        try:
            await self._switch.to(target)
            followed = waiting.snapshot
        finally:
            await self._quotas.follow(followed)

    def _follow(self, in_force: Snapshot, waiting: Snapshot | None) -> None:
        """Let pods and addresses follow the generation in force, and pods the one that waits as well."""
        if waiting is None:
            places = pod_places(in_force, self._state)
        else:
            places = pod_places_meanwhile(in_force, waiting, self._state)
        pods = desired_pods(waiting or in_force, places)
        write_private(self._state / FILE_NAME, msgspec.json.format(msgspec.json.encode(pods)) + b"\n")
        self._pods.want(places)
        self._discovery.follow(places)
        # Keys of an issuer that comes with the next generation are there when it does.
        self._jwks.follow([*(waiting.mesh.jwt if waiting is not None else ()), *in_force.mesh.jwt])
        if waiting is None:
            self._slos.follow(in_force)
            self._alerts.follow(in_force.mesh.alerts)
            self._copies.follow(partial(self._policy.blob, in_force), in_force)
            self._rollouts.follow(in_force)
        if waiting is None and self._listeners.differ_from(in_force.mesh):
            self._say("mesh.yaml: listen: other addresses take effect at the next start")

    def _show_pods(self, pods: Pods) -> None:
        self._workers.show_pods(pods)
        self._copies.show_pods(pods)

    async def _follow_certificates(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATES_EVERY_S)
            changed = look_at_certificates(self._listeners.bound, self._say)
            self._show_certificates(listener for listener in changed if listener.asked.serves in BY_WORKERS)
            if any(listener.asked.serves == "admin" for listener in changed):
                for path in self._runtime_files:
                    self._publish(path, self._running_mesh())

    def _show_certificates(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            if listener.told is not None:
                self._workers.keep_told(f"certificate of {listener.address}", listener.told)

    async def _probe_pods(self) -> None:
        probes = await asyncio.to_thread(_make_probes, self._pods.probed)
        await self._discovery.first_look(FIRST_LOOK_S)
        self._pods.start_probing(probes)

    async def _serve_management(self, listener: Listener) -> None:
        view = MeshView(
            self._policy_report,
            self._pods_report,
            self._status_report,
            self._slo_report,
            self._slo_history,
            self._slo_slots,
            self._alerts_report,
            self._activity_report,
        )
        addresses = [one.address for one in self._listeners.management]
        keys = KeyDesk(self._keys, lambda: self._policy.in_force.snapshot, self._audit, self._say)
        quotas = QuotaDesk(self._quotas, lambda: self._policy.in_force.snapshot, self._audit, self._say)
        past = PastDesk(self._state, lambda: self._policy.in_force.snapshot, self._stages)
        shadows = ShadowDesk(self._copies_desk, lambda: self._policy.in_force.snapshot, self._audit, self._say)
        rollouts = RolloutDesk(self._rollouts, self._audit)
        costs = self._slos.engine.costs
        samples = SampleDesk(self._copies_desk, lambda: self._policy.in_force.snapshot, self._audit, self._say)
        managed = Managed(
            view,
            costs,
            self._audit,
            keys,
            quotas,
            past,
            rollouts,
            self._worker_desk,
            shadows,
            self._drift,
            self._logs,
            samples,
        )
        make = partial(management_app, managed, self._sign_in, listener, addresses)
        await self._servers.serve(make, listener)

    async def _serve_metrics(self, listener: Listener) -> None:
        addresses = [one.address for one in self._listeners.metrics]
        await self._servers.serve(partial(metrics_app, self._slos.engine, self._facts, addresses), listener)

    async def _drain(
        self,
        why: str,
        tasks: Sequence[asyncio.Task[None]],
        last: Sequence[asyncio.Task[None]],
        servers: Sequence[asyncio.Task[None]],
    ) -> None:
        self._say(f"draining: {why}")
        self._is_draining = True
        for task in tasks:
            task.cancel()
        self._listeners.close_inference()
        await self._workers.drain(self._config.drain_delay_s, self._config.drain_within_s)
        await self._copies.drain()
        # Workers that finish requests still need more of their quotas.
        for task in last:
            task.cancel()
        await self._discovery.stop()
        await self._pods.stop()
        self._servers.stop()
        await asyncio.gather(*tasks, *last, *servers, return_exceptions=True)
        await self._slos.stop()
        await self._quotas.stop()
        await self._rollouts.stop()
        self._keys.stop()
        for path in self._runtime_files:
            runtime_file.withdraw(path, os.getpid())
        os.close(self._limits_fd)
        self._say("drained")

    def _policy_report(self) -> PolicyReport:
        policy = self._policy
        waiting = waiting_report(policy, self._pods.table, time.monotonic())
        return policy_report(policy.in_force, policy.refusal, waiting, policy.watch.busy)

    def _pods_report(self) -> PodsReport:
        snapshot = self._policy.in_force.snapshot
        return pods_report(snapshot, self._shown_pods(), time.monotonic(), self._pods.ready_once)

    def _shown_pods(self) -> PodTable:
        return with_unresolved(self._pods.table, self._discovery.unresolved)

    def _status_report(self) -> StatusReport:
        now_s = time.monotonic()
        snapshot = self._policy.in_force.snapshot
        accepting = len(self._workers.accepting)
        pods, wanted = self._pods, self._workers.wanted
        readiness = readiness_report(snapshot, pods.table, accepting, wanted, self._is_draining, pods.ready_once)
        return StatusReport(
            mesh=snapshot.mesh.name,
            version=installed_version(),
            pid=os.getpid(),
            started_at=utc(self._started_at_s),
            uptime_s=round(now_s - self._started_s, 3),
            is_draining=self._is_draining,
            generation=snapshot.generation,
            readiness=readiness,
            workers=[worker_report(worker, now_s) for worker in self._workers.running],
            worker_restarts=self._workers.restarts,
            workers_to_replace=self._rolling.left,
            ended_workers=ended_report(self._workers.ended),
            pods=[pod_report(record, now_s) for record in self._shown_pods().values()],
            addresses=AddressesReport(
                [listener.address for listener in self._listeners.inference],
                [listener.address for listener in self._listeners.management],
                [listener.address for listener in self._listeners.metrics],
                [listener.address for listener in self._listeners.inference_grpc],
            ),
            state_dir=str(self._state),
        )

    def _stages(self) -> dict[str, Stage]:
        """Return by model where its canary stands."""
        return {model: stage_of(rollout.progress) for model, rollout in self._rollouts.rollouts.items()}

    def _rollouts_shown(self) -> tuple[RolloutReport, ...]:
        keeper = self._rollouts
        return rollouts_report(keeper.rollouts.values(), keeper.generation, time.time()).rollouts

    def _slo_report(self) -> SloReport:
        return slo_report(self._slos.engine, time.time())

    def _slo_history(self, question: HistoryQuestion) -> SloHistoryReport:
        return history_report(self._slos.engine, question, time.time())

    def _activity_report(self, within_s: float) -> ActivityReport:
        return activity_report(self._slos.engine, within_s, time.time())

    def _slo_slots(self, slo: str, model: str) -> SlotsReport:
        return slots_report(self._slos.engine, slo, model, time.time())

    def _alerts_report(self) -> AlertsReport:
        return alerts_report(self._slos.engine, self._slos.outboxes.untold, time.time())

    def _facts(self) -> MeshFacts:
        total, running = self._workers.total, self._workers.running
        return MeshFacts(
            generation=self._policy.in_force.snapshot.generation,
            worker_restarts=self._workers.restarts,
            pods=tuple(self._pods.table.values()),
            dropped={
                **self._slos.dropped,
                ("audit_records", "unavailable"): self._audit.unrecorded,
                **{("copies", why): count for why, count in total.copies_lost.items()},
            },
            is_refused=self._policy.refusal is not None,
            reloads=dict(self._policy.reloads),
            jwks_stale_s=self._jwks.stale_s,
            quotas=self._quotas.standings,
            rollouts=self._rollouts_shown(),
            limit_rows=self._limits.row_count,
            loop_lag_s={worker.index: worker.counts.lag_s for worker in running},
            waiting=total.waiting,
            retries={"sent": total.retries, "no_budget": total.retries_refused},
            ejected={worker.index: worker.counts.ejected for worker in running},
            waits=total.waits,
            ejections=total.ejections,
            links={worker.index: worker.counts.links for worker in running},
            shadows=self._copies_desk.reports,
            copies=self._copies_desk.counts,
            alerts_sent=self._slos.outboxes.counts,
            host_name=socket.gethostname(),
            log_lines=dict(Counter(total.log_lines) + LOG.lines),
            log_suppressed=total.log_suppressed + LOG.suppressed,
        )


def _rates_of(snapshot: Snapshot) -> list[str]:
    return [key for key, kind in limit_rows(snapshot) if kind is RowKind.RATE]


def _make_probes(report: Report) -> PodProbes:
    """Import and make what probes; the import takes too long for the supervisor's loop."""
    from gateway.control.probe import PodProbes

    return PodProbes(report)
