"""The mesh of one machine: starts the gateway and the pods in order, keeps them running, and drains them."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from deploy.demo.sample import read_sample
from deploy.local import gateway_process, greeting, hub, orphans, pods, sidecars
from deploy.local.companion import CompanionProcess
from deploy.local.demo_builder import DemoBuilder
from deploy.local.desired import DesiredFile, InForceFile
from deploy.local.events import EventLog
from deploy.local.gateway_process import GatewayProcess, GatewaySpec
from deploy.local.pods import PodPlaces, Pods
from deploy.local.sidecars import Reports, SidecarPlaces, Sidecars
from gateway.control import last_good
from gateway.control.desired_pods import DesiredPod
from gateway.control.runtime_file import FILE_NAME as RUNTIME_FILE
from gateway.control.runtime_file import RunningMesh
from gateway.decide.api_keys import sha256_hex
from policies.snapshot.generation import drift_by_model
from policies.snapshot.mesh import Tracing

LOOK_EVERY_S = 0.1
REMIND_EVERY_S = 10.0
READY_PROBE_TIMEOUT_S = 1.0
HUB_UP_WITHIN_S = 2.0  # what the greeting waits for it, beyond the line that says ready
HUB_LATE_S = 60.0  # and so long its address is still told by itself
GATEWAY_DRAINS_WITHIN_S = 7.5  # a little more than the gateway allows itself
FLUSH_WITHIN_S = 2.5  # what sidecars, and then the hub, get to hand on and keep the last spans
KILL_AFTER_S = 9.0  # of the ten seconds from the signal to the end
ENDED_AFTER_S = 10.0
IMPATIENT_AFTER_S = 1.0  # one Ctrl-C can arrive twice: from the terminal, and passed on by make


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """What ``penstock up`` was asked for, as absolute paths.

    Attributes:
        workers: of the gateway; None leaves it to the gateway.
        key: the local key, whole.
        gateway_program, pod_program, sidecar_program, hub_program: the commands of the processes, before our options.
    """

    policies: Path
    state: Path
    model_store: Path
    workers: int | None
    key: str
    gateway_program: tuple[str, ...] = gateway_process.PROGRAM
    pod_program: tuple[str, ...] = pods.PROGRAM
    sidecar_program: tuple[str, ...] = sidecars.PROGRAM
    hub_program: tuple[str, ...] = hub.PROGRAM


class Mesh:
    """One mesh, from its start to its end."""

    def __init__(self, config: MeshConfig, log: EventLog) -> None:
        self._config = config
        self._log = log
        self._stop_asked = asyncio.Event()
        self._look_now = asyncio.Event()
        self._exit_code = 0
        self._kill_at_s = float("inf")
        self._hasten_from_s = float("inf")
        # Only this process holds the write end: however it ends, the children read the end of the pipe and leave.
        self._lifeline_fd, self._lifeline_held_fd = os.pipe()
        side = SidecarPlaces(config.state, self._lifeline_fd, config.sidecar_program)
        self._sidecars = Sidecars(side, log.event)
        self._hub = CompanionProcess("hub", log.event, (self._lifeline_fd,))
        self._gateway = GatewayProcess(self._gateway_spec(), log.event, on_refused=self._give_up)
        places = PodPlaces(
            config.model_store,
            config.state / "extracted",
            self._lifeline_fd,
            self._reports_of,
            program=config.pod_program,
        )
        self._pods = Pods(places, log.event, on_missing=self._archive_is_missing, on_change=self._look_now.set)
        self._demo = DemoBuilder(config.model_store, log.event)
        self._desired = DesiredFile(config.state, log.event)
        self._in_force = InForceFile(config.state)

    def _gateway_spec(self) -> GatewaySpec:
        config = self._config
        return GatewaySpec(
            policies=config.policies,
            state=config.state,
            workers=config.workers,
            local_key_sha256=sha256_hex(config.key),
            lifeline_fd=self._lifeline_fd,
            records=self._sidecars.of_gateway(),
            program=config.gateway_program,
        )

    async def run(self) -> int:
        """Run until a signal says stop or the gateway's first start is refused; return the exit code."""
        self._take_signals()
        orphans.adopt_orphans()
        self._desired.forget_earlier()
        greeter = asyncio.create_task(self._greet_when_ready())
        try:
            while not self._stop_asked.is_set():
                self._look()
                await self._wait_for_news()
        finally:
            greeter.cancel()
            await self._drain()
            self._pods.close()
            self._sidecars.close()
            os.close(self._lifeline_fd)
            os.close(self._lifeline_held_fd)
            with suppress(asyncio.CancelledError):
                await greeter
        return self._exit_code

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A mesh started with nohup keeps running when its terminal closes.
            if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
                loop.add_signal_handler(number, self._stop_on, number)

    def _stop_on(self, number: signal.Signals) -> None:
        now_s = time.monotonic()
        if not self._stop_asked.is_set():
            self._hasten_from_s = now_s + IMPATIENT_AFTER_S
            self._log.event(f"mesh: {number.name}, draining (once more to end at once)")
        elif now_s >= self._hasten_from_s:
            self._log.event(f"mesh: {number.name} again, ending without draining")
            self._kill_at_s = now_s
        self._stop()

    def _stop(self) -> None:
        self._stop_asked.set()
        self._look_now.set()

    def _give_up(self) -> None:
        self._log.event("mesh: the gateway cannot start; its lines above say why and how to mend it")
        self._exit_code = 1
        self._stop()

    def _look(self) -> None:
        """See what changed, and do what must be done now."""
        now_s = time.monotonic()
        self._gateway.tend(now_s)
        self._pods.tend(self._desired.pods(), now_s)
        if not self._stop_asked.is_set():
            self._tend_telemetry(now_s)
        orphans.reap_orphans(self._known_pids())

    def _tend_telemetry(self, now_s: float) -> None:
        """See that sidecars and the hub run as the generation in force says; there is none before the first start."""
        in_force = self._in_force.read()
        if in_force is None or not self._gateway.has_started:
            return
        argv = hub.hub_argv(in_force.mesh.listen, self._config.state, self._lifeline_fd, self._config.hub_program)
        self._hub.tend(argv, now_s)
        self._sidecars.tell_watched(drift_by_model(in_force))
        self._log.follow(in_force.mesh.logs.format)
        self._sidecars.tend(self._pods.present, in_force.mesh.tracing, has_hub=argv is not None, now_s=now_s)

    def _reports_of(self, pod: DesiredPod) -> Reports | None:
        """Return where a pod that starts now reports."""
        in_force = self._in_force.read()  # the supervisor writes it before it asks for pods
        tracing = in_force.mesh.tracing if in_force is not None else Tracing()
        return self._sidecars.of_pod(pod, tracing.kept_per_s)

    def _known_pids(self) -> set[int]:
        return {self._gateway.pid, self._demo.pid, self._hub.pid} | self._pods.pids | self._sidecars.pids

    async def _wait_for_news(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look_now.wait(), LOOK_EVERY_S)
        self._look_now.clear()

    def _archive_is_missing(self, pod: DesiredPod, meanwhile: str) -> None:
        archive = self._config.model_store / pod.archive
        goes_on = f"; it goes on with {meanwhile}" if meanwhile else ""
        if self._demo.makes(pod.archive):
            self._log.event(f"pod {pod.name}: waits for {pod.archive}, which is being made{goes_on}")
        else:
            self._log.event(f"pod {pod.name}: waits for its archive: put {pod.archive} at {archive}{goes_on}")

    async def _greet_when_ready(self) -> None:
        """Wait until the gateway says that it is ready, and tell how to use it."""
        remind_at_s = time.monotonic() + REMIND_EVERY_S
        while True:
            mesh = self._published()
            said = await asyncio.to_thread(probe_ready, mesh.inference) if mesh else "the gateway is starting"
            if mesh and not said:
                await self._greet(mesh)
                return
            if time.monotonic() >= remind_at_s:
                remind_at_s += REMIND_EVERY_S
                self._log.event(f"mesh: not ready yet: {said}")
            await asyncio.sleep(LOOK_EVERY_S)

    def _published(self) -> RunningMesh | None:
        """Return what the supervisor that runs now has published; None before it has."""
        try:
            mesh = msgspec.json.decode((self._config.state / RUNTIME_FILE).read_bytes(), type=RunningMesh)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if mesh.pid != self._gateway.pid:
            return None
        self._gateway.has_started = True
        return mesh

    async def _greet(self, mesh: RunningMesh) -> None:
        log = self._log
        log.event("mesh: ready")
        log.plain(f"inference   {mesh.inference}")
        if mesh.inference_grpc:
            log.plain(f"gRPC        {mesh.inference_grpc}")
        log.plain(f"management  {mesh.management}")
        if mesh.metrics:
            log.plain(f"metrics     {mesh.metrics}/metrics")
        dashboards = await self._dashboards(HUB_UP_WITHIN_S)
        if told := dashboards or self._promised_dashboards():
            log.plain(f"dashboards  {told}")
        log.plain(f"key         {self._config.key}")
        self._greet_with_an_example(mesh)
        if not dashboards and (late := await self._dashboards(HUB_LATE_S)):
            log.plain(f"dashboards  {late}")

    def _dashboards_address(self) -> str | None:
        """Return the address that policy lists for the pages, None where it lists none."""
        in_force = self._in_force.read()
        return hub.dashboards_address(in_force.mesh.listen) if in_force is not None else None

    def _promised_dashboards(self) -> str:
        address = self._dashboards_address()
        return greeting.promised_url(address) if address is not None else ""

    async def _dashboards(self, within_s: float) -> str:
        """Return where the pages are, "" where no hub says so in time; one that is still starting is waited for."""
        give_up_s = time.monotonic() + within_s
        while self._dashboards_address() is not None and time.monotonic() < give_up_s:
            running = hub.running_hub(self._config.state)
            if running is not None and running.pid == self._hub.pid:
                return running.dashboards
            await asyncio.sleep(LOOK_EVERY_S)
        return ""

    def _greet_with_an_example(self, mesh: RunningMesh) -> None:
        log = self._log
        in_force = last_good.recall(self._config.state)
        route = greeting.greeted_route(in_force.snapshot.routes) if in_force else None
        if route is None:
            log.plain(f"no route is in force: add one in {self._config.policies / 'routes'}")
            return
        launch = greeting.stable_version(route).launch
        archive = self._config.model_store / launch.archive if launch else None
        sample_input = read_sample(archive, greeting.SAMPLE_INPUT) if archive else None
        expected = greeting.expected_answer(read_sample(archive, greeting.SAMPLE_OUTPUT)) if archive else ""
        log.plain(f"try it{f'; the answer should say {expected}' if expected else ''}:")
        log.plain(greeting.curl_line(mesh.inference, self._config.key, route.model, sample_input))

    async def _drain(self) -> None:
        """End everything in the order that loses nothing: the gateway finishes its requests while pods still run."""
        stopped_s = time.monotonic()
        self._kill_at_s = min(self._kill_at_s, stopped_s + KILL_AFTER_S)
        self._demo.kill()
        self._gateway.stop()
        await self._until(lambda: self._gateway.pid == 0, stopped_s + GATEWAY_DRAINS_WITHIN_S)
        self._pods.stop_all(time.monotonic())
        await self._until(lambda: not self._pods.pids, self._kill_at_s)
        self._sidecars.stop_all()
        await self._until(
            lambda: not self._sidecars.pids - {0}, min(self._kill_at_s, time.monotonic() + FLUSH_WITHIN_S)
        )
        self._hub.stop()
        await self._until(lambda: not self._hub.pid, min(self._kill_at_s, time.monotonic() + FLUSH_WITHIN_S))
        self._gateway.kill()
        self._pods.kill_all()
        self._sidecars.kill_all()
        self._hub.kill()
        self._kill_at_s = float("inf")
        await self._until(self._nothing_is_left, stopped_s + ENDED_AFTER_S)
        self._log.event(f"mesh: everything has stopped ({time.monotonic() - stopped_s:.1f} s)")

    def _nothing_is_left(self) -> bool:
        orphans.kill_children()
        orphans.reap_orphans(self._known_pids())
        return not orphans.has_children()

    async def _until(self, is_done: Callable[[], bool], deadline_s: float) -> None:
        # The moment of killing is looked at anew each time: a second signal makes it now.
        while not is_done() and time.monotonic() < min(deadline_s, self._kill_at_s):
            await self._wait_for_news()


def probe_ready(inference_url: str) -> str:
    """Ask the gateway whether it is ready; return "" when it is, else what it said."""
    address = urlsplit(inference_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=READY_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read(1024).decode("utf-8", "replace").strip()
        return "" if response.status == 200 else f"{inference_url}/readyz answers {response.status}: {body}"
    except (OSError, http.client.HTTPException) as error:
        return f"{inference_url}/readyz does not answer: {error}"
    finally:
        connection.close()
