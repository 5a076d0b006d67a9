"""A scene: light pods behind proxies that can misbehave, and a gateway before them; faults are done to it.

A fault is a context manager: entering it does the harm, leaving it heals, and neither returns before it is so.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.faults.chaos_proxy import HARMLESS, ChaosProxy, Toxics
from tests.faults.checker import Footprint
from tests.faults.gateway import GatewayUnderTest, callers_of, footprint_of, running_gateway, static
from tests.faults.ledgers import Death
from tests.faults.oracle.answers import Behaviour
from tests.faults.oracle.pods import LightPod, light_pods
from tests.faults.requests import Caller
from tests.system.mesh import eventually
from tests.system.processes import stopped

_Of = TypeVar("_Of")
# The watchdog's promise is 5 s; a machine that is swamped has this long.
_REPLACED_WITHIN_S = 60.0


class Proxies:
    """Proxies with a loop in a thread of their own, so that no test's loop holds them up."""

    def __init__(self, upstreams: Sequence[str]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies")
        self.all = [ChaosProxy("127.0.0.1:0", upstream, seed=seed) for seed, upstream in enumerate(upstreams)]

    def __enter__(self) -> Proxies:
        self._thread.start()
        for proxy in self.all:
            self.run(proxy.up())
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self.all:
            self.run(proxy.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, doing: Coroutine[Any, Any, _Of]) -> _Of:
        """Do something where the proxies live, and wait for it."""
        future: Future[_Of] = asyncio.run_coroutine_threadsafe(doing, self._loop)
        return future.result()


@dataclass
class Scene:
    """What faults are done to.

    Attributes:
        proxies: one before each pod, in their order.
        supervisor_before: what the supervisor had before anything was done to it.
        deaths: of pods; those of workers are with the gateway.
    """

    gateway: GatewayUnderTest
    pods: Sequence[LightPod]
    proxies: Proxies
    callers: Sequence[Caller]
    executions: Path
    supervisor_before: Footprint
    deaths: list[Death] = field(default_factory=list)


@contextmanager
def scene(home: Path, *, pods: int = 4, workers: int = 2, options: Sequence[str] = ()) -> Iterator[Scene]:
    """Run a scene until it is ready, and end it well."""
    callers, executions = callers_of(), home / "executions.jsonl"
    with light_pods(pods, executions) as light, Proxies([pod.address for pod in light]) as proxies:
        where = static([proxy.address for proxy in proxies.all])
        with running_gateway(home, where, callers=callers, workers=workers, options=options) as gateway:
            yield Scene(gateway, light, proxies, callers, executions, footprint_of(gateway.supervisor_pid))


Fault = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def a_worker_killed(scene: Scene) -> Iterator[None]:
    """One worker after the other, three times."""
    for _ in range(3):
        scene.gateway.kill(scene.gateway.serving()[:1])
        eventually(scene.gateway.is_whole, "the worker is replaced", within_s=_REPLACED_WITHIN_S)
    yield


@contextmanager
def every_worker_killed(scene: Scene) -> Iterator[None]:
    """All of them at once, and the one that stands by."""
    scene.gateway.kill(scene.gateway.everyone())
    yield
    eventually(scene.gateway.is_whole, "the workers are replaced", within_s=_REPLACED_WITHIN_S)


@contextmanager
def a_worker_stopped(scene: Scene) -> Iterator[None]:
    """A worker that hangs, as SIGSTOP makes it, until the supervisor has had enough and replaces it."""
    pid = scene.gateway.serving()[0]
    stopped_s = time.monotonic()
    with stopped([pid]):
        yield
        eventually(
            lambda: scene.gateway.is_whole() and pid not in scene.gateway.serving(),
            "the worker that hangs is replaced",
            within_s=_REPLACED_WITHIN_S,
        )
    scene.gateway.deaths.append(Death("worker", pid, stopped_s, time.monotonic()))


@contextmanager
def a_worker_stopped_for_a_while(scene: Scene) -> Iterator[None]:
    """A worker whose loop stands still, and goes on before the supervisor has had enough of it."""
    serving = scene.gateway.serving()
    with stopped(serving[:1]):
        yield
    eventually(lambda: "the loop stood still for" in scene.gateway.said.read_text(), "it says so")
    assert set(scene.gateway.serving()) == set(serving)


@contextmanager
def every_worker_restarted(scene: Scene) -> Iterator[None]:
    """One after the other, as ``penstock restart`` does it; nobody may notice."""
    before = set(scene.gateway.serving())
    penstock = Path(sys.executable).with_name("penstock")
    subprocess.run(
        [penstock, "restart", "--reason", "a fault row", "--state", scene.gateway.state], check=True, timeout=180.0
    )
    yield
    eventually(scene.gateway.is_whole, "as many workers serve as before", within_s=_REPLACED_WITHIN_S)
    assert not before & set(scene.gateway.serving())


@contextmanager
def a_pod_killed(scene: Scene) -> Iterator[None]:
    """A pod that is away for a moment; its socket stays."""
    scene.deaths.append(scene.pods[0].kill())
    yield
    scene.pods[0].start_again()
    scene.pods[0].seen()


def a_pod_with(toxics: Toxics) -> Fault:
    """The way to and from the first pod does this."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        proxy = scene.proxies.all[0]
        proxy.to_client = toxics
        try:
            yield
        finally:
            proxy.to_client = HARMLESS

    return fault


@contextmanager
def a_pod_out_of_reach(scene: Scene) -> Iterator[None]:
    """Its connections are reset, and new ones are refused."""
    proxy = scene.proxies.all[0]
    down_s = time.monotonic()
    scene.proxies.run(proxy.down())
    scene.deaths.append(Death("pod", scene.pods[0].process.pid, down_s, time.monotonic()))
    yield
    scene.proxies.run(proxy.up())


@contextmanager
def every_pod_refusing(scene: Scene) -> Iterator[None]:
    """Each says that its queue is full."""
    for pod in scene.pods:
        pod.behave(Behaviour(refuse="queue_full"))
    try:
        yield
    finally:
        for pod in scene.pods:
            pod.behave(Behaviour())
