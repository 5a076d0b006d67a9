"""gRPC's own client, and a hostile one, call the port on which HTTP/1.1 is spoken too."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.http2 import frames
from telemetry.otlp.encode import encode_spans
from telemetry.otlp.grpc import EXPORT_SPANS
from telemetry.otlp.grpc_calls import Bounds, GrpcReceiver
from telemetry.otlp.receive import no_time
from telemetry.sidecar.foreign import ForeignTrace
from telemetry.sidecar.http import BODY_BYTES, Answer, Listener, Request, plain
from telemetry.sidecar.redaction import Redactor
from telemetry.sidecar.span_intake import SpanIntake
from telemetry.span import Kind, Span
from tests.telemetry.http2.peer import GRPC, Peer, raw

SPAN = Span("a" * 32, "b" * 16, "", "tokenise", Kind.INTERNAL, 1, 2)
METHOD = EXPORT_SPANS.decode()
REST = b" / HTTP/1.1\r\nhost: x\r\n\r\n"
CALL = [(name, EXPORT_SPANS if name == b":path" else value) for name, value in GRPC]
BOUNDS = Bounds(BODY_BYTES)
CALLS = BOUNDS.calls


class Sidecar:
    """A listener on loopback that takes spans."""

    def __init__(self, bounds: Bounds) -> None:
        self.traces: list[ForeignTrace] = []
        self.intake = SpanIntake(Redactor(), self.traces.extend)
        self.receiver = GrpcReceiver(self.intake.take_message, bounds)
        self.port = 0

    def answer(self, request: Request) -> Answer:
        return plain(HTTPStatus.OK)


def beside(story: Callable[[Sidecar], Awaitable[None]], bounds: Bounds = BOUNDS) -> None:
    async def run() -> None:
        sidecar = Sidecar(bounds)
        listening = socket.create_server(("127.0.0.1", 0))
        sidecar.port = listening.getsockname()[1]
        listener = Listener(sidecar.answer, speak_http2=sidecar.receiver.converse)
        async with await listener.listen(listening), asyncio.timeout(30.0):
            await story(sidecar)

    asyncio.run(run())


class Raw:
    """A caller that writes frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.peer = reader, writer, Peer()

    @classmethod
    async def connected(cls, sidecar: Sidecar) -> Raw:
        caller = cls(*await asyncio.open_connection("127.0.0.1", sidecar.port))
        caller.send(caller.peer.greeting)
        return caller

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def answered(self, stream: int) -> dict[bytes, bytes]:
        """Return the fields of a stream's answer once it is whole."""
        while stream not in self.peer.answers or not self.peer.answers[stream].ended:
            assert await self._read(), "the connection was closed"
        return self.peer.answers[stream].fields

    async def until_closed(self) -> None:
        while await self._read():
            pass

    async def _read(self) -> bool:
        data = await self.reader.read(65_536)
        for kind, flags, stream, payload in self.peer.reader.feed(data):
            self.peer.on_frame(kind, flags, stream, payload)
        return bool(data)


def message(content: bytes) -> bytes:
    return b"\0" + len(content).to_bytes(4) + content


@pytest.mark.parametrize("packing", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_spans_come_in_packed_or_not(packing: grpc.Compression) -> None:
    async def story(sidecar: Sidecar) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{sidecar.port}", compression=packing) as channel:
            call = channel.unary_unary(METHOD)
            many = [Span("a" * 32, f"{n:016x}", "", "x", Kind.INTERNAL, 1, 2) for n in range(1, 3000)]
            assert [await call(encode_spans([SPAN])), await call(encode_spans(many))] == [b"", b""]
        assert sorted(len(trace.spans) for trace in sidecar.traces) == [1, 2999]

    beside(story)


def test_no_spans_are_a_success_and_spans_that_are_none_are_told() -> None:
    async def story(sidecar: Sidecar) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{sidecar.port}") as channel:
            call = channel.unary_unary(METHOD, response_deserializer=ExportTraceServiceResponse.FromString)
            assert not (await call(b"")).HasField("partial_success")
            broken = encode_spans([SPAN]).replace(b"\xbb" * 8, bytes(8))
            said = (await call(broken)).partial_success
            assert (said.rejected_spans, said.error_message) == (1, "A span id is 8 bytes that are not all zero.")
        assert sidecar.traces == []

    beside(story)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        (METHOD, b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (METHOD, bytes(BODY_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_is_not_taken_has_the_status_that_the_protocol_says(
    method: str, body: bytes, status: grpc.StatusCode
) -> None:
    async def story(sidecar: Sidecar) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{sidecar.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary(method)(body)
            assert failed.value.code() is status
            assert await channel.unary_unary(METHOD)(b"") == b""  # the connection goes on
        assert sidecar.receiver.call_count == 0

    beside(story)


def test_what_is_larger_than_a_body_once_it_is_unpacked_is_refused() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)
        packed = gzip.compress(bytes(BODY_BYTES + 1))
        body = b"\1" + len(packed).to_bytes(4) + packed
        caller.send(caller.peer.head(1, [*CALL, (b"grpc-encoding", b"gzip")]), raw(frames.DATA, 1, 1, body))
        assert (await caller.answered(1))[b"grpc-status"] == b"8"
        caller.writer.close()

    beside(story)


def test_calls_beyond_the_bound_are_told_to_come_again_and_what_is_left_is_free_again() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)
        for number in range(CALLS):
            caller.send(caller.peer.head(2 * number + 1, CALL))
        beyond = 2 * CALLS + 1
        caller.send(caller.peer.head(beyond, CALL))
        refused = await caller.answered(beyond)
        assert refused[b"grpc-status"] == b"14"
        assert b"grpc-status-details-bin" in refused
        assert sidecar.receiver.call_count == CALLS
        caller.send(raw(frames.RST_STREAM, 0, 1, (8).to_bytes(4)), raw(frames.DATA, 1, 3, message(b"")))
        assert (await caller.answered(3))[b"grpc-status"] == b"0"
        assert sidecar.receiver.call_count == CALLS - 2
        caller.writer.transport.abort()
        while sidecar.receiver.call_count:  # the other end sees it when the loop turns  # noqa: ASYNC110
            await asyncio.sleep(0)

    beside(story)


def test_when_there_is_no_time_for_spans_the_sender_keeps_them() -> None:
    async def busy(_packing: str, _message: bytes) -> bytes:
        raise no_time()

    async def story(sidecar: Sidecar) -> None:
        sidecar.receiver.take = busy
        async with grpc.aio.insecure_channel(f"127.0.0.1:{sidecar.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary(METHOD)(b"")
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE

    beside(story)


def test_a_message_that_does_not_come_is_not_waited_for() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)
        caller.send(caller.peer.head(1, CALL), raw(frames.DATA, 0, 1, b"\0"))
        assert (await caller.answered(1))[b"grpc-status"] == b"4"
        assert sidecar.receiver.call_count == 0
        caller.writer.close()

    beside(story, Bounds(BODY_BYTES, message_within_s=0.05))


def test_a_connection_that_says_nothing_for_long_is_closed_politely() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)
        await caller.until_closed()
        assert caller.peer.went_away == [(0, 0)]
        caller.writer.close()

    beside(story, Bounds(BODY_BYTES, idle_s=0.05))


def test_pings_without_a_call_hold_no_connection() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)

        async def ping_for_ever() -> None:
            while True:
                caller.send(raw(frames.PING, 0, 0, b"12345678"))
                await asyncio.sleep(0.02)

        pinging = asyncio.create_task(ping_for_ever())
        with contextlib.suppress(ConnectionError):  # a ping that comes after the end
            async with asyncio.timeout(25.0):
                await caller.until_closed()
        pinging.cancel()
        caller.writer.close()

    beside(story, Bounds(BODY_BYTES, idle_s=0.2))


def test_what_breaks_http2_costs_its_sender_the_connection_alone() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)
        caller.send(caller.peer.head(1, CALL), raw(frames.DATA, 0, 7, b"x"))
        await caller.until_closed()
        assert caller.peer.went_away
        assert sidecar.receiver.call_count == 0
        caller.writer.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{sidecar.port}") as channel:
            assert await channel.unary_unary(METHOD)(b"") == b""

    beside(story)


@pytest.mark.parametrize(
    "pieces", [[b"P", b"RI", b" * HTTP/2.0\r\n\r\nSM\r\n\r\n"], [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]]
)
def test_how_a_connection_is_spoken_is_told_however_its_first_bytes_come(pieces: list[bytes]) -> None:
    async def story(sidecar: Sidecar) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read(9))[3] == frames.SETTINGS
        writer.transport.abort()

    beside(story)


@pytest.mark.parametrize(
    "pieces", [[b"P", b"OST / HTTP/1.1\r\nhost: x\r\n\r\n"], [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"]]
)
def test_http_1_is_answered_as_before(pieces: list[bytes]) -> None:
    async def story(sidecar: Sidecar) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.transport.abort()

    beside(story)


def test_what_is_no_call_is_told_in_words() -> None:
    async def story(sidecar: Sidecar) -> None:
        caller = await Raw.connected(sidecar)
        plain_post = [(name, value) for name, value in CALL if name not in (b"content-type", b"te")]
        caller.send(caller.peer.head(1, plain_post, ends=True))
        assert (await caller.answered(1))[b":status"] == b"415"
        caller.writer.close()

    beside(story)
