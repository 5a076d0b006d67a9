"""A gateway worker as a pod sees it: frames on a raw connection, credited only when the test says so."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec

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
    Frame,
    FrameReader,
    PodAnswer,
    PodCharge,
    PodRequest,
    Reset,
    credit,
    credited,
    decode_answer,
    decode_charge,
    decode_reset,
    encode_head,
    frame,
)
from tests.model_pod.server.harness import Served


def pod_request(target: str = "/predictions/digits", **changes: Any) -> PodRequest:
    """Return a request with what the test does not care about filled in."""
    usual = PodRequest("POST", target, "r1", "ads", "", 30_000, NOT_TOLD, "", [(b"Content-Type", b"text/plain")])
    return msgspec.structs.replace(usual, **changes)


@dataclass
class Heard:
    """What came on one stream."""

    answer: PodAnswer | None = None
    body: bytes = b""
    is_whole: bool = False
    reset: Reset | None = None
    charge: PodCharge | None = None
    credited_bytes: int = 0

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


@dataclass
class LinkPeer:
    """One link; ``order`` is every frame as it came."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: FrameReader = field(default_factory=FrameReader)
    heard: dict[int, Heard] = field(default_factory=lambda: defaultdict(Heard))
    order: list[tuple[int, int, int]] = field(default_factory=list)
    is_told_to_leave: bool = False
    is_over: bool = False

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def frame(self, kind: int, stream: int, head: bytes = b"", body: bytes = b"") -> None:
        """Send a frame."""
        self.send(b"".join(frame(kind, stream, head, body)))

    def request(self, stream: int, request: PodRequest, body: bytes = b"", *, last: bool = True) -> None:
        """Begin a stream."""
        self.frame(REQUEST | LAST if last else REQUEST, stream, encode_head(request), body)

    def data(self, stream: int, body: bytes, *, last: bool = False) -> None:
        """Send more of a body."""
        self.frame(DATA | LAST if last else DATA, stream, b"", body)

    def reset(self, stream: int) -> None:
        """The caller of a stream has left."""
        self.frame(RESET, stream, encode_head(Reset("client_gone")))

    def credit(self, stream: int, byte_count: int) -> None:
        """Take some of a stream's answer."""
        self.send(credit(stream, byte_count))

    async def ended(self, stream: int) -> Heard:
        """Read until a stream has ended."""
        while not (self.heard[stream].is_whole or self.heard[stream].reset):
            await self.read()
        return self.heard[stream]

    async def until_over(self) -> None:
        """Read until the pod closes."""
        while not self.is_over:
            await self.read()

    async def read(self) -> None:
        """Take what comes next."""
        try:
            data = await self.reader.read(2**16)
        except ConnectionResetError:
            data = b""
        self.is_over = not data
        for each in self.frames.feed(data):
            self._take(each)

    def _take(self, each: Frame) -> None:
        kind, number, head, body = each
        heard = self.heard[number]
        self.order.append((kind & ~LAST, number, len(body)))
        assert not heard.is_whole, "a stream goes on after its end"
        assert heard.reset is None, "a stream goes on after its end"
        plain = kind & ~LAST
        if plain == ANSWER:
            heard.answer = decode_answer(head)
        elif plain == DATA and head:
            heard.charge = decode_charge(head)
        elif plain == RESET:
            heard.reset = decode_reset(head)
        elif plain == CREDIT:
            heard.credited_bytes += credited(head)
        elif plain == LEAVING:
            self.is_told_to_leave = True
        heard.body += body
        heard.is_whole = bool(kind & LAST)


async def linked(pods: Served, opening: bytes = PREFACE) -> LinkPeer:
    """Connect and shake hands."""
    client = await pods.client()
    client.send(opening)
    assert await client.part(len(PREFACE)) == PREFACE
    return LinkPeer(*client.streams)
