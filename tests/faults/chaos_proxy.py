"""A proxy that misbehaves as it is told, at run time: slow, narrow, silent, cutting, gone.

Both ends are TCP or Unix sockets. What it does to bytes is decided by pure functions of its toxics; the two directions
have toxics of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_READ_BYTES = 64 * 1024
# Pieces that wait for their time; behind them the sender waits.
_MAX_LATE = 64
_LOOK_S = 0.02
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close() sends RST


@dataclass(frozen=True, slots=True)
class Toxics:
    """What happens to one direction of each connection; as it is made, nothing does.

    Attributes:
        latency_s, jitter_s: how much later a piece goes on, and how much that may vary either way.
        bytes_per_s: how narrow it is; 0 for as wide as it comes.
        slow_close_s: how much later the end of the stream goes on.
        is_silent: nothing goes on, and nobody is told.
        cut_after_s: a silent connection is closed after so long; 0 never.
        reset_after_s: so long after the first byte the connection is reset; negative never.
        slice_bytes, slice_pause_s: pieces go on in such slices, with a pause between two.
        limit_bytes: after so many bytes the connection is closed; negative never.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    slow_close_s: float = 0.0
    is_silent: bool = False
    cut_after_s: float = 0.0
    reset_after_s: float = -1.0
    slice_bytes: int = 0
    slice_pause_s: float = 0.0
    limit_bytes: int = -1


HARMLESS = Toxics()


def due_s(arrived_s: float, toxics: Toxics, draw: float) -> float:
    """Return when a piece goes on; ``draw`` is uniform between 0 and 1."""
    return arrived_s + max(0.0, toxics.latency_s + toxics.jitter_s * (2 * draw - 1))


def slices(piece: bytes, toxics: Toxics) -> Iterator[bytes]:
    """Yield a piece as it goes on."""
    size = toxics.slice_bytes or len(piece)
    for at in range(0, len(piece), size):
        yield piece[at : at + size]


def pause_s(slice_bytes: int, toxics: Toxics) -> float:
    """Return how long a slice keeps the way busy."""
    narrow_s = slice_bytes / toxics.bytes_per_s if toxics.bytes_per_s else 0.0
    return narrow_s + (toxics.slice_pause_s if toxics.slice_bytes else 0.0)


def within_limit(piece: bytes, passed_bytes: int, toxics: Toxics) -> bytes:
    """Return what of a piece may still go on."""
    return piece if toxics.limit_bytes < 0 else piece[: max(0, toxics.limit_bytes - passed_bytes)]


class ChaosProxy:
    """Takes connections at ``address`` and passes them on to ``upstream``.

    Args:
        listen, upstream: ``unix:/path`` or ``host:port``; port 0 takes a free one.

    Attributes:
        to_upstream, to_client: toxics of each direction; those in force when a piece is read or written count.
    """

    def __init__(self, listen: str, upstream: str, *, seed: int = 0) -> None:
        self.to_upstream = self.to_client = HARMLESS
        self.address = listen
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.random = random.Random(seed)

    @property
    def connection_count(self) -> int:
        """How many connections it holds now."""
        return len(self._connections)

    async def __aenter__(self) -> ChaosProxy:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def up(self) -> None:
        """Listen, at the address it had before if it had one."""
        if self._server is not None:
            return
        if self.address.startswith("unix:"):
            self._unlink()
            self._server = await asyncio.start_unix_server(self._take, self.address.removeprefix("unix:"))
            return
        host, _, port = self.address.rpartition(":")
        self._server = await asyncio.start_server(self._take, host, int(port), reuse_address=True)
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def down(self) -> None:
        """Listen no more, and reset what is there: connecting is refused."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self._connections):
            connection.reset()
        self._unlink()

    def _unlink(self) -> None:
        if self.address.startswith("unix:"):
            Path(self.address.removeprefix("unix:")).unlink(missing_ok=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await _connect(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), (far_reader, far_writer))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.close()


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(address: str) -> _Ends:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


class _Connection:
    """One connection: a pump for each direction; when one fails both end."""

    def __init__(self, proxy: ChaosProxy, near: _Ends, far: _Ends) -> None:
        self._proxy = proxy
        self._near, self._far = near, far

    async def run(self) -> None:
        pumps = [
            asyncio.ensure_future(_Pump(self, self._near[0], self._far[1], is_up=True).run()),
            asyncio.ensure_future(_Pump(self, self._far[0], self._near[1], is_up=False).run()),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def toxics(self, *, is_up: bool) -> Toxics:
        return self._proxy.to_upstream if is_up else self._proxy.to_client

    def draw(self) -> float:
        return self._proxy.random.random()

    def reset(self) -> None:
        """End both sides with RST where there is such a thing."""
        for _, writer in (self._near, self._far):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def close(self) -> None:
        """End both sides."""
        for _, writer in (self._near, self._far):
            writer.close()


class _Cut(Exception):
    """A toxic ended the connection."""


class _Pump:
    """One direction: read, let it lie as long as it must, write."""

    def __init__(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        self._connection = connection
        self._reader, self._writer = reader, writer
        self._is_up = is_up
        self._late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MAX_LATE)
        self._passed_bytes = 0
        self._first_s = -1.0

    @property
    def _toxics(self) -> Toxics:
        return self._connection.toxics(is_up=self._is_up)

    async def run(self) -> None:
        """Pass on until the end; raises when the connection must end at once."""
        reading = asyncio.ensure_future(self._read())
        try:
            while (late := await self._late.get())[1]:
                late_s = due_s(late[0], self._toxics, self._connection.draw()) - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, late_s))
                await self._pass_on(late[1])
            await asyncio.sleep(self._toxics.slow_close_s)
            await self._not_while_silent()
            if self._writer.can_write_eof():
                self._writer.write_eof()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        now_s = asyncio.get_running_loop().time
        try:
            while data := await self._reader.read(_READ_BYTES):
                await self._late.put((now_s(), data))
        except OSError:
            self._connection.reset()  # as it came from one side, so it goes to the other
        await self._late.put((now_s(), b""))

    async def _pass_on(self, piece: bytes) -> None:
        for part in slices(piece, self._toxics):
            await self._not_while_silent()
            self._reset_in_time()
            allowed = within_limit(part, self._passed_bytes, self._toxics)
            self._passed_bytes += len(allowed)
            self._writer.write(allowed)
            await self._writer.drain()
            if len(allowed) < len(part):
                raise _Cut
            await asyncio.sleep(pause_s(len(part), self._toxics))

    async def _not_while_silent(self) -> None:
        silent_since_s = asyncio.get_running_loop().time()
        while self._toxics.is_silent:
            await asyncio.sleep(_LOOK_S)
            silent_s = asyncio.get_running_loop().time() - silent_since_s
            if 0 < self._toxics.cut_after_s <= silent_s:
                raise _Cut

    def _reset_in_time(self) -> None:
        """Have the connection reset when it is time, whatever goes over it meanwhile."""
        if self._first_s < 0 <= self._toxics.reset_after_s:
            loop = asyncio.get_running_loop()
            self._first_s = loop.time()
            loop.call_later(self._toxics.reset_after_s, self._connection.reset)
