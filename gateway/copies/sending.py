"""Sending: one copy to one pod, over links of this process; asked once, answered or not, and nobody waits for it."""

from __future__ import annotations

import asyncio
import random
import time

from gateway.control.messages import Pods
from gateway.copies.compare.answer import Answer
from gateway.copies.copied import Copied, NotSent, Why
from gateway.copies.messages import MAX_COPIED_BYTES
from gateway.copies.targets import NotForVersion, for_version
from gateway.dataplane.client import Piece
from gateway.dataplane.defects import OnDefect, unheard
from gateway.dataplane.health import Outcome, outcome_of
from gateway.dataplane.pods import NoPod, Pod, PodTable
from gateway.dataplane.upstream import Exchange
from gateway.errors import PodBroke, PodFailed, PodUnreachable
from model_pod.wire.link import NOT_TOLD, PodAnswer, PodCharge, PodRequest
from policies.snapshot.generation import Snapshot
from policies.snapshot.route import DEFAULT_IN_FLIGHT
from telemetry.conventions import SHADOW
from telemetry.record import Recorder
from telemetry.trace_context import traceparent

_SHADOW = SHADOW.encode()


class Sending:
    """The ways to pods of every version.

    Args:
        recorder: what the sidecar is told by; None where there is none.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, recorder: Recorder | None = None, on_defect: OnDefect = unheard
    ) -> None:
        self._loop = loop
        self._recorder = recorder
        self._pods = PodTable(loop, on_defect)
        self._snapshot: Snapshot | None = None
        self._random = random.Random()

    def use(self, snapshot: Snapshot) -> None:
        """Send by this generation from now on."""
        self._snapshot = snapshot
        self._pods.use(snapshot.routes)

    def show(self, pods: Pods) -> None:
        """These are the pods from now on."""
        self._pods.replace(pods.pods)

    def close(self) -> None:
        """Send nothing more; links close when their last exchange is over."""
        self._pods.replace(())

    def why_not(self, model: str, version: str, busy_share: float) -> Why | None:
        """Do what ``gateway.copies.copied.Asks`` says."""
        now_s = time.monotonic()
        ready = [pod for pod in self._pods.of_version(model, version) if pod.is_ready(now_s)]
        if not ready:
            return Why.NO_POD
        has = sum(pod.outstanding + pod.others_rows(now_s) for pod in ready)
        return Why.BUSY if has >= busy_share * self._in_flight(model, version) * len(ready) else None

    def _in_flight(self, model: str, version: str) -> int:
        route = self._snapshot.routes.get(model) if self._snapshot is not None else None
        known = route.versions.get(version) if route is not None else None
        return known.in_flight if known is not None else DEFAULT_IN_FLIGHT

    async def ask(self, copied: Copied, version: str, shadow: str, deadline_s: float) -> Answer | NotSent:
        """Do what ``gateway.copies.copied.Asks`` says."""
        now_s = time.monotonic()
        try:
            request = for_version(copied, version)
            in_flight = self._in_flight(copied.model, version)
            pod = self._pods.pick(copied.model, version, in_flight, self._random.random(), now_s, ())
        except NotForVersion:
            return NotSent(Why.NOT_FOR_VERSION)
        except NoPod as none:
            return NotSent(Why.BUSY if none.reason == "pods_busy" else Why.NO_POD)
        if not pod.is_ready(now_s):  # one that is only awaited has callers of its own
            return NotSent(Why.NO_POD)
        span_id = f"{self._random.getrandbits(64) | 1:016x}"
        call = _Call(self._loop, pod)
        call.send(_pod_request(request, shadow, span_id, deadline_s), request.body, deadline_s)
        try:
            outcome = await call.outcome
        finally:
            call.give_up()
        if isinstance(outcome, Answer):
            self._record(request, version, shadow, span_id, pod.view.name, now_s, outcome.status)
        return outcome

    def _record(
        self, copied: Copied, version: str, shadow: str, span_id: str, pod: str, started_s: float, status: int
    ) -> None:
        """Tell the sidecar of a copy, in the order of ``telemetry.records.GatewayCopy``."""
        if self._recorder is None:
            return
        generation = self._snapshot.generation if self._snapshot is not None else 0
        self._recorder.record(
            (
                "c",
                copied.trace_id,
                span_id,
                copied.span_id,
                copied.sampled,
                started_s,
                time.monotonic(),
                copied.request_id,
                generation,
                copied.tenant,
                copied.model,
                version,
                shadow,
                pod,
                status,
                version == copied.version,
            )
        )


def _pod_request(copied: Copied, shadow: str, span_id: str, deadline_s: float) -> PodRequest:
    return PodRequest(
        copied.method,
        copied.target,
        copied.request_id,
        copied.tenant,
        traceparent(copied.trace_id, span_id, copied.sampled),
        max(1, int(deadline_s * 1000)),
        len(copied.body),
        "",
        [*copied.fields, (_SHADOW, shadow.encode())],
    )


class _Call:
    """One copy at its pod (``gateway.dataplane.upstream.Receiver``).

    Attributes:
        outcome: resolved once, whatever happens.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pod: Pod) -> None:
        self.outcome: asyncio.Future[Answer | NotSent] = loop.create_future()
        self._loop = loop
        self._pod = pod
        self._exchange: Exchange | None = None
        self._head: PodAnswer | None = None
        self._body = bytearray()
        self._sent_s = time.monotonic()
        self._is_over = False

    def send(self, request: PodRequest, body: bytes, deadline_s: float) -> None:
        """Send it, and wait no longer than that."""
        self._timer = self._loop.call_later(deadline_s, self._on_deadline)
        self._pod.sent(self._sent_s)
        self._exchange = self._pod.upstream.open(request, (body,) if body else (), self, is_whole=True)

    def give_up(self) -> None:
        """Nobody waits any more."""
        if not self._is_over:
            self._cancel()
            self._end(NotSent(Why.GONE))

    # --- what the pod answers

    def on_answer(self, answer: PodAnswer, body: Piece) -> None:
        """The whole answer is here."""
        self._note(answer)
        self._answer(answer, bytes(body[:MAX_COPIED_BYTES]), answer.device_us)

    def on_head(self, answer: PodAnswer) -> None:
        """The answer's head is here."""
        self._head = answer
        self._note(answer)

    def on_data(self, piece: Piece) -> None:
        """Take a piece of the answer; one that is longer than any that is copied is told by its beginning."""
        self._body += piece
        if len(self._body) > MAX_COPIED_BYTES and self._head is not None:
            self._cancel()
            self._answer(self._head, bytes(self._body[:MAX_COPIED_BYTES]), NOT_TOLD)

    def on_end(self, charge: PodCharge | None = None) -> None:
        """The answer is whole."""
        head = self._head
        assert head is not None  # noqa: S101 - on_head comes first
        if head.content_length not in (NOT_TOLD, len(self._body)):
            self._fail(NOT_TOLD)
            return
        self._answer(head, bytes(self._body), charge.device_us if charge is not None else head.device_us)

    def on_failed(self, error: PodFailed) -> None:
        """There is no answer."""
        now_s = time.monotonic()
        if isinstance(error, PodUnreachable):
            if error.is_leaving:
                self._pod.leaves(now_s)
            elif error.is_pods_fault:
                self._count_failure(error, now_s)
            self._end(NotSent(Why.REFUSED if error.has_refused else Why.NO_POD))
            return
        self._count_failure(error, now_s)
        charge = error.charge if isinstance(error, PodBroke) else None
        self._fail(charge.device_us if charge is not None else NOT_TOLD)

    def on_room(self, has_room: bool) -> None:
        """All of the request is written already; what has no room waits in the exchange, up to ``MAX_COPIED_BYTES``."""

    def _on_deadline(self) -> None:
        now_s = time.monotonic()
        self._cancel()
        self._pod.abandoned(now_s, now_s - self._sent_s)
        self._fail(NOT_TOLD)

    # --- how it ends

    def _note(self, answer: PodAnswer) -> None:
        now_s = time.monotonic()
        latency_s = now_s - self._sent_s
        if answer.status < 500:
            self._pod.answered(now_s, latency_s, answer.queued_rows, answer.ahead_us)
        else:
            self._pod.refused(now_s, latency_s, answer.status, answer.reason, answer.fields)

    def _count_failure(self, error: PodFailed, now_s: float) -> None:
        if not error.is_counted:
            error.is_counted = True
            self._pod.failed(now_s)

    def _answer(self, head: PodAnswer, body: bytes, device_us: int) -> None:
        if head.reason and outcome_of(head.status, head.reason) is Outcome.NO_ROOM:
            self._end(NotSent(Why.REFUSED))
            return
        self._end(Answer(head.status, head.fields, body, time.monotonic() - self._sent_s, device_us))

    def _fail(self, device_us: int) -> None:
        self._end(Answer(0, b"", b"", time.monotonic() - self._sent_s, device_us))

    def _cancel(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()

    def _end(self, outcome: Answer | NotSent) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._timer.cancel()
        self._pod.let_go()
        if not self.outcome.done():
            self.outcome.set_result(outcome)
