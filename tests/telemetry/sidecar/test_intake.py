"""Packets over true sockets: whole, in their order, from several recorders, and to the last one."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from telemetry.record import Recorder
from telemetry.sidecar import intake as intake_module
from telemetry.sidecar.frames import PACKET_BYTES, read_frame
from telemetry.sidecar.intake import CONNECTIONS, Intake, open_records
from tests.telemetry.sidecar.recording import GATEWAY, gateway_request


def taken(path: Path, scenario: Callable[[Intake], Awaitable[None]], wanted: int) -> list[bytes]:
    """Run a scenario beside an intake, until so many packets were taken."""
    packets: list[bytes] = []
    enough = asyncio.Event()

    def take(packet: memoryview) -> None:
        packets.append(bytes(packet))
        if len(packets) >= wanted:
            enough.set()

    async def beside() -> None:
        intake = Intake(open_records(str(path)), take)
        intake.open()
        await scenario(intake)
        if wanted:
            await asyncio.wait_for(enough.wait(), 10.0)
        intake.close()

    asyncio.run(beside())
    return packets


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(str(path))
    return connection


class Restless:
    """A recorder that sends one more packet for each that is taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sent = 0

    def __enter__(self) -> Restless:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def connect(self) -> None:
        self._connection.connect(str(self._path))

    def send(self) -> None:
        self._connection.send(b"more")
        self.sent += 1


def test_a_recorder_s_records_arrive(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    request = gateway_request(1, lost="refused")

    async def scenario(intake: Intake) -> None:
        recorder = Recorder(str(path), GATEWAY)
        fields = tuple(getattr(request, name) for name in request.__struct_fields__)
        recorder.record(("g", *fields))
        recorder.flush()
        recorder.close()
        assert recorder.dropped.total() == 0

    (packet,) = taken(path, scenario, wanted=1)
    frame = read_frame(packet)
    assert (frame.source, frame.records) == (GATEWAY, (request,))


def test_packets_keep_their_bounds_and_their_order_and_recorders_may_leave(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"

    async def scenario(intake: Intake) -> None:
        with connected(path) as one, connected(path) as other:
            for number in range(20):
                one.send(b"one %d" % number)
            other.send(b"other")

    packets = taken(path, scenario, wanted=21)
    assert [packet for packet in packets if packet != b"other"] == [b"one %d" % number for number in range(20)]


def test_a_packet_that_is_too_long_shows_as_such(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"

    async def scenario(intake: Intake) -> None:
        with connected(path) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PACKET_BYTES)
            one.send(bytes(PACKET_BYTES + 100))

    (packet,) = taken(path, scenario, wanted=1)
    assert len(packet) == PACKET_BYTES + 1


def test_at_the_end_everything_that_was_sent_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    last: list[int] = []

    async def scenario(intake: Intake) -> None:
        with connected(path) as one:  # not even accepted yet
            for number in range(15):
                one.send(b"%d" % number)
            intake.drain(asyncio.get_running_loop().time() + 10.0)
            last.append(number)

    packets = taken(path, scenario, wanted=0)
    assert packets == [b"%d" % number for number in range(15)]
    assert last == [14]


def test_at_the_end_a_recorder_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"

    async def story() -> None:
        loop = asyncio.get_running_loop()
        with Restless(path) as recorder:
            intake = Intake(open_records(str(path)), lambda packet: recorder.send())
            recorder.connect()
            recorder.send()
            ends_s = loop.time() + 0.05
            intake.drain(ends_s)
            assert recorder.sent > 1
            assert loop.time() < ends_s + 5.0
            intake.close()

    asyncio.run(asyncio.wait_for(story(), 10.0))


def test_recorders_beyond_the_bound_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "CONNECTIONS", 1)
    path = tmp_path / "r.sock"
    assert CONNECTIONS > 1

    async def scenario(intake: Intake) -> None:
        with connected(path) as one, connected(path) as other:
            one.send(b"one")
            intake.drain(asyncio.get_running_loop().time() + 10.0)
            assert other.recv(1) == b""

    assert taken(path, scenario, wanted=0) == [b"one"]


def test_the_socket_is_its_user_s_and_takes_the_place_of_an_old_one_but_not_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with open_records(str(path)), open_records(str(path)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    note = tmp_path / "note"
    note.write_text("kept")
    with pytest.raises(OSError, match="in use"):
        open_records(str(note))
    assert note.read_text() == "kept"
