"""The ground of every attack: a gateway process with one worker, a scripted pod, a good client that goes on asking."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from tests.fakes.pod import Answering, FakePod, Script, Seen
from tests.faults.gateway import PATH, GatewayUnderTest, callers_of, footprint_of, running_gateway, static

KEY = callers_of(("blue",))[0].key
FIELDS = f"Host: mesh\r\nAuthorization: Bearer {KEY}\r\n".encode()
_LOOK_EVERY_S = 0.01
_SETTLES_WITHIN_S = 60.0
_ASK_EVERY_S = 0.02
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _is_socket(descriptor: Path) -> bool:
    try:
        return descriptor.readlink().name.startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


@dataclass
class Ground:
    """What an attack is made on.

    Attributes:
        port: of the inference API on 127.0.0.1.
        worker: the process of the only worker.
    """

    gateway: GatewayUnderTest
    pod: FakePod
    port: int
    worker: int
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection; it ends with the ground at the latest."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers = [open_one for open_one in self._writers if not open_one.is_closing()]
        self._writers.append(writer)
        return reader, writer

    async def leave(self) -> None:
        """End every connection that an attack left."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # lets them be told

    async def exchange(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and return all that it gives before it ends."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.transport.abort()

    @property
    def worker_bytes(self) -> int:
        """Memory that the worker has now."""
        return footprint_of(self.worker).rss_bytes

    @property
    def worker_sockets(self) -> int:
        """Sockets that the worker has now."""
        held = Path(f"/proc/{self.worker}/fd")
        return sum(_is_socket(held / name) for name in os.listdir(held))

    @property
    def worker_cpu_s(self) -> float:
        """Processor time that the worker has used."""
        fields = Path(f"/proc/{self.worker}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    async def until(self, is_so: Callable[[], bool], what: str, within_s: float = _SETTLES_WITHIN_S) -> None:
        """Wait until something is so."""
        give_up_s = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < give_up_s, f"not so within {within_s:g} s: {what}"
            await asyncio.sleep(_LOOK_EVERY_S)


def request(body: bytes = b"{}", *fields: bytes, line: bytes = b"POST %b HTTP/1.1" % PATH.encode()) -> bytes:
    """Return a whole request with a key."""
    own = b"".join(field + b"\r\n" for field in fields)
    return b"%b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (line, FIELDS, own, len(body), body)


def answering(script: Script) -> Script:
    """Let a pod answer what it is asked about itself, and everything else by this script."""

    async def all_of_it(seen: Seen, to: Answering) -> None:
        if seen.line.startswith("POST "):
            await script(seen, to)
        elif "/penstock/" in seen.line:
            to.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            to.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    return all_of_it


def asked(pod: FakePod) -> list[Seen]:
    """Return the inference requests that reached a pod whole."""
    return [seen for seen in pod.seen if seen.line.startswith("POST ")]


@asynccontextmanager
async def ground(home: Path, script: Script, bounds: str = "") -> AsyncIterator[Ground]:
    """Run a gateway for one attack, and end it well.

    Args:
        bounds: what the mesh says of its bounds, as policy writes it.
    """
    mesh = (
        'kind: mesh/v1\nname: attacked\nlisten:\n  - {address: "127.0.0.1:0", serves: inference}\n'
        '  - {address: "127.0.0.1:0", serves: admin}\n  - {address: "127.0.0.1:0", serves: metrics}\n'
    ) + (f"bounds: {{{bounds}}}\n" if bounds else "")
    async with FakePod(home / "pod.sock", answering(script)) as pod:
        running = running_gateway(
            home, static([pod.address]), callers=callers_of(("blue",)), workers=1, files={"mesh.yaml": mesh}
        )
        with ExitStack() as stack:
            gateway = await asyncio.to_thread(stack.enter_context, running)
            serving = await asyncio.to_thread(gateway.serving)
            on = Ground(gateway, pod, urlsplit(gateway.url).port or 0, serving[0])
            try:
                yield on
            finally:
                await on.leave()
                await asyncio.to_thread(stack.close)


@dataclass
class GoodClient:
    """Asks one request after the other on connections of its own while an attack goes on.

    Attributes:
        failures: what was answered other than 200.
    """

    ground: Ground
    took_s: list[float] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)

    async def ask_on(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(_ASK_EVERY_S)

    async def ask(self) -> None:
        """Ask once."""
        begun_s = time.monotonic()
        answer = await self.ground.exchange(request(b"{}", b"Connection: close"))
        self.took_s.append(time.monotonic() - begun_s)
        if not answer.startswith(b"HTTP/1.1 200 "):
            self.failures.append(answer[:200])

    @property
    def p99_s(self) -> float:
        """The hundredth part of its requests took longer."""
        return sorted(self.took_s)[int(len(self.took_s) * 0.99)]


@asynccontextmanager
async def good_client(on: Ground) -> AsyncIterator[GoodClient]:
    """Let a good client ask meanwhile; not one of its requests may fail."""
    client = GoodClient(on)
    await client.ask()
    asking = asyncio.create_task(client.ask_on())
    try:
        yield client
    finally:
        asking.cancel()
        await asyncio.wait((asking,))
    assert not client.failures, client.failures[:3]


def attack(body: Callable[[], Awaitable[None]]) -> None:
    """Run one attack."""

    async def run() -> None:
        await body()

    uvloop.run(run())
