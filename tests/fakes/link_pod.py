"""A pod that speaks the link and does with each stream what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    LAST,
    LEAVING,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    FrameReader,
    PodAnswer,
    PodRequest,
    Reset,
    credit,
    decode_request,
    decode_reset,
    encode_head,
    frame,
)

JSON_LINE = b"content-type: application/json\r\n"


class Stream:
    """One request as the pod has it."""

    def __init__(self, link: Link, number: int, request: PodRequest) -> None:
        self.link = link
        self.number = number
        self.request = request
        self.body = b""
        self.is_whole = False
        self.reset: Reset | None = None
        self.credited_bytes = 0

    def answer(
        self,
        body: bytes,
        status: int = 200,
        reason: str = "",
        fields: bytes = JSON_LINE,
        content_length: int | None = None,
    ) -> None:
        """Answer as a whole; the length that is told may be another than the body's."""
        length = len(body) if content_length is None else content_length
        head = PodAnswer(status, "", reason, fields, b"", length, NOT_TOLD if reason else 0)
        self.link.send(ANSWER | LAST, self.number, encode_head(head), body)

    def begin(self, content_length: int = NOT_TOLD, status: int = 200) -> None:
        """Answer with a head alone."""
        head = PodAnswer(status, "", "", JSON_LINE, b"", content_length, NOT_TOLD)
        self.link.send(ANSWER, self.number, encode_head(head))

    def data(self, piece: bytes, *, is_last: bool = False) -> None:
        """Send more of the answer."""
        self.link.send(DATA | LAST if is_last else DATA, self.number, b"", piece)

    def refuse(self, reason: str, *, has_run: bool, device_us: int = NOT_TOLD) -> None:
        """End the stream."""
        self.link.send(RESET, self.number, encode_head(Reset(reason, has_run, device_us)))

    def credit(self, byte_count: int) -> None:
        """Take so much of the body."""
        self.link.transport.write(credit(self.number, byte_count))


Script = Callable[[Stream], None]
"""Called with a stream whose request is whole."""


class Link(asyncio.Protocol):
    """One connection of a gateway worker."""

    def __init__(self, pod: LinkPod) -> None:
        self._pod = pod
        self._reader = FrameReader()
        self._greeting = b""
        self.streams: dict[int, Stream] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pod.links.append(self)
        self.transport.write(PREFACE)

    def data_received(self, data: bytes) -> None:
        missing = len(PREFACE) - len(self._greeting)
        self._greeting += data[:missing]
        for kind, number, head, body in self._reader.feed(data[missing:]):
            self._on_frame(kind, number, head, body)

    def _on_frame(self, kind: int, number: int, head: bytes, body: bytes) -> None:
        if kind & ~LAST == REQUEST:
            stream = self.streams[number] = Stream(self, number, decode_request(head))
            self._pod.seen.append(stream)
            self._pod.asked.set()
        stream = self.streams[number]
        if kind == RESET:
            stream.reset = decode_reset(head)
            self._pod.told.set()
        elif kind == CREDIT:
            stream.credited_bytes += int.from_bytes(head, "little")
            self._pod.told.set()
        else:
            stream.body += body
            if body and self._pod.is_taking:
                stream.credit(len(body))
            if kind & LAST:
                stream.is_whole = True
                self._pod.script(stream)

    def send(self, kind: int, number: int, head: bytes, body: bytes = b"") -> None:
        """Send a frame."""
        self.transport.writelines([bytes(piece) for piece in frame(kind, number, head, body)])

    def leave(self) -> None:
        """Say that nothing new should begin here."""
        self.send(LEAVING, 0, b"")


class LinkPod:
    """A pod on a Unix socket.

    Attributes:
        is_taking: it credits what comes of bodies.
        seen: streams, in the order of their heads.
        asked, told: set when a request came, and when the gateway reset or credited a stream.
    """

    def __init__(self, path: Path, script: Script) -> None:
        self.path = path
        self.script = script
        self.is_taking = True
        self.links: list[Link] = []
        self.seen: list[Stream] = []
        self.asked = asyncio.Event()
        self.told = asyncio.Event()

    @property
    def address(self) -> str:
        """As the gateway is told it."""
        return f"unix:{self.path}"

    async def __aenter__(self) -> LinkPod:
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: Link(self), str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in self.links:
            link.transport.abort()
        await asyncio.sleep(0)
