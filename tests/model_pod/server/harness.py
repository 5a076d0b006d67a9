"""A true pod server on a loopback socket, with a scripted inference process behind it and raw sockets before it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

from model_pod.server.batching import BatchingPolicy
from model_pod.server.config import PodConfig
from model_pod.server.endpoints import Endpoints
from model_pod.server.http import EdgeLimits, HttpEdge
from model_pod.server.opened_model import OpenedModel
from model_pod.server.pod import Pod
from model_pod.server.request_span import RequestSpans
from tests.fakes.inference_process import FakeInference, FakeInferences

T = TypeVar("T")
CONFIG = PodConfig("digits", "1", Path("digits.mar"), Path("extracted"))
MODEL = OpenedModel("/models/digits", BatchingPolicy(max_rows=4, max_wait_s=0.0))


def run(scenario: Coroutine[object, object, T]) -> T:
    """Run a scenario on the loop that the pod runs on."""
    return uvloop.run(scenario)


@dataclass
class Answer:
    """A response as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Client:
    """A raw client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """For who reads something other than HTTP."""
        return self._reader, self._writer

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def request(self, target: str, body: bytes = b"", headers: str = "", method: str = "POST") -> None:
        """Send a whole request."""
        self.send(
            f"{method} {target} HTTP/1.1\r\nHost: pod\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
        )

    async def answer(self, is_head: bool = False) -> Answer:
        """Read the next response."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = 0 if is_head else int(headers.get("content-length", "0"))
        return Answer(int(status_line.split(" ")[1]), headers, await self._reader.readexactly(length))

    async def exchange(self, target: str, body: bytes = b"", headers: str = "", method: str = "POST") -> Answer:
        """Send a request and read its response."""
        self.request(target, body, headers, method)
        return await self.answer(is_head=method == "HEAD")

    async def part(self, byte_count: int) -> bytes:
        """Read some bytes of what comes."""
        return await self._reader.readexactly(byte_count)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await self._reader.read()

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        with suppress(ConnectionResetError):  # the server may have reset it, as a test wanted
            await self._writer.wait_closed()


@dataclass
class Served:
    """A pod that serves."""

    pod: Pod
    edge: HttpEdge
    inferences: FakeInferences
    port: int
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        """Connect."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the loop turn until something is so."""
        async with asyncio.timeout(60):
            while not is_so():  # noqa: ASYNC110  the true objects under test have no events for tests
                await asyncio.sleep(0)

    async def exchange(self, target: str, body: bytes = b"", headers: str = "", method: str = "POST") -> Answer:
        """Do one exchange on a connection of its own."""
        return await (await self.client()).exchange(target, body, headers, method)

    async def loaded(self, records_spans: bool = False) -> FakeInference:
        """Wait for the next inference process, load it, and wait until the pod is ready."""
        fake = await self.inferences.next_loaded(records_spans)
        await self.until(lambda: self.pod.is_ready)
        return fake


@asynccontextmanager
async def served(
    open_model: Callable[[PodConfig], OpenedModel] = lambda _: MODEL,
    config: PodConfig = CONFIG,
    limits: EdgeLimits | None = None,
    spans: RequestSpans | None = None,
) -> AsyncIterator[Served]:
    """Serve a pod; everything is gone afterwards."""
    inferences = FakeInferences()
    pod = Pod(config, open_model, inferences.start_child, spans)
    edge = HttpEdge(Endpoints(pod, "0.0"), limits or EdgeLimits(body_bytes=config.max_body_bytes))
    listener = socket.create_server(("127.0.0.1", 0))
    keeper = asyncio.create_task(pod.keep_running())
    await pod.opened.wait()
    await edge.listen(listener)
    serving = Served(pod, edge, inferences, listener.getsockname()[1])
    try:
        async with asyncio.timeout(90):
            yield serving
    finally:
        for client in serving.clients:
            await client.close()
        await edge.close(0.0, 0.0)
        keeper.cancel()
        await asyncio.wait((keeper,))
        listener.close()
