"""A true listening socket and true clients; what serves a connection, and the limit on descriptors, are the test's."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import pytest
import uvloop

from gateway.dataplane import accepting
from gateway.dataplane.accepting import RESERVED, Acceptor, Reserve
from gateway.dataplane.tls import Door
from gateway.tls import LiveContext, TlsMaterial
from tests.certificates import Authority, client_context

SOON_S = 20.0
AUTHORITY = Authority()
SERVER = AUTHORITY.server("mesh.example")
REFUSAL = b"HTTP/1.1 503 \r\ncontent-length: 0\r\n\r\n"


class Greeting(asyncio.Protocol):
    """Serves a connection by one word."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        served = cast(asyncio.Transport, transport)
        self._place.served.append(served)
        served.write(b"hello")


class Place:
    """A door with an acceptor behind it.

    Attributes:
        served: the transports that were handed over.
        refused: how many connections found no descriptor.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address: tuple[str, int] = self.listening.getsockname()
        self.served: list[asyncio.Transport] = []
        self.refused = 0
        self.clients: list[Client] = []
        self.reserve = Reserve()
        door = Door(self.listening, context)
        self.acceptor = Acceptor(asyncio.get_running_loop(), door, lambda: Greeting(self), self.reserve, self._refusal)

    def _refusal(self) -> bytes:
        self.refused += 1
        return REFUSAL

    def client(self) -> Client:
        self.clients.append(Client(self.address))
        return self.clients[-1]

    def close(self) -> None:
        self.acceptor.close()
        self.reserve.close()
        for transport in self.served:
            transport.abort()
        for client in self.clients:
            client.socket.close()


class Client:
    """A connection whose other end may not have been accepted yet."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=SOON_S)
        self.socket.setblocking(False)

    async def read(self) -> bytes:
        """Return what comes next, b"" at the end."""
        async with asyncio.timeout(SOON_S):
            return await asyncio.get_running_loop().sock_recv(self.socket, 4096)


def at_a_door(story: Callable[[Place], Coroutine[None, None, None]], context: ssl.SSLContext | None = None) -> None:
    async def play() -> None:
        place = Place(context)
        try:
            await story(place)
        finally:
            place.close()
            for _ in range(10):  # every end is noticed, and what it closes is closed
                await asyncio.sleep(0)

    uvloop.run(play())


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open so many more, and no others."""
    gc.collect()  # what others left would be closed in the midst of it
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, hard))
    filling: list[int] = []
    try:
        with suppress(OSError):
            while True:
                filling.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(filling.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filling:
            os.close(descriptor)


def secured() -> ssl.SSLContext:
    return LiveContext(TlsMaterial(SERVER.cert, SERVER.key, b"", False)).context


async def greeted_over_tls(place: Place) -> None:
    reader, writer = await asyncio.open_connection(
        *place.address, ssl=client_context(AUTHORITY), server_hostname="mesh.example"
    )
    assert await reader.read(5) == b"hello"
    writer.transport.abort()


def test_connections_are_handed_over_without_nagle() -> None:
    async def story(place: Place) -> None:
        client = place.client()
        assert await client.read() == b"hello"
        (transport,) = place.served
        there = transport.get_extra_info("socket")
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert transport.get_extra_info("peername") == client.socket.getsockname()

    at_a_door(story)


def test_while_it_is_held_connections_wait_in_the_queue_and_none_is_lost() -> None:
    async def story(place: Place) -> None:
        place.acceptor.hold(True)
        place.acceptor.hold(True)
        clients = [place.client() for _ in range(50)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert place.served == []
        place.acceptor.hold(False)
        assert [await client.read() for client in clients] == [b"hello"] * 50

    at_a_door(story)


def test_a_closed_one_leaves_the_queue_to_others_that_listen_on_the_socket() -> None:
    async def story(place: Place) -> None:
        with place.listening.dup() as shared:
            shared.setblocking(False)
            place.acceptor.close()
            place.acceptor.hold(True)
            place.acceptor.hold(False)
            client = place.client()
            sibling, _ = await asyncio.get_running_loop().sock_accept(shared)
            sibling.close()
            assert await client.read() == b""

    at_a_door(story)


def test_without_descriptors_each_connection_is_answered_and_the_next_served_as_soon_as_one_is_free() -> None:
    async def story(place: Place) -> None:
        place.acceptor.hold(True)
        clients = [place.client() for _ in range(3 + 2 * RESERVED)]
        with descriptors_left(3):
            place.acceptor.hold(False)
            answers = [await client.read() for client in clients]
            assert answers == [b"hello"] * 3 + [REFUSAL] * (2 * RESERVED)
            assert place.refused == 2 * RESERVED
            assert [await client.read() for client in clients[3:]] == [b""] * (2 * RESERVED)
            for client in clients[1:]:
                client.socket.close()
            served = place.served[1]
            while not served.is_closing():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
        client = place.client()
        assert await client.read() == b"hello"

    at_a_door(story)


def test_when_not_even_a_refusal_is_possible_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "_LINGER_S", SOON_S)  # nobody of those who were refused leaves
    monkeypatch.setattr(accepting, "_REST_S", 0.01)

    async def story(place: Place) -> None:
        place.acceptor.hold(True)
        clients = [place.client() for _ in range(RESERVED + 5)]
        with descriptors_left(0):
            place.acceptor.hold(False)
            for client in clients[:RESERVED]:
                assert await client.read() == REFUSAL
            assert place.refused == RESERVED
            for client in clients[:RESERVED]:
                client.socket.close()
            for client in clients[RESERVED:]:
                assert await client.read() in (REFUSAL, b"hello")  # as far as the closed ones made room
                client.socket.close()

    at_a_door(story)


def test_more_handshakes_than_may_be_end_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "MOST_HANDSHAKES", 3)
    monkeypatch.setattr(accepting, "HANDSHAKE_WITHIN_S", 2 * SOON_S)  # nothing else ends them

    async def story(place: Place) -> None:
        stalled = [place.client() for _ in range(5)]
        assert [await client.read() for client in stalled[:2]] == [b"", b""]
        await greeted_over_tls(place)
        assert await stalled[2].read() == b""

    at_a_door(story, secured())


def test_a_handshake_that_fails_costs_nobody_else_anything() -> None:
    async def story(place: Place) -> None:
        client = place.client()
        client.socket.send(b"GET / HTTP/1.1\r\n\r\n")
        while await client.read():
            pass
        await greeted_over_tls(place)

    at_a_door(story, secured())


def test_a_connection_in_its_handshake_is_told_of_until_it_has_ended_even_once_no_more_are_taken() -> None:
    async def story(place: Place) -> None:
        assert not place.acceptor.is_admitting
        client = place.client()
        while not place.acceptor.is_admitting:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        place.acceptor.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert place.acceptor.is_admitting
        client.socket.close()
        while place.acceptor.is_admitting:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)

    at_a_door(story, secured())
