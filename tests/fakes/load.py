"""A load client that writes its own HTTP/1.1 and says of every request how it ended.

A closed loop keeps N connections busy; an open loop sends at intended moments whatever the server does, and measures
from the intended moment. A lost connection is replaced. Run either under uvloop: ``uvloop.run(open_loop(...))``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tests.fakes.load_connection import Check, ClientConnection, HeaderKeepingConnection
from tests.fakes.records import Outcome, Record

MakeRequest = Callable[[int], bytes]

_SWEEP_S = 0.1  # how often patience is checked
_RECONNECT_AFTER_S = 0.01  # a refused connection is tried again, yet not in a busy loop


class Watch(Protocol):
    """Told of every request before its bytes are written, and after its exchange ended.

    It is told once more of an exchange whose answer was followed by bytes that nobody asked for.
    """

    def sending(self, index: int, request: bytes) -> None: ...

    def settled(self, record: Record) -> None: ...


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a load client behaves.

    Attributes:
        patience_s: an exchange without a whole answer after this long is cut, and counts as lost or truncated.
        connect_within_s: a connection not made after this long counts as not connected.
        is_connection_per_request: no keep-alive: each request has a connection of its own.
        max_connections: most connections of an open loop; beyond it requests wait, and the wait is in their latency.
        max_requests: neither loop sends more; it bounds the records kept.
        keeps_headers: records carry the response's headers.
    """

    patience_s: float = 30.0
    connect_within_s: float = 10.0
    is_connection_per_request: bool = False
    max_connections: int = 1024
    max_requests: int = 2_000_000
    keeps_headers: bool = False


DEFAULT_OPTIONS = LoadOptions()


async def closed_loop(
    address: str,
    *,
    connections: int,
    duration_s: float,
    make_request: MakeRequest,
    check: Check,
    options: LoadOptions = DEFAULT_OPTIONS,
    watch: Watch | None = None,
) -> list[Record]:
    """Keep so many connections busy for so long; each sends its next request when its last one ended.

    Args:
        address: ``http://host:port``, ``host:port`` or ``unix:/path``.
    """
    return await _ClosedLoop(_Target.read(address), make_request, check, options, watch).run(connections, duration_s)


async def open_loop(
    address: str,
    *,
    rate_per_s: float,
    duration_s: float,
    make_request: MakeRequest,
    check: Check,
    options: LoadOptions = DEFAULT_OPTIONS,
    watch: Watch | None = None,
    until: asyncio.Event | None = None,
) -> list[Record]:
    """Send at evenly spaced intended moments, however slow the answers are.

    Args:
        until: once it is set nothing more is sent, and what is under way is waited for.

    Raises:
        ValueError: more requests than ``options.max_requests`` were asked for.
    """
    count = round(rate_per_s * duration_s)
    if count > options.max_requests:
        raise ValueError(f"{count} requests are more than max_requests={options.max_requests}: shorten the run")
    loop = _OpenLoop(_Target.read(address), make_request, check, options, watch)
    return await loop.run(count, rate_per_s, until or asyncio.Event())


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to connect: a Unix socket's path, or a host and a port."""

    path: Path | None
    host: str
    port: int

    @classmethod
    def read(cls, address: str) -> _Target:
        if address.startswith("unix:"):
            return cls(Path(address.removeprefix("unix:")), "", 0)
        parts = urlsplit(address if "://" in address else f"//{address}")
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{address!r} is no address: write host:port, http://host:port or unix:/path")
        return cls(None, parts.hostname, parts.port)

    async def connect(self, make_connection: Callable[[], ClientConnection]) -> ClientConnection:
        loop = asyncio.get_running_loop()
        if self.path is not None:
            return (await loop.create_unix_connection(make_connection, str(self.path)))[1]
        return (await loop.create_connection(make_connection, self.host, self.port))[1]


class _Loop:
    """What both loops share: connecting, recording, patience and the end."""

    def __init__(
        self, target: _Target, make_request: MakeRequest, check: Check, options: LoadOptions, watch: Watch | None
    ) -> None:
        self._target = target
        self._make_request = make_request
        self._check = check
        self._options = options
        self._watch = watch
        self._connection_kind = HeaderKeepingConnection if options.keeps_headers else ClientConnection
        self._connections: set[ClientConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._records: list[Record] = []
        self._failure: BaseException | None = None
        self._done = asyncio.Event()

    async def _until_done(self, within_s: float) -> list[Record]:
        sweep = asyncio.create_task(self._sweep())
        try:
            async with asyncio.timeout(within_s):
                await self._done.wait()
        finally:
            for task in (sweep, *self._tasks):
                task.cancel()
            await asyncio.gather(sweep, *self._tasks, return_exceptions=True)
            for connection in tuple(self._connections):
                connection.abandon("the load ended")
        if self._failure is not None:
            raise self._failure
        return self._records

    def _longest_s(self, duration_s: float) -> float:
        """Return by when every request has ended: one wait for a connection, one to connect, one for the answer."""
        return duration_s + 2 * self._options.patience_s + self._options.connect_within_s + 50 * _SWEEP_S

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            too_old_s = time.monotonic() - self._options.patience_s
            self._give_up(too_old_s)

    def _give_up(self, too_old_s: float) -> None:
        for connection in tuple(self._connections):
            if connection.is_busy and connection.started_s < too_old_s:
                connection.abandon(f"no whole answer within {self._options.patience_s:g} s")

    async def _connect_and_send(self, index: int, intended_s: float | None) -> bool:
        """Connect and send this request; False when connecting failed and was recorded."""
        started_s = time.monotonic()
        connection = self._connection_kind(self, self._judge, partial(self._on_made, index, intended_s))
        try:
            async with asyncio.timeout(self._options.connect_within_s):
                await self._target.connect(lambda: connection)
        except (OSError, TimeoutError) as error:
            if connection.transport is None:
                self._not_connected(index, intended_s, started_s, f"{type(error).__name__}: {error}")
                return False
        return True

    def _on_made(self, index: int, intended_s: float | None, connection: ClientConnection) -> None:
        self._connections.add(connection)
        self._send(connection, index, intended_s)

    def _not_connected(self, index: int, intended_s: float | None, started_s: float, why: str) -> None:
        intended_s = started_s if intended_s is None else intended_s
        record = Record(index, intended_s, started_s, time.monotonic(), Outcome.NOT_CONNECTED, why=why)
        if self._watch is not None:
            self._watch.sending(index, b"")
        self._keep(record)

    def _send(self, connection: ClientConnection, index: int, intended_s: float | None) -> None:
        try:
            request = self._make_request(index)
        except Exception as error:
            self._fail(error)
            return
        if self._watch is not None:
            self._watch.sending(index, request)
        connection.send(index, intended_s, request)

    def _judge(self, index: int, status: int, body: bytes) -> bool:
        try:
            return self._check(index, status, body)
        except Exception as error:
            self._fail(error)
            return False

    def _fail(self, error: BaseException) -> None:
        """End the load with the caller's own error, which an event loop would only log."""
        self._failure = self._failure or error
        self._done.set()

    def _keep(self, record: Record) -> None:
        self._records.append(record)
        if self._watch is not None:
            self._watch.settled(record)

    def on_settled(self, connection: ClientConnection, record: Record) -> None:
        self._keep(record)
        if self._options.is_connection_per_request:
            connection.close()

    def on_unasked(self, record: Record) -> None:
        if self._watch is not None:
            self._watch.settled(record)

    def on_closed(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)

    def _start(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)


class _ClosedLoop(_Loop):
    """Each lane has one connection and one request at a time."""

    async def run(self, connections: int, duration_s: float) -> list[Record]:
        self._lanes = connections
        self._next_index = 0
        self._until_s = time.monotonic() + duration_s
        for _ in range(connections):
            self._open_lane()
        return await self._until_done(self._longest_s(duration_s))

    def _open_lane(self) -> None:
        self._start(asyncio.create_task(self._fill_lane()))

    async def _fill_lane(self) -> None:
        while self._may_send():
            if await self._connect_and_send(self._take_index(), None):
                return
            await asyncio.sleep(_RECONNECT_AFTER_S)
        self._end_lane()

    def on_settled(self, connection: ClientConnection, record: Record) -> None:
        super().on_settled(connection, record)
        if connection.is_closing:
            return  # on_closed opens the lane anew
        if self._may_send():
            self._send(connection, self._take_index(), None)
        else:
            connection.close()

    def on_closed(self, connection: ClientConnection) -> None:
        super().on_closed(connection)
        if self._done.is_set():
            return
        if self._may_send():
            self._open_lane()
        else:
            self._end_lane()

    def _may_send(self) -> bool:
        return self._next_index < self._options.max_requests and time.monotonic() < self._until_s

    def _take_index(self) -> int:
        self._next_index += 1
        return self._next_index - 1

    def _end_lane(self) -> None:
        self._lanes -= 1
        if self._lanes == 0:
            self._done.set()


class _OpenLoop(_Loop):
    """Requests become due by the clock and take an idle connection, a new one, or wait for one."""

    async def run(self, count: int, rate_per_s: float, until: asyncio.Event) -> list[Record]:
        self._count = count
        self._until = until
        self._idle: list[ClientConnection] = []
        self._due: deque[tuple[int, float]] = deque()
        self._open_count = 0  # connections made or being made
        self._start(asyncio.create_task(self._schedule(count, rate_per_s)))
        return await self._until_done(self._longest_s(count / rate_per_s))

    async def _schedule(self, count: int, rate_per_s: float) -> None:
        start_s = time.monotonic()
        for index in range(count):
            intended_s = start_s + index / rate_per_s
            ahead_s = intended_s - time.monotonic()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            if self._until.is_set():
                self._count = index
                break
            self._due.append((index, intended_s))
            self._serve_due()
        self._end_if_all_are_kept()

    def _serve_due(self) -> None:
        while self._due:
            if self._idle:
                self._send(self._idle.pop(), *self._due.popleft())
            elif self._open_count < self._options.max_connections:
                self._open_count += 1
                self._start(asyncio.create_task(self._open(*self._due.popleft())))
            else:
                return

    async def _open(self, index: int, intended_s: float) -> None:
        if not await self._connect_and_send(index, intended_s):
            self._open_count -= 1
            self._serve_due()

    def _give_up(self, too_old_s: float) -> None:
        super()._give_up(too_old_s)
        while self._due and self._due[0][1] < too_old_s:
            index, intended_s = self._due.popleft()
            self._not_connected(index, intended_s, intended_s, "no connection was free in time")

    def _keep(self, record: Record) -> None:
        super()._keep(record)
        self._end_if_all_are_kept()

    def _end_if_all_are_kept(self) -> None:
        if len(self._records) == self._count:
            self._done.set()

    def on_settled(self, connection: ClientConnection, record: Record) -> None:
        super().on_settled(connection, record)
        if not connection.is_closing:
            self._idle.append(connection)
            self._serve_due()

    def on_closed(self, connection: ClientConnection) -> None:
        super().on_closed(connection)
        self._open_count -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._done.is_set():
            self._serve_due()
