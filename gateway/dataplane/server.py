"""Server: client connections. HTTP in by the strict gate, one request at a time, every wait with a deadline of ours."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from typing import cast

from gateway.dataplane import answers
from gateway.dataplane.client import Piece, Request
from gateway.dataplane.client_heads import status_line
from gateway.dataplane.credentials import NO_PEER
from gateway.dataplane.express import USUAL_HEAD, take
from gateway.dataplane.forward import Forward
from gateway.dataplane.gateway import Gateway
from gateway.dataplane.pace import LINGER_BYTES, Deadline, Late, Pace, Phase
from gateway.dataplane.tls import peer_of
from gateway.dataplane.vanished import has_left, sends_no_more
from gateway.decide.decision import Refusal
from model_pod.wire.http1 import End, RequestHead, RequestReader
from model_pod.wire.http1.head import BODYLESS, METHODS
from model_pod.wire.link import NOT_TOLD
from model_pod.wire.refusals import Refused
from telemetry import conventions

_WRITE_BUFFER_BYTES = 64 * 1024
# A copy of a small body costs less than another buffer to write.
_JOINED_BYTES = 16 * 1024
_NO_LINGER = struct.pack("ii", 1, 0)
# What every request looks at: a name of a class of names is looked for anew each time.
_IDLE, _ANSWER = Phase.IDLE, Phase.ANSWER
_BETWEEN = (Phase.IDLE, Phase.FIRST_BYTE)
_ENDED = (Phase.LINGERING, Phase.CLOSING)
# A client that has sent its last byte is looked for this soon, and then this often.
_FIRST_LOOK_S = 0.02
_LOOK_AGAIN_S = 0.05
_OK = status_line(200, b"")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientConnection(asyncio.Protocol):
    """One client's connection; ``Forward`` sees it as its ``Client``, the timer wheel as ``Watched``.

    Args:
        identity_from: what of the client's certificate names it; "" where none is asked for.
    """

    def __init__(self, gateway: Gateway, identity_from: str = "") -> None:
        self._gateway = gateway
        self._reader = RequestReader(gateway.head_limits)
        self._transport = cast(asyncio.Transport, None)  # set before anything else is called
        self._forward: Request | None = None
        self._form = gateway.forms.latest
        self._identity_from = identity_from
        self._peer = NO_PEER
        self._advancing = self._is_paused = False
        self._is_half_closed = self._was_asked = self._answer_begun = False
        self._is_smooth = True  # it has never read slowly, sent ahead, nor ended its side
        self._request: RequestHead | None = None  # that is being answered
        self._chunked_answer = False
        self._keep_alive = False
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
        phase = self._pace.phase
        if phase in _BETWEEN:
            if self._take_usual(data, now_s) or self._take_first(data, now_s):
                return
        elif phase in _ENDED:
            self._discard(data)
            return
        else:
            self._reader.feed(data)
        self._advance()
        if self._pace.phase is Phase.ANSWER and self._reader.unread_bytes:
            self._pause()  # pipelined requests wait in the socket, not in our memory

    def eof_received(self) -> bool:
        """Answer a client that only says that it sends no more; over TCP one that has left looks the same at first."""
        if self._forward is None or self._pace.phase is not Phase.ANSWER or not self._is_plain:
            return False
        self._is_half_closed, self._is_smooth = True, False
        self._ask_whether_there()
        self._gateway.later(_FIRST_LOOK_S, self._look_for_client)
        return True

    def _look_for_client(self) -> None:
        """End the request of a client that has left; one that only sends no more is looked for again."""
        if self._transport.is_closing() or self._forward is None:
            return
        if self._has_left():
            self._transport.abort()
        else:
            self._gateway.wheel.watch(self, self._gateway.now_s() + _LOOK_AGAIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pace.phase = Phase.CLOSING
        self._gateway.connections.discard(self)
        self._gateway.wheel.forget(self)
        forward = self._take_forward()
        if forward is not None:
            forward.client_gone()

    def pause_writing(self) -> None:
        self._is_smooth = False
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

    def _take_usual(self, data: bytes, now_s: float) -> bool:
        """Begin a request, when all that there is to do for it is known; False leaves the bytes to the gate."""
        gateway = self._gateway
        passage = take(gateway, self, self._form, data, now_s) if self._form is not None else None
        if passage is None:
            return False
        self._forward = passage
        self._request = USUAL_HEAD
        self._answer_begun = False
        self._reader.has_ended = True
        gateway.in_flight += 1
        pace = self._pace
        pace.phase = _ANSWER
        pace.since_s = now_s
        pace.request_deadline_s = deadline_s = passage.deadline_s
        if deadline_s < self.look_at_s:
            gateway.wheel.watch(self, deadline_s)
        return True

    def _take_first(self, data: bytes, now_s: float) -> bool:
        """Begin a request with the first bytes of it; True when they are all of it, as they mostly are."""
        self._pace.enter(Phase.HEAD, now_s)
        try:
            first = self._reader.first(data)
        except Refused as refused:
            self._refuse_and_close(_refusal_of(refused))
            return True
        if first is None:
            return False
        request, body = first
        self._begin(request, body, now_s)
        # Of nobody who is not known here any form is learnt.
        is_known = self._forward is not None and request.method == "POST"
        self._form = self._gateway.forms.of(request.names, now_s) if is_known else None
        return body is not None

    def _advance(self) -> None:
        """Handle every event that the bytes so far give; an answer that ends meanwhile lets the next request begin."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._pace.phase not in _ENDED and (event := self._next_event()) is not None:
                if isinstance(event, RequestHead):
                    self._begin(event, None, self._gateway.now_s())
                elif isinstance(event, End):
                    self._end_of_request()
                else:
                    self._on_body(event)
        except Refused as refused:
            self._refuse_and_close(_refusal_of(refused))
        finally:
            self._advancing = False
        if self._is_half_closed and self._pace.phase in (Phase.HEAD, Phase.BODY):
            self._transport.abort()  # what is missing of this request will not come

    def _next_event(self) -> RequestHead | memoryview | End | None:
        limit = self._forward.body_limit_bytes if self._forward else self._gateway.tables.bounds.body_bytes
        return self._reader.next_event(limit)

    def _begin(self, request: RequestHead, body: bytes | None, now_s: float) -> None:
        """Begin a request; ``body`` is the whole of it when it is here already."""
        self._pace.enter(Phase.BODY if body is None and request.body_expected else Phase.ANSWER, now_s)
        self._request = request
        self._answer_begun = False
        if request.path.startswith(answers.HEALTH) and answers.is_health_path(request.path):
            self._answer_health(request)
            return
        gateway = self._gateway
        gateway.in_flight += 1
        self._forward = forward = Forward(gateway, self, request, self._peer, now_s)
        forward.start(body)

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
            if self._forward is None and self._pace.phase is Phase.ANSWER:
                self._await_next()  # it was answered with its last byte
        else:  # it was answered when its head was read
            self._await_next()

    # --- the client as Forward sees it

    def answer(self, status: int, phrase: bytes, fields: bytes, body: Piece) -> None:
        request = self._request
        if request is not None and (request.method == "HEAD" or not request.minor_version or status in BODYLESS):
            self.begin(status, phrase, fields, len(body))
            self.data(body)
            self.end()
            return
        keep_alive = self._may_keep(request)
        connection = b"" if keep_alive else b"connection: close\r\n"
        head = b"%b%bcontent-length: %d\r\n%b%b" % (
            status_line(status, phrase),
            fields,
            len(body),
            connection,
            self._gateway.head_end,
        )
        if not self._transport.is_closing():
            if len(body) <= _JOINED_BYTES:
                self._transport.write(head + body)
            else:
                self._transport.writelines((head, body))
        self._answered(keep_alive)

    def answer_usual(self, fields: tuple[bytes, ...], body: Piece, now_s: float) -> None:
        pace, gateway = self._pace, self._gateway
        if not self._is_smooth or gateway.draining or len(body) > _JOINED_BYTES or self._transport.is_closing():
            self.answer(200, b"", b"".join(fields), body)
            return
        length = b"content-length: %d\r\n" % len(body)
        self._transport.write(b"".join((_OK, *fields, length, gateway.head_end, body)))
        self._forward = None
        gateway.in_flight -= 1
        pace.request_deadline_s = math.inf
        self._reader.has_ended = False
        pace.phase = _IDLE
        pace.since_s = now_s

    def go_on_as(self, was: object, forward: Request) -> None:
        if self._forward is was:
            self._forward = forward

    def begin(self, status: int, phrase: bytes, fields: bytes, content_length: int) -> None:
        self._answer_begun = True
        request = self._request
        is_http_11 = request is None or request.minor_version == 1
        self._chunked_answer = False
        self._keep_alive = self._may_keep(request)
        framing = b""
        if status not in BODYLESS:
            if content_length != NOT_TOLD:
                framing = b"content-length: %d\r\n" % content_length
            elif is_http_11:
                framing = b"transfer-encoding: chunked\r\n"
                self._chunked_answer = request is None or request.method != "HEAD"
            else:
                self._keep_alive = False
        if not self._keep_alive:
            framing += b"connection: close\r\n"
        elif not is_http_11:
            framing += b"connection: keep-alive\r\n"
        self._write(status_line(status, phrase) + fields + framing + self._gateway.head_end)

    def data(self, piece: Piece) -> None:
        if self._request is not None and self._request.method == "HEAD":
            return
        if self._chunked_answer:
            if piece:
                self._write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
        else:
            self._write(piece)

    def end(self) -> None:
        if self._chunked_answer:
            self._write(b"0\r\n\r\n")
        self._answered(self._keep_alive)

    def go_on(self) -> None:
        self._write(_CONTINUE)

    def _may_keep(self, request: RequestHead | None) -> bool:
        """Whether the connection lives on: what is left of a body would be read as the next request."""
        return (
            request is not None
            and request.keep_alive
            and not self._gateway.draining
            and not (self._is_half_closed and not self._reader.unread_bytes)
            and (self._pace.phase is Phase.ANSWER or not request.body_expected)
        )

    def _write(self, data: Piece) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def hold(self, held: bool) -> None:
        self._pace.held = held
        if self._transport.is_closing():
            return
        if held:
            self._pause()
        else:
            self._pace.heard_s = self._gateway.now_s()
            self._read_on()

    def _pause(self) -> None:
        """Read no more for now; then nobody tells us of a client that leaves, so it is looked for."""
        self._is_paused, self._is_smooth = True, False
        self._transport.pause_reading()
        self._gateway.wheel.watch(self, self._gateway.now_s() + _LOOK_AGAIN_S)

    def _read_on(self) -> None:
        self._is_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _answered(self, keep_alive: bool) -> None:
        whole = self._pace.phase is Phase.ANSWER
        self._take_forward()
        if not keep_alive:
            self._close()
        elif whole and not self._advancing:
            self._await_next()
            if self._reader.unread_bytes:
                self._advance()

    def close_if_idle(self) -> None:
        """The worker is leaving: close if nothing is being answered."""
        if self._forward is None:
            self._close()

    def give_up(self) -> None:
        """The worker leaves now: what is being answered is refused."""
        self._gateway.give_up()
        if self._forward is not None:
            self._forward.give_up()
        self._close()

    def cut(self) -> None:
        self._take_forward()
        self._pace.phase = Phase.CLOSING
        if not self._chunked_answer:
            self._reset_at_the_end()
        self._transport.abort()

    def _reset_at_the_end(self) -> None:
        """Without chunks or a length, an ordinary end of the connection would make the answer look whole."""
        shown = self._transport.get_extra_info("socket")
        if shown is not None and shown.family != socket.AF_UNIX:
            shown.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

    def _take_forward(self) -> Request | None:
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
        self._pace.enter(Phase.HEAD if self._reader.unread_bytes else Phase.IDLE, self._gateway.now_s())
        if self._is_paused:
            self._read_on()

    # --- answers without a Forward

    def _refuse_and_close(self, refusal: Refusal) -> None:
        if self._forward is not None:
            self._forward.refuse(refusal)
        else:
            gateway = self._gateway
            gateway.settlement.count_refused(refusal.reason, self._pace.since_s, gateway.now_s())
            self._request = None
            request_id = gateway.tracer.new_request_id()
            self._answer_at_once(answers.refusal_answer(refusal, request_id), request_id)
        self._close()

    def _answer_health(self, request: RequestHead) -> None:
        request_id = self._gateway.tracer.new_request_id()
        self._answer_at_once(answers.health_answer(request.path, self._gateway.readiness(), request_id), request_id)

    def _answer_at_once(self, answer: answers.Answer, request_id: str) -> None:
        fields = answer.fields + f"{conventions.REQUEST_ID}: {request_id}\r\n".encode()
        self.answer(answer.status, b"", fields, answer.body)

    def _close(self) -> None:
        """End the connection once what was written is out; read on for a while if a request is still coming."""
        phase = self._pace.phase
        if phase in (Phase.HEAD, Phase.BODY) and not self._transport.is_closing():
            self._enter(Phase.LINGERING)
            self._reader = RequestReader(self._gateway.head_limits)  # the other still has what came of the body
            self._read_on()
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
        is_looked_for = self._is_half_closed or (self._is_paused and self._forward is not None)
        if is_looked_for and not self._transport.is_closing() and self._has_left():
            self._transport.abort()
            return math.inf
        deadline = self._pace.next_deadline(self._gateway.tables.bounds)
        if deadline.at_s <= now_s:
            self._on_late(deadline)
            deadline = self._pace.next_deadline(self._gateway.tables.bounds)
        look_again_s = _LOOK_AGAIN_S if is_looked_for else self._gateway.shortest_wait_s
        # A deadline that has passed and is still there is a client that takes its time to go.
        at_s = deadline.at_s if deadline.at_s > now_s else math.inf
        return min(at_s, now_s + look_again_s)

    def _has_left(self) -> bool:
        shown = self._transport.get_extra_info("socket")
        if shown is None:
            return False
        if self._is_half_closed or self._was_asked or not sends_no_more(shown):
            return has_left(shown)
        if not self._is_plain:
            return True
        self._ask_whether_there()
        return has_left(shown)

    @property
    def _is_plain(self) -> bool:
        """TLS has no half of a connection to close."""
        return self._transport.get_extra_info("ssl_object") is None

    def _ask_whether_there(self) -> None:
        """Write what any client of HTTP/1.1 passes over; one that has left resets the connection."""
        self._was_asked = True
        if self._request is not None and self._request.minor_version and not self._answer_begun:
            self._write(_CONTINUE)

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


def _refusal_of(refused: Refused) -> Refusal:
    allow = tuple(METHODS.values()) if refused.reason == "method_not_allowed" else ()
    return Refusal(refused.reason, refused.message, allow=allow)
