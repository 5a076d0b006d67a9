"""Forward: the life of one request on one screen: admit, pick, send, answer, settle."""

from __future__ import annotations

from contextlib import suppress

from gateway.dataplane import answers
from gateway.dataplane.client import Client, Piece
from gateway.dataplane.client_heads import decision_value, limit_fields, own_fields
from gateway.dataplane.copying import Copy, answered
from gateway.dataplane.credentials import NO_PEER, Peer
from gateway.dataplane.feedback import read_feedback
from gateway.dataplane.gateway import Gateway
from gateway.dataplane.pod_heads import idempotency_key, pod_request
from gateway.dataplane.pods import NoPod, Pod
from gateway.dataplane.retry import BUDGET_USED_UP, Attempts, Failure, Ruling, failure_of_answer, failure_of_attempt
from gateway.dataplane.settlement import AttemptTuple, Settled
from gateway.dataplane.tracing import Trace
from gateway.dataplane.upstream import Exchange
from gateway.dataplane.usage import NOT_TOLD, NOTHING_USED, Usage
from gateway.dataplane.waiting import HELD_OF_ONE_BYTES, Tried, Waiter
from gateway.decide.copying import Copies
from gateway.decide.decision import Decision, Refusal
from gateway.decide.facts import RequestFacts
from gateway.decide.fair_queue import Ticket
from gateway.decide.pressure import SMALL_BODY_BYTES, may_hold_bytes
from gateway.decide.route import Api
from gateway.errors import CLIENT_GONE, NO_POD_READY, PodBroke, PodFailed, PodUnreachable, status_of
from model_pod.wire.http1 import RequestHead
from model_pod.wire.http1.head import Fields, parse_request_head
from model_pod.wire.link import PodAnswer, PodCharge
from model_pod.wire.refusals import REASONS as POD_REASONS
from model_pod.wire.refusals import Refused
from model_pod.wire.status import PodState

# Requests that wait for the ledger at a time; more are refused at once.
MAX_PARKED = 256
# A pod with so few requests of ours has no queue to speak of.
FEW = 8
# A request waits so long for the ledger at most; it looks after so long, and then ever more seldom.
_PARKED_AT_MOST_S = 0.1
_PARKED_LOOK_S = 0.002
FEEDBACK_AGAIN_S = 5.0


class Forward:
    """One request between its head and its settlement.

    Attributes:
        deadline_s: when the caller's time is over, on the monotonic clock.
        settled: it has been counted; it is neither answered nor sent any more.
        rpc: the method of gRPC that its caller called, with its service; "" for HTTP.
    """

    # What most requests never change is the class's; there are many requests.
    settled = False
    rpc = ""
    _facts: RequestFacts | None = None
    _decision: Decision
    _is_parked = False
    _parked_look_s = _PARKED_LOOK_S
    _is_replayable = True
    _key = ""  # of idempotency
    _copy: Copy | None = None  # of it that will be made
    _pod_fields: Fields = []  # noqa: RUF012 - what its pod got; replaced, never changed
    _ticket: Ticket[Waiter] | None = None
    _waited_s = 0.0  # for a pod that has room
    _resets = 0
    _request_bytes = 0
    _answer_bytes = 0
    _request_whole = False
    _room_bytes = 0  # that its body has taken
    _device_us = NOT_TOLD
    _tokens = 0
    _has_run = False
    _is_cold = False  # no pod was ready for it when it came
    _first_byte_s: float | None = None  # until the first byte of an answer that comes in pieces
    _exchange: Exchange | None = None
    _pod: Pod | None = None  # the one that has the request now
    _attempt_id = ""
    _attempt_s = 0.0
    _sent_s = 0.0
    _answer: PodAnswer | None = None  # of which the head was passed on
    _why_final = ""  # why a failed attempt was the last, where that is no matter of course

    def __init__(
        self,
        gateway: Gateway,
        client: Client,
        request: RequestHead,
        peer: Peer = NO_PEER,
        now_s: float = 0.0,
        trace: Trace | None = None,
    ) -> None:
        self._gateway = gateway
        self._peer = peer
        self._client = client
        self._request = request
        self._started_s = started_s = now_s or gateway.now_s()
        self._trace = trace = trace or gateway.tracer.begin(request)
        self._request_id = trace.request_id
        self._body: list[Piece] = []  # what came of it, for the pod that is still to be picked or for another one
        self._tried: list[Pod] = []
        self._attempts: list[AttemptTuple] = []
        self.deadline_s = started_s + gateway.tables.bounds.max_deadline_s

    @classmethod
    def of_whole(
        cls, gateway: Gateway, client: Client, head: bytes, body: Piece, started_s: float, trace: Trace
    ) -> Forward:
        """Return the life of a request that is here as a whole; its head has passed the gate."""
        forward = cls(gateway, client, parse_request_head(head, gateway.head_limits), NO_PEER, started_s, trace)
        forward._body, forward._request_bytes = ([body] if body else []), len(body)
        forward._request_whole = True
        forward._decision = Decision(gateway.tables.generation, None)
        return forward

    def holds(self, room_bytes: int) -> None:
        """Its body has taken room, which it is to give back."""
        self._room_bytes = room_bytes

    def admitted(self, facts: RequestFacts, decision: Decision) -> None:
        """Go on from a decision that is made, and charged if it admits."""
        self._facts, self._decision = facts, decision
        self.deadline_s = self._started_s + decision.timeout_s
        if decision.copies is not None:
            self._begin_copy(decision.copies)

    def is_at(self, pod: Pod, exchange: Exchange, attempt_s: float, fields: Fields) -> None:
        """Go on from the first attempt, which has all of the request; ``fields`` are those that its pod got."""
        self._pod_fields = fields
        self._pod, self._exchange, self._has_run = pod, exchange, True
        self._is_cold = pod.state is not PodState.READY
        self._tried = [pod]
        self._attempt_id = self._trace.attempt_id
        self._attempt_s = self._sent_s = attempt_s

    @property
    def body_limit_bytes(self) -> int:
        """Largest body this request may have."""
        if self._is_parked:
            return self._gateway.tables.bounds.body_bytes  # its route's may be lower: see _decide
        return self._decision.body_limit_bytes

    # --- the request

    def start(self, body: Piece | None = None) -> None:
        """Admit, pick and send; or refuse.

        Args:
            body: the whole of it, if it came with the head.
        """
        if body is not None:
            self._request_whole = True
            if body:
                self._body.append(body)
                self._request_bytes = len(body)
        gateway, now_s = self._gateway, self._started_s
        if gateway.refuse_new is not None:
            self._decision = Decision(gateway.tables.generation, None)
            self._refuse(gateway.refuse_new)
            return
        if (not self._request_whole or self._request_bytes > SMALL_BODY_BYTES) and (refusal := self._take_room()):
            self._decision = Decision(gateway.tables.generation, None)
            self._refuse(refusal)
            return
        self._facts = gateway.facts_of(self._request, self._peer, now_s)
        self._decide(now_s)

    def _take_room(self) -> Refusal | None:
        """Take room for what its body may hold, or say why there is none."""
        request = self._request
        room_bytes = may_hold_bytes(None if request.chunked else request.content_length or 0)
        refusal = self._gateway.bodies.take(room_bytes) if room_bytes else None
        if refusal is None:
            self._room_bytes = room_bytes
        return refusal

    def _take_room_for_all(self, most_bytes: int) -> Refusal | None:
        """Take what room is missing for a body that is held whole, or say why there is none."""
        request = self._request
        more_bytes = (most_bytes if request.chunked else request.content_length or 0) - self._room_bytes
        if not self._room_bytes or more_bytes <= 0:
            return None  # a small one is not counted
        refusal = self._gateway.bodies.take(more_bytes)
        if refusal is None:
            self._room_bytes += more_bytes
        return refusal

    def _decide(self, now_s: float) -> None:
        assert self._facts is not None  # noqa: S101 - start() comes first
        self._decision = decision = self._gateway.decide(self._facts, self._peer, now_s)
        if decision.refusal is not None:
            if decision.refusal.reason == "quota_pending" and self._may_wait(now_s):
                self._park()
            else:
                self._refuse(decision.refusal)
        elif decision.api is Api.SERVER_METADATA:
            self._answer_ourselves(answers.server_metadata(), "")
        elif decision.api is Api.REPOSITORY_INDEX:
            index = self._gateway.repository_index(decision, self._request.query)
            self._answer_ourselves(answers.repository_answer(index), "")
        elif decision.api is Api.ME:
            self._answer_ourselves(answers.me_answer(self._gateway.me(decision, now_s)), "")
        elif decision.api is Api.FEEDBACK:
            self._client.due(self.deadline_s)
            if self._request_whole:
                self._take_feedback()
            elif refusal := self._take_room_for_all(decision.body_limit_bytes):
                self._refuse(refusal)
            elif self._request.expects_continue:
                self._client.go_on()
        elif self._request_bytes > decision.body_limit_bytes:
            self._refuse(Refusal("body_too_large", f"the body is larger than {decision.body_limit_bytes} bytes"))
        else:
            self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        """The request may enter: find it a pod, or a place among those that wait for one."""
        decision, gateway = self._decision, self._gateway
        self.deadline_s = self._started_s + decision.timeout_s
        self._client.due(self.deadline_s)
        if self._is_parked:
            self._is_parked = False
            self._client.hold(False)
            if now_s >= self.deadline_s:
                self.deadline_passed()
                return
        shown = self._request.values.get(b"idempotency-key")
        if shown is not None:
            try:
                self._key = idempotency_key(decision.tenant, shown)
            except Refused as refused:
                self._refuse(Refusal(refused.reason, refused.message))
                return
        gateway.retries.note_request(decision.model, now_s)
        if decision.copies is not None:
            self._begin_copy(decision.copies)
        self.send(now_s)
        if self._request.expects_continue and not self._request_whole and not self.settled:
            self._client.go_on()

    def _begin_copy(self, copies: Copies) -> None:
        """Keep from now on what is copied of both bodies."""
        self._copy = copy = Copy(
            needs_request=copies.may_need_request,
            making=self._gateway.copies.making,
            may_drop_request=copies.is_labelled and not copies.needs_request(""),
        )
        for piece in self._body:
            copy.add_request(piece)

    def _take_feedback(self) -> None:
        """Pass on what the caller tells of earlier answers."""
        if not self._gateway.takes_labels:
            self._refuse(Refusal("path_not_found", "no model here takes late labels; its route would say feedback:"))
            return
        try:
            labels = read_feedback(b"".join(self._body))
        except Refused as refused:
            self._refuse(Refusal(refused.reason, refused.message))
            return
        if self._gateway.tell_labels(self._decision.tenant, labels):
            self._answer_ourselves(answers.feedback_answer(len(labels)), "")
        else:
            message = "nobody takes labels just now; send them again later"
            self._refuse(Refusal("feedback_unavailable", message, FEEDBACK_AGAIN_S))

    def _park(self) -> None:
        """Wait for the ledger to grant more of a quota that has room; it takes a few milliseconds."""
        if not self._is_parked:
            self._is_parked = True
            self._client.due(self.deadline_s)
            self._client.hold(True)
            self._gateway.want(self._decision)
        self._gateway.parked += 1
        self._gateway.later(self._parked_look_s, self._unpark)
        self._parked_look_s *= 2

    def _may_wait(self, now_s: float) -> bool:
        waited_s = now_s - self._started_s
        return waited_s < _PARKED_AT_MOST_S and (self._is_parked or self._gateway.parked < MAX_PARKED)

    def _unpark(self) -> None:
        self._gateway.parked -= 1
        if not self.settled:
            self._decide(self._gateway.now_s())

    def on_body(self, piece: Piece) -> None:
        """Pass a piece of the request's body on."""
        self._request_bytes += len(piece)
        if self._copy is not None:
            self._copy.add_request(piece)
        exchange = self._exchange
        if exchange is None:
            self._body.append(piece)
            if self._ticket is not None:
                self._hold_body(len(piece))
            return
        if self._is_replayable:
            if not exchange.has_begun or self._request_bytes <= self._gateway.retries.replays(self._decision.model):
                self._body.append(piece)
            else:
                self._is_replayable = False
                self._body.clear()
        exchange.send(piece)

    def on_body_end(self) -> None:
        """The request is whole."""
        self._request_whole = True
        self._sent_s = self._gateway.now_s()
        if self._exchange is not None:
            self._exchange.finish()
        elif self._decision.api is Api.FEEDBACK and not self.settled:
            self._take_feedback()

    # --- waiting for a pod that has room (waiting.Waiter)

    def _wait(self, now_s: float) -> None:
        """Take a place among those that wait, if there is one."""
        place = self._gateway.wait(self, self._decision, self.deadline_s, now_s)
        if isinstance(place, Refusal):
            self._refuse(place)
            return
        self._ticket = place
        self._hold_body(self._request_bytes)

    def _hold_body(self, byte_count: int) -> None:
        assert self._ticket is not None  # noqa: S101 - it waits
        refusal = self._gateway.waiting.hold(self._ticket, byte_count, self._gateway.now_s())
        if refusal is not None:
            self._refuse(refusal)
        elif self._request_bytes > HELD_OF_ONE_BYTES:
            self._client.hold(True)

    def resume(self, now_s: float) -> Tried:
        """Try the pods again."""
        if self.settled:
            return Tried.ENDED
        try:
            pod = self._pick(now_s, self._tried)
        except NoPod as none:
            if none.reason == "pods_busy":
                return Tried.NO_ROOM
            self._refuse(Refusal(none.reason, str(none), none.retry_after_s))
            return Tried.ENDED
        if self._ticket is not None:
            self._waited_s = now_s - self._ticket.since_s
            self._ticket = None
        if self._request_bytes > HELD_OF_ONE_BYTES:
            self._client.hold(False)  # the pod is the next to say when it has no room for more
        self._send_to(pod, now_s)
        return Tried.SENT

    def lane(self, now_s: float) -> str:
        """Return the name of the only pod that may have it, or "" where any may."""
        return self._gateway.pod_of_key(self._decision, self._key, now_s) if self._key else ""

    # --- an attempt

    def _pick(self, now_s: float, tried: list[Pod]) -> Pod:
        can_go_elsewhere = self._request_whole or self._is_replayable
        return self._gateway.pick(self._decision, now_s, tried, self._key, may_probe=can_go_elsewhere)

    def send(self, now_s: float) -> None:
        """Pick a pod and send it the request; or wait for one, or refuse."""
        try:
            pod = self._pick(now_s, self._tried)
        except NoPod as none:
            if none.reason == "pods_busy" and not self._tried:
                self._wait(now_s)
            else:
                self._refuse(Refusal(none.reason, str(none), none.retry_after_s))
            return
        if pod.outstanding >= FEW and (late := self._gateway.would_be_late(pod, self.deadline_s, now_s)):
            self._refuse(late)
            return
        self._send_to(pod, now_s)

    def _send_to(self, pod: Pod, now_s: float) -> None:
        self._tried.append(pod)
        self._pod = pod
        self._has_run = True
        self._is_cold = pod.state is not PodState.READY
        pod.sent(now_s)
        # By a clock of its own: what was decided until here is the gateway's time, not the pod's.
        self._attempt_s = sent_s = self._gateway.now_s()
        if self._request_whole:
            self._sent_s = sent_s
        trace = self._trace
        attempt_id = trace.attempt_id if len(self._tried) == 1 else self._gateway.tracer.new_span_id()
        self._attempt_id = attempt_id
        request = pod_request(
            self._request, self._request_id, trace, attempt_id, self._decision, self.deadline_s - now_s, self._key
        )
        self._pod_fields = request.fields
        self._exchange = pod.upstream.open(request, self._body, self, is_whole=self._request_whole)

    # --- the pod's answer (upstream.Receiver)

    def on_answer(self, answer: PodAnswer, body: Piece) -> None:
        """The whole answer is here."""
        now_s = self._gateway.now_s()
        if answer.status >= 400 and self._is_tried_again(failure_of_answer(answer.reason), now_s, answer):
            return
        self._note(answer, now_s)
        self._answer_bytes = len(body)
        fields = answer.fields + self._own_fields(now_s, answer.timing, answer.reason)
        if self._request.method == "HEAD" and answer.content_length:
            self._client.begin(answer.status, answer.phrase.encode("latin-1"), fields, answer.content_length)
            self._finish(now_s, answer)
            self._client.end()
            return
        self._finish(now_s, answer)
        self._client.answer(answer.status, answer.phrase.encode("latin-1"), fields, body)
        if self._copy is not None:
            self._copy.add_answer(body)
            self._hand_copy_over(answer, now_s)

    def on_head(self, answer: PodAnswer) -> None:
        """The answer's head is here, and its body will be."""
        now_s = self._gateway.now_s()
        self._answer = answer
        self._note(answer, now_s)
        fields = answer.fields + self._own_fields(now_s, answer.timing, answer.reason)
        self._client.begin(answer.status, answer.phrase.encode("latin-1"), fields, answer.content_length)

    def on_data(self, piece: Piece) -> None:
        """Pass a piece of the answer on."""
        if not self._answer_bytes:
            self._first_byte_s = self._gateway.now_s() - self._started_s
        self._answer_bytes += len(piece)
        announced = self._answer.content_length if self._answer is not None else NOT_TOLD
        if NOT_TOLD != announced < self._answer_bytes:
            self._cancel()
            self._break_a_lie()
            return
        if self._copy is not None:
            self._copy.add_answer(piece)
        self._client.data(piece)

    def on_end(self, charge: PodCharge | None = None) -> None:
        """The answer is whole, if its length is what was announced."""
        answer = self._answer
        assert answer is not None  # noqa: S101 - on_head comes first
        if charge is not None:
            self._device_us, self._tokens = charge.device_us, charge.tokens
        if answer.content_length not in (NOT_TOLD, self._answer_bytes) and self._request.method != "HEAD":
            self._break_a_lie()
            return
        now_s = self._gateway.now_s()
        self._finish(now_s, answer)
        self._client.end()
        if self._copy is not None:
            self._hand_copy_over(answer, now_s)

    def on_failed(self, error: PodFailed) -> None:
        """The attempt has no answer; another pod may have the request if this one cannot have run it."""
        now_s = self._gateway.now_s()
        self._exchange = None
        unreachable = error if isinstance(error, PodUnreachable) else None
        if unreachable is not None:
            self._has_run = False
        else:
            self._resets += 1
        if self._pod is not None:
            self._blame(self._pod, error, now_s)
        if self._answer is not None:
            if isinstance(error, PodBroke) and error.charge is not None:
                self._device_us, self._tokens = error.charge.device_us, error.charge.tokens
            self._break(error.reason)
        elif not self._is_tried_again(failure_of_attempt(error), now_s):
            self._refuse(Refusal(error.reason, self._failure_message(error)))

    def _blame(self, pod: Pod, error: PodFailed, now_s: float) -> None:
        """Let the pod's health know, as far as this was the pod's doing."""
        if isinstance(error, PodUnreachable) and not error.is_pods_fault:
            if error.is_leaving:
                pod.leaves(now_s)
        elif error.reason in POD_REASONS:  # it was there, and says why it ended this one
            pod.broke_off(now_s, status_of(error.reason), error.reason)
            if self._answer is None:
                pod.abandoned(now_s, now_s - self._attempt_s)
        elif not error.is_counted:
            error.is_counted = True
            pod.failed(now_s)

    def _is_tried_again(self, failure: Failure, now_s: float, answer: PodAnswer | None = None) -> bool:
        """Send the request to another pod, where that does no harm and the budget has room."""
        if failure is Failure.FINAL:
            return False
        so_far = Attempts(
            len(self._tried), self._resets, self._answer is not None, self._is_replayable, self.deadline_s
        )
        ruling = self._gateway.retries.rule(self._decision.model, failure, so_far, now_s)
        if ruling is not Ruling.RETRY:
            self._why_final = BUDGET_USED_UP if ruling is Ruling.NO_BUDGET else ""
            return False
        if answer is not None and answer.reason == "pod_draining" and self._pod is not None:
            self._pod.leaves(now_s)
        pod = self._other_pod(failure, now_s)
        if pod is None:
            return False
        if answer is not None:
            self._exchange = None
            self._note(answer, now_s)
        self._let_go(str(failure), now_s, answer.status if answer is not None else 0)
        self._client.hold(False)  # the next pod says by itself when it has no room
        self._send_to(pod, now_s)
        self._tell_who_waits(now_s)
        return True

    def _other_pod(self, failure: Failure, now_s: float) -> Pod | None:
        """Return a pod for another attempt: one that was not tried, or the only one if it may be back by now.

        With an idempotency key that is the key's own pod again, or nobody: only that one knows whether it has run.
        """
        failed = self._pod
        if failed is not None:
            failed.outstanding -= 1  # the place that the failed attempt had is there for another one
            if failed.leaving_until_s > now_s:
                failure = Failure.CONNECT  # its successor may be there by now, at the same address
        try:
            return self._pick_other(failure, now_s)
        finally:
            if failed is not None:
                failed.outstanding += 1

    def _pick_other(self, failure: Failure, now_s: float) -> Pod | None:
        tried_in_turn = (self._tried, []) if failure is Failure.CONNECT else (self._tried,)
        for tried in tried_in_turn:
            with suppress(NoPod):
                pod = self._pick(now_s, tried)
                return None if failure is Failure.REFUSED and pod in tried else pod
        return None

    def on_room(self, has_room: bool) -> None:
        """The way to the pod is full, or has room again."""
        self._client.hold(not has_room)

    def _note(self, answer: PodAnswer, now_s: float) -> None:
        """Take in what the answer's head says of the request's cost, and of its pod."""
        self._device_us, self._tokens = answer.device_us, answer.tokens
        # A pod that refused and tells no cost has not let the request near the model.
        self._has_run = not answer.reason or answer.device_us != NOT_TOLD
        pod = self._pod
        if pod is not None:
            if answer.cold is not None:  # a pod of ours knows better than whoever has asked it lately
                self._is_cold = answer.cold
            latency_s = now_s - max(self._attempt_s, self._sent_s)
            if answer.status < 500:
                pod.answered(now_s, latency_s, answer.queued_rows, answer.ahead_us)
            else:
                pod.refused(now_s, latency_s, answer.status, answer.reason, answer.fields)

    def _finish(self, now_s: float, answer: PodAnswer) -> None:
        self._exchange = None
        self._let_go("", now_s, answer.status)
        self._settle(answer.reason, answer.status, now_s)

    def _hand_copy_over(self, answer: PodAnswer, now_s: float) -> None:
        """Let the answered request be copied; one that its pod would not run has nothing to compare."""
        copy, self._copy = self._copy, None
        copies = self._decision.copies
        if copy is None or copies is None or not self._has_run or self._facts is None:
            return
        took_s = now_s - self._attempt_s
        sampled = self._gateway.copies.sampled(self._decision, answer.status, took_s)
        if sampled and copy.request_lost:
            self._gateway.copies.lost[copy.request_lost] += 1
            sampled = ""
        if not copies.is_of_use(sampled):
            return
        if not copies.needs_request(sampled):
            copy.drop_request()
        asked = (self._request_id, self._request.method, self._request.target, self._pod_fields)
        told = answered(self._decision, self._trace, asked, answer, self._facts.wall_s, took_s, sampled)
        self._gateway.copies.copy(told, copy)

    def _break_a_lie(self) -> None:
        """End an answer that is longer or shorter than its pod announced, which is a failure of the pod."""
        if self._pod is not None:
            self._pod.failed(self._gateway.now_s())
        self._break("pod_bad_answer")

    def _break(self, reason: str) -> None:
        """End an answer that has begun and cannot be made whole."""
        self._exchange = None
        self._settle(reason, status_of(reason), self._gateway.now_s())
        self._client.cut()

    # --- the caller

    def hold_answer(self, held: bool) -> None:
        """The caller reads slowly: stop (or go on) reading the pod's answer."""
        if self._exchange is not None:
            self._exchange.hold(held)

    def client_gone(self) -> None:
        """Nobody waits any more: the pod learns of it."""
        self._cancel()
        self._settle(CLIENT_GONE, status_of(CLIENT_GONE), self._gateway.now_s())

    def deadline_passed(self) -> None:
        """The caller's time is over."""
        if self._tried:
            message = "the request's deadline passed before the model answered; it may have been run"
            self.refuse(Refusal("deadline_exceeded_running", message))
        else:
            self.refuse(
                Refusal("deadline_exceeded", "the request's deadline passed before a pod had it; it was not run")
            )

    def give_up(self) -> None:
        """The worker leaves now: what still waits for the ledger may be sent again at once, the rest may have run."""
        if self._is_parked:
            message = "the gateway stopped before a pod had the request; it was not run"
            self.refuse(Refusal("quota_pending", message))
        else:
            message = "the gateway stopped before the answer was there; the request may have been run"
            self.refuse(Refusal("gateway_stopped", message))

    def refuse(self, refusal: Refusal) -> None:
        """End the request with a refusal, whatever it was waiting for; an answer that has begun can only be cut."""
        if self.settled:
            return
        self._cancel()
        if self._answer is not None:
            self._break(refusal.reason)
        else:
            self._refuse(refusal)

    # --- endings

    def _cancel(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
            if self._pod is not None and self._answer is None:
                now_s = self._gateway.now_s()
                self._pod.abandoned(now_s, now_s - self._attempt_s)

    def _refuse(self, refusal: Refusal) -> None:
        self._answer_ourselves(answers.refusal_answer(refusal, self._request_id), refusal.reason)

    def _answer_ourselves(self, answer: answers.Answer, reason: str) -> None:
        now_s = self._gateway.now_s()
        if self._ticket is not None:
            self._waited_s = now_s - self._ticket.since_s
        fields = answer.fields + self._own_fields(now_s, b"", reason)
        self._settle(reason, answer.status, now_s)
        self._client.answer(answer.status, b"", fields, answer.body)

    def _settle(self, reason: str, status: int, now_s: float) -> None:
        """Count the request, once."""
        if self.settled:
            return
        self.settled = True
        if self._ticket is not None:
            self._gateway.waiting.leave(self._ticket, now_s)
        if self._pod is not None and self._answer is None and self._pod.state is not PodState.READY:
            self._is_cold = True  # it got no answer from a pod that has turned out to be away
        self._let_go(reason, now_s)
        if self._room_bytes:
            self._gateway.bodies.give(self._room_bytes)
        if self._copy is not None:
            self._copy.settle()
        usage = NOTHING_USED
        if self._tried or self._request_bytes:
            usage = Usage(self._device_us, self._tokens, self._request_bytes, self._answer_bytes)
        self._gateway.settlement.settle(
            Settled(
                self._trace,
                self._decision,
                self.rpc or self._request.method,
                self._request_id,
                self._started_s,
                status,
                reason,
                self._attempts,
                self._facts,
                usage,
                self._has_run,
                self._is_cold or reason == NO_POD_READY,
                self._first_byte_s,
            ),
            now_s,
        )
        if self._tried:
            self._tell_who_waits(now_s)

    def _tell_who_waits(self, now_s: float) -> None:
        """A pod may have room now."""
        if self._gateway.waiting.count:
            self._gateway.waiting.on_free(self._decision.model, self._decision.version, now_s)

    def _let_go(self, reason: str, now_s: float, status: int = 0) -> None:
        """End the attempt that is under way; ``reason`` is "" when the pod answered it."""
        pod, self._pod = self._pod, None
        if pod is not None:
            pod.let_go()
            self._attempts.append((self._attempt_id, pod.view.name, self._attempt_s, now_s, reason, status))

    def _own_fields(self, now_s: float, pod_timing: bytes, refused: str = "") -> bytes:
        decision = self._decision
        in_pod_s, pod = 0.0, ""
        if self._tried:
            pod = self._tried[-1].view.name
            if self._sent_s:
                in_pod_s = now_s - self._sent_s
        return own_fields(
            self._request_id,
            self._trace,
            decision_value(decision, pod, len(self._tried), refused),
            limit_fields(decision.policy, decision.rooms),
            now_s - self._started_s - in_pod_s - self._waited_s,
            self._waited_s,
            pod_timing,
        )

    def _failure_message(self, error: PodFailed) -> str:
        name = f"{self._decision.model}/{self._decision.version}"
        if isinstance(error, PodUnreachable) and error.has_refused:
            return f"the pod of {name} did not take this request{self._why_final}; try again shortly"
        if isinstance(error, PodUnreachable):
            return f"no pod of {name} could be reached{self._why_final}; try again shortly"
        if error.reason == "pod_bad_answer":
            return f"the pod of {name} did not give an answer that a pod may give; the request may have been run"
        if error.reason in POD_REASONS:
            return f"the pod of {name} ended this request, which may have been run. {POD_REASONS[error.reason].meaning}"
        return f"the pod of {name} was lost while it had this request{self._why_final}; it may have been run"


Forward._decision = Decision(0, None)
