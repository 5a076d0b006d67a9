"""A mesh that is told to stop finishes what it has: nobody who was let in fails, and all of it ends in time."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.fakes.load import LoadOptions, open_loop
from tests.fakes.records import Outcome, Record
from tests.system.conftest import Figure
from tests.system.digits import known_digits, request_bytes, traffic
from tests.system.mesh import ENDED_WITHIN_S, MeshUnderTest, running_mesh
from tests.system.models import EVERY_MODEL, add_models, handler_archive, own_store
from tests.system.processes import of_session

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SLOW = """
import time

def handle(data, context):
    if data is None:
        return None
    time.sleep(0.6)
    return [row["body"].decode() for row in data]
"""
IN_FLIGHT = 6
IDLE = 20
TOLD_AFTER_S = 1.5


def test_sigterm_finishes_what_is_in_flight_and_closes_what_is_idle(
    model_store: Path, tmp_path: Path, figure: Figure
) -> None:
    with running_mesh(tmp_path, own_store(model_store, tmp_path), policies=EVERY_MODEL) as mesh:
        add_models(mesh, {"slow": handler_archive(SLOW)}, batching="batching: {max_rows: 1}\n")
        mesh.said.line("gateway: pod slow/1/0 is ready")
        idle = [_kept_connection(mesh) for _ in range(IDLE)]
        busy = [_connection(mesh) for _ in range(IN_FLIGHT)]
        for index, connection in enumerate(busy):
            connection.sendall(_request(mesh, f"number-{index}"))
        time.sleep(1.0)  # all of them are in; the first of them runs

        told_s = time.monotonic()
        mesh.signal(signal.SIGTERM)
        answers = [_whole(connection) for connection in busy]
        for connection in idle:
            assert connection.recv(1) == b""
            connection.close()
        assert mesh.wait_for_end() == 0
        took_s = time.monotonic() - told_s

    assert [answer.partition("\r\n")[0] for answer in answers] == ["HTTP/1.1 200 OK"] * IN_FLIGHT
    assert [answer.rpartition("\r\n")[2] for answer in answers] == [f"number-{index}" for index in range(IN_FLIGHT)]
    assert took_s < ENDED_WITHIN_S
    figure(f"SIGTERM with {IN_FLIGHT} slow requests in flight: ended after", f"{took_s:.1f} s")


def test_sigterm_under_load_fails_no_request_that_came_before_it(
    model_store: Path, tmp_path: Path, figure: Figure
) -> None:
    with running_mesh(tmp_path, model_store) as mesh:
        kept, fresh, told_s = uvloop.run(_load_until_told(mesh))
        assert mesh.wait_for_end() == 0
        assert of_session(mesh.session) == {}
    # By when they began: the client may be late, and one was due at the very moment of the signal.
    before = [record for record in (*kept, *fresh) if record.started_s < told_s]
    after = [record for record in (*kept, *fresh) if record.started_s >= told_s]
    assert [record for record in before if not record.is_right] == []
    assert len(before) > TOLD_AFTER_S * 50
    # Whoever comes later is turned away at the door, if not served.
    assert {record.outcome for record in after if not record.is_right} <= {Outcome.NOT_CONNECTED, Outcome.LOST}
    figure("SIGTERM under 200 requests/s: failed of those before it", f"0 of {len(before)}")


async def _load_until_told(mesh: MeshUnderTest) -> tuple[list[Record], list[Record], float]:
    make_request, check = traffic(mesh, known_digits(mesh))

    async def load(options: LoadOptions) -> list[Record]:
        return await open_loop(
            mesh.inference,
            rate_per_s=100.0,
            duration_s=TOLD_AFTER_S + 1.0,
            make_request=make_request,
            check=check,
            options=options,
        )

    async def tell() -> float:
        await asyncio.sleep(TOLD_AFTER_S)
        told_s = time.monotonic()
        mesh.signal(signal.SIGTERM)
        return told_s

    return await asyncio.gather(load(LoadOptions()), load(LoadOptions(is_connection_per_request=True)), tell())


def _connection(mesh: MeshUnderTest) -> socket.socket:
    address = urlsplit(mesh.inference)
    return socket.create_connection((address.hostname, address.port), timeout=ENDED_WITHIN_S)


def _kept_connection(mesh: MeshUnderTest) -> socket.socket:
    """Return a connection that has carried one request and is kept for the next."""
    connection = _connection(mesh)
    connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: mesh\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    return connection


def _request(mesh: MeshUnderTest, body: str) -> bytes:
    headers = {"content-type": "application/octet-stream"}
    return request_bytes(mesh, "/predictions/slow", body.encode(), headers=headers)


def _whole(connection: socket.socket) -> str:
    """Read until the server closes, as it does with every connection when it drains."""
    with connection, connection.makefile("rb") as file:
        return file.read().decode()
