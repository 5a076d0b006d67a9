"""The pod's HTTP/1.1 edge: connections, their time-outs, one request at a time on each; their meaning is elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.answers import CONTINUE, encode, encode_begun, reason_in, refusal, usage_headers
from model_pod.server.endpoints import Cancel, Endpoints, WholeRequest, new_request_id, request_id_of
from model_pod.server.link import LinkConnection, LinkLimits
from model_pod.server.outcomes import MAX_KEY_CHARACTERS, OutcomeKey, payload_digest
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.server.request_span import CALLER_LEFT, RequestSpan
from model_pod.server.routes import Route
from model_pod.server.streamed_body import StreamedBody
from model_pod.wire.frames import Buffer
from model_pod.wire.http1 import End, HeadLimits, RequestHead, RequestReader
from model_pod.wire.link import PREFACE
from model_pod.wire.refusals import REASONS, Refused
from telemetry.conventions import IDEMPOTENCY_KEY, REQUEST_ID, SHADOW, TENANT, TIMEOUT_MS, TRACEPARENT

SWEEP_EVERY_S = 1.0
BACKLOG = 4096
# Closing while the client still sends resets the connection, and the reset may overtake the refusal (RFC 9112 9.6).
LINGER_S = 2.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
# A caller that names no deadline gets the longest that the mesh gives by default.
DEFAULT_DEADLINE_S = 120.0
_MILLISECONDS = re.compile(rb"[0-9]{1,9}\Z")
_KEY = re.compile(rb"[\x20-\x7e]{1,%d}\Z" % MAX_KEY_CHARACTERS)


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
    STREAM = "the rest of an answer that is being made"
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
        self._opening: bytes | None = b""  # while what came may yet be a link's preface
        self._phase = Phase.HEAD
        self._phase_since_s = self._heard_s = self._took_s = time.monotonic()
        self._taken_bytes = 0
        self._head: RequestHead | None = None
        self._route: Route | Refused | None = None
        self._span: RequestSpan | None = None
        self._request_id = ""
        self._pieces: list[memoryview] = []
        self._body_bytes = 0
        self._outcome_key: OutcomeKey | None = None
        self._payload: hashlib._Hash | None = None
        self._is_expected = False
        self._cancel: Cancel | None = None
        self._is_reading = False
        self._client_is_slow = False
        self._body: StreamedBody | None = None
        self._begun_status = 0
        self._on_read: Callable[[], None] = _nobody_waits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what a stream socket gives
        self._edge.connections.add(self)
        if len(self._edge.connections) > self._edge.limits.connection_count:
            self._refuse_and_close(Refused("queue_full", "the pod has as many connections as it may"))

    def data_received(self, data: bytes) -> None:
        if self._phase in (Phase.LINGER, Phase.CLOSED):
            return
        if self._opening is not None:
            self._open(self._opening + data)
            return
        self._take(data)

    def _open(self, data: bytes) -> None:
        """Become a link's connection or one of HTTP, once it is clear which."""
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._opening = data
        elif data.startswith(PREFACE):
            self._edge.connections.discard(self)
            self._enter(Phase.CLOSED)
            self._edge.begin_link(self._transport, data[len(PREFACE) :])
        else:
            self._opening = None
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._heard_s = time.monotonic()
        self._reader.feed(data)
        if self._phase in (Phase.ANSWER, Phase.STREAM, Phase.READ):
            self._transport.pause_reading()  # a pipelined request waits in the socket, not in our memory
        else:
            self._read()

    def connection_lost(self, error: Exception | None) -> None:
        self._enter(Phase.CLOSED)
        self._body, self._on_read = None, _nobody_waits
        self._edge.connections.discard(self)
        self._drop_body()
        self._note_arrival()
        if self._cancel:
            self._cancel()
            self._cancel = None
        self._end_span(CALLER_LEFT, "")

    def pause_writing(self) -> None:
        self._client_is_slow = True
        if self._body is not None:
            self._body.hold()

    def resume_writing(self) -> None:
        self._client_is_slow = False
        if self._body is not None:
            self._body.go_on()
            self._on_read()
        elif self._phase is Phase.READ:
            self._await_next()
            self._read()

    def sweep(self, now_s: float) -> None:
        """End what takes too long; called about once a second."""
        limits = self._edge.limits
        in_phase_s = now_s - self._phase_since_s
        if self._opening:
            if in_phase_s >= limits.head_s:
                self._take(self._opening)  # it never became a preface, so it is a head that came too slowly
                self._refuse_slow_head()
        elif self._phase is Phase.HEAD and in_phase_s >= limits.head_s:
            if self._reader.between_messages:  # connected and silent: nothing to answer
                self._close()
            else:
                self._refuse_slow_head()
        elif self._phase is Phase.BODY:
            if now_s - self._heard_s >= limits.body_idle_s or in_phase_s >= limits.body_total_s:
                self._refuse_and_close(Refused("body_too_slow", "the body did not arrive in time"))
        elif self._phase is Phase.BETWEEN and in_phase_s >= limits.keep_alive_s:
            self._close()
        elif (self._phase in (Phase.STREAM, Phase.READ, Phase.CLOSED) and self._stalled_s(now_s) >= limits.stall_s) or (
            self._phase is Phase.LINGER and in_phase_s >= LINGER_S
        ):
            self._transport.abort()

    def _refuse_slow_head(self) -> None:
        self._refuse_and_close(Refused("head_too_slow", f"the head took more than {self._edge.limits.head_s:g} s"))

    @property
    def is_idle(self) -> bool:
        """Whether a drain need not wait for it: never, for its client may not know yet."""
        return False

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
        self._taken_bytes = self._taken()

    def _stalled_s(self, now_s: float) -> float:
        """Return for how long the client has taken nothing of what is written."""
        taken_bytes = self._taken()
        has_all = self._body is not None and not self._body.unread_bytes  # it waits for the handler
        if taken_bytes > self._taken_bytes or has_all:
            self._took_s = now_s
        self._taken_bytes = taken_bytes
        return now_s - self._took_s

    def _taken(self) -> int:
        """Return what grows as the client takes more of what is written."""
        return -self._transport.get_write_buffer_size() if self._body is None else self._body.sent_bytes

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
            if self._payload is not None:
                self._payload.update(event)

    def _on_head(self, head: RequestHead) -> None:
        self._head = head
        self._request_id = request_id_of(head.get(REQUEST_ID.encode()))
        try:
            route = self._endpoints.route(head.method, head.path)
            tenant, traceparent = _text(head, TENANT), _text(head, TRACEPARENT)
            self._span = self._endpoints.begin_span(
                route, self._request_id, tenant, traceparent, head.get(SHADOW.encode())
            )
            self._outcome_key = outcome_key_of(head, tenant)
            self._endpoints.admit(route)
            self._route = route
        except Refused as refused:
            if head.body_expected:
                raise  # the body is not worth reading, and what follows it cannot be found without
            self._route = refused
        if head.content_length and head.content_length > self._edge.limits.body_bytes:
            raise Refused("body_too_large", f"the body is larger than {self._edge.limits.body_bytes} bytes")
        if self._outcome_key is not None:
            self._payload = payload_digest(head.target, head.get(b"content-type") or b"")
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
            cancel = self._endpoints.answer(self._whole(self._head, self._route, body), self)
        except Refused as refused:
            self(refusal(refused, self._request_id))
        else:
            if self._phase is Phase.ANSWER:
                self._cancel = cancel
        finally:
            self._note_arrival()

    def _whole(self, head: RequestHead, route: Route, body: bytes) -> WholeRequest:
        payload_sha256 = self._payload.digest() if self._payload is not None else b""
        late_at_s = deadline_s(head, time.monotonic())
        key = self._outcome_key
        return WholeRequest(head, route, self._request_id, body, late_at_s, self._span, key, payload_sha256)

    def _note_arrival(self) -> None:
        """A drain need not wait for this request's body any more."""
        if self._is_expected:
            self._is_expected = False
            self._dispatcher.arrived()

    def _drop_body(self) -> None:
        self._queue.release(self._body_bytes)
        self._body_bytes = 0
        self._pieces = []

    def __call__(self, answer: HttpAnswer, usage: Usage = NOTHING_USED) -> None:
        """Write the answer of the request in hand, and turn to the next one."""
        self._cancel = None
        if self._phase is not Phase.ANSWER or self._head is None or self._transport.is_closing():
            return
        keep_alive = self._head.keep_alive and not self._endpoints.pod.is_draining
        priced = answer._replace(headers=answer.headers + usage_headers(usage))
        self._transport.writelines(encode(priced, self._request_id, keep_alive, self._head.method == "HEAD"))
        if self._span is not None:
            self._end_span(answer.status, reason_in(answer))
        self._go_on(keep_alive)

    def begin(self, answer: HttpAnswer) -> None:
        """Write the head of the answer and the first part of its body."""
        if self._phase is not Phase.ANSWER or self._head is None or self._transport.is_closing():
            return
        is_chunked = self._head.minor_version == 1
        keep_alive = is_chunked and self._head.keep_alive and not self._endpoints.pod.is_draining
        head = encode_begun(answer, self._request_id, keep_alive, is_chunked)
        self._begun_status = answer.status
        is_head = self._head.method == "HEAD"
        self._body = StreamedBody(self._transport, head, answer.body, is_chunked=is_chunked, is_head=is_head)
        if self._client_is_slow:
            self._body.hold()
        self._await_reader(Phase.STREAM)

    def more(self, piece: Buffer) -> None:
        if self._body is not None:
            self._body.add(piece)

    def end(self, usage: Usage = NOTHING_USED) -> None:
        """End the body; the head is gone, so that nothing can be told of the cost."""
        self._cancel = None
        if (body := self._end_body("")) is not None and self._head is not None:
            body.end()
            self._go_on(body.is_chunked and self._head.keep_alive and not self._endpoints.pod.is_draining)

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        """Close without the chunk that ends a body, or reset where the connection's end would look like the body's."""
        self._cancel = None
        if (body := self._end_body(reason)) is None:
            return
        body.cut()
        if body.is_chunked:
            self._close()
        else:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    @property
    def unread_bytes(self) -> int:
        return 0 if self._body is None else self._body.unread_bytes

    def watch(self, on_read: Callable[[], None]) -> None:
        self._on_read = on_read

    def _end_body(self, reason: str) -> StreamedBody | None:
        body, self._body, self._on_read = self._body, None, _nobody_waits
        if body is not None:
            self._end_span(self._begun_status, reason)
        return body

    def _go_on(self, keep_alive: bool) -> None:
        """Turn to the next request, or close, now that the answer is written."""
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
        self._outcome_key = self._payload = None
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


def _nobody_waits() -> None:
    """No body is on its way whose maker would want to know what was read of it."""


def deadline_s(head: RequestHead, arrived_s: float) -> float:
    """Return the moment after which a request need not be run.

    Raises:
        Refused: the caller's deadline is no whole number of milliseconds.
    """
    given = head.get(TIMEOUT_MS.encode())
    if given is None:
        return arrived_s + DEFAULT_DEADLINE_S
    if not _MILLISECONDS.match(given):
        raise Refused("malformed_http", f"{TIMEOUT_MS} is not a whole number of milliseconds")
    return arrived_s + int(given) / 1000.0


def outcome_key_of(head: RequestHead, tenant: str) -> OutcomeKey | None:
    """Return the key under which the outcome is to be kept, None when the caller gave none.

    Raises:
        Refused: it is no key.
    """
    given = head.get(IDEMPOTENCY_KEY.encode())
    if given is None:
        return None
    if not _KEY.match(given):
        message = f"{IDEMPOTENCY_KEY} is not of 1 to {MAX_KEY_CHARACTERS} visible ASCII characters"
        raise Refused("malformed_http", message)
    return tenant, given.decode("ascii")


def _text(head: RequestHead, name: str) -> str:
    return (head.get(name.encode()) or b"").decode("latin-1")


class HttpEdge:
    """All connections of the pod, links included.

    Attributes:
        connections: those that are there now.
    """

    def __init__(self, endpoints: Endpoints, limits: EdgeLimits) -> None:
        self.endpoints = endpoints
        self.limits = limits
        self.connections: set[HttpConnection | LinkConnection] = set()
        self._link_limits = LinkLimits(limits.body_bytes, limits.body_idle_s, limits.body_total_s, limits.stall_s)
        self._is_leaving = False
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        self._server = await make(lambda: HttpConnection(self), sock=listener, backlog=BACKLOG)
        self._sweep = loop.call_later(SWEEP_EVERY_S, self._sweep_all)

    def begin_link(self, transport: asyncio.Transport, received: bytes) -> None:
        """Let a connection that began with the preface go on as a link."""
        link = LinkConnection(self.endpoints, self._link_limits, self.connections.discard)
        self.connections.add(link)
        transport.set_protocol(link)
        link.connection_made(transport)
        if self._is_leaving:
            link.leave()
        if received:
            link.data_received(received)

    def leave(self) -> None:
        """Tell whoever has a link that this pod is on its way out."""
        self._is_leaving = True
        for connection in tuple(self.connections):
            if isinstance(connection, LinkConnection):
                connection.leave()

    @property
    def is_idle(self) -> bool:
        """Whether no connection is left that may have a request."""
        return all(connection.is_idle for connection in self.connections)

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
        # First, since a defect of one connection must not end every other's time-outs.
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep_all)
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            connection.sweep(now_s)
