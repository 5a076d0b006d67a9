"""The pod's HTTP/1.1 edge: connections, their time-outs, one request at a time on each; their meaning is elsewhere."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.answers import CONTINUE, encode, reason_in, refusal
from model_pod.server.endpoints import Cancel, Endpoints, WholeRequest, new_request_id, request_id_of
from model_pod.server.request_span import CALLER_LEFT, RequestSpan
from model_pod.server.routes import Route
from model_pod.wire.http1 import End, HeadLimits, RequestHead, RequestReader
from model_pod.wire.refusals import REASONS, Refused

SWEEP_EVERY_S = 1.0
BACKLOG = 4096
# Closing while the client still sends resets the connection, and the reset may overtake the refusal (RFC 9112 9.6).
LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds of the edge.

    Attributes:
        head_s: longest time from a connection, or a head's first byte, to the head's end.
        body_idle_s: longest pause within a body.
        body_total_s: longest time for a whole body.
        keep_alive_s: longest time between two requests.
        stall_s: longest time in which a client takes nothing of what is written; the gateway gives its own 30 s.
        connection_count: most connections at a time.
    """

    head: HeadLimits = field(default_factory=HeadLimits)
    body_bytes: int = 64 * 2**20
    head_s: float = 10.0
    body_idle_s: float = 15.0
    body_total_s: float = 300.0
    keep_alive_s: float = 75.0
    stall_s: float = 40.0
    connection_count: int = 4096


class Phase(Enum):
    """What a connection waits for."""

    BETWEEN = "the next request's first byte"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "the answer"
    READ = "the client to read the answer"
    LINGER = "the client to read a refusal that came before its request was whole"
    CLOSED = "the client to read what is written, and then nothing"


class HttpConnection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, edge: HttpEdge) -> None:
        self._edge = edge
        self._endpoints = edge.endpoints
        self._dispatcher = edge.endpoints.pod.dispatcher
        self._queue = self._dispatcher.queue
        self._reader = RequestReader(edge.limits.head)
        self._phase = Phase.HEAD
        self._phase_since_s = self._heard_s = self._took_s = time.monotonic()
        self._unsent_bytes = 0
        self._head: RequestHead | None = None
        self._route: Route | Refused | None = None
        self._span: RequestSpan | None = None
        self._request_id = ""
        self._pieces: list[memoryview] = []
        self._body_bytes = 0
        self._is_expected = False
        self._cancel: Cancel | None = None
        self._is_reading = False
        self._client_is_slow = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what a stream socket gives
        self._edge.connections.add(self)
        if len(self._edge.connections) > self._edge.limits.connection_count:
            self._refuse_and_close(Refused("queue_full", "the pod has as many connections as it may"))

    def data_received(self, data: bytes) -> None:
        if self._phase in (Phase.LINGER, Phase.CLOSED):
            return
        self._heard_s = time.monotonic()
        self._reader.feed(data)
        if self._phase in (Phase.ANSWER, Phase.READ):
            self._transport.pause_reading()  # a pipelined request waits in the socket, not in our memory
        else:
            self._read()

    def connection_lost(self, error: Exception | None) -> None:
        self._enter(Phase.CLOSED)
        self._edge.connections.discard(self)
        self._drop_body()
        self._note_arrival()
        if self._cancel:
            self._cancel()
            self._cancel = None
        self._end_span(CALLER_LEFT, "")

    def pause_writing(self) -> None:
        self._client_is_slow = True

    def resume_writing(self) -> None:
        self._client_is_slow = False
        if self._phase is Phase.READ:
            self._await_next()
            self._read()

    def sweep(self, now_s: float) -> None:
        """End what takes too long; called about once a second."""
        limits = self._edge.limits
        in_phase_s = now_s - self._phase_since_s
        if self._phase is Phase.HEAD and in_phase_s >= limits.head_s:
            if self._reader.between_messages:  # connected and silent: nothing to answer
                self._close()
            else:
                self._refuse_and_close(Refused("head_too_slow", f"the head took more than {limits.head_s:g} s"))
        elif self._phase is Phase.BODY:
            if now_s - self._heard_s >= limits.body_idle_s or in_phase_s >= limits.body_total_s:
                self._refuse_and_close(Refused("body_too_slow", "the body did not arrive in time"))
        elif self._phase is Phase.BETWEEN and in_phase_s >= limits.keep_alive_s:
            self._close()
        elif (self._phase in (Phase.READ, Phase.CLOSED) and self._stalled_s(now_s) >= limits.stall_s) or (
            self._phase is Phase.LINGER and in_phase_s >= LINGER_S
        ):
            self._transport.abort()

    def close_when_idle(self) -> None:
        """Close a connection that has no request."""
        if self._phase is Phase.BETWEEN or (self._phase is Phase.HEAD and self._reader.between_messages):
            self._close()

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._phase_since_s = time.monotonic()

    def _await_reader(self, phase: Phase) -> None:
        self._enter(phase)
        self._took_s = self._phase_since_s
        self._unsent_bytes = self._transport.get_write_buffer_size()

    def _stalled_s(self, now_s: float) -> float:
        """Return for how long the client has taken nothing of what is written."""
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes:
            self._took_s = now_s
        self._unsent_bytes = unsent_bytes
        return now_s - self._took_s

    def _read(self) -> None:
        """Take events until more bytes are needed or a request waits for its answer."""
        if self._phase is Phase.BETWEEN and self._reader.unread_bytes:
            self._enter(Phase.HEAD)
        self._is_reading = True
        try:
            while self._phase in (Phase.HEAD, Phase.BODY):
                event = self._reader.next_event(self._edge.limits.body_bytes)
                if event is None:
                    return
                self._on_event(event)
        except Refused as refused:
            self._refuse_and_close(refused)
        finally:
            self._is_reading = False

    def _on_event(self, event: RequestHead | memoryview | End) -> None:
        if isinstance(event, RequestHead):
            self._on_head(event)
        elif isinstance(event, End):
            self._on_end()
        else:
            self._queue.reserve(len(event))
            self._body_bytes += len(event)
            self._pieces.append(event)

    def _on_head(self, head: RequestHead) -> None:
        self._head = head
        self._request_id = request_id_of(head)
        try:
            route = self._endpoints.route(head)
            self._span = self._endpoints.begin_span(head, route, self._request_id)
            self._endpoints.admit(route)
            self._route = route
        except Refused as refused:
            if head.body_expected:
                raise  # the body is not worth reading, and what follows it cannot be found without
            self._route = refused
        if head.content_length and head.content_length > self._edge.limits.body_bytes:
            raise Refused("body_too_large", f"the body is larger than {self._edge.limits.body_bytes} bytes")
        self._enter(Phase.BODY)
        if isinstance(self._route, Route) and self._route.needs_inference:
            self._is_expected = True
            self._dispatcher.expect()
        if head.expects_continue and head.body_expected:
            self._transport.write(CONTINUE)

    def _on_end(self) -> None:
        body = b"".join(self._pieces)
        self._drop_body()
        self._enter(Phase.ANSWER)
        if self._head is None or self._route is None:
            raise RuntimeError("a request ended that never began")
        try:
            if isinstance(self._route, Refused):
                raise self._route
            request = WholeRequest(self._head, self._route, self._request_id, body, time.monotonic(), self._span)
            cancel = self._endpoints.answer(request, self._respond)
        except Refused as refused:
            self._respond(refusal(refused, self._request_id))
        else:
            if self._phase is Phase.ANSWER:
                self._cancel = cancel
        finally:
            self._note_arrival()

    def _note_arrival(self) -> None:
        """A drain need not wait for this request's body any more."""
        if self._is_expected:
            self._is_expected = False
            self._dispatcher.arrived()

    def _drop_body(self) -> None:
        self._queue.release(self._body_bytes)
        self._body_bytes = 0
        self._pieces = []

    def _respond(self, answer: HttpAnswer) -> None:
        """Write the answer of the request in hand, and turn to the next one."""
        self._cancel = None
        if self._phase is not Phase.ANSWER or self._head is None or self._transport.is_closing():
            return
        keep_alive = self._head.keep_alive and not self._endpoints.pod.is_draining
        self._transport.writelines(encode(answer, self._request_id, keep_alive, self._head.method == "HEAD"))
        if self._span is not None:
            self._end_span(answer.status, reason_in(answer))
        if not keep_alive:
            self._close()
        elif self._client_is_slow:
            self._await_reader(Phase.READ)
        else:
            self._await_next()
            if not self._is_reading:
                self._read()

    def _await_next(self) -> None:
        self._head = self._route = None
        self._request_id = ""
        self._reader.start_next()
        self._enter(Phase.HEAD if self._reader.unread_bytes else Phase.BETWEEN)
        if not self._transport.is_reading():
            self._transport.resume_reading()

    def _refuse_and_close(self, refused: Refused) -> None:
        """Refuse a request that is not whole; nothing that follows on this connection can be trusted."""
        self._drop_body()
        self._note_arrival()
        self._end_span(refused.status or REASONS[refused.reason].status, refused.reason)
        self._enter(Phase.LINGER)
        if self._transport.is_closing():
            return
        request_id = self._request_id or new_request_id()
        is_head = self._head is not None and self._head.method == "HEAD"
        self._transport.writelines(encode(refusal(refused, request_id), request_id, False, is_head))
        self._transport.write_eof()

    def _end_span(self, status: int, reason: str) -> None:
        span, self._span = self._span, None
        if span is not None:
            self._endpoints.end_span(span, status, reason)

    def _close(self) -> None:
        self._await_reader(Phase.CLOSED)
        self._transport.close()


class HttpEdge:
    """All connections of the pod.

    Attributes:
        connections: those that are there now.
    """

    def __init__(self, endpoints: Endpoints, limits: EdgeLimits) -> None:
        self.endpoints = endpoints
        self.limits = limits
        self.connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        self._server = await make(lambda: HttpConnection(self), sock=listener, backlog=BACKLOG)
        self._sweep = loop.call_later(SWEEP_EVERY_S, self._sweep_all)

    def stop_listening(self) -> None:
        """Leave new connections to the socket's backlog, where a successor finds them."""
        if self._server:
            self._server.close()
            self._server = None

    async def close(self, idle_for_s: float, within_s: float) -> None:
        """Accept nothing more, let answers that are written reach their clients, and cut off what is left.

        Args:
            idle_for_s: how long connections without a request are kept yet.
            within_s: how long closing may take after that.
        """
        self.stop_listening()
        idle_until_s = time.monotonic() + idle_for_s
        while self.connections and (now_s := time.monotonic()) < idle_until_s + within_s:
            if now_s >= idle_until_s:
                for connection in tuple(self.connections):
                    connection.close_when_idle()
            await asyncio.sleep(0.01)
        for connection in tuple(self.connections):
            connection.abort()
        if self._sweep:
            self._sweep.cancel()

    def _sweep_all(self) -> None:
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            connection.sweep(now_s)
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep_all)
