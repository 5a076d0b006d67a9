"""Who leaves is not answered on, and what was read for it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from telemetry.hub.leaving import WhileAsked
from telemetry.hub.measured.desk import CountedSteps
from telemetry.hub.measured.point_file import PointFile
from telemetry.hub.measured.reader import CounterReader
from telemetry.hub.mesh import Mesh
from telemetry.hub.query import TraceQuery
from telemetry.hub.reader import Patience, Reader
from telemetry.hub.sidecars import Sidecars
from telemetry.hub.source import HubSource
from telemetry.hub.summary import Summary
from tests.fakes.fleet import facts
from tests.telemetry.hub.test_trace_files import nobody


class Waiting(Reader):
    """Reads until its asker waits no longer."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, nobody)
        self.has_ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def traces(self, query: TraceQuery, patience: Patience | None = None) -> list[Summary]:
        assert patience is not None
        while not patience.is_over:
            pass
        self._loop.call_soon_threadsafe(self.has_ended.set)
        return []


def get(path: str) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": []}


def test_what_is_read_for_somebody_who_left_stops(tmp_path: Path) -> None:
    async def run() -> None:
        reader = Waiting(tmp_path)
        mesh = Mesh(tmp_path / "mesh.json")
        counters = CounterReader(mesh, PointFile(tmp_path))
        source = HubSource(reader, mesh, CountedSteps(tmp_path, counters), Sidecars(None), facts)
        messages: list[Message] = [
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return messages.pop(0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await source.traces({})

        async def send(message: Message) -> None:
            raise AssertionError(message)

        async with asyncio.timeout(3.0):  # its patience alone is longer
            await WhileAsked(app)(get("/"), receive, send)
            await reader.has_ended.wait()
        source.close()
        await counters.close()
        await mesh.close()

    asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_others_are_answered_as_ever(method: str) -> None:
    seen: list[Mapping[str, object]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(WhileAsked(app)), base_url="http://hub") as client:
            return (await client.request(method, "/", content=b"x" if method == "POST" else b"")).status_code

    assert asyncio.run(run()) == 200
    assert seen[0]["body"] == (b"x" if method == "POST" else b"")


def test_a_bug_in_the_application_stays_one() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a bug")

    async def nothing() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    async def run() -> None:
        await WhileAsked(app)(get("/"), nothing, send)

    with pytest.raises(AssertionError, match="a bug"):
        asyncio.run(run())
