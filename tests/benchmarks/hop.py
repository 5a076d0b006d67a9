"""What a usual request costs the gateway's own code: without callers' sockets, pods and the kernel's work for them.

Twenty clients' requests come in one turn of the loop and go to one pod over the link, whose answers come in one read,
as at some load. Everything is on: key, rate, places in flight, objective, trace record, decision record, metrics. It
says what a change of the code is worth, of which a whole gateway on a busy machine tells little; it is no figure to
compare with other gateways'.
"""

from __future__ import annotations

import asyncio
import gc
import platform
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from msgspec import Struct

from gateway.control.messages import PodView
from gateway.dataplane.decision_log import FLUSH_EVERY_S as DECISIONS_EVERY_S
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.gateway import Gateway, Share
from gateway.dataplane.pod_link import LinkUpstream
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.shared_limits import SharedLimits
from model_pod.wire import link
from model_pod.wire.status import PodState
from policies.snapshot.limits import Limit
from policies.snapshot.slos import Objective
from telemetry.record import FLUSH_EVERY_S, Recorder
from telemetry.records import Source
from tests.benchmarks.heads import Requests
from tests.benchmarks.report import python_build
from tests.benchmarks.spread import spread
from tests.gateway.dataplane.two_ways import FakeLoop
from tests.gateway.policy import KEY, limits_memory, policy

CLIENTS = 20
# A worker that is busy all the time settles so many in a second.
BUSY_PER_S = 25_000
_FIELDS = b"content-type: application/json\r\npenstock-usage: device_us=120;batch=1;queue_us=10\r\n"
_BODY = b'{"label": 7}' + b" " * 188


class Plan(Struct, frozen=True):
    """How much is measured."""

    slices: int
    turns: int = 250  # of one slice


QUICK, FULL = Plan(slices=20), Plan(slices=200)


def run(plan: Plan, say: Callable[[str], None]) -> None:
    """Measure, and say one line."""
    shown = spread(measure(plan))
    say(
        f"a usual request in process, {CLIENTS} in a turn, Python {platform.python_version()}, {python_build()}: "
        f"{shown.written(2)} us, n={shown.count} slices of {plan.turns * CLIENTS:,}"
    )


def measure(plan: Plan) -> list[float]:
    """Return microseconds of the processor per request of each slice."""
    with tempfile.TemporaryDirectory() as folder:
        hop = Hop(Path(folder))
        try:
            taken_us = [hop.turn(plan.turns) / (plan.turns * CLIENTS) * 1e6 for _ in range(plan.slices + 1)]
        finally:
            hop.close()
        return taken_us[1:]  # in the first one much is found out that stays known


class _Transport:
    """Keeps the last that was written, and joins nothing: that would be measured too."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: bytes) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        """There is no buffer."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 5) if name == "peername" else None


class _Sidecar:
    """Takes packets, and looks at none of them."""

    def __init__(self, path: Path) -> None:
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(path))
        self._listening.listen()
        self._listening.setblocking(False)
        self._connected: list[socket.socket] = []

    def drain(self) -> None:
        """Take what there is."""
        with suppress(BlockingIOError):
            connected, _ = self._listening.accept()
            connected.setblocking(False)
            self._connected.append(connected)
        for one in self._connected:
            with suppress(BlockingIOError):
                while one.recv(2**20):
                    pass

    def close(self) -> None:
        """End it."""
        for one in [self._listening, *self._connected]:
            one.close()


class Hop:
    """A gateway worker with its clients and a pod, in this process."""

    def __init__(self, folder: Path) -> None:
        objective = Objective("digits-latency", "vision", 28 * 86_400.0, 0.99, within_s=0.5)
        limit = Limit("tier/gold", 1e9, 10**9, in_flight=1000)
        snapshot = policy(limit=limit, objectives=(objective,))
        self._sidecar = _Sidecar(folder / "records")
        self._recorder = Recorder(str(folder / "records"), Source("penstock-gateway", "worker 0", 1))
        self._decisions = DecisionLog(folder / "decisions")
        self._loop = FakeLoop()
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        self._gateway = Gateway(loop, snapshot, SharedLimits(limits_memory()), Share(), self._recorder, self._decisions)
        view = PodView("digits/1/0", "digits", "1", "unix:/none", PodState.READY, True, link=1)
        self._gateway.pods.replace((view,))
        self._make = Requests("/predictions/digits", KEY).made()
        self._asked = self._recorded = self._flushed = 0
        self._clients = []
        for _ in range(CLIENTS):
            client = ClientConnection(self._gateway)
            client.connection_made(cast(asyncio.BaseTransport, _Transport()))
            self._clients.append(client)
        self._pod = _Transport()
        self._ask()
        (pod,) = self._gateway.pods.of_version("digits", "1")
        upstream = pod.upstream
        assert isinstance(upstream, LinkUpstream)
        assert upstream._link is not None
        self._link = upstream._link
        self._link.connection_made(cast(asyncio.BaseTransport, self._pod))
        self._link.data_received(link.PREFACE)
        self._number = 1
        head = link.encode_head(link.PodAnswer(200, "", "", _FIELDS, b"queue;dur=0.1", len(_BODY), 120, 3, 1, 50))
        self._answer = (head, _BODY)
        self._answer_all()
        gc.collect()  # as a worker does, see ``gateway.dataplane.worker``
        gc.freeze()

    def turn(self, turns: int) -> float:
        """Let every client ask once in each of so many turns, and have its answer; return seconds of the processor."""
        taken_s = 0.0
        for _ in range(turns):
            taken_s += self._ask() + self._answer_all()
            began_s = time.process_time()
            settled = self._gateway.settlement.requests
            if settled - self._recorded >= BUSY_PER_S * FLUSH_EVERY_S:
                self._recorded = settled
                self._recorder.flush()
            self._decisions.flush_many()
            if settled - self._flushed >= BUSY_PER_S * DECISIONS_EVERY_S:
                self._flushed = settled
                self._decisions.flush()
                self._gateway.settlement.take_tallies()
            taken_s += time.process_time() - began_s
            self._sidecar.drain()
        return taken_s

    def _ask(self) -> float:
        requests = [self._make(self._asked + number) for number in range(CLIENTS)]
        self._asked += CLIENTS
        began_s = time.process_time()
        for client, request in zip(self._clients, requests, strict=True):
            client.data_received(request)
        self._loop.turn()
        return time.process_time() - began_s

    def _answer_all(self) -> float:
        head, body = self._answer
        pieces = []
        for _ in self._clients:
            pieces += link.frame(link.ANSWER | link.LAST, self._number, head, body)
            self._number += 1
        came = b"".join(pieces)
        began_s = time.process_time()
        self._link.data_received(came)
        self._loop.turn()
        return time.process_time() - began_s

    def close(self) -> None:
        """End what was started."""
        self._decisions.close()
        self._recorder.close()
        self._sidecar.close()
        gc.unfreeze()
