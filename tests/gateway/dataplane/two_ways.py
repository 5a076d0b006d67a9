"""Two gateways that are told the same: one takes usual requests at once, the other leaves every one to the gate."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import msgspec

from gateway.control.messages import PodView
from gateway.copies.messages import FromGatewayWorker
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.gateway import Gateway, Share
from gateway.dataplane.pod_link import LinkUpstream
from gateway.dataplane.pods import Pod
from gateway.dataplane.retry import RetryBudget
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.shared_limits import SharedLimits
from model_pod.wire import link
from model_pod.wire.frames import FrameDecoder
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from telemetry.record import Recorder
from telemetry.records import Source
from tests.gateway.policy import limits_memory

START_S = 1000.0
DAY_S = 1_700_000_000.0


class FakeLoop:
    """A loop whose turns a test makes."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.later: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        self.soon.append(call)

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        self.later.append(call)

    def create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        work.close()  # the connection that it would make, a test makes
        return asyncio.Future(loop=cast(asyncio.AbstractEventLoop, self))

    def get_debug(self) -> bool:
        return False

    def turn(self) -> None:
        while self.soon:
            calls, self.soon = self.soon, []
            for call in calls:
                call()


class FakeTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += bytes(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(bytes(piece) for piece in pieces))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 5) if name == "peername" else None

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


class Numbered(ClientConnection):
    """A connection that sets keep in the order of their numbers: deadlines of one moment pass in it."""

    def __init__(self, gateway: Gateway, number: int) -> None:
        self._number = number
        super().__init__(gateway)

    def __hash__(self) -> int:
        return self._number


class World:
    """One gateway with a pod on the link, clients, and all that it tells of its requests."""

    def __init__(
        self, snapshot: Snapshot, folder: Path, pods: int, *, is_express: bool, versions: tuple[str, ...] = ("1",)
    ) -> None:
        self.clock_s = START_S
        self.loop = FakeLoop()
        self.recorder = Recorder(str(folder / "no sidecar"), Source("penstock-gateway", "worker 0", 1))
        self.decisions = DecisionLog(folder / "decisions")
        self._limits_fd = limits_memory()
        self.limits = SharedLimits(self._limits_fd)
        Gateway.now_s, now_s = staticmethod(lambda: self.clock_s), Gateway.now_s  # for what its making reads
        try:
            self.gateway = Gateway(
                cast(asyncio.AbstractEventLoop, self.loop),
                snapshot,
                self.limits,
                Share(),
                self.recorder,
                self.decisions,
            )
        finally:
            Gateway.now_s = now_s
        self.gateway.now_s = lambda: self.clock_s
        self.gateway.wall_s = lambda: DAY_S + self.clock_s
        self.gateway.turn.now_s = lambda: self.clock_s
        self.gateway.draw = lambda: 0.3
        self.gateway.tracer._random_bits = random.Random(7).getrandbits
        if not is_express:
            self.gateway.forms.of = lambda names, now_s: None  # type: ignore[method-assign]
        self.views = tuple(
            PodView(
                f"digits/{version}/{number}",
                "digits",
                version,
                f"unix:/none/{version}/{number}",
                PodState.READY,
                True,
                link=1,
            )
            for version in versions
            for number in range(pods)
        )
        self._versions = versions
        self.copied = FakeTransport()
        self.gateway.copies._transport = cast(asyncio.Transport, self.copied)
        self.gateway.pods.replace(self.views)
        self.pods: dict[str, FakeTransport] = {}
        self.told: dict[str, list[link.Frame]] = {view.name: [] for view in self.views}
        self.readers = {view.name: link.FrameReader() for view in self.views}
        self.clients: list[tuple[ClientConnection, FakeTransport]] = []

    def _pods_of_all(self) -> list[Pod]:
        """Return the pods in the order of their views."""
        return [pod for version in self._versions for pod in self.gateway.pods.of_version("digits", version)]

    # --- what happens

    def connect(self) -> None:
        client, transport = Numbered(self.gateway, len(self.clients)), FakeTransport()
        client.connection_made(cast(asyncio.BaseTransport, transport))
        self.clients.append((client, transport))

    def turn(self) -> None:
        """Let what was written go out, over links that come about at once."""
        self.loop.turn()
        for pod in self._pods_of_all():
            upstream = pod.upstream
            assert isinstance(upstream, LinkUpstream)
            made = upstream._link
            if made is not None and not made.is_connected and not made._has_failed:
                transport = self.pods[pod.view.name] = FakeTransport()
                self.readers[pod.view.name] = link.FrameReader()
                made.connection_made(cast(asyncio.BaseTransport, transport))
                made.data_received(link.PREFACE)
                self.loop.turn()
                assert transport.written.startswith(link.PREFACE)
                transport.written = transport.written[len(link.PREFACE) :]
            if pod.view.name in self.pods:
                self.told[pod.view.name] += self.readers[pod.view.name].feed(self.pods[pod.view.name].take())

    def pod_says(self, number: int, data: bytes) -> None:
        upstream = self._pods_of_all()[number].upstream
        assert isinstance(upstream, LinkUpstream)
        if upstream._link is not None and upstream._link.is_connected and not self.pods[self.views[number].name].closed:
            upstream._link.data_received(data)

    def answer_latest(self, make: Callable[[int], bytes]) -> None:
        """Let the only pod that has a request answer it."""
        for pod, view in enumerate(self.views):
            if self._pods_of_all()[pod].outstanding:
                self.pod_says(pod, make(self.told[view.name][-1][1]))

    def open_streams(self) -> list[tuple[int, int]]:
        """Return pods and the streams that they have been sent and still know, the latest last."""
        found = []
        for pod, one in enumerate(self._pods_of_all()):
            upstream = one.upstream
            assert isinstance(upstream, LinkUpstream)
            if upstream._link is not None and upstream._link.is_connected:
                found += [(pod, number) for number in upstream._link._streams]
        return found

    def lose_pod(self, number: int) -> None:
        upstream = self._pods_of_all()[number].upstream
        assert isinstance(upstream, LinkUpstream)
        if upstream._link is not None and upstream._link.is_connected:
            self.pods[self.views[number].name].closed = True
            upstream._link.connection_lost(None)

    def wait(self, seconds: float) -> None:
        self.clock_s += seconds
        self.gateway.wheel.turn(self.clock_s)
        self.gateway.waiting.turn(self.clock_s)

    def use(self, snapshot: Snapshot) -> None:
        self.gateway.use(snapshot)

    # --- what came of it

    def came_to(self) -> dict[str, object]:
        """Return all that anybody can see of what this gateway did."""
        settlement = self.gateway.settlement
        tallies = [msgspec.structs.astuple(tally)[1:] for tally in settlement.take_tallies()]
        uses, limit_uses = settlement.take_uses()
        taken = self.decisions._gathering.take(0.0)
        return {
            "clients": [(transport.written, transport.closed, transport.paused) for _, transport in self.clients],
            "pods": {name: [_told(frame) for frame in frames] for name, frames in self.told.items()},
            "limits": (self.limits.tat_ns("tenant/ads/tier/rate"), self.limits.in_flight("tenant/ads/tier/in_flight")),
            "in flight": (self.gateway.in_flight, self.gateway.bodies.held_bytes),
            "outstanding": [(pod.outstanding, pod.latency_s, pod.health.standing) for pod in self._pods_of_all()],
            "tallies": tallies,
            "trials": settlement.take_trials(),
            "copied": self.copied_messages(),
            "uses": uses,
            "limit uses": limit_uses,
            "requests": (settlement.requests, dict(settlement.refusals)),
            "decisions": taken,
            "records": list(self.recorder._ring),
            "retries": (self.gateway.retries.granted, self.gateway.retries.refused),
            "retry budget": _slots_of(self.gateway.retries.budget("digits")),
        }

    def copied_messages(self) -> list[object]:
        """Return what was handed to the copies process."""
        decoder: FrameDecoder[object] = FrameDecoder(cast(type[object], FromGatewayWorker))
        return [(message, [bytes(blob) for blob in blobs]) for message, blobs in decoder.feed(self.copied.take())]

    def close(self) -> None:
        self.decisions._gathering.take(0.0)
        self.decisions.close()
        os.close(self._limits_fd)


def _slots_of(budget: RetryBudget | None) -> list[object]:
    return [getattr(budget, name) for name in RetryBudget.__slots__]


def _told(frame: link.Frame) -> object:
    kind, stream, head, body = frame
    return kind, stream, msgspec.msgpack.decode(head) if head else b"", bytes(body)
