"""The supervisor's HTTP servers on true sockets: who says nothing is cut off, and an answer takes its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control import asgi_server
from gateway.control.asgi_server import make_server
from gateway.control.listeners import Listener, Listeners
from policies.snapshot.mesh import Listen, Mesh, Tls
from tests.certificates import Authority, client_context

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


AUTHORITY = Authority()
Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _nothing_more() -> None:
    return


def told(
    listen: Listen,
    story: Callable[[str, int], Awaitable[None]],
    app: ASGIApp = ok,
    after: Callable[[], Awaitable[None]] = _nothing_more,
) -> None:
    """Serve the application at one address, let callers of it play, and look at what is left after the server's end."""

    async def play() -> None:
        (listener,) = (await Listeners.bind(Mesh("m", (listen,)))).bound
        server = make_server(app, listener)
        serving = asyncio.create_task(server.serve([listener.socket]))
        try:
            async with asyncio.timeout(20):
                await story(*listener.socket.getsockname())
        finally:
            server.should_exit = True
            await serving
        async with asyncio.timeout(20):
            await after()

    asyncio.run(play())


PLAIN = Listen("127.0.0.1:0", "admin")


@pytest.fixture
def secured(tmp_path: Path) -> Listen:
    AUTHORITY.server("localhost").write(tmp_path / "tls.crt", tmp_path / "tls.key")
    return Listen("127.0.0.1:0", "admin", Tls(f"file:{tmp_path}/tls.crt", f"file:{tmp_path}/tls.key"))


@pytest.fixture(params=["plain", "secured"])
def listen(request: pytest.FixtureRequest) -> Listen:
    return PLAIN if request.param == "plain" else cast(Listen, request.getfixturevalue("secured"))


async def get(listen: Listen, host: str, port: int) -> bytes:
    context = client_context(AUTHORITY) if listen.tls is not None else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    writer.write(HEAD + b"Connection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def is_closed(connected: Connected) -> bool:
    """Wait until the other end has closed it."""
    with contextlib.suppress(ConnectionError):
        assert await connected[0].read() == b""
    return True


def test_a_handshake_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch, secured: Listen) -> None:
    monkeypatch.setattr(asgi_server, "HANDSHAKE_WITHIN_S", 0.2)
    monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 60.0)

    async def story(host: str, port: int) -> None:
        silent = await asyncio.open_connection(host, port)
        assert await is_closed(silent)
        monkeypatch.setattr(asgi_server, "HANDSHAKE_WITHIN_S", 60.0)
        silent[1].close()
        assert b"200 OK" in await get(secured, host, port)

    told(secured, story)


def test_what_is_no_handshake_ends_at_once_and_troubles_nobody_else(secured: Listen) -> None:
    async def story(host: str, port: int) -> None:
        wrong = await asyncio.open_connection(host, port)
        wrong[1].write(HEAD + b"\r\n")
        assert b"200 OK" not in await wrong[0].read()
        wrong[1].close()
        assert b"200 OK" in await get(secured, host, port)

    told(secured, story)


def test_those_that_say_nothing_for_longest_make_room_and_a_request_is_answered_meanwhile(
    monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
    monkeypatch.setattr(asgi_server, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(asgi_server, "HANDSHAKE_WITHIN_S", 60.0)
    monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 60.0)

    async def story(host: str, port: int) -> None:
        silent = [await asyncio.open_connection(host, port) for _ in range(10)]
        assert all([await is_closed(one) for one in silent[:7]])
        assert not any(one[0].at_eof() for one in silent[7:])
        assert b"200 OK" in await get(listen, host, port)
        assert await is_closed(silent[7])
        for _, writer in silent:
            writer.close()

    told(listen, story)


def test_while_all_are_being_answered_one_more_is_not_taken(monkeypatch: pytest.MonkeyPatch, listen: Listen) -> None:
    monkeypatch.setattr(asgi_server, "MOST_CONNECTIONS", 2)
    both_ask, answer = asyncio.Barrier(3), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await both_ask.wait()
        await answer.wait()
        await ok(scope, receive, send)

    async def story(host: str, port: int) -> None:
        asked = [asyncio.create_task(get(listen, host, port)) for _ in range(2)]
        await both_ask.wait()
        one_more = await asyncio.open_connection(host, port)
        assert await is_closed(one_more)
        one_more[1].close()
        answer.set()
        assert all(b"200 OK" in one for one in await asyncio.gather(*asked))

    told(listen, story, slow)


def test_a_server_that_ends_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch, listen: Listen) -> None:
    monkeypatch.setattr(asgi_server, "HANDSHAKE_WITHIN_S", 60.0)
    monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 60.0)

    async def story(host: str, port: int) -> None:
        silent.append(await asyncio.open_connection(host, port))
        assert b"200 OK" in await get(listen, host, port)  # so the silent one has been accepted

    async def after() -> None:
        assert await is_closed(silent[0])
        silent[0][1].close()

    silent: list[Connected] = []
    told(listen, story, after=after)


def exchanged(exchange: Exchange, app: ASGIApp = ok) -> bytes:
    """Serve the application, and return what came of one connection."""

    async def story(listener: Listener) -> bytes:
        server = make_server(app, listener)
        serving = asyncio.create_task(server.serve([listener.socket]))
        host, port = listener.socket.getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        try:
            async with asyncio.timeout(20):
                return await exchange(reader, writer)
        finally:
            writer.close()
            server.should_exit = True
            await serving

    async def bound() -> bytes:
        listeners = await Listeners.bind(Mesh("m", (Listen("127.0.0.1:0", "admin"),)))
        return await story(listeners.bound[0])

    return asyncio.run(bound())


@pytest.mark.parametrize("sent", [b"", b"G", HEAD])
def test_a_connection_whose_head_never_ends_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 0.2)

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    assert exchanged(exchange) == b""


def test_a_second_head_has_its_own_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + b"\r\n")
        answer = await reader.readuntil(b"ok")
        monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 0.2)
        writer.write(HEAD)
        return answer + await reader.read()

    assert exchanged(exchange).count(b"200 OK") == 1


def test_a_request_that_is_being_answered_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_server, "HEAD_WITHIN_S", 1.0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await later.wait()
        await ok(scope, receive, send)

    later = asyncio.Event()

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + b"\r\n")
        asyncio.get_running_loop().call_later(1.3, later.set)
        return await reader.readuntil(b"ok")

    assert b"200 OK" in exchanged(exchange, slow)
