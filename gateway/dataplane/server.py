"""Server: client connections. HTTP in by the strict gate, one request at a time, every wait with a deadline of ours."""

from __future__ import annotations

import asyncio
import math
from typing import cast

from gateway.dataplane import answers, heads
from gateway.dataplane.credentials import NO_PEER
from gateway.dataplane.forward import Forward
from gateway.dataplane.gateway import Gateway
from gateway.dataplane.pace import LINGER_BYTES, Deadline, Late, Pace, Phase
from gateway.dataplane.tls import peer_of
from gateway.dataplane.upstream import Piece
from gateway.decide.decision import Refusal
from model_pod.wire.http1 import End, RequestHead, RequestReader
from model_pod.wire.refusals import Refused
from telemetry import conventions

_WRITE_BUFFER_BYTES = 64 * 1024
_ENDED = (Phase.LINGERING, Phase.CLOSING)


class ClientConnection(asyncio.Protocol):
    """One client's connection; ``Forward`` sees it as its ``Client``, the timer wheel as ``Watched``.

    Args:
        identity_from: what of the client's certificate names it; "" where none is asked for.
    """

    def __init__(self, gateway: Gateway, identity_from: str = "") -> None:
        self._gateway = gateway
        self._reader = RequestReader(gateway.head_limits)
        self._transport = cast(asyncio.Transport, None)  # set before anything else is called
        self._forward: Forward | None = None
        self._identity_from = identity_from
        self._peer = NO_PEER
        self._advancing = False
        self._pace = Pace(gateway.now_s())
        self.look_at_s = math.inf
        self.bucket = -1

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = peer_of(self._transport, self._identity_from)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._gateway.connections.add(self)
        self._watch(self._pace.since_s)
        if len(self._gateway.connections) > self._gateway.max_connections:
            message = f"this gateway worker has {self._gateway.max_connections} connections; try again shortly"
            self._refuse_and_close(Refusal("connections_full", message))

    def data_received(self, data: bytes) -> None:
        now_s = self._gateway.now_s()
        self._pace.heard_s = now_s
        if self._pace.phase in _ENDED:
            self._discard(data)
            return
        if self._pace.phase in (Phase.FIRST_BYTE, Phase.IDLE):
            self._enter(Phase.HEAD)
        self._reader.feed(data)
        self._advance()
        if self._pace.phase is Phase.ANSWER and self._reader.unread_bytes:
            self._transport.pause_reading()  # pipelined requests wait in the socket, not in our memory

    def eof_received(self) -> bool:
        return False  # a client that closes its side has left: our side closes too, and the pod learns of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._pace.phase = Phase.CLOSING
        self._gateway.connections.discard(self)
        self._gateway.wheel.forget(self)
        forward = self._take_forward()
        if forward is not None:
            forward.client_gone()

    def pause_writing(self) -> None:
        self._pace.stalled_since_s = self._gateway.now_s()
        if self._forward is not None:
            self._forward.hold_answer(True)

    def resume_writing(self) -> None:
        self._pace.stalled_since_s = math.inf
        if self._forward is not None:
            self._forward.hold_answer(False)
        elif self._pace.phase is Phase.ANSWER:  # the next request waited for this
            self._await_next()
            self._advance()

    # --- the request

    def _advance(self) -> None:
        """Handle every event that the bytes so far give; an answer that ends meanwhile lets the next request begin."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._pace.phase not in _ENDED and (event := self._next_event()) is not None:
                if isinstance(event, RequestHead):
                    self._begin(event)
                elif isinstance(event, End):
                    self._end_of_request()
                else:
                    self._on_body(event)
        except Refused as refused:
            self._refuse_and_close(Refusal(refused.reason, refused.message))
        finally:
            self._advancing = False

    def _next_event(self) -> RequestHead | memoryview | End | None:
        limit = self._forward.body_limit_bytes if self._forward else self._gateway.tables.bounds.body_bytes
        return self._reader.next_event(limit)

    def _begin(self, request: RequestHead) -> None:
        self._enter(Phase.BODY if request.body_expected else Phase.ANSWER)
        if answers.is_health_path(request.path):
            self._answer_health(request)
            return
        self._gateway.in_flight += 1
        self._forward = forward = Forward(self._gateway, self, request, self._peer)
        forward.start()

    def due(self, deadline_s: float) -> None:
        self._pace.request_deadline_s = deadline_s
        self._gateway.wheel.watch(self, deadline_s)

    def _on_body(self, piece: memoryview) -> None:
        self._pace.body_bytes += len(piece)
        if self._forward is not None:
            self._forward.on_body(piece)

    def _end_of_request(self) -> None:
        if self._forward is not None:
            self._pace.phase = Phase.ANSWER
            self._forward.on_body_end()
        else:  # it was answered when its head was read
            self._await_next()

    # --- the client as Forward sees it

    def write(self, pieces: list[Piece]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(pieces)

    def hold(self, held: bool) -> None:
        self._pace.held = held
        if self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        else:
            self._pace.heard_s = self._gateway.now_s()
            self._transport.resume_reading()

    def answered(self, keep_alive: bool) -> None:
        whole = self._pace.phase is Phase.ANSWER
        self._take_forward()
        if not keep_alive:
            self._close()
        elif whole and not self._advancing:
            self._await_next()
            self._advance()

    def close_if_idle(self) -> None:
        """The worker is leaving: close if nothing is being answered."""
        if self._forward is None:
            self._close()

    def give_up(self) -> None:
        """The worker leaves now: what is being answered is refused, and may have run."""
        if self._forward is not None:
            message = "the gateway stopped before the answer was there; the request may have been run"
            self._forward.refuse(Refusal("gateway_stopped", message))
        self._close()

    def cut(self) -> None:
        self._take_forward()
        self._pace.phase = Phase.CLOSING
        self._transport.abort()

    def _take_forward(self) -> Forward | None:
        forward, self._forward = self._forward, None
        if forward is not None:
            self._gateway.in_flight -= 1
            self._pace.request_deadline_s = math.inf
            self._pace.held = False
        return forward

    def _await_next(self) -> None:
        """Let the next request begin, once the client has taken enough of the last answer."""
        if self._pace.stalled_since_s < math.inf:
            return  # or a client that pipelines and never reads would fill our memory; see resume_writing
        self._reader.start_next()
        self._enter(Phase.HEAD if self._reader.unread_bytes else Phase.IDLE)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # --- answers without a Forward

    def _refuse_and_close(self, refusal: Refusal) -> None:
        if self._forward is not None:
            self._forward.refuse(refusal)
        else:
            self._gateway.count_refused(refusal.reason, self._pace.since_s)
            request_id = self._gateway.new_request_id()
            self._write_answer(answers.refusal_answer(refusal, request_id), request_id, None, keep_alive=False)
        self._close()

    def _answer_health(self, request: RequestHead) -> None:
        keep_alive = request.keep_alive and not request.body_expected and not self._gateway.draining
        request_id = self._gateway.new_request_id()
        answer = answers.health_answer(request.path, self._gateway.readiness(), request_id)
        self._write_answer(answer, request_id, request, keep_alive=keep_alive)
        if not keep_alive:
            self._close()

    def _write_answer(
        self, answer: answers.Answer, request_id: str, request: RequestHead | None, *, keep_alive: bool
    ) -> None:
        head = heads.client_head(
            answer.status,
            heads.phrase_of(answer.status),
            [],
            answer.fields + f"{conventions.REQUEST_ID}: {request_id}\r\n".encode(),
            b"content-length: %d\r\n" % len(answer.body),
            heads.connection_field(request, keep_alive=keep_alive),
            self._gateway.date,
        )
        has_body = request is None or request.method != "HEAD"
        self.write([head, answer.body if has_body else b""])

    def _close(self) -> None:
        """End the connection once what was written is out; read on for a while if a request is still coming."""
        phase = self._pace.phase
        if phase in (Phase.HEAD, Phase.BODY) and not self._transport.is_closing():
            self._enter(Phase.LINGERING)
            self._transport.resume_reading()
            if self._transport.can_write_eof():  # TLS has no half of a connection to close
                self._transport.write_eof()
        elif phase not in _ENDED:
            self._close_now()

    def _close_now(self) -> None:
        self._enter(Phase.CLOSING)
        self._transport.close()

    def _discard(self, data: bytes) -> None:
        self._pace.body_bytes += len(data)
        if self._pace.body_bytes > LINGER_BYTES:
            self._transport.abort()

    # --- time

    def _enter(self, phase: Phase) -> None:
        now_s = self._gateway.now_s()
        self._pace.enter(phase, now_s)
        self._watch(now_s)

    def _watch(self, now_s: float) -> None:
        self._gateway.wheel.watch(self, now_s + self._gateway.shortest_wait_s)

    def look(self, now_s: float) -> float:
        deadline = self._pace.next_deadline(self._gateway.tables.bounds)
        if deadline.at_s <= now_s:
            self._on_late(deadline)
        return min(self._pace.request_deadline_s, now_s + self._gateway.shortest_wait_s)

    def _on_late(self, deadline: Deadline) -> None:
        match deadline.late:
            case Late.CLOSE:
                self._close_now()
            case Late.CUT:
                self._transport.abort()
            case Late.REFUSE:
                self._refuse_and_close(Refusal(deadline.reason, deadline.message))
            case Late.DEADLINE if self._forward is not None:
                self._forward.deadline_passed()
