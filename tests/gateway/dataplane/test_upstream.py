"""A connection to a pod comes about in time or not at all; a loop that is late itself blames nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from gateway.dataplane import upstream
from gateway.dataplane.upstream import connect


class Connected(asyncio.Protocol):
    """Remembers whether it was connected."""

    transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


@pytest.fixture
def full() -> Iterator[str]:
    """An address whose queue is full, so that a connection neither comes about nor is refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        waiting = []
        for _ in range(4):
            waiting.append(client := socket.socket())
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        for client in waiting:
            client.close()


def test_what_came_about_while_the_loop_was_late_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "CONNECT_WITHIN_S", 0.0)
    protocol = Connected()

    async def body(address: str) -> None:
        await connect(f"unix:{address}", asyncio.get_running_loop(), protocol)
        assert protocol.transport is not None
        protocol.transport.abort()  # type: ignore[attr-defined]  # a transport of sockets has it

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "pod.sock"))
        listening.listen()
        uvloop.run(body(str(tmp_path / "pod.sock")))


def test_what_takes_too_long_is_given_up(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "CONNECT_WITHIN_S", 0.01)
    protocol = Connected()

    async def body() -> None:
        with pytest.raises(TimeoutError):
            await connect(full, asyncio.get_running_loop(), protocol)

    uvloop.run(body())
    assert protocol.transport is None


def test_where_nobody_listens_is_told_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        with pytest.raises(OSError, match="No such file"):
            await connect(f"unix:{tmp_path}/none", asyncio.get_running_loop(), Connected())

    uvloop.run(body())


def test_a_pod_that_falls_silent_over_tcp_is_found_out_by_the_kernel() -> None:
    protocol = Connected()

    async def body(listening: socket.socket) -> None:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        await connect(address, asyncio.get_running_loop(), protocol, unacknowledged_s=7.0)
        assert protocol.transport is not None
        connected = protocol.transport.get_extra_info("socket")
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        ask = [
            connected.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        ]
        assert ask[0] + ask[1] * ask[2] <= 15
        assert ask[3] == 7000
        protocol.transport.abort()  # type: ignore[attr-defined]  # a transport of sockets has it

    with socket.create_server(("127.0.0.1", 0)) as listening:
        uvloop.run(body(listening))
