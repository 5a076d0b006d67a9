"""Gateway: what all requests of one worker share: the generation in force, the pods, the limits, the counts."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.control.messages import SLOT_S, KeyUses, LimitUses, QuotaWanted, Tally
from gateway.dataplane.answers import Readiness
from gateway.dataplane.credentials import Credentials, Peer
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.me import Me, me
from gateway.dataplane.pace import shortest_wait_s
from gateway.dataplane.pods import NoPod, Pod, PodTable
from gateway.dataplane.shared_limits import NOT_CHARGED, Committed, SharedLimits
from gateway.dataplane.tally import LimitUseCounts, Tallies
from gateway.dataplane.timers import TICK_S, TimerWheel
from gateway.dataplane.tracing import NO_TRACE, Trace, Tracer
from gateway.dataplane.usage import NOT_TOLD, NOTHING_USED, Usage
from gateway.decide.decision import Decision, Refusal, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.limits import QuotaCharge
from gateway.decide.route import INFERENCES
from gateway.decide.tables import Tables
from gateway.errors import REASONS
from model_pod.wire.http1 import HeadLimits, RequestHead
from model_pod.wire.status import PodState
from policies.snapshot import Snapshot
from telemetry.record import FLUSH_EVERY_S, Recorder

# A decision is taken anew when a sibling charged the same limit between reading and writing: each time somebody else
# was admitted, so this many in a row say that something is wrong.
_MAX_DECISIONS = 64
# Where a quota demotes, a request is served by a pod that has no more than this share of what it may have in flight.
_DEMOTED_SHARE = 1 / 64

# Tallies that a supervisor which does not read has not taken: one per slot, so an hour's.
MAX_CLOSED_TALLIES = 360
# Credentials used in one second whose last use is told; of tokens there may be one for each caller.
MAX_KEY_USES = 10_000
# Requests that wait for the ledger at a time; more are refused at once.
MAX_PARKED = 256


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
        facts: None when it was refused before there were any.
        has_run: a pod had it, so that it may have run.
    """

    trace: Trace
    decision: Decision
    method: str
    request_id: str
    started_s: float
    status: int
    reason: str
    attempts: list[AttemptTuple]
    facts: RequestFacts | None = None
    usage: Usage = NOTHING_USED
    has_run: bool = False


class Gateway:
    """One worker's state.

    Attributes:
        tables: the generation in force.
        date: value of the Date field, refreshed every second.
        draining: no new requests are wanted.
        connections: open client connections.
        max_connections: more than these are refused.
        recorder: what the sidecar is told by; None where there is none.
        decisions: where decisions are kept for those who edit policy; None where they are not.
        credentials: what callers show, read and verified.
        parked: requests that wait for the ledger.
        on_wanted: tells the supervisor which quotas are waited for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Snapshot,
        limits: SharedLimits,
        share: Share,
        recorder: Recorder | None = None,
        decisions: DecisionLog | None = None,
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
        self.decisions = decisions
        self.tracer = Tracer(snapshot.mesh.tracing, recorder is not None)
        self._tallies = Tallies({})
        self._closed_tallies: deque[Tally] = deque()
        self._limit_uses = LimitUseCounts()
        self._key_uses: dict[str, float] = {}
        self._wanted: dict[str, int] = {}
        self.parked = 0
        self._revoked: frozenset[str] = frozenset()
        self.credentials = Credentials(snapshot.mesh.jwt)
        self.on_wanted: Callable[[QuotaWanted], None] = lambda _: None
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
        self.tables.revoked = self._revoked
        self.credentials.use(snapshot.mesh.jwt)
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

    def facts_of(self, request: RequestHead, peer: Peer, now_s: float) -> RequestFacts:
        """Gather what the decision on a request depends on."""
        wall_s = time.time()
        return RequestFacts(
            method=request.method,
            path=request.decoded_path(),
            credential=self.credentials.read(request, peer, wall_s, now_s),
            pinned_version=(request.get(b"penstock-version") or b"").decode("latin-1"),
            timeout_ms=(request.get(b"penstock-timeout-ms") or b"").decode("latin-1"),
            content_length=request.content_length or 0,
            wall_s=wall_s,
        )

    def decide(self, facts: RequestFacts, peer: Peer, now_s: float) -> Decision:
        """Decide one request, and charge what it costs; one who shows many wrong credentials is told to wait."""
        decision = self._decided(facts, now_s)
        if decision.refusal is None:
            return decision
        refusal = self.credentials.back_off(decision.refusal, peer, now_s)
        return decision if refusal is decision.refusal else replace(decision, refusal=refusal)

    def _decided(self, facts: RequestFacts, now_s: float) -> Decision:
        for _ in range(_MAX_DECISIONS):
            decision = decide(self.tables, facts, self._limits, now_s)
            committed = self._limits.commit(decision.charges)
            if committed is Committed.DONE:
                return decision
            if committed is Committed.BUSY:
                break
        return replace(decision, refusal=Refusal("limits_busy", NOT_CHARGED), version="", charges=())

    def want(self, decision: Decision) -> None:
        """Ask the supervisor for more of the quotas that a request waits for."""
        if not self._wanted:
            self._loop.call_soon(self._ask_for_more)
        for quota, amount in decision.refusal.wanted if decision.refusal is not None else ():
            if account := self.tables.account(decision.tenant, quota):
                self._wanted[account] = self._wanted.get(account, 0) + amount

    def _ask_for_more(self) -> None:
        wanted, self._wanted = self._wanted, {}
        if wanted:
            self.on_wanted(QuotaWanted(wanted))

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call that soon."""
        self._loop.call_later(delay_s, call)

    def pick(self, decision: Decision, now_s: float, tried: list[Pod]) -> Pod:
        """Return the pod for the next attempt; raises ``NoPod``."""
        draw = self._random.random()
        in_flight = math.ceil(decision.in_flight / self._worker_count)
        if not decision.demoted_by:
            return self.pods.pick(decision.model, decision.version, in_flight, draw, now_s, tried)
        few = max(1, int(in_flight * _DEMOTED_SHARE))
        try:
            return self.pods.pick(decision.model, decision.version, few, draw, now_s, tried)
        except NoPod as none:
            if none.reason != "pods_busy":
                raise
            message = f"the quota {decision.demoted_by} is over the step that demotes, and the pods are busy; try again"
            raise NoPod("quota_demoted", message) from none

    def me(self, decision: Decision, now_s: float) -> Me:
        """Return what ``GET /me`` tells the caller of a decision."""
        return me(self.tables, decision, self._limits, time.time(), now_s)

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
        self._settle_limits(settled)
        outcome = self._count(settled, now_s - settled.started_s, now_s, kept_trace)
        if self.decisions is not None and settled.facts is not None:
            took_s = now_s - settled.started_s
            self.decisions.note(
                settled.facts, decision, settled.request_id, took_s, settled.status, settled.reason, settled.usage
            )
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
        if self.decisions is not None:
            self.decisions.note_unidentified(reason)
        nobody = Decision(self.tables.generation, None)
        settled = Settled(NO_TRACE, nobody, "", "", since_s, REASONS[reason].status, reason, [])
        self._count(settled, now_s - since_s, now_s, "")

    def _settle_limits(self, settled: Settled) -> None:
        """Charge what the request cost instead of what was reserved for it, and give its places back."""
        decision = settled.decision
        if decision.key_id and (decision.key_id in self._key_uses or len(self._key_uses) < MAX_KEY_USES):
            self._key_uses[decision.key_id] = settled.facts.wall_s if settled.facts is not None else time.time()
        self._limit_uses.add(decision)
        if not decision.charges:
            return
        self._limits.settle(decision.charges, lambda charge: _cost(charge, settled), time.time())
        if settled.has_run and decision.api in INFERENCES:
            self._learn(decision, settled.usage)

    def _learn(self, decision: Decision, usage: Usage) -> None:
        """Take in what an inference cost, as far as its pod said."""
        estimates, model, version = self._limits.estimates, decision.model, decision.version
        if usage.device_us > 0:
            estimates.learn(model, version, "device_time", usage.device_us)
            estimates.learn(model, version, "tokens", usage.tokens)
        estimates.learn(model, version, "bytes", usage.request_bytes + usage.response_bytes)

    def _count(self, settled: Settled, duration_s: float, now_s: float, kept_trace: str) -> str:
        self.requests += 1
        if settled.reason:
            self.refusals[settled.reason] += 1
        if now_s >= self._slot_ends_s:
            self._begin_slot()
        return self._tallies.add(
            settled.decision, settled.status, settled.reason, duration_s, kept_trace, settled.usage
        )

    # --- what the supervisor and the sidecar are told

    def take_tallies(self) -> list[Tally]:
        """Return what was settled since the last time."""
        self._begin_slot()
        closed, self._closed_tallies = list(self._closed_tallies), deque()
        return closed

    def take_uses(self) -> tuple[KeyUses, LimitUses]:
        """Return which credentials were used and what limits did since the last time."""
        used, self._key_uses = self._key_uses, {}
        return KeyUses(used), self._limit_uses.take()

    def revoke(self, key_ids: frozenset[str]) -> None:
        """Refuse these keys from the next request on, and no others beside what policy says."""
        self._revoked = self.tables.revoked = key_ids

    def _begin_slot(self) -> None:
        """Close the tally of the slot so far; what is settled from now on is of the present slot."""
        edges_s, requests, events = self._tallies.take()
        lost = self._all_lost()
        if requests or lost.total() != self._told_lost:
            self._told_lost = lost.total()
            self._closed_tallies.append(Tally(self._slot_s, edges_s, requests, events, dict(lost)))
        if len(self._closed_tallies) > MAX_CLOSED_TALLIES:
            self._closed_tallies.popleft()
            self._lost["tally"] += 1
        wall_s = time.time()
        self._slot_s = int(wall_s // SLOT_S) * SLOT_S
        self._slot_ends_s = self.now_s() + self._slot_s + SLOT_S - wall_s

    def _all_lost(self) -> Counter[str]:
        lost = self._lost.copy()
        if self.recorder is not None:
            lost += self.recorder.dropped
        if self.decisions is not None:
            lost["decision"] = self.decisions.lost
        return lost

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


def _cost(charge: QuotaCharge, settled: Settled) -> int:
    """What a request is charged in the end, in the quota's unit.

    A request that no pod had costs nothing. One that a pod had and that nobody can say the cost of any more, since the
    pod was lost or the caller left, costs what was reserved: it may have run.
    """
    usage = settled.usage
    if not settled.has_run:
        return 0
    match charge.meter:
        case "requests":
            return 1
        case "bytes":
            return usage.request_bytes + usage.response_bytes
        case _ if usage.device_us == NOT_TOLD:
            return charge.amount
        case "device_time":
            return usage.device_us
        case _:
            return usage.tokens


def decode_snapshot(blob: bytes | memoryview) -> Snapshot:
    """Return the snapshot that the supervisor sent."""
    return msgspec.msgpack.decode(blob, type=Snapshot)
