"""The supervisor: owns the listening sockets, and puts policy, workers, probes and the management API together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.control import runtime_file, state_dir
from gateway.control.callers import token_digest
from gateway.control.desired import desired_pods, pod_places, pod_places_meanwhile
from gateway.control.desired_pods import FILE_NAME
from gateway.control.events import Say
from gateway.control.generation_switch import GenerationSwitch
from gateway.control.http_servers import HttpServers, management_server, metrics_server
from gateway.control.listeners import Listeners, url
from gateway.control.mesh_facts import MeshFacts
from gateway.control.mesh_pods import MeshPods
from gateway.control.messages import LIMITS_TABLE_BYTES
from gateway.control.policy_keeper import PolicyKeeper, Surroundings
from gateway.control.reports import AddressesReport, MeshView, PodsReport, PolicyReport, StatusReport
from gateway.control.runtime_file import RunningMesh
from gateway.control.slo_keeper import SloKeeper
from gateway.control.slo_reports import HistoryQuestion, SloHistoryReport, SloReport
from gateway.control.slo_view import history_report, slo_report
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
from gateway.control.worker_process import PROGRAM, WorkerSpec
from gateway.control.workers import GenerationBlob, Workers
from policies.snapshot import Snapshot

if TYPE_CHECKING:
    from gateway.control.probe import PodProbes, Report

_DEFECT_PAUSE_S = 1.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


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
    """

    policies: Path
    state: Path
    workers: int
    runtime_file: Path
    local_key_sha256: str = ""
    lifeline_fd: int | None = None
    records: str = ""
    drain_delay_s: float = 0.0
    drain_within_s: float = 8.0
    worker_program: tuple[str, ...] = PROGRAM


class StopRequest:
    """Set by a signal, or by the end of whoever started us."""

    def __init__(self, lifeline_fd: int | None) -> None:
        self._asked = asyncio.Event()
        self.why = ""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._ask, number.name)
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
        policy = PolicyKeeper(config.policies, state, config.local_key_sha256, say)
        first = await policy.load_first()
        listeners = await Listeners.bind(first.snapshot.mesh)
        await Supervisor(config, state, policy, listeners, say).run(stop)
    finally:
        os.close(lock)


class Supervisor:
    """A gateway whose policy is loaded and whose addresses are bound."""

    def __init__(
        self, config: SupervisorConfig, state: Path, policy: PolicyKeeper, listeners: Listeners, say: Say
    ) -> None:
        self._config = config
        self._state = state
        self._policy = policy
        self._listeners = listeners
        self._say = say
        self._started_s = time.monotonic()
        self._started_at_s = time.time()
        self._is_draining = False
        self._token = state_dir.admin_token(state)
        self._runtime_files = (state / runtime_file.FILE_NAME, config.runtime_file)
        self._limits_fd = limits_memory()
        spec = WorkerSpec(
            listen_fds=tuple(listening.fileno() for listening in listeners.inference),
            limits_fd=self._limits_fd,
            worker_count=config.workers,
            program=config.worker_program,
            records=config.records,
            package=installed_version(),
        )
        self._workers = Workers(spec, policy.blob(policy.in_force.snapshot), say)
        self._switch = GenerationSwitch(self._workers)
        self._pods = MeshPods(say, self._workers.show_pods)
        self._slos = SloKeeper(state, say)
        self._workers.listeners.append(self._slos)
        self._servers = HttpServers()

    async def run(self, stop: StopRequest) -> None:
        """Serve until told to stop, then drain."""
        self._announce()
        self._follow(self._policy.in_force.snapshot, None)
        self._workers.start_all()
        tasks = [
            self._keep_running("the watch over workers", self._workers.watch),
            self._keep_running("the policy watch", self._follow_policy),
            self._keep_running("the objectives", self._slos.run),
        ]
        servers = [
            self._keep_running("the management API", self._serve_management),
            self._keep_running("the metrics", self._serve_metrics),
        ]
        await self._probe_pods()
        await stop.wait()
        await self._drain(stop.why, tasks, servers)

    def _announce(self) -> None:
        addresses = self._listeners
        mesh = RunningMesh(
            pid=os.getpid(),
            inference=next(map(url, addresses.inference_addresses), ""),
            management=next(map(url, addresses.management_addresses), ""),
            token=self._token,
            state_dir=str(self._state),
            started_at=utc(self._started_at_s),
            metrics=next(map(url, addresses.metrics_addresses), ""),
        )
        for path in self._runtime_files:
            self._publish(path, mesh)
        self._say(
            f"generation {self._policy.in_force.snapshot.generation} in force; inference on "
            f"{mesh.inference or 'no address'}, management on {mesh.management or 'no address'}"
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
            self._say(f"{path} cannot be written, so commands need `--state {self._state}`: {error.strerror}")

    def _keep_running(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start work that lasts as long as the supervisor; a defect in it is told and costs no traffic."""

        async def keep() -> None:
            while True:
                try:
                    await work()
                except Exception as error:
                    trace = "".join(traceback.format_exception(error))
                    self._say(f"{name} failed and starts again in {_DEFECT_PAUSE_S:g} s: {trace}")
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
        if waiting is not None:
            # Each worker commits at its time; what it then tells must find the objectives that it counts by.
            self._slos.expect(waiting.snapshot)
        await self._switch.to(target)

    def _follow(self, in_force: Snapshot, waiting: Snapshot | None) -> None:
        """Let pods and addresses follow the generation in force, and pods the one that waits as well."""
        if waiting is None:
            places = pod_places(in_force, self._state)
        else:
            places = pod_places_meanwhile(in_force, waiting, self._state)
        pods = desired_pods(waiting or in_force, places)
        write_private(self._state / FILE_NAME, msgspec.json.format(msgspec.json.encode(pods)) + b"\n")
        self._pods.follow(places)
        if waiting is None:
            self._slos.follow(in_force)
        if waiting is None and self._listeners.differ_from(in_force.mesh):
            self._say("mesh.yaml: listen: other addresses take effect at the next start")

    async def _probe_pods(self) -> None:
        self._pods.start_probing(await asyncio.to_thread(_make_probes, self._pods.probed))

    async def _serve_management(self) -> None:
        view = MeshView(
            self._policy_report, self._pods_report, self._status_report, self._slo_report, self._slo_history
        )
        addresses = self._listeners.management_addresses
        make = partial(management_server, view, token_digest(self._token), addresses)
        await self._servers.serve(make, self._listeners.management)

    async def _serve_metrics(self) -> None:
        make = partial(metrics_server, self._slos.engine, self._facts, self._listeners.metrics_addresses)
        await self._servers.serve(make, self._listeners.metrics)

    async def _drain(
        self, why: str, tasks: Sequence[asyncio.Task[None]], servers: Sequence[asyncio.Task[None]]
    ) -> None:
        self._say(f"draining: {why}")
        self._is_draining = True
        for task in tasks:
            task.cancel()
        self._listeners.close_inference()
        await self._workers.drain(self._config.drain_delay_s, self._config.drain_within_s)
        await self._pods.stop()
        self._servers.stop()
        await asyncio.gather(*tasks, *servers, return_exceptions=True)
        await self._slos.stop()
        for path in self._runtime_files:
            runtime_file.withdraw(path, os.getpid())
        os.close(self._limits_fd)
        self._say("drained")

    def _policy_report(self) -> PolicyReport:
        policy = self._policy
        waiting = waiting_report(policy, self._pods.table, time.monotonic())
        return policy_report(policy.in_force, policy.refusal, waiting, policy.watch.busy)

    def _pods_report(self) -> PodsReport:
        return pods_report(self._policy.in_force.snapshot.generation, self._pods.table, time.monotonic())

    def _status_report(self) -> StatusReport:
        now_s = time.monotonic()
        snapshot = self._policy.in_force.snapshot
        accepting = len(self._workers.accepting)
        readiness = readiness_report(snapshot, self._pods.table, accepting, self._workers.wanted, self._is_draining)
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
            ended_workers=ended_report(self._workers.ended),
            pods=[pod_report(record, now_s) for record in self._pods.table.values()],
            addresses=AddressesReport(
                self._listeners.inference_addresses,
                self._listeners.management_addresses,
                self._listeners.metrics_addresses,
            ),
            state_dir=str(self._state),
        )

    def _slo_report(self) -> SloReport:
        return slo_report(self._slos.engine, time.time())

    def _slo_history(self, question: HistoryQuestion) -> SloHistoryReport:
        return history_report(self._slos.engine, question, time.time())

    def _facts(self) -> MeshFacts:
        return MeshFacts(
            generation=self._policy.in_force.snapshot.generation,
            worker_restarts=self._workers.restarts,
            pods=tuple(self._pods.table.values()),
            dropped=self._slos.dropped,
            host_name=socket.gethostname(),
        )


def limits_memory() -> int:
    """Return a memory file of zeros for the workers' shared limits; none of them can shrink it under the others."""
    descriptor = os.memfd_create("penstock-limits", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, LIMITS_TABLE_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def _make_probes(report: Report) -> PodProbes:
    """Import and make what probes; the import takes too long for the supervisor's loop."""
    from gateway.control.probe import PodProbes

    return PodProbes(report)
