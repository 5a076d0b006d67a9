"""A receiver of alerts: a web server that can also refuse, be broken, hang, answer without an end or send elsewhere."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

_STATUS = {"": 200, "broken": 503, "busy": 429, "refuse": 400, "elsewhere": 302, "unknown": 404}
_TURNS = {*_STATUS, "hang", "endless"}


@dataclass
class Taken:
    """One request that was taken or refused."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class AlertReceiver:
    """Answers every POST as ``turn`` says.

    Attributes:
        turn: "" takes it; "broken", "busy", "refuse", "unknown", "elsewhere", "hang", or "endless" (it sends for ever).
        taken: every request whose body came whole.
    """

    turn: str = ""
    taken: list[Taken] = field(default_factory=list)
    port: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> AlertReceiver:
        assert self.turn in _TURNS
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def until(self, count: int) -> None:
        """Wait until so many requests came."""
        while len(self.taken) < count:
            self._came.clear()
            await self._came.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            self.taken.append(await _read(reader))
            self._came.set()
            if self.turn == "hang":
                await reader.read()  # until the caller gives up
            elif self.turn == "endless":
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n")
                while not writer.transport.is_closing():
                    writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                    await writer.drain()
            else:
                where = b"location: http://127.0.0.1:1/\r\n" if self.turn == "elsewhere" else b""
                writer.write(b"HTTP/1.1 %d Told\r\n%scontent-length: 3\r\n\r\nno." % (_STATUS[self.turn], where))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Taken:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(_header(line) for line in lines if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return Taken(first.split()[1], headers, json.loads(body))


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value
