"""A client's half of HTTP/2 for tests: writes frames by its own hand, and reads what the server sends strictly."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

from telemetry.http2 import frames
from telemetry.http2.connection import Event, Http2Connection
from telemetry.http2.frames import FrameReader

GRPC = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
    (b":authority", b"mesh"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write a frame as RFC 9113 4.1 draws it, apart from the code under test."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@dataclass
class Answer:
    """What came on one stream."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Peer:
    """A client that is connected to ``server`` without a socket, and reads every frame strictly."""

    def __init__(self, settings: dict[int, int] | None = None) -> None:
        self.now_s = 0.0
        self.server = Http2Connection(self.now_s)
        self.encoder = Encoder()
        self.answers: dict[int, Answer] = {}
        self.went_away: list[tuple[int, int]] = []
        self.pongs = 0
        self.acknowledged = 0
        self.credited: dict[int, int] = {}
        self._decoder = Decoder()
        self.reader = FrameReader()
        self.greeting = frames.PREFACE + frames.settings_frame(settings or {})

    def greet(self) -> None:
        """Begin the connection."""
        self.send(self.greeting)

    def send(self, data: bytes) -> list[Event]:
        """Give the server bytes, and read what it answers."""
        try:
            self.server.receive(data, self.now_s)
        finally:
            self.read()
        return self.server.take_events()

    def head(self, stream: int, fields: list[tuple[bytes, bytes]] | None = None, *, ends: bool = False) -> bytes:
        """Return a request's head."""
        block = self.encoder.encode(GRPC if fields is None else fields)
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        return raw(frames.HEADERS, flags, stream, block)

    def read(self) -> None:
        """Read what the server has written."""
        data = b"".join(bytes(piece) for piece in self.server.take_output())
        for kind, flags, stream, payload in self.reader.feed(data):
            self.on_frame(kind, flags, stream, payload)

    def on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        answer = self.answers.setdefault(stream, Answer()) if stream else Answer()
        match kind:
            case frames.HEADERS:
                answer.fields.update(self._decoder.decode(payload, raw=True))
            case frames.DATA:
                assert not answer.ended
                assert answer.reset is None
                answer.body += payload
            case frames.RST_STREAM:
                answer.reset = struct.unpack(">I", payload)[0]
            case frames.GOAWAY:
                self.went_away.append(struct.unpack(">II", payload[:8]))
            case frames.PING:
                self.pongs += bool(flags & frames.ACK)
            case frames.SETTINGS:
                self.acknowledged += bool(flags & frames.ACK)
            case frames.WINDOW_UPDATE:
                self.credited[stream] = self.credited.get(stream, 0) + struct.unpack(">I", payload)[0]
        if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
            answer.ended = True
