"""What a connection may take its time for, and what the socket's side of it does with hostile peers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from gateway.dataplane.grpc.connection import GrpcConnection
from model_pod.protocols.grpc_messages import framed
from policies.snapshot.mesh import Bounds
from telemetry.http2 import frames
from tests.fakes.pod import Answering, Script, Seen
from tests.gateway.dataplane.grpc.edge import Edge, answering, at_edge, infer_request
from tests.gateway.policy import KEY, policy
from tests.telemetry.http2.peer import GRPC, Peer, raw

ASKED = [*GRPC, (b"authorization", f"Bearer {KEY}".encode())]
WATCH = b"/grpc.health.v1.Health/Watch"
CALM = frames.Code.ENHANCE_YOUR_CALM


@dataclass
class Raw:
    """A caller that writes frames by hand."""

    edge: Edge
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Peer

    @property
    def connection(self) -> GrpcConnection:
        return self.edge.connections[-1]

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Read frames until something is so."""
        while not is_so():
            data = await self.reader.read(65_536)
            assert data, "the connection was closed"
            self.take(data)

    async def was_read(self) -> None:
        """Wait until the edge has read what was sent."""
        pongs = self.peer.pongs
        self.send(raw(frames.PING, 0, 0, bytes(8)))
        await self.until(lambda: self.peer.pongs > pongs)

    async def until_closed(self) -> None:
        while data := await self.reader.read(65_536):
            self.take(data)

    def take(self, data: bytes) -> None:
        for kind, flags, stream, payload in self.peer.reader.feed(data):
            self.peer.on_frame(kind, flags, stream, payload)

    def trailers(self, stream: int = 1) -> dict[bytes, bytes]:
        return self.peer.answers[stream].fields

    async def answered(self, stream: int = 1) -> dict[bytes, bytes]:
        await self.until(lambda: stream in self.peer.answers and self.peer.answers[stream].ended)
        return self.trailers(stream)


def with_raw(test: Callable[[Raw], Awaitable[None]], *scripts: Script, settings: dict[int, int] | None = None) -> None:
    """Run a test with one caller that is connected and greeted."""

    async def body(edge: Edge) -> None:
        reader, writer = await asyncio.open_unix_connection(str(edge.path))
        peer = Peer(settings)
        raw_caller = Raw(edge, reader, writer, peer)
        raw_caller.send(peer.greeting)
        await raw_caller.until(lambda: bool(peer.acknowledged))
        await test(raw_caller)
        writer.transport.abort()

    snapshot = policy(bounds=Bounds(idle_timeout_s=60.0, body_timeout_s=15.0))
    at_edge(body, *scripts, snapshot=snapshot)


async def never(seen: Seen, connection: Answering) -> None:
    await asyncio.Event().wait()


def request(peer: Peer, stream: int = 1, *, message: bytes | None = None, ends: bool = True) -> bytes:
    body = framed(infer_request()) if message is None else message
    flags = frames.END_STREAM if ends else 0
    return peer.head(stream, ASKED) + raw(frames.DATA, flags, stream, body)


def test_a_connection_that_says_nothing_is_closed_after_ten_seconds() -> None:
    async def test(edge: Edge) -> None:
        reader, writer = await asyncio.open_unix_connection(str(edge.path))
        writer.write(frames.PREFACE[:5])
        await asyncio.wait_for(edge.accepted.wait(), 10)
        connection, now_s = edge.connections[0], edge.gateway.now_s()
        connection.look(now_s + 9.0)
        assert not writer.transport.is_closing()
        connection.look(now_s + 11.0)
        await reader.read()
        assert reader.at_eof()
        writer.close()

    at_edge(test)


def test_one_without_calls_is_told_and_closed_after_the_idle_time_whatever_it_pings() -> None:
    async def test(caller: Raw) -> None:
        now_s = caller.edge.gateway.now_s()
        caller.connection.look(now_s + 59.0)
        caller.send(raw(frames.PING, 0, 0, bytes(8)))
        await caller.until(lambda: bool(caller.peer.pongs))
        caller.connection.look(now_s + 61.0)
        await caller.until_closed()
        assert caller.peer.went_away == [(0, frames.Code.NO_ERROR)]

    with_raw(test)


def test_a_silent_peer_with_a_call_is_asked_and_then_given_up() -> None:
    async def test(caller: Raw) -> None:
        caller.send(raw(frames.HEADERS, 4, 1, caller.peer.encoder.encode([*ASKED[:2], (b":path", WATCH), *ASKED[4:]])))
        caller.send(raw(frames.DATA, frames.END_STREAM, 1, framed(b"")))
        await caller.until(lambda: 1 in caller.peer.answers and bool(caller.peer.answers[1].body))
        now_s = caller.edge.gateway.now_s()
        caller.connection.look(now_s + 61.0)
        assert caller.edge.gateway.connections
        caller.connection.look(now_s + 82.0)
        with pytest.raises((AssertionError, ConnectionResetError)):
            await caller.until(lambda: False)
        assert not caller.edge.gateway.connections

    with_raw(test, answering(b""))


def test_a_message_that_stands_still_is_refused_and_others_go_on() -> None:
    async def test(caller: Raw) -> None:
        whole = framed(infer_request(id="x" * 100))
        caller.send(request(caller.peer, message=whole[:-5], ends=False))
        await caller.was_read()
        assert caller.edge.gateway.in_flight == 1
        caller.connection.look(caller.edge.gateway.now_s() + 16.0)
        fields = await caller.answered()
        assert (fields[b"grpc-status"], fields[b"penstock-reason"]) == (b"4", b"body_too_slow")
        caller.send(request(caller.peer, 3))
        assert (await caller.answered(3))[b"grpc-status"] == b"0"

    with_raw(test, answering(b""))


def test_a_call_without_a_message_is_refused_in_time() -> None:
    async def test(caller: Raw) -> None:
        caller.send(caller.peer.head(1, ASKED))
        await caller.was_read()
        caller.connection.look(caller.edge.gateway.now_s() + 16.0)
        assert (await caller.answered())[b"penstock-reason"] == b"body_too_slow"

    with_raw(test, answering(b""))


def test_a_reader_that_takes_nothing_costs_its_window_and_is_given_up_after_thirty_seconds() -> None:
    async def endless(seen: Seen, connection: Answering) -> None:
        piece = framed(bytes(16_379))
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await connection.drain()
            await asyncio.sleep(0)

    async def test(caller: Raw) -> None:
        caller.send(request(caller.peer))
        await caller.until(lambda: 1 in caller.peer.answers)
        for _ in range(200):
            await asyncio.sleep(0)
        stream = caller.connection.http2.streams[1]
        assert stream.unsent_bytes <= 256 * 1024
        assert caller.peer.answers[1].body == b""
        caller.connection.look(caller.edge.gateway.now_s() + 31.0)
        await caller.until(lambda: caller.peer.answers[1].reset is not None)
        assert caller.peer.answers[1].reset == frames.Code.CANCEL
        assert caller.edge.gateway.in_flight == 0

    with_raw(test, endless, settings={frames.INITIAL_WINDOW_SIZE: 0})


def test_rapid_reset_frees_every_place_and_ends_the_connection() -> None:
    async def test(caller: Raw) -> None:
        for number in range(1, 2_001, 2):
            caller.send(request(caller.peer, number, ends=False) + frames.rst_stream(number, 8))
        await caller.until_closed()
        assert caller.peer.went_away[-1][1] == CALM
        assert caller.edge.gateway.in_flight == 0
        assert not caller.edge.gateway.connections
        assert caller.edge.gateway.settlement.refusals["client_gone"] <= 102

    with_raw(test, never)


def test_other_requests_are_told_that_only_grpc_is_spoken() -> None:
    async def test(caller: Raw) -> None:
        get = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/ping"), (b":authority", b"mesh")]
        caller.send(caller.peer.head(1, get, ends=True))
        assert (await caller.answered())[b":status"] == b"415"
        assert b"only gRPC" in caller.peer.answers[1].body

    with_raw(test)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"\0\0\0\0\x02", b"3"),
        (b"\x01\0\0\0\x01x", b"3"),
        (b"\x02\0\0\0\x01x", b"3"),
        (b"\0\0\0\0\x01\xff", b"3"),
        (framed(b""), b"3"),
        (b"", b"3"),
        (framed(infer_request()) * 2, b"3"),
        (framed(b"\x3a\xff\xff\x7f" + bytes(9_000)), b"3"),
    ],
)
def test_messages_that_are_none_are_invalid_arguments(message: bytes, status: bytes) -> None:
    async def test(caller: Raw) -> None:
        caller.send(request(caller.peer, message=message))
        assert (await caller.answered())[b"grpc-status"] == status

    with_raw(test, never)


def test_a_message_beyond_the_bodys_bound_is_refused_before_it_comes() -> None:
    async def test(caller: Raw) -> None:
        prefix = b"\0" + (2**31).to_bytes(4)
        caller.send(request(caller.peer, message=prefix + infer_request(id="i"), ends=False))
        fields = await caller.answered()
        assert (fields[b"grpc-status"], fields[b"penstock-reason"]) == (b"8", b"body_too_large")

    with_raw(test, answering(b""))


def test_a_call_that_waits_when_its_worker_leaves_is_told_that_it_was_not_run() -> None:
    async def test(edge: Edge) -> None:
        reader, writer = await asyncio.open_unix_connection(str(edge.path))
        peer = Peer(None)
        caller = Raw(edge, reader, writer, peer)
        caller.send(peer.greeting)
        await caller.until(lambda: bool(peer.acknowledged))
        caller.send(request(peer, 1))
        await edge.pods[0].asked.wait()
        caller.send(request(peer, 3))
        await caller.was_read()
        assert edge.gateway.waiting.count == 1
        caller.connection.give_up()
        assert (await caller.answered(1))[b"penstock-reason"] == b"gateway_stopped"
        assert (await caller.answered(3))[b"penstock-reason"] == b"pods_busy"
        assert b"was not run" in caller.trailers(3)[b"grpc-message"]
        writer.transport.abort()

    snapshot = policy(in_flight=1)
    patient = replace(snapshot, tiers={"gold": replace(snapshot.tiers["gold"], queue_wait_s=60.0)})
    at_edge(test, never, snapshot=patient)
