"""A back end for the tests of the sidecar's process: it takes spans, or fails in a way that it is told."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

from telemetry.otlp.decode import decode_protobuf
from telemetry.sidecar.http import Answer as Whole
from telemetry.sidecar.http import written
from tests.telemetry.sidecar.recording import GATEWAY, gateway_request, packet

SPANS_OF_A_REQUEST = 2
REQUESTS_OF_A_PACKET = 100
HEARD_WITHIN_S = 60.0


class Manner(Enum):
    """How a back end answers."""

    TAKES = auto()
    BUSY = auto()
    HANGS = auto()
    HANGS_UP = auto()
    ENDLESS = auto()


class BackEnd:
    """What came, and how it is answered.

    Attributes:
        ids: how often each span came that was taken.
        paths, headers: of the requests.
    """

    def __init__(self, *manners: Manner) -> None:
        self.manners = list(manners)
        self.ids: Counter[tuple[str, str]] = Counter()
        self.links: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.names: set[str] = set()
        self.paths: list[str] = []
        self.headers: dict[str, str] = {}
        self.port = 0
        self._changed = asyncio.Event()
        self._conversations: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Listen on loopback."""
        listening = socket.create_server(("127.0.0.1", port))
        self.port = listening.getsockname()[1]
        server = await asyncio.start_server(self._begin, sock=listening, ssl=tls)
        try:
            async with server:
                yield
        finally:
            for conversation in self._conversations:
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)

    async def wait_for(self, count: int) -> None:
        """Wait until so many different spans are here."""
        async with asyncio.timeout(HEARD_WITHIN_S):
            while len(self.ids) < count:
                self._changed.clear()
                await self._changed.wait()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    lines = head.split("\r\n")
                    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                    body = await reader.readexactly(int(headers["content-length"]))
                    self.paths.append(lines[0].split(" ")[1])
                    self.headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                    await self._answer(writer, gzip.decompress(body) if "content-encoding" in headers else body)
            finally:
                writer.transport.abort()

    async def _answer(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        manner = self.manners.pop(0) if self.manners else Manner.TAKES
        match manner:
            case Manner.TAKES:
                for span in decode_protobuf(body).spans:
                    self.ids[span.trace_id, span.span_id] += 1
                    self.names.add(span.name)
                    self.links[span.trace_id, span.span_id] = [(link.trace_id, link.span_id) for link in span.links]
                self._changed.set()
                writer.write(written(Whole(200, "application/x-protobuf", b""), is_last=False))
            case Manner.BUSY:
                writer.write(written(Whole(503, "text/plain", b"", (("retry-after", "0"),)), is_last=False))
            case Manner.HANGS:
                await asyncio.Event().wait()
            case Manner.HANGS_UP:
                raise ConnectionResetError
            case Manner.ENDLESS:
                writer.write(b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n")
                while True:
                    writer.write(b"10000\r\n" + bytes(2**16) + b"\r\n")
                    await writer.drain()


def packets(first: int, request_count: int) -> Sequence[bytes]:
    """Return what tells of so many requests, each of which is kept and becomes two spans."""
    numbers = range(first, first + request_count)
    return [
        packet(GATEWAY, *(gateway_request(number, sampled=True) for number in numbers[at : at + REQUESTS_OF_A_PACKET]))
        for at in range(0, request_count, REQUESTS_OF_A_PACKET)
    ]


def sample_sum(exposition: str, name: str) -> float:
    """Return the sum of a metric's samples."""
    lines = (line.rpartition(" ") for line in exposition.splitlines() if not line.startswith("#"))
    return sum(float(value) for series, _, value in lines if series == name or series.startswith(name + "{"))
