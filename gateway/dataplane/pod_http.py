"""HTTP/1.1 to one pod: pooled connections on a Unix socket or TCP, one exchange at a time on each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from gateway.dataplane.client import Piece
from gateway.dataplane.pod_heads import answer_of, http_head
from gateway.dataplane.upstream import Exchange, Receiver, connect, is_ours
from gateway.errors import PodBroke, PodFailed, PodUnreachable
from model_pod.wire.http1 import END, End, ResponseHead, ResponseReader
from model_pod.wire.http1.head import BODYLESS
from model_pod.wire.link import NOT_TOLD, PodAnswer, PodRequest

_MAX_IDLE = 128
# Shorter than the pod's own keep-alive time (75 s), so that a request never meets a connection that is being closed.
_IDLE_S = 55.0
# A request may send this much before its connection stands; then it waits.
_MAX_UNSENT_BYTES = 64 * 1024
# One read is no larger than this: it is what a slow reader's answer holds in memory. All connections share it, since a
# read is taken out at once.
_READ = memoryview(bytearray(64 * 1024))


class HttpUpstream:
    """Exchanges with the server at one address.

    Args:
        address: ``unix:/path`` or ``host:port``.
    """

    is_linked = False

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self._idle: list[_Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False

    def open(self, request: PodRequest, body: Sequence[Piece], receiver: Receiver, *, is_whole: bool) -> Exchange:
        """Begin an exchange with what there is of the request's body."""
        connection = self._idle_connection()
        if connection is None:
            connection = _Connection(self)
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        connection.begin(request, body, receiver, is_whole)
        return connection

    def close(self) -> None:
        """Close what is idle; exchanges under way end in their own time."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _idle_connection(self) -> _Connection | None:
        oldest_s = self._loop.time() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closing:  # the pod has ended it, and only its end is still to be told
                continue
            if connection.idle_since_s > oldest_s:
                return connection
            connection.close()
        return None

    async def _connect(self, connection: _Connection) -> None:
        try:
            await connect(self._address, self._loop, connection)
        except Exception as error:  # a bad address too: whatever it is, the request must not wait for ever
            connection.on_unreachable(error)

    def recycle(self, connection: _Connection) -> None:
        """Keep a connection whose exchange is over for the next one."""
        if self._closed or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            connection.idle_since_s = self._loop.time()
            self._idle.append(connection)

    def soon(self, call: Callable[[], None]) -> None:
        """Call that in the loop's next turn."""
        self._loop.call_soon(call)

    def forget(self, connection: _Connection) -> None:
        """Drop a connection that ended while idle."""
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.BufferedProtocol):
    """One connection to a pod: at most one exchange at a time."""

    def __init__(self, upstream: HttpUpstream) -> None:
        self.idle_since_s = 0.0
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._unsent: list[Piece] = []  # while connecting
        self._unsent_bytes = 0
        self._receiver: Receiver | None = None
        self._reader: ResponseReader | None = None
        self._answer: PodAnswer | None = None  # until something shows whether it is whole
        self._method = ""
        self._chunked = False
        self._is_held = False  # the caller has no room for more of the answer
        self._keep = False  # the answer allows another exchange on this connection
        self._request_whole = False
        self._given_up = False

    # --- the exchange, as the one who forwards sees it

    @property
    def has_begun(self) -> bool:
        return self._transport is not None

    @property
    def is_closing(self) -> bool:
        """Nothing more can be written."""
        return self._transport is not None and self._transport.is_closing()

    def begin(self, request: PodRequest, body: Sequence[Piece], receiver: Receiver, is_whole: bool) -> None:
        self._receiver = receiver
        self._method = request.method
        self._chunked = request.content_length == NOT_TOLD
        self._reader = ResponseReader(request.method)
        self._request_whole = False
        self._answer = None
        self._write(http_head(request))
        for piece in body:
            self.send(piece)
        if is_whole:
            self.finish()

    def send(self, piece: Piece) -> None:
        if self._reader is None or not piece:
            return  # the pod has answered already; and an empty chunk would end the body
        if self._chunked:
            self._write(b"%x\r\n" % len(piece))
            self._write(piece)
            self._write(b"\r\n")
        else:
            self._write(piece)

    def finish(self) -> None:
        if self._chunked and self._reader is not None:
            self._write(b"0\r\n\r\n")
        self._request_whole = True

    def _write(self, piece: Piece) -> None:
        if self._transport is not None:
            self._transport.write(piece)
            return
        self._unsent.append(piece)
        self._unsent_bytes += len(piece)
        if self._unsent_bytes > _MAX_UNSENT_BYTES and self._receiver is not None:
            self._receiver.on_room(False)

    def cancel(self) -> None:
        self._receiver = None
        self._given_up = True
        if self._transport is not None:
            self._transport.abort()

    def hold(self, held: bool) -> None:
        self._is_held = held
        if self._transport is None or self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection."""
        self._given_up = True
        if self._transport is not None:
            self._transport.close()

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._given_up:
            self._transport.abort()
            return
        self._transport.writelines(self._unsent)
        self._unsent.clear()
        if self._unsent_bytes > _MAX_UNSENT_BYTES and self._receiver is not None:
            self._receiver.on_room(True)

    def on_unreachable(self, error: Exception) -> None:
        """No connection came about: another pod may have the request."""
        if self._transport is not None:  # it stood just when its time was over, and the request is on its way
            self._break_off(PodBroke("the connection came too late"))
            return
        self._given_up = True  # should it come about after all
        self._unsent.clear()
        self._fail(PodUnreachable(f"no connection to the pod: {error}", is_pods_fault=not is_ours(error)))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ

    def buffer_updated(self, byte_count: int) -> None:
        self._take(bytes(_READ[:byte_count]))
        if byte_count == len(_READ):
            self._let_others()

    def _let_others(self) -> None:
        """Go on in the loop's next turn: it would read 2 MiB of one connection before it looks at the next."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.is_reading():
            transport.pause_reading()
            self._upstream.soon(self._read_on)

    def _read_on(self) -> None:
        if not self._is_held:
            self.hold(False)

    def _take(self, data: bytes) -> None:
        reader = self._reader
        if reader is None or self._receiver is None:  # bytes that nobody asked for: the pod has lost its place
            self.close()
            return
        reader.feed(data)
        try:
            self._tell(reader)
        except ValueError as error:
            self._break_off(PodBroke(str(error), "pod_bad_answer"))

    def _tell(self, reader: ResponseReader) -> None:
        while self._receiver is not None and (event := reader.next_event()) is not None:
            if isinstance(event, ResponseHead):
                self._keep = event.keep_alive
                self._answer = self._read_head(event)
            elif isinstance(event, End):
                self._end(reader)
            elif self._answer is not None and len(event) == self._answer.content_length:
                self._end_whole(reader, self._answer, event)
            else:
                self._tell_head()
                self._receiver.on_data(event)
        self._tell_head()

    def _read_head(self, response: ResponseHead) -> PodAnswer:
        has_body = self._method != "HEAD" and response.status not in BODYLESS
        return answer_of(response, has_body=has_body)

    def _tell_head(self) -> None:
        """Tell the answer's head if its body is not there yet."""
        answer, self._answer = self._answer, None
        if answer is not None and self._receiver is not None:
            self._receiver.on_head(answer)

    def _end_whole(self, reader: ResponseReader, answer: PodAnswer, body: memoryview) -> None:
        self._answer = None
        if reader.next_event() is not END:
            raise ValueError("the pod's answer does not end where its length says")
        receiver = self._let_go(reader)
        if receiver is not None:
            receiver.on_answer(answer, body)

    def _end(self, reader: ResponseReader) -> None:
        answer, self._answer = self._answer, None
        receiver = self._let_go(reader)
        if receiver is None:
            return
        if answer is not None:
            receiver.on_answer(answer, b"")
        else:
            receiver.on_end()

    def _let_go(self, reader: ResponseReader) -> Receiver | None:
        receiver, self._receiver, self._reader = self._receiver, None, None
        if self._keep and self._request_whole and not reader.unread_bytes:
            self.hold(False)  # a slow caller may have stopped it; the next exchange has another caller
            self._upstream.recycle(self)
        else:
            self.close()
        return receiver

    def eof_received(self) -> bool:
        if self._reader is not None and self._reader.at_eof():
            self._keep = False
            self._tell_head()
            self._end(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.forget(self)
        self._fail(PodBroke("the pod closed the connection before its answer was whole"))

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.on_room(False)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.on_room(True)

    def _break_off(self, error: PodFailed) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._fail(error)

    def _fail(self, error: PodFailed) -> None:
        receiver, self._receiver, self._reader = self._receiver, None, None
        if receiver is not None:
            receiver.on_failed(error)
