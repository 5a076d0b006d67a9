"""Gateway: what all requests of one worker share: the generation in force, the pods, the limits, the counts."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter

import msgspec
from msgspec import Struct

from gateway.dataplane.answers import Readiness
from gateway.dataplane.pace import shortest_wait_s
from gateway.dataplane.pods import Pod, PodTable
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.timers import TICK_S, TimerWheel
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from model_pod.wire.http1 import HeadLimits, RequestHead
from model_pod.wire.status import PodState
from policies.snapshot import Snapshot
from telemetry.trace_context import TraceContext, parse_traceparent

# A decision is taken anew when a sibling charged the same limit between reading and writing; beyond this many times
# the last one stands, so that a stopped sibling that holds a limit's lock stops nobody else.
_MAX_DECISIONS = 8


class Share(Struct, frozen=True):
    """What of the whole gateway falls to one worker.

    Attributes:
        worker_count: of the gateway; a pod's bound on requests in flight is divided among them.
        max_connections: client connections at a time.
    """

    worker_count: int = 1
    max_connections: int = 10_000


class Gateway:
    """One worker's state.

    Attributes:
        tables: the generation in force.
        date: value of the Date field, refreshed every second.
        draining: no new requests are wanted.
        connections: open client connections.
        max_connections: more than these are refused.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, snapshot: Snapshot, limits: SharedLimits, share: Share) -> None:
        self._loop = loop
        self._limits = limits
        self._worker_count = share.worker_count
        self.max_connections = share.max_connections
        self._random = random.Random()
        self.pods = PodTable(loop)
        self.wheel = TimerWheel(self.now_s())
        self.date = b""
        self._date_at_s = 0
        self.draining = False
        self.connections: set[object] = set()
        self.in_flight = 0
        self.requests = 0
        self.refusals: Counter[str] = Counter()
        self.use(snapshot)

    def use(self, snapshot: Snapshot, tables: Tables | None = None) -> None:
        """Decide by this generation from the next request on; requests under way keep what they were given."""
        self._snapshot = snapshot
        self.tables = tables or Tables(snapshot)
        self.head_limits = HeadLimits(head_bytes=self.tables.bounds.header_bytes)
        self.shortest_wait_s = shortest_wait_s(self.tables.bounds)

    def now_s(self) -> float:
        """Monotonic seconds; the loop's own clock stands still within a turn, and counts whole milliseconds."""
        return time.monotonic()

    def tick(self) -> None:
        """Turn the wheel, and call again in a tick."""
        wall_s = int(time.time())
        if wall_s != self._date_at_s:
            self._date_at_s = wall_s
            self.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall_s)).encode()
        self.wheel.turn(self.now_s())
        self._loop.call_later(TICK_S, self.tick)

    def new_ids(self, request: RequestHead) -> tuple[str, TraceContext]:
        """Return a request id and the trace context of this hop: the caller's trace if it sent one, else a new one."""
        bits = self._random.getrandbits
        caller = parse_traceparent((request.get(b"traceparent") or b"").decode("latin-1"))
        trace_id = caller.trace_id if caller else f"{bits(128) | 1:032x}"
        sampled = caller.sampled if caller else True
        return self.new_request_id(), TraceContext(trace_id, f"{bits(64) | 1:016x}", sampled)

    def new_request_id(self) -> str:
        """Return an id that no other request has: 128 random bits in hex."""
        return f"{self._random.getrandbits(128):032x}"

    def decide(self, request: RequestHead, now_s: float) -> Decision:
        """Decide one request, and charge what it costs."""
        facts = RequestFacts(
            method=request.method,
            path=request.decoded_path(),
            authorization=(request.get(b"authorization") or b"").decode("latin-1"),
            pinned_version=(request.get(b"penstock-version") or b"").decode("latin-1"),
            timeout_ms=(request.get(b"penstock-timeout-ms") or b"").decode("latin-1"),
            content_length=request.content_length or 0,
            wall_s=time.time(),
        )
        for _ in range(_MAX_DECISIONS):
            decision = decide(self.tables, facts, self._limits, now_s)
            if self._limits.commit(decision.charges):
                break
        return decision

    def pick(self, decision: Decision, now_s: float, tried: list[Pod]) -> Pod:
        """Return the pod for the next attempt; raises ``NoPod``."""
        draw = self._random.random()
        in_flight = math.ceil(decision.in_flight / self._worker_count)
        return self.pods.pick(decision.model, decision.version, in_flight, draw, now_s, tried)

    def count(self, reason: str) -> None:
        """Count a settled request; ``reason`` is "" when it was answered."""
        self.requests += 1
        if reason:
            self.refusals[reason] += 1

    def readiness(self) -> Readiness:
        """Return what the health paths tell."""
        waiting: list[str] = []
        ready_now: dict[str, bool] = {}
        for route in self._snapshot.routes.values():
            views = [pod.view for pod in self.pods.of_version(route.model, route.stable)]
            ready_now[route.model] = any(view.state is PodState.READY for view in views)
            if not any(view.was_ready for view in views):
                state = views[0].state if views else "no pod"
                waiting.append(f"{route.model}/{route.stable}: {state}")
        return Readiness(self.draining, tuple(waiting), ready_now)


def decode_snapshot(blob: bytes | memoryview) -> Snapshot:
    """Return the snapshot that the supervisor sent."""
    return msgspec.msgpack.decode(blob, type=Snapshot)
