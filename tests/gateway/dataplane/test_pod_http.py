"""HTTP/1.1 to a pod where a connection comes too late, or ends while it is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import pytest

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
