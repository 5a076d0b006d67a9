"""The pod's end of the link: many requests at once on one connection, each answered when it is; see ``wire.link``.

What the model answered in one turn of the loop goes out in one call. Large bodies take turns, a slice each.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import Callable
from typing import NamedTuple, cast

import msgspec

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.answers import reason_in, refusal
from model_pod.server.endpoints import Cancel, Endpoints, WholeRequest
from model_pod.server.events import say
from model_pod.server.link_flow import ArrivingBody, OutgoingBody, check_length, check_size
from model_pod.server.link_head import LinkHead, answer_head, fields_of
from model_pod.server.outcomes import OutcomeKey, payload_digest
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.server.request_span import CALLER_LEFT, RequestSpan
from model_pod.server.routes import Route
from model_pod.wire.http1.head import BODYLESS
from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    LAST,
    LEAVING,
    MAX_STREAMS,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    WINDOW_BYTES,
    BadLink,
    Buffer,
    FrameReader,
    PodCharge,
    PodRequest,
    Reset,
    credit,
    credited,
    decode_request,
    encode_head,
    frame,
)
from model_pod.wire.refusals import REASONS, Refused
from telemetry.conventions import SHADOW
from telemetry.logs.line import warning

_REQUEST_LAST, _ANSWER_LAST, _DATA_LAST = REQUEST | LAST, ANSWER | LAST, DATA | LAST
# Large answers fill the socket's buffer up to so much; what is over waits in their streams, behind small answers.
_WRITE_AHEAD_BYTES = 256 * 1024
_SHADOW = SHADOW.encode()
_MAX_KEY_CHARACTERS = 1024  # the worker may have written more before the caller's
# A worker whose machine is gone is found out in about half a minute, whether or not something is on its way to it.
_KEEP_ALIVE_AFTER_S, _KEEP_ALIVE_EVERY_S, _KEEP_ALIVE_COUNT = 15, 5, 3
_UNACKNOWLEDGED_MS = 30_000


class LinkLimits(NamedTuple):
    """Bounds of the edge that hold on a link too.

    Attributes:
        body_idle_s: longest pause within a body.
        body_total_s: longest time for a whole body.
        stall_s: longest time in which a worker takes nothing of an answer, or of all that is written.
    """

    body_bytes: int
    body_idle_s: float
    body_total_s: float
    stall_s: float


class Stream:
    """One request on a link; a ``Responder`` whose answers go nowhere once its caller has left.

    Attributes:
        arriving: the body, while it comes, and where it is to go.
        is_cold: the model was not loaded when it came.
        is_expected: a drain waits for its body.
        status: of the answer that has begun.
        outgoing: the answer's body, where it is more than one frame.
    """

    __slots__ = (
        "_on_read",
        "arriving",
        "cancel",
        "is_cold",
        "is_expected",
        "link",
        "number",
        "outgoing",
        "request",
        "span",
        "status",
    )

    def __init__(self, link: LinkConnection, number: int, request: PodRequest) -> None:
        self.link: LinkConnection | None = link
        self.number = number
        self.request = request
        self.span: RequestSpan | None = None
        self.cancel: Cancel | None = None
        self.arriving: tuple[ArrivingBody, Route] | None = None
        self.outgoing: OutgoingBody | None = None
        self.is_cold = False
        self.is_expected = False
        self.status = 0
        self._on_read: Callable[[], None] | None = None

    @property
    def key(self) -> OutcomeKey | None:
        """Under which its outcome is kept."""
        return (self.request.tenant, self.request.idempotency_key) if self.request.idempotency_key else None

    def __call__(self, answer: HttpAnswer, usage: Usage = NOTHING_USED) -> None:
        if self.link is not None:
            self.link.answer(self, answer, usage)

    def begin(self, answer: HttpAnswer) -> None:
        if self.link is not None:
            self.link.begin_answer(self, answer)

    def more(self, piece: Buffer) -> None:
        if self.link is not None and self.outgoing is not None:
            self.outgoing.add(piece, time.monotonic())
            self.link.send_soon(self)

    def end(self, usage: Usage = NOTHING_USED) -> None:
        if self.link is not None and self.outgoing is not None:
            self.link.end_answer(self, self.outgoing, usage)

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        if self.link is not None:
            self.link.cut_answer(self, reason, usage)

    def is_bodyless(self, answer: HttpAnswer) -> bool:
        """Whether its caller gets the head alone."""
        return answer.status in BODYLESS or self.request.method == "HEAD"

    @property
    def unread_bytes(self) -> int:
        return self.outgoing.unread_bytes if self.outgoing is not None and self.link is not None else 0

    def watch(self, on_read: Callable[[], None]) -> None:
        self._on_read = on_read

    def was_read(self) -> None:
        """The worker took some of the answer."""
        if self._on_read is not None:
            self._on_read()


class LinkConnection(asyncio.Protocol):
    """One connection of one gateway worker.

    Args:
        on_end: told once, when the connection is no more.
    """

    def __init__(self, endpoints: Endpoints, limits: LinkLimits, on_end: Callable[[LinkConnection], None]) -> None:
        self._endpoints = endpoints
        self._dispatcher = endpoints.pod.dispatcher
        self._limits = limits
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._streams: dict[int, Stream] = {}
        self._sending: dict[int, Stream] = {}  # those that can send, in the order of their turns
        self._out: list[Buffer] = [PREFACE]
        self._flush_is_due = False
        self._is_blocked = False
        self._is_leaving = False
        self._took_s = 0.0
        self._unsent_bytes = 0
        self._ahead = (0, 0)  # rows and microseconds that are ahead of a new request, in this turn of the loop

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what a stream socket gives
        self._transport.set_write_buffer_limits(high=_WRITE_AHEAD_BYTES)
        _keep_alive(self._transport.get_extra_info("socket"))
        self._flush_soon()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, number, head, body in self._frames.feed(data):
                if kind in (_REQUEST_LAST, REQUEST):
                    self._on_request(number, head, body, kind == _REQUEST_LAST)
                else:
                    self._on_frame(kind, number, head, body)
        except (BadLink, msgspec.MsgspecError, UnicodeDecodeError) as error:
            say(f"pod {self._endpoints.pod.config.name}", warning(f"a gateway's link is cut: {error}"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            # What has a key will be asked for again, and runs on; a stream of pieces is not kept for anyone.
            self._leave(stream, runs_on=stream.key is not None and stream.outgoing is None)
        self._sending.clear()
        self._out.clear()
        self._on_end(self)

    def pause_writing(self) -> None:
        self._is_blocked = True
        self._took_s = time.monotonic()
        self._unsent_bytes = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._flush_soon()

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    # --- the life of the pod

    @property
    def is_idle(self) -> bool:
        """Whether a drain need not wait for it: its worker was told to begin nothing new, and has nothing here."""
        return self._is_leaving and not self._streams

    def leave(self) -> None:
        """Ask the worker to begin nothing new here."""
        if not self._is_leaving:
            self._is_leaving = True
            self._write(frame(LEAVING, 0))

    def close_when_idle(self) -> None:
        """Close a link without requests, once what is written is sent."""
        if not self._streams and not self._is_blocked:
            self._flush()
            self._transport.close()

    def sweep(self, now_s: float) -> None:
        """End what takes too long; called about once a second."""
        limits = self._limits
        if self._is_blocked and self._stalled_s(now_s) >= limits.stall_s:
            self.abort()
            return
        for stream in tuple(self._streams.values()):
            arriving, outgoing = stream.arriving, stream.outgoing
            if arriving is not None and arriving[0].is_late(limits.body_idle_s, limits.body_total_s, now_s):
                self._refuse(stream, Refused("body_too_slow", "the body did not arrive in time"))
            elif outgoing is not None and outgoing.is_stalled(limits.stall_s, now_s):
                self._end_early(stream, "reader_too_slow")

    def _stalled_s(self, now_s: float) -> float:
        """Return for how long the worker has taken nothing of what is written."""
        unsent_bytes = self._transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes:
            self._took_s = now_s
        self._unsent_bytes = unsent_bytes
        return now_s - self._took_s

    # --- requests

    def _on_request(self, number: int, head: bytes, body: bytes, is_last: bool) -> None:
        if number in self._streams or not number:
            raise BadLink(f"stream {number} is begun twice")
        stream = Stream(self, number, decode_request(head))
        self._streams[number] = stream
        try:
            if len(self._streams) > MAX_STREAMS:
                raise Refused("queue_full", "the link has as many requests as it may")
            route = self._admit(stream)
            if is_last:
                check_length(stream.request.content_length, len(body))
                check_size(len(body), self._limits.body_bytes)
                self._run(stream, route, body, self._payload_of(stream, body))
            else:
                self._receive(stream, route, body)
        except Refused as refused:
            self._refuse(stream, refused)

    def _admit(self, stream: Stream) -> Route:
        request = stream.request
        route = self._endpoints.route(request.method, request.target.partition("?")[0])
        shadow = LinkHead(request.fields).get(_SHADOW)
        stream.span = self._endpoints.begin_span(route, request.request_id, request.tenant, request.traceparent, shadow)
        stream.is_cold = route.needs_inference and not self._dispatcher.has_engine
        self._endpoints.admit(route)
        if len(request.idempotency_key) > _MAX_KEY_CHARACTERS:
            raise Refused("malformed_http", f"the idempotency key is longer than {_MAX_KEY_CHARACTERS} characters")
        return route

    def _payload_of(self, stream: Stream, body: bytes = b"") -> hashlib._Hash | None:
        request = stream.request
        if not request.idempotency_key:
            return None
        payload = payload_digest(request.target, LinkHead(request.fields).get(b"content-type") or b"")
        payload.update(body)
        return payload

    def _receive(self, stream: Stream, route: Route, body: bytes) -> None:
        """Begin a body that comes in several frames."""
        content_length, limit_bytes = stream.request.content_length, self._limits.body_bytes
        check_size(content_length, limit_bytes)
        arriving = ArrivingBody(content_length, limit_bytes, time.monotonic(), self._payload_of(stream))
        stream.arriving = arriving, route
        if route.needs_inference:
            stream.is_expected = True
            self._dispatcher.expect()
        self._take(stream, arriving, body)

    def _take(self, stream: Stream, arriving: ArrivingBody, body: bytes) -> None:
        self._dispatcher.queue.reserve(len(body))
        arriving.held_bytes += len(body)
        if credit_bytes := arriving.take(body, time.monotonic()):
            self._write([credit(stream.number, credit_bytes)])

    def _run(self, stream: Stream, route: Route, body: bytes, payload: hashlib._Hash | None) -> None:
        request = stream.request
        try:
            cancel = self._endpoints.answer(
                WholeRequest(
                    LinkHead(fields_of(request)),
                    route,
                    request.request_id,
                    body,
                    time.monotonic() + request.timeout_ms / 1000.0,
                    stream.span,
                    stream.key,
                    payload.digest() if payload is not None else b"",
                ),
                stream,
            )
        except Refused as refused:
            self._refuse(stream, refused)
        except Exception as error:  # one request's trouble, whatever it is, is not that of the others on the link
            say(
                f"pod {self._endpoints.pod.config.name}",
                warning(f"a request failed here: {type(error).__name__}: {error}"),
            )
            self._end_early(stream, "pod_lost")
        else:
            stream.cancel = cancel if stream.link is not None else None

    def _on_frame(self, kind: int, number: int, head: bytes, body: bytes) -> None:
        stream = self._streams.get(number)
        if kind not in (DATA, _DATA_LAST, CREDIT, RESET):
            raise BadLink(f"a frame of kind {kind}")
        if stream is None:
            return  # it has ended here, and this was on its way
        if kind == CREDIT:
            self._on_credit(stream, credited(head))
        elif kind == RESET:
            self._drop(stream)
            self._leave(stream, runs_on=False)
        else:
            self._on_data(stream, body, kind == _DATA_LAST)

    def _on_data(self, stream: Stream, body: bytes, is_last: bool) -> None:
        if stream.arriving is None:
            raise BadLink(f"the body of stream {stream.number} goes on after its end")
        arriving, route = stream.arriving
        try:
            self._take(stream, arriving, body)
            whole = arriving.whole() if is_last else b""
        except Refused as refused:
            self._refuse(stream, refused)
            return
        if is_last:
            stream.arriving = None
            self._dispatcher.queue.release(arriving.held_bytes)
            self._run(stream, route, whole, arriving.payload)
            self._note_arrival(stream)

    def _on_credit(self, stream: Stream, byte_count: int) -> None:
        if stream.outgoing is None:
            raise BadLink(f"credit for stream {stream.number}, which has sent nothing")
        stream.outgoing.credit(byte_count, time.monotonic())
        self.send_soon(stream)
        stream.was_read()

    # --- answers

    def answer(self, stream: Stream, answer: HttpAnswer, usage: Usage) -> None:
        """Answer a stream as a whole."""
        reason = reason_in(answer) if answer.status >= 400 else ""
        if reason == "pod_draining" and not usage.batch_rows:
            self.reset(stream, reason, has_run=False)
            return
        body = answer.body
        head = self._head(stream, answer, usage, reason, len(body))
        if stream.is_bodyless(answer):
            body = b""
        self._end_span(stream, answer.status, reason)
        if len(body) <= WINDOW_BYTES:
            self._drop(stream)
            self._write(frame(_ANSWER_LAST, stream.number, head, body))
        else:
            outgoing = self._begin(stream, head)
            outgoing.add(body, time.monotonic())
            outgoing.finish()
            self.send_soon(stream)

    def begin_answer(self, stream: Stream, answer: HttpAnswer) -> None:
        """Answer a stream with a head and the first part of a body."""
        head = self._head(stream, answer, NOTHING_USED, "", NOT_TOLD)
        stream.status = answer.status
        if stream.is_bodyless(answer):
            self._end_span(stream, answer.status, "")
            self._drop(stream)
            self._write(frame(_ANSWER_LAST, stream.number, head))
        else:
            self._begin(stream, head)
            stream.more(answer.body)

    def end_answer(self, stream: Stream, outgoing: OutgoingBody, usage: Usage) -> None:
        """The body of a stream's answer is whole."""
        outgoing.finish(encode_head(PodCharge(usage.device_us, usage.tokens, *self._look_ahead())))
        self._end_span(stream, stream.status, "")
        self.send_soon(stream)

    def cut_answer(self, stream: Stream, reason: str, usage: Usage) -> None:
        """End a stream's answer unfinished, with as much of it as there is room for."""
        pieces: list[Buffer] = []
        while stream.outgoing is not None and stream.outgoing.can_send:
            self._slice(stream, pieces)
        self._write(pieces)
        self.reset(stream, reason, has_run=True, usage=usage)

    def reset(self, stream: Stream, reason: str, *, has_run: bool, usage: Usage = NOTHING_USED) -> None:
        """End a stream early; the worker learns why."""
        status = REASONS[reason].status if reason in REASONS else 502
        self._end_span(stream, status, reason)
        self._drop(stream)
        device_us = usage.device_us if usage.batch_rows else NOT_TOLD
        self._write(frame(RESET, stream.number, encode_head(Reset(reason, has_run, device_us, usage.tokens))))

    def send_soon(self, stream: Stream) -> None:
        """Let a stream's body have its turns, if it may send any."""
        if stream.outgoing is not None and stream.outgoing.can_send:
            self._sending[stream.number] = stream
            self._flush_soon()

    def _begin(self, stream: Stream, head: bytes) -> OutgoingBody:
        self._write(frame(ANSWER, stream.number, head))
        stream.outgoing = OutgoingBody(time.monotonic())
        return stream.outgoing

    def _head(self, stream: Stream, answer: HttpAnswer, usage: Usage, reason: str, content_length: int) -> bytes:
        ahead = self._look_ahead()
        return encode_head(answer_head(answer, usage, reason, content_length, *ahead, is_cold=stream.is_cold))

    def _look_ahead(self) -> tuple[int, int]:
        if not self._flush_is_due:  # the answers of one turn go out together, and tell the same
            row_count = self._dispatcher.row_count
            self._ahead = row_count, self._endpoints.work.ahead_us(row_count)
        return self._ahead

    def _refuse(self, stream: Stream, refused: Refused) -> None:
        if stream.link is not None:
            self.answer(stream, refusal(refused, stream.request.request_id), NOTHING_USED)

    def _end_early(self, stream: Stream, reason: str) -> None:
        cancel = stream.cancel
        self.reset(stream, reason, has_run=True)
        if cancel is not None:
            cancel()

    # --- the end of a stream

    def _drop(self, stream: Stream) -> None:
        """Forget a stream; what it answers from now on goes nowhere."""
        self._streams.pop(stream.number, None)
        stream.link = None
        if stream.outgoing is not None:
            self._sending.pop(stream.number, None)
        if stream.arriving is not None:
            self._let_go_of_body(stream)

    def _leave(self, stream: Stream, *, runs_on: bool) -> None:
        """The caller of a stream has left."""
        stream.link = None
        self._let_go_of_body(stream)
        self._end_span(stream, CALLER_LEFT, "")
        cancel, stream.cancel = stream.cancel, None
        if cancel is not None and not runs_on:
            cancel()

    def _let_go_of_body(self, stream: Stream) -> None:
        arriving, stream.arriving = stream.arriving, None
        if arriving is not None:
            self._dispatcher.queue.release(arriving[0].held_bytes)
        self._note_arrival(stream)

    def _note_arrival(self, stream: Stream) -> None:
        """A drain need not wait for this request's body any more."""
        if stream.is_expected:
            stream.is_expected = False
            self._dispatcher.arrived()

    def _end_span(self, stream: Stream, status: int, reason: str) -> None:
        span, stream.span = stream.span, None
        if span is not None:
            self._endpoints.end_span(span, status, reason)

    # --- writing

    def _write(self, pieces: list[Buffer]) -> None:
        self._out += pieces
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Send at the end of this turn of the loop, so that what was answered in one turn goes out together."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._is_blocked or self._transport.is_closing():
            return
        out, self._out = self._out, []
        if out:
            self._transport.write(b"".join(out))
        self._send_slices()

    def _send_slices(self) -> None:
        """Give each stream that can send a slice in turn, while the socket takes more."""
        pieces: list[Buffer] = []
        left_bytes = _WRITE_AHEAD_BYTES
        while self._sending and left_bytes > 0 and not self._is_blocked:
            stream = self._sending.pop(next(iter(self._sending)))
            left_bytes -= self._slice(stream, pieces)
        if pieces:
            self._transport.writelines(pieces)
        if self._sending and not self._is_blocked:
            self._flush_soon()

    def _slice(self, stream: Stream, pieces: list[Buffer]) -> int:
        """Add a stream's next frame; return its bytes."""
        outgoing = stream.outgoing
        if outgoing is None or not outgoing.can_send:
            return 0
        piece, is_last = outgoing.next()
        if is_last:
            pieces += frame(_DATA_LAST, stream.number, outgoing.last_head, piece)
            self._drop(stream)
            return len(piece)
        pieces += frame(DATA, stream.number, b"", piece)
        if outgoing.can_send:
            self._sending[stream.number] = stream
        return len(piece)


def _keep_alive(connected: socket.socket | None) -> None:
    """Let the system find out about a worker whose machine is gone."""
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_AFTER_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_EVERY_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_COUNT)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
