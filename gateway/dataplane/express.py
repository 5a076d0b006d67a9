"""Express: the usual request, from its bytes to a pod and back in as few steps as there can be.

It does what ``forward`` does, for a request of which nothing has to be found out any more: a head of a known form, a
caller and target whose way is known, limits that have room, a pod of ours that has room. Whatever is not so is left to
the gate and to ``Forward`` before anything has happened; and whatever happens to a request later that is not an answer
with 200, a ``Forward`` takes over where the request stands. Tests send the same requests both ways and compare.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from gateway.dataplane.client import Piece, UsualClient
from gateway.dataplane.copying import Copy, answered
from gateway.dataplane.forward import FEW, Forward
from gateway.dataplane.gateway import Gateway
from gateway.dataplane.pod_link import LinkExchange, LinkUpstream
from gateway.dataplane.pods import Pod
from gateway.dataplane.shared_limits import NOT_CHARGED
from gateway.dataplane.tracing import Trace
from gateway.dataplane.ways import USUAL, Chosen, Way
from gateway.decide.copying import Copies
from gateway.decide.decision import Refusal
from gateway.decide.pressure import SMALL_BODY_BYTES, may_hold_bytes
from gateway.errors import PodFailed
from model_pod.wire.http1 import RequestHead
from model_pod.wire.http1.form import Form
from model_pod.wire.http1.head import Fields
from model_pod.wire.link import PodAnswer, PodCharge, encode_head

USUAL_HEAD = RequestHead("POST", "/", [], {}, 1)
"""What a connection has to know of a usual request: it is no HEAD, speaks HTTP/1.1 and keeps the connection."""


def take(gateway: Gateway, client: UsualClient, form: Form, data: bytes, now_s: float) -> Passage | None:
    """Take a request, if its bytes are a usual one; None leaves them to the gate, and has changed nothing."""
    usual = form.read(data)
    if usual is None or gateway.refuse_new is not None:
        return None
    target, credential, traceparent, tracestate, body_at, fields = usual
    way = gateway.ways.of(target.partition(b"?")[0], credential)
    body_bytes = len(data) - body_at
    if way is None or body_bytes > way.most_body_bytes or body_at > gateway.head_limits.head_bytes:
        return None
    room_bytes = may_hold_bytes(body_bytes) if body_bytes > SMALL_BODY_BYTES else 0
    if room_bytes and gateway.bodies.take(room_bytes) is not None:
        return None
    chosen = USUAL
    if way.is_varied:
        way, chosen = gateway.ways.at(way, fields, gateway.draw())
    trace = gateway.tracer.begin_usual(traceparent, tracestate)
    if trace.trace_state:
        fields.append((b"tracestate", tracestate))
    passage = Passage(
        gateway,
        client,
        way,
        chosen,
        target,
        data,
        body_at,
        body_bytes,
        room_bytes,
        fields,
        trace,
        now_s,
        gateway.wall_s(),
        now_s + way.timeout_s,
    )
    gateway.turn.add(passage)
    return passage


class Passage(Struct, eq=False):
    """A usual request, from its bytes to its answer; a struct, since making one is what a class of ours is slow at.

    Attributes:
        way: of the caller to what it asks.
        deadline_s: when the caller's time is over, on the monotonic clock.
        is_over: it goes on as a ``Forward``, or nobody waits for it any more.
    """

    _gateway: Gateway
    _client: UsualClient
    way: Way
    _chosen: Chosen
    _target: bytes
    _data: bytes
    _body_at: int
    _body_bytes: int
    _room_bytes: int
    _fields: Fields
    _trace: Trace
    _started_s: float
    _wall_s: float
    deadline_s: float
    _attempt_s: float = 0.0
    _pod: Pod | None = None
    _exchange: LinkExchange | None = None
    _lefts: tuple[int, ...] | None = None  # of its limits, once they are charged
    _successor: Forward | None = None
    is_over: bool = False

    __repr__ = object.__repr__  # a struct's would show the request's bytes, with the caller's credential

    # --- the way to a pod

    def start_over(self) -> None:
        """Let ``Forward`` decide: some limit has no room, and it can say which."""
        self._give_room()
        self._as_forward().start()

    def refuse_busy(self) -> None:
        """The limits could not be charged in time."""
        way, refusal = self.way, Refusal("limits_busy", NOT_CHARGED)
        decision = way.decision(way.charged.nothing_left, self._chosen)
        forward = self._as_forward()
        refused = replace(decision, refusal=refusal, version="", charges=(), rooms=())
        forward.admitted(way.facts(self._body_bytes, self._wall_s), refused)
        forward.refuse(refusal)

    def cut(self) -> None:
        """End the connection after a defect of ours, and give back what the request holds."""
        if self._successor is not None:
            self._successor.client_gone()
        elif not self.is_over:
            self.is_over = True
            self._give_room()
            if self._lefts is not None:
                self._gateway.limits.give_back(self.way.charged)
            if self._pod is not None:
                self._pod.let_go()
        self._client.cut()

    def _give_room(self) -> None:
        """Give back what its body has taken."""
        self._gateway.bodies.give(self._room_bytes)
        self._room_bytes = 0

    def send(self, lefts: tuple[int, ...], now_s: float) -> None:
        """Send the request, which has been charged, to a pod."""
        self._lefts = lefts
        gateway, way, trace = self._gateway, self.way, self._trace
        if way.budget is not None:
            way.budget.note_request(now_s)
        pod = gateway.pods.pick_usual(way.version_key, way.pod_in_flight, gateway.draw(), now_s)
        if (
            pod is None
            or type(pod.upstream) is not LinkUpstream
            or (pod.outstanding >= FEW and pod.predicted_wait_s(now_s) > self.deadline_s - now_s)
        ):
            self._as_forward().send(now_s)
            return
        timeout_ms = int((self.deadline_s - now_s) * 1000)
        pod.sent(now_s)
        self._pod = pod
        self._attempt_s = gateway.now_s()
        head = encode_head(
            (
                "POST",
                self._target.decode("ascii"),
                trace.request_id,
                way.tenant,
                f"00-{trace.trace_id}-{trace.attempt_id}-{'01' if trace.sampled else '00'}",
                timeout_ms if timeout_ms > 0 else 1,
                self._body_bytes,
                "",
                self._fields,
            )
        )
        self._exchange = pod.upstream.send_whole(head, self._data[self._body_at :], self)

    # --- the pod's answer (upstream.Receiver)

    def on_answer(self, answer: PodAnswer, body: Piece) -> None:
        """The whole answer is here."""
        if self.is_over:
            return
        if answer.status != 200 or answer.reason or answer.phrase or answer.cold:
            self._as_forward().on_answer(answer, body)
            return
        gateway, way, trace, pod, lefts = self._gateway, self.way, self._trace, self._pod, self._lefts
        assert pod is not None and lefts is not None  # noqa: S101, PT018 - it answers
        self.is_over = True
        now_s = gateway.now_s()
        attempt_s, started_s = self._attempt_s, self._started_s
        pod.answered(now_s, now_s - attempt_s, answer.queued_rows, answer.ahead_us)
        pod.outstanding -= 1
        if self._room_bytes:
            self._give_room()
        name, request_id = pod.view.name, trace.request_id
        fields = way.fields % (
            request_id,
            trace.trace_id,
            trace.span_id,
            "01" if trace.sampled else "00",
            name,
            *lefts,
            (attempt_s - started_s) * 1000,
        )
        trial, copies = self._chosen
        gateway.settlement.settle_usual(
            way,
            trace,
            started_s,
            attempt_s,
            now_s,
            self._wall_s,
            name,
            answer,
            self._body_bytes,
            len(body),
            lefts,
            trial,
        )
        if gateway.waiting.count:
            gateway.waiting.on_free(*way.version_key, now_s)
        timing = answer.timing
        own = (
            (answer.fields, fields.encode(), b", ", timing, b"\r\n")
            if timing
            else (answer.fields, fields.encode(), b"\r\n")
        )
        self._client.answer_usual(own, body, now_s)
        if copies is not None:
            self._hand_copy_over(copies, answer, body, now_s)

    def _hand_copy_over(self, copies: Copies, answer: PodAnswer, body: Piece, now_s: float) -> None:
        """Let the answered request be copied."""
        decision, took_s = self.way.decision(self._lefts or (), self._chosen), now_s - self._attempt_s
        sampled = self._gateway.copies.sampled(decision, answer.status, took_s)
        if not copies.is_of_use(sampled):
            return
        copy = Copy(needs_request=copies.needs_request(sampled))
        copy.add_request(self._data[self._body_at :])
        copy.add_answer(body)
        asked = (self._trace.request_id, "POST", self._target.decode("ascii"), self._fields)
        told = answered(decision, self._trace, asked, answer, self._wall_s, took_s, sampled)
        self._gateway.copies.copy(told, copy)

    def on_head(self, answer: PodAnswer) -> None:
        self._as_forward().on_head(answer)

    def on_data(self, piece: Piece) -> None:
        self._as_forward().on_data(piece)

    def on_end(self, charge: PodCharge | None = None) -> None:
        self._as_forward().on_end(charge)

    def on_failed(self, error: PodFailed) -> None:
        self._as_forward().on_failed(error)

    def on_room(self, has_room: bool) -> None:
        self._as_forward().on_room(has_room)

    # --- what else happens to a request, as its connection sees it

    @property
    def body_limit_bytes(self) -> int:
        """Largest body this request may have."""
        return self.way.placed.body_limit_bytes

    def on_body(self, piece: Piece) -> None:
        self._as_forward().on_body(piece)

    def on_body_end(self) -> None:
        self._as_forward().on_body_end()

    def hold_answer(self, held: bool) -> None:
        if self._exchange is not None:
            self._exchange.hold(held)

    def client_gone(self) -> None:
        self._as_forward().client_gone()

    def deadline_passed(self) -> None:
        self._as_forward().deadline_passed()

    def give_up(self) -> None:
        if self._pod is not None:
            self._as_forward().give_up()
        else:
            message = "the gateway stopped before a pod had the request; it was not run"
            self._as_forward().refuse(Refusal("pods_busy", message))

    def refuse(self, refusal: Refusal) -> None:
        self._as_forward().refuse(refusal)

    def _as_forward(self) -> Forward:
        """Let a ``Forward`` go on from here."""
        head, body = self._data[: self._body_at], self._data[self._body_at :]
        forward = Forward.of_whole(self._gateway, self._client, head, body, self._started_s, self._trace)
        forward.holds(self._room_bytes)
        self._room_bytes = 0
        self.is_over = True
        self._successor = forward
        self._client.go_on_as(self, forward)
        if self._lefts is not None:
            forward.admitted(self.way.facts(len(body), self._wall_s), self.way.decision(self._lefts, self._chosen))
        if self._pod is not None and self._exchange is not None:
            forward.is_at(self._pod, self._exchange, self._attempt_s, self._fields)
            self._exchange.receiver = forward
        return forward
