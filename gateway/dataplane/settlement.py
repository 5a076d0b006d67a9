"""Settlement: what follows from how a request ended: limits, counts, the decision record and the span."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from functools import partial

from msgspec import Struct

from gateway.control.messages import SLOT_S, KeyUses, LimitUses, Tally, TrialEvents
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.tally import LimitUseCounts, Tallies
from gateway.dataplane.tracing import NO_TRACE, Trace, Tracer
from gateway.dataplane.trials import Trials
from gateway.dataplane.usage import NOT_TOLD, NOTHING_USED, Usage
from gateway.dataplane.ways import Way
from gateway.decide.decision import Decision
from gateway.decide.facts import RequestFacts
from gateway.decide.limits import QuotaCharge
from gateway.decide.release import Arm, Trial
from gateway.decide.route import INFERENCES
from gateway.decide.tables import Tables
from gateway.errors import REASONS
from model_pod.wire.link import PodAnswer
from telemetry.logs.line import Facts, Level, Line, debug
from telemetry.logs.log import LOG
from telemetry.record import Recorder

# Tallies that a supervisor which does not read has not taken: one per slot, so an hour's.
MAX_CLOSED_TALLIES = 360
# What requests cost is learnt for quotas, from those that have one. Of the others each that many will do.
_LEARN_EACH = 16
# Credentials used in one second whose last use is told; of tokens there may be one for each caller.
MAX_KEY_USES = 10_000

AttemptTuple = tuple[str, str, float, float, str, int]
"""``telemetry.records.Attempt`` as it is recorded."""


class Settled(Struct, frozen=True):
    """How a request ended.

    Attributes:
        method: of HTTP; of gRPC with its service, as ``SERVICE/METHOD``.
        status: what the caller got; 499 when it left before.
        reason: of a refusal, by us or by the pod; "" for an answer of the model.
        facts: None when it was refused before there were any.
        has_run: a pod had it, so that it may have run.
        is_cold: no pod was ready for it when it came.
        first_byte_s: how long the first byte of its answer took; None where that came with the last, or never.
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
    is_cold: bool = False
    first_byte_s: float | None = None


class Settlement:
    """What one worker's requests came to since the supervisor was last told.

    Attributes:
        requests: settled, since the start.
        refusals: by reason, since the start.
        recorder: what the sidecar is told by; None where there is none.
        decisions: where decisions are kept for those who edit policy; None where they are not.
    """

    def __init__(
        self, limits: SharedLimits, tracer: Tracer, recorder: Recorder | None, decisions: DecisionLog | None
    ) -> None:
        self.requests = 0
        self.refusals: Counter[str] = Counter()
        self.recorder = recorder
        self.decisions = decisions
        self._limits = limits
        self._tracer = tracer
        self._generation = 0
        self._tallies = Tallies({})
        self._trials = Trials()
        self._closed_tallies: deque[Tally] = deque()
        self._limit_uses = LimitUseCounts()
        self._key_uses: dict[str, float] = {}
        self._lost: Counter[str] = Counter()
        self._told_lost = 0
        self._slot_s = 0
        self._slot_ends_s = -math.inf

    def use(self, tables: Tables) -> None:
        """Count by this generation's objectives from now on."""
        self._begin_slot()
        self._generation = tables.generation
        self._tallies = Tallies(tables.objectives)

    def settle(self, settled: Settled, now_s: float) -> None:
        """Count a settled request, and tell the sidecar of it; a defect in that costs no caller the answer."""
        try:
            self._settle(settled, now_s)
        except Exception as error:
            self._note_uncounted(error)

    def settle_usual(
        self,
        way: Way,
        trace: Trace,
        started_s: float,
        attempt_s: float,
        now_s: float,
        wall_s: float,
        pod: str,
        answer: PodAnswer,
        request_bytes: int,
        answer_bytes: int,
        lefts: tuple[int, ...],
        trial: Trial | None,
    ) -> None:
        """Do what ``settle`` does, for a request of a known way that the first pod answered with 200.

        Args:
            wall_s: when it began, by the wall's clock.
            pod: its name.
            request_bytes, answer_bytes: of the bodies.
            lefts: what is left of each of its limits.
        """
        try:
            took_s = now_s - started_s
            self._limits.give_back(way.charged)
            key_id, key_uses = way.key_id, self._key_uses
            if key_id in key_uses or len(key_uses) < MAX_KEY_USES:
                key_uses[key_id] = wall_s
            device_us, tokens = answer.device_us, answer.tokens
            if device_us > 0 and self.requests % _LEARN_EACH == 0:
                self._limits.estimates.learn(way.kind[0], way.kind[1], "device_time", device_us)
            self.requests += 1
            if now_s >= self._slot_ends_s:
                self._begin_slot()
            series = way.series
            if series.is_taken:
                series = way.series = self._tallies.series(way.kind)
            is_traced = self._tracer.is_on
            outcome = series.add(took_s, trace.trace_id if trace.sampled and is_traced else "")
            if trial is not None:
                in_canary = way.arm is Arm.CANARY
                self._trials.note(trial, outcome, 200, trace.trace_id, in_canary=in_canary)
            series.body_bytes += request_bytes + answer_bytes
            if tokens:
                series.tokens += tokens
            if device_us != NOT_TOLD:
                series.device_us += device_us
            if way.alike is not None and self.decisions is not None:
                self.decisions.note_alike(
                    way.alike,
                    wall_s,
                    request_bytes,
                    device_us,
                    request_bytes,
                    answer_bytes,
                    tokens,
                    took_s,
                    lefts,
                    trace.request_id,
                )
            if LOG.is_debug:
                _tell(way.api, way.kind[:3], way.arm, trace, (200, "", took_s))
            if self.recorder is not None and is_traced:
                model, version = way.version_key
                self._record(
                    trace,
                    started_s,
                    now_s,
                    "POST",
                    way.api,
                    200,
                    "",
                    trace.request_id,
                    way.generation,
                    way.tenant,
                    model,
                    version,
                    way.arm,
                    outcome,
                    [(trace.attempt_id, pod, attempt_s, now_s, "", 200)],
                )
        except Exception as error:
            self._note_uncounted(error)

    def _note_uncounted(self, error: Exception) -> None:
        if not self._lost["settlement"]:
            text = f"a request was not counted: {type(error).__name__}: {error}"
            LOG.say("gateway", Line(text, Level.ERROR, "request.uncounted", Facts(error_type=type(error).__name__)))
        self._lost["settlement"] += 1

    def count_refused(self, reason: str, since_s: float, now_s: float) -> None:
        """Count a request that was refused before anything was known of it; it was waited for since that moment."""
        if self.decisions is not None:
            self.decisions.note_unidentified(reason)
        nobody = Decision(self._generation, None)
        settled = Settled(NO_TRACE, nobody, "", "", since_s, REASONS[reason].status, reason, [])
        self._count(settled, now_s - since_s, now_s, "")

    def _settle(self, settled: Settled, now_s: float) -> None:
        trace, decision, facts = settled.trace, settled.decision, settled.facts
        took_s = now_s - settled.started_s
        is_traced = self._tracer.is_on
        if decision.key_id and facts is not None and (decision.key_id in self._key_uses or self._has_room_for_keys):
            self._key_uses[decision.key_id] = facts.wall_s
        if decision.refusal is not None or decision.observed:
            self._limit_uses.add(decision)
        if decision.charges:
            self._settle_limits(settled)
        outcome = self._count(settled, took_s, now_s, trace.trace_id if trace.sampled and is_traced else "")
        if decision.trial is not None:
            in_canary = decision.arm is Arm.CANARY
            self._trials.note(decision.trial, outcome, settled.status, trace.trace_id, in_canary=in_canary)
        if self.decisions is not None and facts is not None:
            self.decisions.note(
                facts, decision, settled.request_id, took_s, settled.status, settled.reason, settled.usage
            )
        if LOG.is_debug:
            of = (decision.model, decision.version, decision.tenant)
            _tell(decision.api or "", of, decision.arm, trace, (settled.status, settled.reason, took_s))
        if self.recorder is None or not is_traced:
            return
        self._record(
            trace,
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
        )

    def _record(
        self,
        trace: Trace,
        started_s: float,
        now_s: float,
        method: str,
        api: str,
        status: int,
        reason: str,
        request_id: str,
        generation: int,
        tenant: str,
        model: str,
        version: str,
        arm: str,
        outcome: str,
        attempts: list[AttemptTuple],
    ) -> None:
        """Tell the sidecar of a request, in the order of ``telemetry.records.GatewayRequest``."""
        assert self.recorder is not None  # noqa: S101 - whoever calls has looked
        self.recorder.record(
            (
                "g",
                trace.trace_id,
                trace.span_id,
                trace.parent_id,
                trace.sampled,
                started_s,
                now_s,
                method,
                api,
                status,
                reason,
                request_id,
                generation,
                tenant,
                model,
                version,
                arm,
                outcome,
                attempts,
                trace.trace_state,
                trace.link,
            )
        )

    @property
    def _has_room_for_keys(self) -> bool:
        return len(self._key_uses) < MAX_KEY_USES

    def _settle_limits(self, settled: Settled) -> None:
        """Charge what the request cost instead of what was reserved for it, and give its places back."""
        decision = settled.decision
        any_quota = type(decision.charges[-1]) is QuotaCharge  # they come last
        if any_quota:
            self._limits.settle(decision.charges, partial(_cost, settled=settled), time.time())
        else:
            self._limits.settle(decision.charges, _no_cost, 0.0)
        if settled.has_run and decision.api in INFERENCES:
            announced_bytes = settled.facts.content_length if settled.facts is not None else 0
            self._learn(decision, settled.usage, announced_bytes, any_quota=any_quota)

    def _learn(self, decision: Decision, usage: Usage, announced_bytes: int, *, any_quota: bool) -> None:
        """Take in what an inference cost, as far as its pod said and somebody asks; bytes only beyond the announced."""
        estimates, model, version = self._limits.estimates, decision.model, decision.version
        if usage.device_us > 0:
            estimates.learn(model, version, "device_time", usage.device_us)
        if any_quota:
            if usage.device_us > 0:
                estimates.learn(model, version, "tokens", usage.tokens)
            beyond_bytes = usage.request_bytes + usage.response_bytes - announced_bytes
            estimates.learn(model, version, "bytes", max(0, beyond_bytes))

    def _count(self, settled: Settled, duration_s: float, now_s: float, kept_trace: str) -> str:
        self.requests += 1
        if settled.reason:
            self.refusals[settled.reason] += 1
        if now_s >= self._slot_ends_s:
            self._begin_slot()
        return self._tallies.add(
            settled.decision,
            settled.status,
            settled.reason,
            duration_s,
            kept_trace,
            settled.usage,
            settled.first_byte_s,
            is_cold=settled.is_cold,
        )

    # --- what the supervisor is told

    def take_tallies(self) -> list[Tally]:
        """Return what was settled since the last time."""
        self._begin_slot()
        closed, self._closed_tallies = list(self._closed_tallies), deque()
        return closed

    def take_trials(self) -> list[TrialEvents]:
        """Return what canaries' trials came to since the last time."""
        return self._trials.take()

    def take_uses(self) -> tuple[KeyUses, LimitUses]:
        """Return which credentials were used and what limits did since the last time."""
        used, self._key_uses = self._key_uses, {}
        return KeyUses(used), self._limit_uses.take()

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
        self._slot_ends_s = time.monotonic() + self._slot_s + SLOT_S - wall_s

    def _all_lost(self) -> Counter[str]:
        lost = self._lost.copy()
        if self.recorder is not None:
            lost += self.recorder.dropped
        if self.decisions is not None:
            lost["decision"] = self.decisions.lost
        return lost


def _tell(api: str, of: tuple[str, str, str], arm: str, trace: Trace, ended: tuple[int, str, float]) -> None:
    """Tell whoever looks for something how a request ended; never what was in it.

    Args:
        of: model, version and tenant.
        ended: status, reason and seconds.
    """
    (model, version, tenant), (status, reason, took_s) = of, ended
    facts = Facts(
        model=model,
        version=version,
        tenant=tenant,
        arm=str(arm),
        api=api,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        request_id=trace.request_id,
        status=status,
        reason=reason,
        duration_s=round(took_s, 6),
        error_type=reason if status >= 500 else "",
    )
    text = f"request {trace.request_id} of {model or 'no model'}: {status} {reason or 'answered'} in {took_s:.4f} s"
    LOG.say("gateway", debug(text, "request.settled", facts))


def _no_cost(_: QuotaCharge) -> int:
    return 0


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
