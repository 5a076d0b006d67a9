"""The sidecar's HTTP listener: whole requests in, whole answers out, connections kept, and everything bounded."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import httptools
from msgspec import Struct

HEAD_BYTES = 16 * 1024
# Exporters send 512 spans at once, some 200 KiB; what is decoded takes many times its length.
BODY_BYTES = 4 * 2**20
REQUEST_WITHIN_S = 5.0
IDLE_S = 30.0
RETRY_AFTER_S = 1
# Prometheus servers, exporters of one inference process, pods' sidecars and some people; what comes beyond is told so.
CONNECTIONS = 32

_PLAIN = "text/plain; charset=utf-8"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# What HTTP/2 begins with (RFC 9113, section 3.4), as far as no request of HTTP/1.1 does.
_HTTP2 = b"PRI "

SpeakHttp2 = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Request(Struct, frozen=True):
    """One request.

    Attributes:
        target: path and query as they came.
        headers: by lower-case name; several of one name are joined by commas.
        is_last: the connection ends with the answer.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    is_last: bool


class Answer(Struct, frozen=True):
    """What is answered; ``headers`` are those beside the usual."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def plain(status: HTTPStatus, *headers: tuple[str, str]) -> Answer:
    """Return an answer that says its status in words."""
    return Answer(status, _PLAIN, f"{status.phrase.lower()}\n".encode(), headers)


def busy() -> Answer:
    """Return the answer to whom there is no room for now."""
    return plain(HTTPStatus.SERVICE_UNAVAILABLE, ("retry-after", str(RETRY_AFTER_S)))


class Refused(Exception):
    """What came is no request that we read; the connection ends with this status.

    Attributes:
        target, headers: of the request, as far as they came.
    """

    def __init__(self, status: HTTPStatus, target: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status.phrase)
        self.status = status
        self.target = target
        self.headers = headers or {}


def refusal(refused: Refused) -> Answer:
    """Return the usual answer to what is no request."""
    return plain(refused.status)


class Reading:
    """Bytes of one connection as requests; the methods that begin with ``on_`` are called by the parser."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._whole: deque[Request] = deque()
        # Since the request began or, once its head is whole, since the last byte of its body: of lines that do not end,
        # be they chunks' or trailers', no more may come than of a head.
        self._line_bytes = 0
        self._has_begun = False
        self._is_in_body = False
        self._is_unknown = False
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self.is_awaited = False
        """Whether the caller waits for a 100 before it sends a body."""

    def feed(self, data: bytes) -> None:
        """Take bytes in.

        Raises:
            Refused: they are no HTTP, or too many.
        """
        self._line_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError) as error:
            raise self._refused(HTTPStatus.BAD_REQUEST) from error
        if self._line_bytes > HEAD_BYTES:
            raise self._refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(self._body) > BODY_BYTES:
            raise self._refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self._is_unknown:
            raise self._refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)

    def next(self) -> Request | None:
        """Return the oldest request that is whole and was not returned before."""
        return self._whole.popleft() if self._whole else None

    @property
    def is_between(self) -> bool:
        """Whether no request has begun that is not whole yet."""
        return not self._has_begun

    def on_message_begin(self) -> None:
        self._has_begun = True
        self._target, self._headers, self._body = b"", {}, bytearray()

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_body:
            return  # a trailer, of which we want nothing
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        self._line_bytes = 0
        self._is_unknown = self._is_unknown or self._parser.get_http_version() not in ("1.0", "1.1")
        self.is_awaited = self._headers.get("expect", "").lower() == "100-continue"

    def on_body(self, piece: bytes) -> None:
        self._line_bytes = 0
        if len(self._body) <= BODY_BYTES:
            self._body += piece

    def on_message_complete(self) -> None:
        method, is_last = self._parser.get_method().decode("latin-1"), not self._parser.should_keep_alive()
        target = self._target.decode("latin-1")
        self._whole.append(Request(method, target, self._headers, bytes(self._body), is_last))
        self._has_begun = self._is_in_body = self.is_awaited = False
        self._line_bytes = 0

    def _refused(self, status: HTTPStatus) -> Refused:
        return Refused(status, self._target.decode("latin-1"), self._headers)


def written(answer: Answer, is_last: bool) -> bytes:
    """Return an answer as it goes over the connection."""
    fields = (
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        ("cache-control", "no-store"),
        ("connection", "close" if is_last else "keep-alive"),
        *answer.headers,
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{lines}\r\n"
    return head.encode("latin-1") + answer.body


class Listener:
    """Answers on one listening socket.

    Args:
        answer: called with each request; an answer that takes its time is awaited, and others are answered meanwhile.
        refuse: called with what is no request.
        speak_http2: called with a connection that begins as HTTP/2 does, and what came of it; None where none may.
    """

    def __init__(
        self,
        answer: Callable[[Request], Answer | Awaitable[Answer]],
        refuse: Callable[[Refused], Answer] = refusal,
        speak_http2: SpeakHttp2 | None = None,
    ) -> None:
        self._answer = answer
        self._refuse = refuse
        self._speak_http2 = speak_http2
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
        reading = Reading()
        is_last = len(self._conversations) > CONNECTIONS
        try:
            if is_last:
                await _write(writer, written(busy(), is_last))
            within_s = REQUEST_WITHIN_S
            first = b"" if is_last else await _first(reader)
            if self._speak_http2 and first.startswith(_HTTP2):
                is_last = True
                await self._speak_http2(first, reader, writer)
            while not is_last and (request := await _read(reading, reader, writer, within_s, first)):
                first = b""
                is_last = request.is_last
                answer = self._answer(request)
                whole = answer if isinstance(answer, Answer) else await answer
                await _write(writer, written(whole, is_last))
                within_s = IDLE_S
        except Refused as refused:
            writer.write(written(self._refuse(refused), is_last=True))
        except (TimeoutError, ConnectionError):
            writer.transport.abort()  # it left, or is too slow to be waited for
        finally:
            await _close(writer)


async def _first(reader: asyncio.StreamReader) -> bytes:
    """Return the first bytes of a connection: enough of them to tell how it is spoken."""
    async with asyncio.timeout(REQUEST_WITHIN_S):
        data = await reader.read(HEAD_BYTES)
        while data and data != _HTTP2 and _HTTP2.startswith(data) and (more := await reader.read(HEAD_BYTES)):
            data += more
        return data


async def _read(
    reading: Reading, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, within_s: float, first: bytes = b""
) -> Request | None:
    """Return the next request; None when the caller has no more.

    Args:
        within_s: for its first byte; the rest has ``REQUEST_WITHIN_S``.
        first: bytes that came before.
    """
    async with asyncio.timeout(within_s) as limit:
        while not (request := reading.next()):
            was_between = reading.is_between
            data, first = first or await reader.read(HEAD_BYTES), b""
            if not data:
                return None
            reading.feed(data)
            if was_between:
                limit.reschedule(asyncio.get_running_loop().time() + REQUEST_WITHIN_S)
            if reading.is_awaited:
                reading.is_awaited = False
                writer.write(_CONTINUE)
        return request


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    async with asyncio.timeout(REQUEST_WITHIN_S):
        writer.write(data)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close once what was written has left; who does not take it is not waited for long."""
    try:
        async with asyncio.timeout(REQUEST_WITHIN_S):
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, ConnectionError):
        writer.transport.abort()
