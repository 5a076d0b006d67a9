"""The supervisor's HTTP servers on true sockets: a head that never ends is cut off, and an answer takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control import asgi_server
from gateway.control.asgi_server import make_server
from gateway.control.listeners import Listener, Listeners
from policies.snapshot import Listen, Mesh

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def exchanged(exchange: Exchange, app: ASGIApp = ok) -> bytes:
    """Serve the application, and return what came of one connection."""

    async def story(listener: Listener) -> bytes:
        server = make_server(app, listener)
        serving = asyncio.create_task(server.serve([listener.socket]))
        host, port = listener.socket.getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        try:
            async with asyncio.timeout(5):
                return await exchange(reader, writer)
        finally:
            writer.close()
            server.should_exit = True
            await serving

    async def bound() -> bytes:
        listeners = await Listeners.bind(Mesh("m", (Listen("127.0.0.1:0", "admin"),)))
        return await story(listeners.bound[0])

    return asyncio.run(bound())


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 0.2)


@pytest.mark.parametrize("sent", [b"", b"G", HEAD])
def test_a_connection_whose_head_never_ends_is_closed(sent: bytes) -> None:
    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    assert exchanged(exchange) == b""


def test_a_second_head_has_its_own_time_and_no_more() -> None:
    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + b"\r\n")
        answer = await reader.readuntil(b"ok")
        writer.write(HEAD)
        return answer + await reader.read()

    assert exchanged(exchange).count(b"200 OK") == 1


def test_a_request_that_is_being_answered_takes_its_time() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await later.wait()
        await ok(scope, receive, send)

    later = asyncio.Event()

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + b"\r\n")
        asyncio.get_running_loop().call_later(0.5, later.set)
        return await reader.readuntil(b"ok")

    assert b"200 OK" in exchanged(exchange, slow)
