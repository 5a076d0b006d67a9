"""A worker's data plane in this process, between raw clients and scripted pods; only the edges are fakes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from gateway.control.messages import PodView
from gateway.dataplane.gateway import Gateway, Share
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.shared_limits import SharedLimits
from gateway.limits.table import LimitTable
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from telemetry.record import Recorder
from tests.fakes.pod import FakePod, Script
from tests.gateway.policy import KEY, limits_memory, policy


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes


@dataclass
class Mesh:
    gateway: Gateway
    pods: list[FakePod]
    path: Path
    table: LimitTable
    callers: list[Caller] = field(default_factory=list)

    async def connect(self) -> Caller:
        reader, writer = await asyncio.open_unix_connection(self.path)
        self.callers.append(Caller(reader, writer))
        return self.callers[-1]

    async def ask(self, data: bytes) -> Answer:
        caller = await self.connect()
        caller.writer.write(data)
        answer = await caller.answer()
        caller.writer.close()
        return answer


@dataclass
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    interim: list[str] = field(default_factory=list)

    async def answer(self) -> Answer:
        status, fields = await self._head()
        while status < 200:
            self.interim.append(str(status))
            status, fields = await self._head()
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        elif "content-length" in fields:
            body = await self.reader.readexactly(int(fields["content-length"]))
        else:
            body = await self.reader.read()
        return Answer(status, fields, body)

    async def _head(self) -> tuple[int, dict[str, str]]:
        line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (text.partition(":") for text in lines)
        return int(line.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


def post(path: str = "/predictions/digits", body: bytes = b"{}", *fields: str, key: str = KEY) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: mesh", f"Authorization: Bearer {key}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + body


def view(pod: FakePod, index: int, state: PodState = PodState.READY, *, was_ready: bool = True) -> PodView:
    return PodView(f"digits/1/{index}", "digits", "1", pod.address, state, was_ready)


@asynccontextmanager
async def running_mesh(
    scripts: list[Script], snapshot: Snapshot | None = None, recorder: Recorder | None = None
) -> AsyncIterator[Mesh]:
    """Serve ``digits`` version 1 from one scripted pod per script."""
    loop = asyncio.get_running_loop()
    descriptor = limits_memory()
    with TemporaryDirectory() as directory:
        gateway = Gateway(loop, snapshot or policy(), SharedLimits(descriptor), Share(), recorder)
        gateway.tick()
        pods = [FakePod(Path(directory) / f"pod-{i}.sock", script) for i, script in enumerate(scripts)]
        path = Path(directory) / "gateway.sock"
        server = await loop.create_unix_server(lambda: ClientConnection(gateway), str(path))
        for pod in pods:
            await pod.__aenter__()
        gateway.pods.replace(tuple(view(pod, i) for i, pod in enumerate(pods)))
        mesh = Mesh(gateway, pods, path, LimitTable(descriptor))
        try:
            yield mesh
        finally:
            for caller in mesh.callers:
                caller.writer.transport.abort()
            server.close()
            gateway.pods.replace(())
            for pod in pods:
                await pod.__aexit__()
            await asyncio.sleep(0)  # lets the aborted connections be told
            os.close(descriptor)


def in_mesh(
    test: Callable[[Mesh], Awaitable[None]],
    *scripts: Script,
    snapshot: Snapshot | None = None,
    recorder: Recorder | None = None,
) -> None:
    """Run one test body in a mesh, within a bound."""

    async def body() -> None:
        async with asyncio.timeout(60), running_mesh(list(scripts), snapshot, recorder) as mesh:
            await test(mesh)

    uvloop.run(body())
