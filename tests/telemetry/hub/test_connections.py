"""Who says nothing shuts nobody out: a server over real sockets, with room for few."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Receive, Scope, Send

from telemetry.hub import connections
from telemetry.hub.config import Address
from telemetry.hub.listeners import bind, make_server

ROOM = 4
HEAD = b"GET / HTTP/1.1\r\nhost: hub\r\n"
ANSWER_WITHIN_S = 10.0


class Slow:
    """Answers when it is told to, and says when the room is full of requests."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.are_asking = asyncio.Event()
        self._asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asked += 1
        if self._asked == ROOM:
            self.are_asking.set()
        if scope["path"] == "/slow":
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


Ask = Callable[[bytes], Awaitable[asyncio.StreamReader]]


def serving(check: Callable[[Slow, Ask], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", ROOM)

    async def run() -> None:
        app = Slow()
        listening = bind(Address("127.0.0.1", 0))
        server = make_server(app)
        running = asyncio.create_task(server.serve([listening]))
        writers = []

        async def ask(data: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            writers.append(writer)
            writer.write(data)
            return reader

        async with asyncio.timeout(ANSWER_WITHIN_S):
            await check(app, ask)
        server.should_exit = True
        app.may_answer.set()
        for writer in writers:
            writer.close()
        await running

    asyncio.run(run())


async def _is_answered(reader: asyncio.StreamReader) -> bool:
    try:
        return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b"\r\n"], ids=["silent", "half a head", "idle after an answer"])
def test_those_who_ask_nothing_shut_nobody_out(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(app: Slow, ask: Ask) -> None:
        for _ in range(3 * ROOM):
            await ask(begun)
        assert await _is_answered(await ask(HEAD + b"\r\n"))

    serving(check, monkeypatch)


def test_those_who_are_being_answered_stay_and_who_comes_beyond_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(app: Slow, ask: Ask) -> None:
        waiting = [await ask(HEAD.replace(b"/", b"/slow", 1) + b"\r\n") for _ in range(ROOM)]
        await app.are_asking.wait()
        assert not await _is_answered(await ask(HEAD + b"\r\n"))
        app.may_answer.set()
        assert [await _is_answered(reader) for reader in waiting] == [True] * ROOM

    serving(check, monkeypatch)


def test_an_answer_that_is_never_taken_gives_way_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BUSY_S", 0.0)

    async def check(app: Slow, ask: Ask) -> None:
        for _ in range(ROOM):
            await ask(HEAD.replace(b"/", b"/slow", 1) + b"\r\n")
        await app.are_asking.wait()
        assert await _is_answered(await ask(HEAD + b"\r\n"))

    serving(check, monkeypatch)
