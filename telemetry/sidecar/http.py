"""The listener that Prometheus reads: ``/metrics`` and ``/livez``, one request per connection, everything bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus

HEAD_BYTES = 16 * 1024
REQUEST_WITHIN_S = 5.0
# Two Prometheus servers and some people; what comes beyond is told so.
CONNECTIONS = 32

_TEXT = "text/plain; charset=utf-8"

Exposition = Callable[[str], tuple[str, bytes]]
"""Called with an ``Accept`` field; returns a content type and a body."""


class Listener:
    """Answers on one listening socket."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._conversations: set[asyncio.Task[None]] = set()

    async def listen(self, listening: socket.socket) -> asyncio.Server:
        """Answer from now on, until the server that is returned is closed."""
        return await asyncio.start_server(self._begin, sock=listening, limit=HEAD_BYTES)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Tasks of our own: those that start_server makes of a coroutine complain when the process ends (Python 3.11).
        conversation = asyncio.create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()  # it left, or is too slow to be waited for
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        if len(self._conversations) > CONNECTIONS:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return respond(head, self._exposition)


def respond(head: bytes, exposition: Exposition) -> bytes:
    """Return the whole answer to a request, of which only the head is looked at."""
    line, *fields = head.decode("latin-1").split("\r\n")
    match line.split(" "):
        case [method, target, "HTTP/1.1" | "HTTP/1.0"]:
            path = target.partition("?")[0]
        case _:
            return plain(HTTPStatus.BAD_REQUEST)
    if path not in ("/metrics", "/livez"):
        return plain(HTTPStatus.NOT_FOUND)
    if method != "GET":
        return plain(HTTPStatus.METHOD_NOT_ALLOWED, "allow: GET\r\n")
    if path == "/livez":
        return plain(HTTPStatus.OK)
    content_type, body = exposition(_accept(fields))
    return _whole(HTTPStatus.OK, content_type, body)


def plain(status: HTTPStatus, fields: str = "") -> bytes:
    """Return an answer that says its status in words."""
    return _whole(status, _TEXT, f"{status.phrase.lower()}\n".encode(), fields)


def _accept(fields: list[str]) -> str:
    """Return every ``Accept`` field as one."""
    pairs = (field.partition(":") for field in fields)
    return ",".join(value for name, _, value in pairs if name.lower() == "accept")


def _whole(status: HTTPStatus, content_type: str, body: bytes, fields: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n{fields}\r\n"
    )
    return head.encode("latin-1") + body
