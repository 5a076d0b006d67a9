"""Gateway: what all requests of one worker share: the generation in force, the pods, the limits, the counts."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.control.messages import QuotaWanted
from gateway.copies.messages import LateLabel, LateLabels
from gateway.dataplane.answers import Readiness
from gateway.dataplane.bodies import Bodies
from gateway.dataplane.copying import CopiesLink
from gateway.dataplane.credentials import Credentials, Peer
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.defects import Defects
from gateway.dataplane.me import Me, me
from gateway.dataplane.pace import shortest_wait_s
from gateway.dataplane.pod_heads import goes_to_pods
from gateway.dataplane.pods import NoPod, Pod, PodTable
from gateway.dataplane.repository import Indexed, repository_index
from gateway.dataplane.retry import Retries
from gateway.dataplane.settlement import Settlement
from gateway.dataplane.shared_limits import NOT_CHARGED, Committed, SharedLimits
from gateway.dataplane.timers import TICK_S, TimerWheel
from gateway.dataplane.tracing import Tracer
from gateway.dataplane.turn import Turn
from gateway.dataplane.waiting import Waiter, WaitingRoom
from gateway.dataplane.ways import Ways
from gateway.decide.decision import Decision, Refusal, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.fair_queue import Ticket
from gateway.decide.lateness import would_be_late
from gateway.decide.stage import Stage
from gateway.decide.tables import Tables
from model_pod.wire.http1 import HeadLimits, RequestHead
from model_pod.wire.http1.form import Forms
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Tier
from telemetry.record import FLUSH_EVERY_S, Recorder

# A decision is taken anew when a sibling charged the same limit between reading and writing: each time somebody else
# was admitted, so this many in a row say that something is wrong.
_MAX_DECISIONS = 64
# A worker that was stopped between a look at the clock and a decision refuses nobody by that clock: its siblings have
# charged the limits by a later one, which to the earlier looks like a limit that is used up.
_STOPPED_S = 0.01
# What a request of a version costs beside others of that version, which are all that it waits with. What
# is known of their device time is the same for each of them, and changes: told as it was when each came, those who came
# before anything was known would count as a hundred of those after them.
_COST = 1.0
# Where a quota demotes, a request is served by a pod that has no more than this share of what it may have in flight.
_DEMOTED_SHARE = 1 / 64

# Where those wait whose key belongs to no pod just now: not in the way of those that any pod is good for.
_NO_PODS_LANE = "?"


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
        limits: shared with the other workers.
        draw: gives a number in [0, 1) by chance.
        defects: of our own, counted.
        forms, ways, turn: what usual requests take; see ``gateway.dataplane.express``.
        head_end: the last lines of every answer's head: Date, refreshed every second, and the empty one.
        ready_once: models and their versions of which a pod has been ready.
        draining: no new requests are wanted.
        is_replaced: another worker takes this one's place, so that the gateway as a whole stays ready.
        refuse_new: why no request may enter just now.
        bodies: what the bodies of all requests under way hold.
        waiting: requests that found the pods busy.
        connections: open client connections.
        max_connections: more than these are refused.
        recorder: what the sidecar is told by; None where there is none.
        settlement: where requests that have ended go.
        copies: where requests go that are copied.
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
        self.defects = Defects()
        self.limits = limits
        self._worker_count = share.worker_count
        self.max_connections = share.max_connections
        self.draw = random.Random().random
        self.turn = Turn(loop, limits, self.defects.note)
        self.pods = PodTable(loop, self.defects.note, self.turn.after)
        self.retries = Retries()
        self.waiting = WaitingRoom(share.worker_count, self.defects.note)
        self.refuse_new: Refusal | None = None
        self.bodies = Bodies()
        self.is_replaced = False
        self.wheel = TimerWheel(self.now_s(), self.defects.note)
        self.head_end = b"\r\n"
        self._date_at_s = 0
        self.ready_once: frozenset[tuple[str, str]] = frozenset()
        self.draining = False
        self.connections: set[object] = set()
        self.in_flight = 0
        self.recorder = recorder
        self.tracer = Tracer(snapshot.mesh.tracing, recorder is not None)
        self.copies = CopiesLink(loop)
        self.settlement = Settlement(limits, self.tracer, recorder, decisions)
        self._wanted: dict[str, int] = {}
        self.parked = 0
        self._revoked: frozenset[str] = frozenset()
        self._stages: Mapping[str, Stage] = {}
        self.credentials = Credentials(snapshot.mesh.jwt)
        self.on_wanted: Callable[[QuotaWanted], None] = lambda _: None
        self._recorded_s = self.now_s()
        self.forms = Forms(goes_to_pods)
        self.ways = Ways(limits, self.retries, decisions, share.worker_count)
        self.use(snapshot)

    def use(self, snapshot: Snapshot, tables: Tables | None = None) -> None:
        """Decide by this generation from the next request on; requests under way keep what they were given."""
        self._snapshot = snapshot
        self.tables = tables or Tables(snapshot)
        self.tables.revoked = self._revoked
        self.tables.stages = self._stages
        self._deciding_headers = tuple((name.encode("latin-1"), name) for name in sorted(self.tables.deciding_headers))
        self.credentials.use(snapshot.mesh.jwt)
        self.settlement.use(self.tables)
        self.pods.use(self.tables.routes)
        self.retries.use(self.tables.routes)
        self.ways.use(self.tables)
        self.tracer.use(self.tables.tracing)
        self.head_limits = HeadLimits(head_bytes=self.tables.bounds.header_bytes)
        self.shortest_wait_s = shortest_wait_s(self.tables.bounds)

    # Monotonic seconds; the loop's own clock stands still within a turn, and counts whole milliseconds.
    now_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)

    def tick(self) -> None:
        """Turn the wheel, and call again in a tick."""
        self._loop.call_later(TICK_S, self.tick)  # first: whatever happens below, deadlines go on
        wall_s = int(self.wall_s())
        if wall_s != self._date_at_s:
            self._date_at_s = wall_s
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall_s))
            self.head_end = f"date: {date}\r\n\r\n".encode()
        now_s = self.now_s()
        self.wheel.turn(now_s)
        self.waiting.turn(now_s)
        if self.settlement.decisions is not None:
            self.settlement.decisions.flush_many()

    def facts_of(self, request: RequestHead, peer: Peer, now_s: float) -> RequestFacts:
        """Gather what the decision on a request depends on."""
        wall_s = self.wall_s()
        values = request.values
        pinned_version, timeout_ms = values.get(b"penstock-version"), values.get(b"penstock-timeout-ms")
        return RequestFacts(
            request.method,
            request.decoded_path() if "%" in request.path else request.path,
            self.credentials.read(request, peer, wall_s, now_s),
            pinned_version.strip(b" \t").decode("latin-1") if pinned_version else "",
            timeout_ms.strip(b" \t").decode("latin-1") if timeout_ms else "",
            request.content_length or 0,
            wall_s,
            self._deciding(values) if self._deciding_headers else (),
            self.draw(),
        )

    def _deciding(self, values: Mapping[bytes, bytes]) -> tuple[tuple[str, str], ...]:
        """Return what a request has of the headers that some route decides by."""
        found = ((text, values.get(name)) for name, text in self._deciding_headers)
        return tuple((text, value.strip(b" \t").decode("latin-1")) for text, value in found if value is not None)

    def decide(self, facts: RequestFacts, peer: Peer, now_s: float) -> Decision:
        """Decide one request, and charge what it costs; one who shows many wrong credentials is told to wait."""
        decision = self._decided(facts, now_s)
        if decision.refusal is None:
            return decision
        refusal = self.credentials.back_off(decision.refusal, peer, now_s)
        return decision if refusal is decision.refusal else replace(decision, refusal=refusal)

    def _decided(self, facts: RequestFacts, now_s: float) -> Decision:
        for _ in range(_MAX_DECISIONS):
            decision = decide(self.tables, facts, self.limits, now_s)
            committed = self.limits.commit(decision.charges)
            if committed is Committed.DONE:
                if decision.refusal is None or (later_s := self.now_s()) - now_s < _STOPPED_S:
                    return decision
                now_s = later_s
            elif committed is Committed.BUSY:
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

    def wait(self, waiter: Waiter, decision: Decision, deadline_s: float, now_s: float) -> Ticket[Waiter] | Refusal:
        """Return a place among those that wait for a pod of the version to have room, or why there is none."""
        tier = self.tables.tiers.get(decision.tier) or Tier(decision.tier)  # a reload may have taken it away
        service_s = self.pods.usual_latency_s(decision.model, decision.version)
        return self.waiting.enter(waiter, decision, tier, deadline_s, _COST, service_s, now_s)

    def give_up(self) -> None:
        """The worker leaves now: nothing that waits goes to a pod any more, and may be sent again at once."""
        message = "the gateway stopped before a pod had the request; it was not run"
        self.waiting.close(Refusal("pods_busy", message), self.now_s())

    def would_be_late(self, pod: Pod, deadline_s: float, now_s: float) -> Refusal | None:
        """Return a refusal for a request that this pod, which is the best there is, cannot answer in time."""
        message = would_be_late(now_s, deadline_s, pod.predicted_wait_s(now_s), 0.0)
        return Refusal("would_be_late", f"{message}; give it more time, or try again") if message else None

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call that soon."""
        self._loop.call_later(delay_s, call)

    def pick(self, decision: Decision, now_s: float, tried: list[Pod], key: str = "", *, may_probe: bool = True) -> Pod:
        """Return the pod for the next attempt; raises ``NoPod``.

        Args:
            key: of idempotency; its pod is the same for every worker, whatever was tried.
            may_probe: it may be the one that tries a pod which failed.
        """
        in_flight = -(-decision.in_flight // self._worker_count)
        if key:
            return self.pods.pick_keyed(decision.model, decision.version, key.encode(), in_flight, now_s)
        draw = self.draw()
        if not decision.demoted_by:
            return self.pods.pick(decision.model, decision.version, in_flight, draw, now_s, tried, may_probe=may_probe)
        few = max(1, int(in_flight * _DEMOTED_SHARE))
        try:
            return self.pods.pick(decision.model, decision.version, few, draw, now_s, tried)
        except NoPod as none:
            if none.reason != "pods_busy":
                raise
            message = f"the quota {decision.demoted_by} is over the step that demotes, and the pods are busy; try again"
            raise NoPod("quota_demoted", message) from none

    def pod_of_key(self, decision: Decision, key: str, now_s: float) -> str:
        """Return the name of the pod that an idempotency key belongs to, whether it has room or not."""
        try:
            return self.pods.pick_keyed(decision.model, decision.version, key.encode(), sys.maxsize, now_s).view.name
        except NoPod:
            return _NO_PODS_LANE

    def me(self, decision: Decision, now_s: float) -> Me:
        """Return what ``GET /me`` tells the caller of a decision."""
        return me(self.tables, decision, self.limits, self.wall_s(), now_s)

    @property
    def takes_labels(self) -> bool:
        """Whether some model keeps what it answered until its callers tell the true label."""
        return any(route.feedback is not None for route in self.tables.routes.values())

    def tell_labels(self, tenant: str, labels: tuple[LateLabel, ...]) -> bool:
        """Pass on what a tenant tells of earlier answers; False when nobody takes it just now."""
        return self.copies.hand_over(LateLabels(tenant, labels))

    def repository_index(self, decision: Decision, query: str) -> list[Indexed]:
        """Return the models that the caller of a decision may call; by ``ready=true`` those alone that are ready."""
        return repository_index(self.tables, decision, self.pods.views, only_ready="ready=true" in query.split("&"))

    def revoke(self, key_ids: frozenset[str]) -> None:
        """Refuse these keys from the next request on, and no others beside what policy says."""
        self._revoked = self.tables.revoked = key_ids
        self.ways.use(self.tables)

    def stand(self, stages: Iterable[Stage]) -> None:
        """Share requests among versions so from the next one on."""
        self._stages = self.tables.stages = {stage.model: stage for stage in stages}

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
        away: list[str] = []
        ready_now: dict[str, bool] = {}
        now_s = self.now_s()
        for route in self._snapshot.routes.values():
            pods = self.pods.of_version(route.model, route.stable)
            ready_now[route.model] = any(pod.state is PodState.READY for pod in pods)
            stands = f"{route.model}/{route.stable}: {pods[0].state if pods else 'no pod'}"
            if (route.model, route.stable) not in self.ready_once and not any(pod.was_ready for pod in pods):
                waiting.append(stands)
            elif not any(pod.is_expected(now_s) for pod in pods):
                away.append(stands)
        return Readiness(self.draining and not self.is_replaced, tuple(waiting), ready_now, tuple(away))


def decode_snapshot(blob: bytes | memoryview) -> Snapshot:
    """Return the snapshot that the supervisor sent."""
    return msgspec.msgpack.decode(blob, type=Snapshot)
