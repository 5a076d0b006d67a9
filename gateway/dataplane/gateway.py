"""Gateway: what all requests of one worker share: the generation in force, the pods, the limits, the counts."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections import Counter, deque

import msgspec
from msgspec import Struct

from gateway.control.messages import SLOT_S, Tally
from gateway.dataplane.answers import Readiness
from gateway.dataplane.pace import shortest_wait_s
from gateway.dataplane.pods import Pod, PodTable
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.tally import Tallies
from gateway.dataplane.timers import TICK_S, TimerWheel
from gateway.dataplane.tracing import Trace, Tracer
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.errors import REASONS
from model_pod.wire.http1 import HeadLimits, RequestHead
from model_pod.wire.status import PodState
from policies.snapshot import Snapshot
from telemetry.record import FLUSH_EVERY_S, Recorder

# A decision is taken anew when a sibling charged the same limit between reading and writing; beyond this many times
# the last one stands, so that a stopped sibling that holds a limit's lock stops nobody else.
_MAX_DECISIONS = 8


# Tallies that a supervisor which does not read has not taken: one per slot, so an hour's.
MAX_CLOSED_TALLIES = 360


class Share(Struct, frozen=True):
    """What of the whole gateway falls to one worker.

    Attributes:
        worker_count: of the gateway; a pod's bound on requests in flight is divided among them.
        max_connections: client connections at a time.
    """

    worker_count: int = 1
    max_connections: int = 10_000


AttemptTuple = tuple[str, str, float, float, str, int]
"""``telemetry.records.Attempt`` as it is recorded."""


class Settled(Struct, frozen=True):
    """How a request ended.

    Attributes:
        status: what the caller got; 499 when it left before.
        reason: of a refusal, by us or by the pod; "" for an answer of the model.
    """

    trace: Trace
    decision: Decision
    method: str
    request_id: str
    started_s: float
    status: int
    reason: str
    attempts: list[AttemptTuple]


class Gateway:
    """One worker's state.

    Attributes:
        tables: the generation in force.
        date: value of the Date field, refreshed every second.
        draining: no new requests are wanted.
        connections: open client connections.
        max_connections: more than these are refused.
        recorder: what the sidecar is told by; None where there is none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Snapshot,
        limits: SharedLimits,
        share: Share,
        recorder: Recorder | None = None,
    ) -> None:
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
        self.recorder = recorder
        self.tracer = Tracer(snapshot.mesh.tracing, recorder is not None)
        self._tallies = Tallies({})
        self._closed_tallies: deque[Tally] = deque()
        self._lost: Counter[str] = Counter()
        self._told_lost = 0
        self._slot_s = 0
        self._slot_ends_s = -math.inf
        self._recorded_s = self.now_s()
        self.use(snapshot)

    def use(self, snapshot: Snapshot, tables: Tables | None = None) -> None:
        """Decide by this generation from the next request on; requests under way keep what they were given."""
        self._snapshot = snapshot
        self.tables = tables or Tables(snapshot)
        self._begin_slot()
        self._tallies = Tallies(self.tables.objectives)
        self.tracer.use(self.tables.tracing)
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

    def new_request_id(self) -> str:
        """Return an id that no other request has: 128 random bits in hex."""
        return self._random.getrandbits(128).to_bytes(16).hex()

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

    def settle(self, settled: Settled, now_s: float) -> None:
        """Count a settled request, and tell the sidecar of it; a defect in that costs no caller the answer."""
        try:
            self._settle(settled, now_s)
        except Exception as error:
            if not self._lost["settlement"]:
                print(f"gateway: a request was not counted: {type(error).__name__}: {error}", file=sys.stderr)
            self._lost["settlement"] += 1

    def _settle(self, settled: Settled, now_s: float) -> None:
        trace, decision = settled.trace, settled.decision
        kept_trace = trace.trace_id if trace.sampled and self.tracer.is_on else ""
        outcome = self._count(decision, settled.status, settled.reason, now_s - settled.started_s, now_s, kept_trace)
        if self.recorder is None or not self.tracer.is_on:
            return
        self.recorder.record(
            (
                "g",
                trace.trace_id,
                trace.span_id,
                trace.parent_id,
                trace.sampled,
                settled.started_s,
                now_s,
                settled.method,
                decision.api or "",
                settled.status,
                settled.reason,
                settled.request_id,
                decision.generation,
                decision.tenant,
                decision.model,
                decision.version,
                decision.arm,
                outcome,
                settled.attempts,
                trace.trace_state,
                trace.link,
            )
        )

    def count_refused(self, reason: str, since_s: float) -> None:
        """Count a request that was refused before anything was known of it; it was waited for since that moment."""
        now_s = self.now_s()
        nobody = Decision(self.tables.generation, None)
        self._count(nobody, REASONS[reason].status, reason, now_s - since_s, now_s, "")

    def _count(
        self, decision: Decision, status: int, reason: str, duration_s: float, now_s: float, kept_trace: str
    ) -> str:
        self.requests += 1
        if reason:
            self.refusals[reason] += 1
        if now_s >= self._slot_ends_s:
            self._begin_slot()
        return self._tallies.add(decision, status, reason, duration_s, kept_trace)

    # --- what the supervisor and the sidecar are told

    def take_tallies(self) -> list[Tally]:
        """Return what was settled since the last time."""
        self._begin_slot()
        closed, self._closed_tallies = list(self._closed_tallies), deque()
        return closed

    def _begin_slot(self) -> None:
        """Close the tally of the slot so far; what is settled from now on is of the present slot."""
        edges_s, requests, events = self._tallies.take()
        lost = self._lost + self.recorder.dropped if self.recorder is not None else self._lost
        if requests or lost.total() != self._told_lost:
            self._told_lost = lost.total()
            self._closed_tallies.append(Tally(self._slot_s, edges_s, requests, events, dict(lost)))
        if len(self._closed_tallies) > MAX_CLOSED_TALLIES:
            self._closed_tallies.popleft()
            self._lost["tally"] += 1
        wall_s = time.time()
        self._slot_s = int(wall_s // SLOT_S) * SLOT_S
        self._slot_ends_s = self.now_s() + self._slot_s + SLOT_S - wall_s

    def record_on(self) -> None:
        """Tell the sidecar what was recorded, now and again."""
        if self.recorder is None:
            return
        self._loop.call_later(FLUSH_EVERY_S, self.record_on)
        now_s = self.now_s()
        self.tracer.measure(max(now_s - self._recorded_s, FLUSH_EVERY_S / 2))
        self._recorded_s = now_s
        self.recorder.flush()

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
