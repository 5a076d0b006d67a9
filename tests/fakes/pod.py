"""A scripted pod: a real HTTP/1.1 server on a Unix socket that does what the test says, and remembers what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast


@dataclass
class Seen:
    """One request as the pod got it."""

    line: str
    fields: dict[str, str]
    raw_fields: list[str]
    body: bytes


class Answering(asyncio.Protocol):
    """One connection to the pod; scripts write their answers to it."""

    def __init__(self, pod: FakePod) -> None:
        self._pod = pod
        self._transport = cast(asyncio.Transport, None)
        self._unread = b""
        self._task: asyncio.Task[None] | None = None
        self._has_room = asyncio.Event()
        self._has_room.set()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until what was written may be followed by more."""
        await self._has_room.wait()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pod.connections.append(self)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._answer_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_room.set()
        answering = self._task is not None and not self._task.done()
        if self._task is not None and answering:
            self._task.cancel()
        if answering or self._unread:
            self._pod.hung_up.set()

    def pause_writing(self) -> None:
        self._has_room.clear()

    def resume_writing(self) -> None:
        self._has_room.set()

    def _answer_next(self) -> None:
        """Answer one request at a time, as a server of HTTP/1.1 does."""
        if (self._task is None or self._task.done()) and (seen := self._take_request()):
            self._pod.seen.append(seen)
            self._pod.asked.set()
            self._task = asyncio.ensure_future(self._pod.script(seen, self))
            self._task.add_done_callback(lambda _: self._answer_next())

    def _take_request(self) -> Seen | None:
        head, blank, rest = self._unread.partition(b"\r\n\r\n")
        if not blank:
            return None
        line, *raw_fields = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in raw_fields)}
        body = _take_chunks(rest) if "transfer-encoding" in fields else _take_length(rest, fields)
        if body is None:
            return None
        self._unread = rest[body[1] :]
        return Seen(line, fields, raw_fields, body[0])


def _take_length(data: bytes, fields: dict[str, str]) -> tuple[bytes, int] | None:
    length = int(fields.get("content-length", "0"))
    return (data[:length], length) if len(data) >= length else None


def _take_chunks(data: bytes) -> tuple[bytes, int] | None:
    body, at = b"", 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end], 16)
        at = line_end + 2 + size + 2
        if at > len(data):
            return None
        body += data[line_end + 2 : at - 2]
        if size == 0:
            return body, at
    return None


Script = Callable[[Seen, Answering], Awaitable[None]]


@dataclass
class FakePod:
    """Answers each request by ``script``.

    Attributes:
        seen: every request, in order of arrival.
        connections: every connection accepted so far.
        hung_up: a connection ended while its request was coming or being answered.
        asked: a request has come.
    """

    path: Path
    script: Script
    seen: list[Seen] = field(default_factory=list)
    connections: list[Answering] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    async def __aenter__(self) -> FakePod:
        loop = asyncio.get_running_loop()
        # A Unix socket whose queue is full refuses at once, where a pod has room for every connection that it may get.
        self._server = await loop.create_unix_server(lambda: Answering(self), str(self.path), backlog=4096)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.abort()


async def echo(seen: Seen, answering: Answering) -> None:
    """Answer 200 with the request's body."""
    answering.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\npenstock-usage: device_us=7;batch=1;queue_us=3\r\n"
        b"server-timing: queue;dur=0.1, inference;dur=2.0\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.body), seen.body)
    )


async def never(seen: Seen, answering: Answering) -> None:
    """Say nothing until the other side leaves."""
    await asyncio.Event().wait()


async def die(seen: Seen, answering: Answering) -> None:
    """Take the request and break the connection."""
    answering.abort()


async def babble(seen: Seen, answering: Answering) -> None:
    """Answer with something that is not HTTP."""
    answering.write(b"WAT 200 OK\n\n")


async def chunks(seen: Seen, answering: Answering) -> None:
    """Answer in chunks."""
    answering.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


async def cut_short(seen: Seen, answering: Answering) -> None:
    """Promise more than is sent."""
    answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    answering.close()
