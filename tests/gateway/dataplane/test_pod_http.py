"""HTTP/1.1 to a pod where a connection comes too late, ends while it is idle, or has more than its turn's worth."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator

import pytest
import uvloop

from gateway.dataplane.client import Piece
from gateway.dataplane.pod_http import HttpUpstream, _Connection
from gateway.errors import PodFailed, PodUnreachable
from model_pod.wire.link import PodAnswer, PodCharge, PodRequest

REQUESTED = PodRequest("POST", "/predictions/digits", "request", "ads", "00-0-0-00", 1000, 2, "", [])
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Heard:
    """Remembers what a receiver is told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.errors: list[PodFailed] = []

    def on_answer(self, answer: PodAnswer, body: Piece) -> None:
        self.bodies.append(bytes(body))

    def on_head(self, answer: PodAnswer) -> None:
        raise AssertionError("every answer here is whole")

    def on_data(self, piece: Piece) -> None:
        raise AssertionError("every answer here is whole")

    def on_end(self, charge: PodCharge | None = None) -> None:
        raise AssertionError("every answer here is whole")

    def on_failed(self, error: PodFailed) -> None:
        self.errors.append(error)

    def on_room(self, has_room: bool) -> None:
        """Nothing is told of it here."""


class Socket(asyncio.Transport):
    """Remembers what was written, and ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.written += b"".join(list_of_data)

    def is_closing(self) -> bool:
        return self.is_over

    def is_reading(self) -> bool:
        return True

    def abort(self) -> None:
        self.is_over = True

    def close(self) -> None:
        self.is_over = True


@pytest.fixture
def upstream() -> Iterator[HttpUpstream]:
    loop = asyncio.new_event_loop()
    yield HttpUpstream("unix:/nowhere/pod.sock", loop)
    loop.run_until_complete(asyncio.sleep(0.0))
    loop.close()


def test_a_request_that_was_told_that_its_pod_is_unreachable_is_not_sent_when_the_connection_comes(
    upstream: HttpUpstream,
) -> None:
    connection, wire, heard = _Connection(upstream), Socket(), Heard()
    connection.begin(REQUESTED, [b"{}"], heard, is_whole=True)
    connection.on_unreachable(TimeoutError())
    connection.connection_made(wire)
    assert [type(error) for error in heard.errors] == [PodUnreachable]
    assert (wire.written, wire.is_over) == (b"", True)


def test_a_kept_connection_that_is_ending_is_not_given_another_request(upstream: HttpUpstream) -> None:
    connections, wires = [_Connection(upstream) for _ in range(2)], [Socket(), Socket()]
    for connection, wire in zip(connections, wires, strict=True):
        heard = Heard()
        connection.begin(REQUESTED, [b"{}"], heard, is_whole=True)
        connection.connection_made(wire)
    for connection in connections:
        connection._take(ANSWER)
        assert not connection.is_closing
    wires[1].is_over = True  # the loop has seen the pod's end of it, and tells it in its next turn
    before = [wire.written for wire in wires]
    heard = Heard()
    upstream.open(REQUESTED, [b"{}"], heard, is_whole=True)
    assert wires[1].written == before[1]
    assert wires[0].written == 2 * before[0]
    connections[1].connection_lost(None)
    connections[0]._take(ANSWER)
    assert (heard.bodies, heard.errors) == ([b"ok"], [])


class Reader(Heard):
    """Takes an answer in pieces, and remembers in which turn of the loop each came."""

    def __init__(self, turn: Callable[[], int]) -> None:
        super().__init__()
        self._turn = turn
        self.turns: list[int] = []
        self.ended = asyncio.Event()

    def on_head(self, answer: PodAnswer) -> None:
        pass

    def on_data(self, piece: Piece) -> None:
        self.turns.append(self._turn())

    def on_end(self, charge: PodCharge | None = None) -> None:
        self.ended.set()


def test_a_large_answer_has_one_read_in_each_turn_of_the_loop() -> None:
    large = bytes(2**21)

    async def play() -> None:
        loop, turn, is_over = asyncio.get_running_loop(), 0, False

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            if not is_over:
                loop.call_soon(next_turn)

        listening = socket.create_server(("127.0.0.1", 0))
        heard = Reader(lambda: turn)
        upstream = HttpUpstream(f"127.0.0.1:{listening.getsockname()[1]}", loop)
        upstream.open(REQUESTED, [b"{}"], heard, is_whole=True)
        connected, _ = await asyncio.to_thread(listening.accept)
        answering = asyncio.to_thread(connected.sendall, b"HTTP/1.1 200 OK\r\ncontent-length: 2097152\r\n\r\n" + large)
        next_turn()
        async with asyncio.timeout(60):
            await asyncio.gather(answering, heard.ended.wait())
        is_over = True
        upstream.close()
        connected.close()
        listening.close()
        assert len(heard.turns) >= 2**21 / 2**16
        assert len(set(heard.turns)) == len(heard.turns)

    uvloop.run(play())
