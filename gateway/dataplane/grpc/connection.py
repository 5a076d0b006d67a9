"""A caller's gRPC connection: the socket, the clock and the calls around ``http2.connection``, which has neither."""

from __future__ import annotations

import asyncio
import math
from typing import cast

from gateway.dataplane.answers import Readiness
from gateway.dataplane.credentials import NO_PEER
from gateway.dataplane.forward import Forward
from gateway.dataplane.gateway import Gateway
from gateway.dataplane.grpc.answers import CALL_HEAD, reason_field
from gateway.dataplane.grpc.call import STALLED_READER_S, Call
from gateway.dataplane.grpc.methods import METHODS
from gateway.dataplane.grpc.requests import is_grpc
from gateway.dataplane.grpc.status import Status, trailers
from gateway.dataplane.pace import FIRST_BYTE_S
from gateway.dataplane.tls import peer_of
from model_pod.wire.http1 import RequestHead
from telemetry.conventions import REQUEST_ID
from telemetry.http2.connection import Answered, Begun, Body, Event, Gone, Http2Connection, Room
from telemetry.http2.fields import field
from telemetry.http2.frames import Code, ConnectionBroken

_WRITE_BUFFER_BYTES = 64 * 1024
# Copying so little costs less than a list of buffers.
_JOIN_BELOW_BYTES = 64 * 1024
# A peer that says nothing for so long is asked whether it is there, and has so long to answer.
_PING_AFTER_S = 60.0
_PONG_WITHIN_S = 20.0
_WATCH_EVERY_S = 1.0
_LEAVING_S = 1.0  # from the warning to the GOAWAY that holds, should the PING between them not come back
_NOT_POST_OR_GRPC = field(b":status", b"415") + field(b"content-type", b"text/plain")
_ONLY_GRPC = b"only gRPC is spoken here: POST with content-type application/grpc\n"


class GrpcConnection(asyncio.Protocol):
    """One client's connection; a call sees it as its ``Edge``, the timer wheel as ``Watched``.

    Args:
        identity_from: what of the client's certificate names it; "" where none is asked for.

    Attributes:
        http2: what was said on it so far.
    """

    def __init__(self, gateway: Gateway, identity_from: str = "") -> None:
        self._gateway = gateway
        self._identity_from = identity_from
        self._peer = NO_PEER
        self._transport = cast(asyncio.Transport, None)  # set before anything else is called
        self._since_s = self._heard_s = gateway.now_s()
        self.http2 = Http2Connection(self._since_s)
        self._calls: dict[int, Call] = {}
        self._to_go_on: list[Call] = []
        self._flush_is_due = False
        self._stalled_since_s = math.inf
        self._pinged_s = math.inf
        self._watched_s = 0.0
        self._leaving_s = math.inf
        self._warning_was_heard = False
        self._called_s = self._since_s  # when a call last was under way
        self._is_closing = False
        self.look_at_s = math.inf
        self.bucket = -1

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = peer_of(self._transport, self._identity_from)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._gateway.connections.add(self)
        self.look_at(self._since_s + self._gateway.shortest_wait_s)
        if len(self._gateway.connections) > self._gateway.max_connections:
            self.refused("connections_full", self._since_s)
            self.http2.go_away(Code.ENHANCE_YOUR_CALM, "this gateway worker has as many connections as it may have")
            self._flush()
            self._close()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._heard_s = now_s = self._gateway.now_s()
        self._pinged_s = math.inf
        self._flush_is_due = True  # what is sent meanwhile goes out together, below
        try:
            self.http2.receive(data, now_s)
            self._handle_events()
        except ConnectionBroken:
            self.refused("malformed_http", now_s)
            self._flush()
            self._close()
            self._end_calls()
            return
        self._flush()

    def eof_received(self) -> bool:
        return False  # a client that closes its side has left: our side closes too, and the pods learn of it

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._gateway.connections.discard(self)
        self._gateway.wheel.forget(self)
        self._end_calls()

    def pause_writing(self) -> None:
        self._stalled_since_s = self._gateway.now_s()
        self.http2.is_blocked = True

    def resume_writing(self) -> None:
        self._stalled_since_s = math.inf
        self.http2.is_blocked = False
        self.http2.send_waiting()
        self._send_soon()

    def _handle_events(self) -> None:
        while events := self.http2.take_events():  # handling one may make another
            for event in events:
                self._on_event(event)

    def _on_event(self, event: Event) -> None:
        match event:
            case Begun():
                self._begin(event)
            case Body(stream=stream, data=data, ends=ends):
                if call := self._calls.get(stream):
                    call.take(data, ends=ends)
                    self._forget_if_over(stream, call)
                else:
                    self.http2.credit(stream, len(data))
            case Gone(stream=stream):
                if call := self._calls.pop(stream, None):
                    call.gone()
            case Room(stream=stream):
                if call := self._calls.get(stream):
                    call.sent()
            case Answered():
                self._warning_was_heard = True

    def _begin(self, begun: Begun) -> None:
        head = begun.head
        if not is_grpc(head):
            self.send_head(begun.stream, _NOT_POST_OR_GRPC)
            self.send_body(begun.stream, _ONLY_GRPC)
            self.http2.end(begun.stream)
            return
        method = METHODS.get(head.path)
        if method is None:
            reason = "path_not_found"
            request_id = field(REQUEST_ID.encode(), self.refused(reason, self._heard_s).encode())
            ending = trailers(Status.UNIMPLEMENTED, f"no method is at {head.path.decode('latin-1')}")
            self.send_head(begun.stream, CALL_HEAD + request_id + reason_field(reason) + ending, ends=True)
            return
        call = self._calls[begun.stream] = Call(self, begun.stream, head, method)
        if begun.ends:
            call.take(b"", ends=True)
            self._forget_if_over(begun.stream, call)

    def _forget_if_over(self, stream: int, call: Call) -> None:
        """Forget a call that has ended, once its stream is gone too, which is when all of its answer was written.

        This is asked when something came for a call, and of all calls after each turn and each look. Until then the
        call stays, for it is what notices a caller who takes nothing, and so the connection is not idle meanwhile.
        """
        if call.over and stream not in self.http2.streams:
            self._calls.pop(stream, None)

    def _end_calls(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.gone()

    def _flush(self) -> None:
        """Write what there is to write."""
        self._flush_is_due = False
        out = self.http2.take_output()
        if not out or self._transport.is_closing():
            return
        if sum(map(len, out)) < _JOIN_BELOW_BYTES:
            self._transport.write(b"".join(out))
        else:
            self._transport.writelines(out)

    def _send_soon(self) -> None:
        """Write at the end of this turn what all calls have to say in it."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._gateway.later(0.0, self._turn)

    def _turn(self) -> None:
        to_go_on, self._to_go_on = self._to_go_on, []
        for call in to_go_on:
            call.go_on_reading()
        self._handle_events()
        self._drop_what_is_over()
        self._flush()

    def _drop_what_is_over(self) -> None:
        for stream in [stream for stream, call in self._calls.items() if call.over]:
            self._forget_if_over(stream, self._calls[stream])

    # --- a call's view (call.Edge)

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self._gateway.now_s()

    def readiness(self) -> Readiness:
        """Return what the health methods tell."""
        return self._gateway.readiness()

    def forward(self, call: Call, request: RequestHead) -> Forward:
        """Make a request's life."""
        self._gateway.in_flight += 1
        return Forward(self._gateway, call, request, self._peer)

    def forwarded(self) -> None:
        """One request is over."""
        self._gateway.in_flight -= 1

    def refused(self, reason: str, since_s: float) -> str:
        """Count what was refused before it was a request."""
        self._gateway.settlement.count_refused(reason, since_s, self._gateway.now_s())
        return self._gateway.tracer.new_request_id()

    def look_at(self, at_s: float) -> None:
        """Look at the calls then."""
        self._gateway.wheel.watch(self, at_s)

    def soon(self, call: Call) -> None:
        """Let a call go on in the next turn."""
        if not self._to_go_on:  # even where a flush is due already, which may be that of this very turn
            self._gateway.later(0.0, self._turn)
        self._to_go_on.append(call)

    def send_head(self, stream: int, block: bytes, *, ends: bool = False) -> None:
        """Send an answer's head."""
        if stream in self.http2.streams:
            self.http2.head(stream, block, ends=ends)
            self._send_soon()

    def send_body(self, stream: int, piece: bytes | memoryview) -> int:
        """Send some of an answer's body; return how much of it waits."""
        known = self.http2.streams.get(stream)
        if known is None:
            return 0
        self.http2.body(stream, piece if isinstance(piece, bytes) else bytes(piece))
        self._send_soon()
        return known.unsent_bytes

    def send_trailers(self, stream: int, block: bytes) -> None:
        """End an answer."""
        if stream in self.http2.streams:
            self.http2.trailers(stream, block)
            self._send_soon()

    def credit(self, stream: int, taken_bytes: int) -> None:
        """Let the caller send more."""
        self.http2.credit(stream, taken_bytes)
        self._send_soon()

    def reset(self, stream: int, code: Code) -> None:
        """End a call without trailers."""
        if stream in self.http2.streams:
            self.http2.reset(stream, code)
            self._send_soon()

    # --- the end

    @property
    def refuses(self) -> bool:
        """Whether the caller was told to begin nothing new here."""
        return self.http2.refuses

    def close_if_idle(self) -> None:
        """The worker is leaving: warn the caller, begin nothing new, and close when nothing is being answered."""
        now_s = self._gateway.now_s()
        if self._leaving_s == math.inf:
            self._leaving_s = now_s
            self._warning_was_heard = False
            self.http2.warn_of_leaving()
            self.http2.ping()
        elif not self.http2.refuses and (self._warning_was_heard or self._leaving_s + _LEAVING_S <= now_s):
            self.http2.go_away()
        self._flush()
        if self.http2.refuses and not self._calls:
            self._close()

    def give_up(self) -> None:
        """The worker leaves now: what is being answered is refused."""
        self._gateway.give_up()
        for call in list(self._calls.values()):
            call.give_up()
        if not self.http2.refuses:
            self.http2.go_away()
        self._flush()
        self._close()

    def _close(self) -> None:
        self._is_closing = True
        self._transport.close()

    # --- time

    def look(self, now_s: float) -> float:
        """Act on what is due."""
        if self._stalled_since_s + STALLED_READER_S <= now_s:
            self._transport.abort()
        elif not self._is_closing:
            if self._calls:
                self._called_s = now_s
            self._look_at_silence(now_s)
            for call in list(self._calls.values()):
                call.look(now_s, self._gateway.tables.bounds)
            self._tell_watchers(now_s)
            self._drop_what_is_over()
            self._flush()
        deadlines = [call.deadline_s for call in self._calls.values()]
        return min([now_s + self._gateway.shortest_wait_s, *deadlines])

    def _look_at_silence(self, now_s: float) -> None:
        """A connection has to begin in time; one without calls is closed after a while, one with calls is asked."""
        silent_s = now_s - self._heard_s
        if not self.http2.greeted:
            if self._since_s + FIRST_BYTE_S <= now_s:
                self._close()
        elif not self._calls:
            self._close_if_nobody_calls(now_s)
        elif self._pinged_s + _PONG_WITHIN_S <= now_s:
            self._transport.abort()
        elif silent_s >= _PING_AFTER_S and self._pinged_s == math.inf:
            self._pinged_s = now_s
            self.http2.ping()

    def _close_if_nobody_calls(self, now_s: float) -> None:
        if self.http2.refuses or now_s - self._called_s >= self._gateway.tables.bounds.idle_timeout_s:
            if not self.http2.refuses:
                self.http2.go_away()
            self._flush()
            self._close()

    def _tell_watchers(self, now_s: float) -> None:
        watchers = [call for call in self._calls.values() if call.watched is not None]
        if watchers and self._watched_s + _WATCH_EVERY_S <= now_s:
            self._watched_s = now_s
            readiness = self._gateway.readiness()
            for call in watchers:
                call.tell_watcher(readiness)
