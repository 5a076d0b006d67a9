"""Another reader of HTTP/1.1 (h11) as a witness: a pod that tells what reached it, and answers read as clients do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import h11

_MOST_HEAD_BYTES = 128 * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Reached:
    """One whole request as the witness read it."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection to the pod."""

    def __init__(self, pod: RecordingPod) -> None:
        self._pod = pod
        self._transport = cast(asyncio.Transport, None)
        self._parser = _parser(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._pod.byte_count += len(data)
        try:
            self._parser.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            self._pod.faults.append(f"{error}: {data[:200]!r}")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request is not None:
            self._pod.cut_off += 1

    def _read(self) -> None:
        while (event := self._parser.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Request):
                self._request = event
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._whole()
            else:
                return

    def _whole(self) -> None:
        request = self._request
        assert request is not None
        fields = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        self._pod.requests.append(Reached(request.method.decode(), request.target.decode(), fields, self._body))
        self._request, self._body = None, b""
        is_head = request.method == b"HEAD"
        self._transport.write(ANSWER[:-2] if is_head else ANSWER)
        self._parser.send(h11.Response(status_code=200, headers=[("content-length", "2")]))
        if not is_head:
            self._parser.send(h11.Data(data=b"ok"))
        self._parser.send(h11.EndOfMessage())
        self._parser.start_next_cycle()


@dataclass
class RecordingPod:
    """Remembers what reached it.

    Attributes:
        requests: those that were whole, in order.
        byte_count: all that came, whole or not.
        cut_off: requests whose connection ended before they were whole.
        faults: what the witness did not take for HTTP/1.1.
    """

    path: Path
    requests: list[Reached] = field(default_factory=list)
    byte_count: int = 0
    cut_off: int = 0
    faults: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    async def __aenter__(self) -> RecordingPod:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as a client reads it.

    Attributes:
        is_whole: the client can tell that nothing is missing.
        interim: the statuses below 200 that came before it.
    """

    status: int
    fields: dict[str, str]
    body: bytes
    is_whole: bool
    interim: tuple[int, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is a refusal."""
        return self.fields.get("penstock-reason", "")


def answers_in(data: bytes, methods: list[str]) -> list[Answered]:
    """Read what a connection gave until it ended as answers to requests with these methods.

    Raises:
        h11.RemoteProtocolError: it is not that.
    """
    answers: list[Answered] = []
    for method in methods:
        if not data:
            break
        parser = _parser(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "mesh")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(data)
        answer, data = _one_answer(parser)
        answers.append(answer)
    if data:
        raise h11.RemoteProtocolError(f"bytes that answer nothing: {data[:200]!r}")
    return answers


def _one_answer(parser: h11.Connection) -> tuple[Answered, bytes]:
    head: h11.Response | None = None
    interim: list[int] = []
    body, is_whole, at_end = b"", False, False
    while not is_whole:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            if not at_end or head is None:
                raise
            break  # the connection ended within the body
        if event is h11.NEED_DATA:
            if at_end:
                break
            at_end = True
            parser.receive_data(b"")
        elif isinstance(event, h11.InformationalResponse):
            interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            is_whole = isinstance(event, h11.EndOfMessage)
            if not is_whole:
                break
    if head is None:
        raise h11.RemoteProtocolError("the connection ended before an answer")
    fields = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    rest = b"" if at_end else parser.trailing_data[0]
    return Answered(head.status_code, fields, body, is_whole, tuple(interim)), rest


def _parser(role: type[h11.CLIENT | h11.SERVER]) -> h11.Connection:
    return h11.Connection(role, max_incomplete_event_size=_MOST_HEAD_BYTES)
