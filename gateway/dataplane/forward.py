"""Forward: the life of one request on one screen: admit, pick, send, answer, settle."""

from __future__ import annotations

from typing import Protocol

from gateway.dataplane import answers, heads
from gateway.dataplane.credentials import NO_PEER, Peer
from gateway.dataplane.gateway import MAX_PARKED, AttemptTuple, Gateway, Settled
from gateway.dataplane.pods import NoPod, Pod
from gateway.dataplane.upstream import Exchange, Piece
from gateway.dataplane.usage import NOT_TOLD, Usage, read_usage
from gateway.decide.decision import Decision, Refusal
from gateway.decide.facts import RequestFacts
from gateway.decide.route import Api
from gateway.errors import CLIENT_GONE, REASONS, PodFailed, PodUnreachable, status_of
from model_pod.wire.http1 import RequestHead, ResponseHead
from model_pod.wire.refusals import REASON_HEADER
from telemetry import conventions
from telemetry.trace_context import traceparent

_MAX_ATTEMPTS = 3
# A request waits so long for the ledger at most; it looks after so long, and then ever more seldom.
_PARKED_AT_MOST_S = 0.1
_PARKED_LOOK_S = 0.002
# A pod that answers and tells no cost had none: it refused, or its handler was never reached.
_COSTS_NOTHING = (0, 0)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_REASON_FIELD = REASON_HEADER.encode()


class Client(Protocol):
    """The connection that a request came by."""

    def write(self, pieces: list[Piece]) -> None: ...
    def hold(self, held: bool) -> None:
        """Stop (or go on) reading the request's body."""
        ...

    def answered(self, keep_alive: bool) -> None:
        """The answer is whole; the next request may come if the connection is kept."""
        ...

    def cut(self) -> None:
        """The answer cannot be made whole: end the connection so that the client can tell."""
        ...

    def due(self, deadline_s: float) -> None:
        """The request's deadline is known."""
        ...


class Forward:
    """One request between its head and its settlement.

    Attributes:
        deadline_s: when the caller's time is over, on the monotonic clock.
        settled: it has been counted; nothing more happens.
    """

    def __init__(self, gateway: Gateway, client: Client, request: RequestHead, peer: Peer = NO_PEER) -> None:
        self._gateway = gateway
        self._peer = peer
        self._client = client
        self._request = request
        self._started_s = gateway.now_s()
        self._request_id = gateway.new_request_id()
        self._trace = gateway.tracer.begin(request)
        self._facts: RequestFacts | None = None
        self._decision = Decision(0, None)
        self._parked: list[Piece] | None = None  # what came of the body while the request waited for a quota
        self._parked_look_s = _PARKED_LOOK_S
        self._cost = (NOT_TOLD, 0)
        self._request_bytes = 0
        self._response_bytes = 0
        self._has_run = False
        self._exchange: Exchange | None = None
        self._tried: list[Pod] = []
        self._attempts: list[AttemptTuple] = []
        self._attempt_id = ""
        self._attempt_s = 0.0
        self._status = 0
        self._pod_reason = ""
        self._pod: Pod | None = None  # the one that has the request now
        self._request_whole = False
        self._sent_s = 0.0
        self._chunked_answer = False
        self._keep_alive = request.keep_alive
        self._answer_begun = False
        self.deadline_s = self._started_s + gateway.tables.bounds.max_deadline_s
        self.settled = False

    @property
    def body_limit_bytes(self) -> int:
        """Largest body this request may have."""
        if self._parked is not None:
            return self._gateway.tables.bounds.body_bytes  # its route's may be lower: see _decide
        return self._decision.body_limit_bytes

    # --- the request

    def start(self) -> None:
        """Admit, pick and send; or refuse."""
        self._facts = self._gateway.facts_of(self._request, self._peer, self._started_s)
        self._decide(self._started_s)

    def _decide(self, now_s: float) -> None:
        assert self._facts is not None  # noqa: S101 - start() comes first
        self._decision = decision = self._gateway.decide(self._facts, self._peer, now_s)
        if decision.refusal is not None:
            if decision.refusal.reason == "quota_pending" and self._may_wait(now_s):
                self._park()
            else:
                self._refuse(decision.refusal)
        elif decision.api is Api.SERVER_METADATA:
            self._answer(answers.server_metadata(), "")
        elif decision.api is Api.ME:
            self._answer(answers.me_answer(self._gateway.me(decision, now_s)), "")
        else:
            self.deadline_s = self._started_s + decision.timeout_s
            self._client.due(self.deadline_s)
            body_so_far = self._go_on()
            if self._request_bytes > decision.body_limit_bytes:
                self._refuse(Refusal("body_too_large", f"the body is larger than {decision.body_limit_bytes} bytes"))
                return
            self._send_to_a_pod(body_so_far)
            if self._request.expects_continue and self._request.body_expected and not self.settled:
                self._client.write([CONTINUE])

    def _park(self) -> None:
        """Wait for the ledger to grant more of a quota that has room; it takes a few milliseconds."""
        if self._parked is None:
            self._parked = []
            self._client.due(self.deadline_s)
            self._client.hold(True)
            self._gateway.want(self._decision)
        self._gateway.parked += 1
        self._gateway.later(self._parked_look_s, self._unpark)
        self._parked_look_s *= 2

    def _may_wait(self, now_s: float) -> bool:
        waited_s = now_s - self._started_s
        return waited_s < _PARKED_AT_MOST_S and (self._parked is not None or self._gateway.parked < MAX_PARKED)

    def _unpark(self) -> None:
        self._gateway.parked -= 1
        if self.settled:
            return
        self._decide(self._gateway.now_s())

    def _go_on(self) -> list[Piece]:
        """Return what came of the body meanwhile; the pod is the next to say when it has no room for more."""
        parked, self._parked = self._parked, None
        if parked is None:
            return []
        self._client.hold(False)
        return parked

    def on_body(self, piece: memoryview) -> None:
        """Pass a piece of the request's body on."""
        self._request_bytes += len(piece)
        if self._request.chunked:
            self._send([b"%x\r\n" % len(piece), piece, b"\r\n"])
        else:
            self._send([piece])

    def _send(self, pieces: list[Piece]) -> None:
        if self._parked is not None:
            # The client is held, so this is no more than what had been read; and its buffer will be used again.
            self._parked += [bytes(piece) for piece in pieces]
        elif self._exchange is not None:
            for piece in pieces:
                self._exchange.send(piece)

    def on_body_end(self) -> None:
        """The request is whole."""
        self._request_whole = True
        self._sent_s = self._gateway.now_s()
        if self._request.chunked:
            self._send([b"0\r\n\r\n"])
        if self._exchange is not None:
            self._exchange.finish()

    def _send_to_a_pod(self, body_so_far: list[Piece]) -> None:
        now_s = self._gateway.now_s()
        try:
            pod = self._gateway.pick(self._decision, now_s, self._tried)
        except NoPod as none:
            self._refuse(Refusal(none.reason, str(none)))
            return
        self._tried.append(pod)
        self._pod = pod
        self._has_run = True
        pod.outstanding += 1
        self._attempt_s = now_s
        self._attempt_id = self._gateway.tracer.new_span_id()
        left_s = self.deadline_s - now_s
        head = heads.pod_request_head(
            self._request, self._request_id, self._trace, self._attempt_id, self._decision, left_s
        )
        self._exchange = pod.upstream.open(self._request.method, head, self)
        for piece in body_so_far:
            self._exchange.send(piece)
        if self._request_whole:
            self._exchange.finish()

    # --- the pod's answer (upstream.Receiver)

    def on_head(self, response: ResponseHead) -> None:
        self._status = response.status
        fields, pod_timing, usage = heads.fields_for_client(response)
        self._cost = read_usage(usage) if usage else _COSTS_NOTHING
        if response.status >= 400:
            self._pod_reason = _known_reason(response)
            # A pod that refused and tells no cost has not let the request near the model.
            self._has_run = bool(usage) or not self._pod_reason
        # A pod that answers before the body is whole leaves bytes on the way that nobody will read.
        self._keep_alive = self._keep_alive and self._request_whole and not self._gateway.draining
        framing = self._framing(response)
        head = heads.client_head(
            response.status,
            response.phrase,
            fields,
            self._own_fields(pod_timing),
            framing,
            heads.connection_field(self._request, keep_alive=self._keep_alive),
            self._gateway.date,
        )
        self._answer_begun = True
        self._client.write([head])

    def on_data(self, piece: memoryview) -> None:
        self._response_bytes += len(piece)
        if self._chunked_answer:
            self._client.write([b"%x\r\n" % len(piece), piece, b"\r\n"])
        else:
            self._client.write([piece])

    def on_end(self) -> None:
        if self._chunked_answer:
            self._client.write([b"0\r\n\r\n"])
        self._let_go("")
        self._settle(self._pod_reason, self._status)
        self._client.answered(self._keep_alive)

    def on_failed(self, error: PodFailed) -> None:
        self._exchange = None
        unreachable = error if isinstance(error, PodUnreachable) else None
        if unreachable is not None:
            self._has_run = False
        if self._pod is not None and (unreachable is None or unreachable.is_pods_fault):
            self._pod.suspect(self._gateway.now_s())
        self._let_go(error.reason)
        if self._answer_begun:
            self._settle(error.reason, status_of(error.reason))
            self._client.cut()
        elif unreachable is not None and len(self._tried) < _MAX_ATTEMPTS:
            self._client.hold(False)  # the next pod says by itself when it has no room
            self._send_to_a_pod(unreachable.unsent[1:])
        else:
            self._refuse(Refusal(error.reason, self._failure_message(error)))

    def on_room(self, has_room: bool) -> None:
        self._client.hold(not has_room)

    # --- the caller

    def hold_answer(self, held: bool) -> None:
        """The caller reads slowly: stop (or go on) reading the pod's answer."""
        if self._exchange is not None:
            self._exchange.hold(held)

    def client_gone(self) -> None:
        """Nobody waits any more: the pod learns of it."""
        self._cancel()
        self._settle(CLIENT_GONE, status_of(CLIENT_GONE))

    def deadline_passed(self) -> None:
        """The caller's time is over."""
        reason = "deadline_exceeded_running" if self._tried else "deadline_exceeded"
        self.refuse(Refusal(reason, "the request's deadline passed before the model answered; it may have been run"))

    def refuse(self, refusal: Refusal) -> None:
        """End the request with a refusal, whatever it was waiting for; an answer that has begun can only be cut."""
        self._cancel()
        if self._answer_begun:
            self._settle(refusal.reason, status_of(refusal.reason))
            self._client.cut()
        else:
            self._refuse(refusal)

    # --- endings

    def _cancel(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def _refuse(self, refusal: Refusal) -> None:
        self._answer(answers.refusal_answer(refusal, self._request_id), refusal.reason)

    def _answer(self, answer: answers.Answer, reason: str) -> None:
        # What is left of a body would be read as the next request, so an unread body ends the connection.
        self._keep_alive = self._keep_alive and (self._request_whole or not self._request.body_expected)
        body = b"" if self._request.method == "HEAD" else answer.body
        head = heads.client_head(
            answer.status,
            heads.phrase_of(answer.status),
            [],
            answer.fields + self._own_fields(b""),
            b"content-length: %d\r\n" % len(answer.body),
            heads.connection_field(self._request, keep_alive=self._keep_alive),
            self._gateway.date,
        )
        self._settle(reason, answer.status)
        self._client.write([head, body])
        self._client.answered(self._keep_alive)

    def _settle(self, reason: str, status: int) -> None:
        """Count the request, once."""
        if self.settled:
            return
        self.settled = True
        self._let_go(reason)
        self._gateway.settle(
            Settled(
                self._trace,
                self._decision,
                self._request.method,
                self._request_id,
                self._started_s,
                status,
                reason,
                self._attempts,
                self._facts,
                Usage(*self._cost, self._request_bytes, self._response_bytes),
                self._has_run,
            ),
            self._gateway.now_s(),
        )

    def _let_go(self, reason: str) -> None:
        """End the attempt that is under way; ``reason`` is "" when the pod answered it."""
        pod, self._pod = self._pod, None
        if pod is not None:
            pod.outstanding -= 1
            now_s = self._gateway.now_s()
            self._attempts.append((self._attempt_id, pod.view.name, self._attempt_s, now_s, reason, self._status))

    def _own_fields(self, pod_timing: bytes) -> bytes:
        now_s, trace = self._gateway.now_s(), self._trace
        in_pod_s = now_s - self._sent_s if self._sent_s and self._tried else 0.0
        own_ms = (now_s - self._started_s - in_pod_s) * 1000
        pod = self._tried[-1].view.name if self._tried else ""
        return (
            f"{conventions.REQUEST_ID}: {self._request_id}\r\n"
            f"{conventions.TRACERESPONSE}: {traceparent(trace.trace_id, trace.span_id, trace.sampled)}\r\n"
            f"{conventions.DECISION}: {heads.decision_value(self._decision, pod, len(self._tried))}\r\n"
            f"{heads.limit_fields(self._decision)}"
            f"{conventions.SERVER_TIMING}: gateway;dur={own_ms:.3f}"
        ).encode() + (b", %b\r\n" % pod_timing if pod_timing else b"\r\n")

    def _framing(self, response: ResponseHead) -> bytes:
        if response.status in (204, 304):
            return b""
        if response.content_length is not None:
            return b"content-length: %d\r\n" % response.content_length
        if self._request.method == "HEAD":
            return b""
        if self._request.minor_version == 0:
            self._keep_alive = False
            return b""
        self._chunked_answer = True
        return _CHUNKED

    def _failure_message(self, error: PodFailed) -> str:
        name = f"{self._decision.model}/{self._decision.version}"
        if isinstance(error, PodUnreachable):
            return f"no pod of {name} could be reached; try again shortly"
        if error.reason == "pod_bad_answer":
            return f"the pod of {name} did not answer in HTTP"
        return f"the pod of {name} was lost while it had this request; it may have been run"


def _known_reason(response: ResponseHead) -> str:
    """Return why a pod refused; "" where its handler chose the status, whatever it says of itself."""
    named = next((value for name, value in response.fields if name.lower() == _REASON_FIELD), b"").decode("latin-1")
    return named if named in REASONS else ""
