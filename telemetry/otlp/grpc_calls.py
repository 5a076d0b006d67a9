"""A receiver's half of connections that speak HTTP/2: calls that bring spans, and everything bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from telemetry.http2.connection import Begun, Body, Gone, Http2Connection
from telemetry.http2.fields import Head
from telemetry.http2.frames import ConnectionBroken
from telemetry.otlp import grpc
from telemetry.otlp.receive import Code, Refused, larger_than, no_time

# Answers are short: who lets so much of them lie does not read.
_UNREAD_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024

Take = Callable[[str, bytes], Awaitable[bytes]]
"""Takes a message, by how it is packed, and returns its answer; raises ``Refused``."""
Admit = Callable[[Head], None]
"""Lets a caller pass, or raises ``Refused``."""


class Bounds(Struct, frozen=True):
    """How much a receiver takes, and how long it waits.

    Attributes:
        body_bytes: of a message, after it is unpacked too.
        calls: that bring a body, or wait for their answer, on all connections; others are told to come again.
        message_within_s: since a call began, or since a connection was made.
        idle_s: without a byte of a call.
    """

    body_bytes: int
    calls: int = 8
    message_within_s: float = 5.0
    idle_s: float = 30.0


def _everybody(_: Head) -> None:
    """Let everybody pass who reaches the address."""


class GrpcReceiver:
    """All calls of one receiver.

    Attributes:
        call_count: those that bring a body, or wait for their answer.
    """

    def __init__(self, take: Take, bounds: Bounds, admit: Admit = _everybody) -> None:
        self.take = take
        self.bounds = bounds
        self.admit = admit
        self.call_count = 0

    async def converse(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one connection, until it has been idle for long or is over; who calls closes it.

        Args:
            first: what came of it already.
        """
        connection = _Connection(self, writer)
        try:
            await connection.converse(first, reader)
        finally:
            connection.leave()


class _Call:
    """One call whose message comes, or is looked at."""

    def __init__(self, packing: str, too_late: asyncio.TimerHandle) -> None:
        self.packing = packing
        self.body = bytearray()
        self.too_late = too_late
        self.answering: asyncio.Task[None] | None = None


class _Connection:
    """One connection and its calls."""

    def __init__(self, receiver: GrpcReceiver, writer: asyncio.StreamWriter) -> None:
        self._receiver = receiver
        self._bounds = receiver.bounds
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._http2 = Http2Connection(self._loop.time())
        self._calls: dict[int, _Call] = {}

    async def converse(self, data: bytes, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(self._bounds.message_within_s) as limit:
                while data:
                    was_greeted = self._http2.greeted
                    self._http2.receive(data, self._loop.time())
                    self._handle()
                    self._flush()
                    # Whoever makes no call, or none that is let in, holds no connection by pings and the like.
                    if self._calls or was_greeted != self._http2.greeted:
                        limit.reschedule(self._loop.time() + self._bounds.idle_s)
                    data = await reader.read(_READ_BYTES)
        except ConnectionBroken:
            self._flush()
        except TimeoutError:
            self._http2.go_away()
            self._flush()

    def leave(self) -> None:
        """Forget all calls; nobody waits for them."""
        for number in tuple(self._calls):
            self._forget(number)

    def _handle(self) -> None:
        for event in self._http2.take_events():
            match event:
                case Begun():
                    self._begin(event)
                case Body(stream=number, data=data, ends=ends):
                    self._http2.credit(number, len(data))
                    self._take(number, data, ends)
                case Gone(stream=number):
                    self._forget(number)

    def _begin(self, begun: Begun) -> None:
        number, head = begun.stream, begun.head
        if not grpc.is_grpc(head):
            self._http2.head(number, grpc.NOT_GRPC)
            self._http2.body(number, grpc.ONLY_GRPC)
            self._http2.end(number)
        elif head.path != grpc.EXPORT_SPANS:
            self._http2.head(number, grpc.why_unknown(head.path), ends=True)
        elif self._receiver.call_count >= self._bounds.calls:
            self._refuse(number, no_time())
        else:
            self._open(begun)

    def _open(self, begun: Begun) -> None:
        number = begun.stream
        try:
            self._receiver.admit(begun.head)
            packing = grpc.packing_of(begun.head)
        except Refused as refused:
            self._refuse(number, refused)
            return
        self._receiver.call_count += 1
        self._calls[number] = _Call(
            packing, self._loop.call_later(self._bounds.message_within_s, self._give_up, number)
        )
        if begun.ends:
            self._take(number, b"", ends=True)

    def _take(self, number: int, data: bytes, ends: bool) -> None:
        """Add to a call's message, and look at it once it is whole."""
        call = self._calls.get(number)
        if call is None or call.answering is not None:
            return
        call.body += data
        if len(call.body) > self._bounds.body_bytes + grpc.PREFIX_BYTES:
            self._refuse(number, larger_than(self._bounds.body_bytes))
        elif ends:
            call.too_late.cancel()
            call.answering = asyncio.create_task(self._answer(number, call))

    async def _answer(self, number: int, call: _Call) -> None:
        try:
            packing, message = grpc.message_of(call.body, call.packing, self._bounds.body_bytes)
            call.body.clear()
            said = await self._receiver.take(packing, message)
        except Refused as refused:
            self._refuse(number, refused)
        else:
            self._say(number, said)
        self._flush()

    def _say(self, number: int, message: bytes) -> None:
        if number in self._http2.streams:
            self._http2.head(number, grpc.ANSWER_HEAD)
            self._http2.body(number, grpc.whole_message(message))
            self._http2.trailers(number, grpc.OK_TRAILERS)
        self._close(number)

    def _refuse(self, number: int, refused: Refused) -> None:
        if number in self._http2.streams:
            self._http2.head(number, grpc.refusal(refused), ends=True)
        self._close(number)

    def _give_up(self, number: int) -> None:
        """The message did not come in time."""
        self._refuse(number, Refused(408, Code.DEADLINE_EXCEEDED, "The message did not come in time."))
        self._flush()

    def _forget(self, number: int) -> None:
        """End a call that nobody waits for; what is decoded already is taken all the same."""
        call = self._close(number)
        if call is not None and call.answering is not None:
            call.answering.cancel()

    def _close(self, number: int) -> _Call | None:
        call = self._calls.pop(number, None)
        if call is not None:
            call.too_late.cancel()
            self._receiver.call_count -= 1
        return call

    def _flush(self) -> None:
        out = self._http2.take_output()
        if not out or self._writer.is_closing():
            return
        self._writer.write(b"".join(out))
        if self._writer.transport.get_write_buffer_size() > _UNREAD_BYTES:
            self._writer.transport.abort()
