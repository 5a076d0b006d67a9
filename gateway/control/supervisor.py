"""The supervisor's life: it binds the sockets, starts workers and all that runs beside them, and drains in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.control import runtime_file, state_dir
from gateway.control.administration import Administration
from gateway.control.announcement import Announcement
from gateway.control.audit.log import AuditLog
from gateway.control.config import SupervisorConfig
from gateway.control.events import Say
from gateway.control.following import Following
from gateway.control.gateway_record import GatewayRecord
from gateway.control.listeners import BY_WORKERS, CERTIFICATES_EVERY_S, Listener, Listeners, look_at_certificates
from gateway.control.mesh_desk import MeshDesk
from gateway.control.mesh_pods import FIRST_LOOK_S
from gateway.control.parts import Parts
from gateway.control.policy_keeper import PolicyKeeper
from gateway.control.stop_request import StopRequest
from gateway.control.view import installed_version
from telemetry.logs.line import error as error_line
from telemetry.logs.raised import raised

if TYPE_CHECKING:
    from gateway.control.probe import PodProbes, Report

_DEFECT_PAUSE_S = 1.0


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
        started_s, started_at_s = time.monotonic(), time.time()
        token = state_dir.admin_token(state)
        self._config = config
        self._listeners = listeners
        self._say = say
        self._is_draining = False
        self._announcement = Announcement(state, config.runtime_file, listeners, token, started_at_s, say)
        self._parts = Parts(config, state, policy, listeners, audit, say)
        self._following = Following(self._parts, say)
        desk = MeshDesk(self._parts, lambda: self._is_draining, started_s, started_at_s)
        self._administration = Administration(self._parts, desk, token, say)
        self._by_signal: set[asyncio.Task[None]] = set()

    async def run(self, stop: StopRequest) -> None:
        """Serve until told to stop, then drain."""
        parts = self._parts
        self._announce()
        self._following.begin()
        self._show_certificates(self._listeners.of_workers)
        await parts.quotas.expect(parts.in_force())
        await parts.rollouts.begin(parts.in_force())
        parts.workers.start_all()
        tasks = [
            self._keep_running("the watch over workers", parts.workers.watch),
            self._keep_running("the rolling restart", parts.rolling.run),
            self._keep_running("the policy watch", self._following.run),
            self._keep_running("the objectives", parts.slos.run),
            self._keep_running("the alerts", parts.alerts.run),
            self._keep_running("the limits of workers that are gone", parts.limit_folder.run),
            self._keep_running("the audit log", parts.audit.run),
            self._keep_running("the issuers' keys", parts.jwks.run),
            self._keep_running("the key book", parts.keys.run),
            self._keep_running("the rollouts", parts.rollouts.run),
            self._keep_running("the certificates", self._follow_certificates),
            self._keep_running("the log level", parts.logs.run),
            self._keep_running("the drift watch", parts.drift_watch.run),
        ]
        leasing = self._keep_running("the quotas", parts.quotas.run)
        copying = self._keep_running("the copies", parts.copies.run)
        servers = [
            *(
                self._keep_running("the management API", partial(self._administration.serve_management, listener))
                for listener in self._listeners.management
            ),
            *(
                self._keep_running("the metrics", partial(self._administration.serve_metrics, listener))
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
            task = asyncio.create_task(self._parts.worker_desk.restart_by_signal("SIGHUP"), name="restart by signal")
            self._by_signal.add(task)
            task.add_done_callback(self._by_signal.discard)

    def _announce(self) -> None:
        mesh = self._announcement.publish()
        self._say(
            f"generation {self._parts.in_force().generation} in force; inference on "
            f"{mesh.inference or 'no address'}, management on {mesh.management or 'no address'}"
        )

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

    async def _follow_certificates(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATES_EVERY_S)
            changed = look_at_certificates(self._listeners.bound, self._say)
            self._show_certificates(listener for listener in changed if listener.asked.serves in BY_WORKERS)
            if any(listener.asked.serves == "admin" for listener in changed):
                self._announcement.publish()

    def _show_certificates(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            if listener.told is not None:
                self._parts.workers.keep_told(f"certificate of {listener.address}", listener.told)

    async def _probe_pods(self) -> None:
        probes = await asyncio.to_thread(_make_probes, self._parts.pods.probed)
        await self._parts.discovery.first_look(FIRST_LOOK_S)
        self._parts.pods.start_probing(probes)

    async def _drain(
        self,
        why: str,
        tasks: Sequence[asyncio.Task[None]],
        last: Sequence[asyncio.Task[None]],
        servers: Sequence[asyncio.Task[None]],
    ) -> None:
        parts = self._parts
        self._say(f"draining: {why}")
        self._is_draining = True
        for task in tasks:
            task.cancel()
        self._listeners.close_inference()
        await parts.workers.drain(self._config.drain_delay_s, self._config.drain_within_s)
        await parts.copies.drain()
        # Workers that finish requests still need more of their quotas.
        for task in last:
            task.cancel()
        await parts.discovery.stop()
        await parts.pods.stop()
        self._administration.stop()
        await asyncio.gather(*tasks, *last, *servers, return_exceptions=True)
        await parts.slos.stop()
        await parts.quotas.stop()
        await parts.rollouts.stop()
        parts.keys.stop()
        self._announcement.withdraw()
        os.close(parts.limits_fd)
        self._say("drained")


def _make_probes(report: Report) -> PodProbes:
    """Import and make what probes; the import takes too long for the supervisor's loop."""
    from gateway.control.probe import PodProbes

    return PodProbes(report)
