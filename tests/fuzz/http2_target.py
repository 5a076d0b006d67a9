"""Fuzz target: the server's half of HTTP/2. The first byte says how the rest is cut; any cut means the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from telemetry.http2 import frames
from telemetry.http2.connection import MAX_STREAMS, Begun, Body, Event, Http2Connection
from telemetry.http2.fields import field
from telemetry.http2.frames import ConnectionBroken
from telemetry.http2.windows import STREAM_WINDOW_BYTES

_HEAD = b"".join(
    field(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)
_LEARNED = b"\x40\x04name\x05value"


def seeds() -> Iterator[bytes]:
    """Return inputs to begin with: what clients send, and what the floods of this world are made of."""
    whole = frames.END_HEADERS | frames.END_STREAM
    learning = frames.frame(frames.HEADERS, whole, 1, _HEAD + _LEARNED)
    priority = frames.frame(frames.PRIORITY, 0, 1, bytes(5))
    request = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, _HEAD)
    conversations = [
        request + frames.frame(frames.DATA, frames.END_STREAM, 1, b"\0\0\0\0\x01x"),
        learning + frames.frame(frames.HEADERS, whole, 3, _HEAD + b"\xbe"),
        frames.frame(frames.HEADERS, 0, 1, _HEAD[:9]) + frames.frame(frames.CONTINUATION, 4, 1, _HEAD[9:]),
        request + frames.rst_stream(1, 8) + frames.frame(frames.DATA, 0, 1, b"late"),
        request + frames.window_update(1, 100) + frames.window_update(0, 100) + frames.window_update(1, 0),
        frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 3}) + request + frames.window_update(1, 5),
        frames.frame(frames.PING, 0, 0, bytes(8)) + frames.go_away(0, 0) + priority,
        frames.frame(frames.DATA, frames.PADDED, 1, b"\x02a\0\0") + frames.frame(0x55, 0, 0, b"unknown"),
    ]
    for conversation in conversations:
        for size in (0, 7, 255):
            yield bytes([size]) + conversation


def fuzz(data: bytes) -> None:
    """Read one input, and take what comes of it; an exception is a finding."""
    if not data:
        return
    sent, size = data[1:], data[0] + 1
    whole = _converse([sent])
    assert _converse([sent[at : at + size] for at in range(0, len(sent), size)]) == whole


def _converse(slices: list[bytes]) -> dict[int, bytes]:
    """Return the requests' bodies, as far as the connection held."""
    server = Http2Connection(0.0)
    server.receive(frames.PREFACE + frames.settings_frame({}), 0.0)
    bodies: dict[int, bytes] = {}
    with suppress(ConnectionBroken):
        for piece in slices:
            try:
                server.receive(piece, 0.0)
            finally:
                _take(server, server.take_events(), bodies)
            _check(server)
    return bodies


def _take(server: Http2Connection, events: list[Event], bodies: dict[int, bytes]) -> None:
    for event in events:
        match event:
            case Begun(stream=number):
                bodies[number] = b""
            case Body(stream=number, data=piece):
                bodies[number] += piece
                server.credit(number, len(piece))


def _check(server: Http2Connection) -> None:
    assert len(server.streams) <= MAX_STREAMS
    for number, stream in list(server.streams.items()):
        assert 0 <= stream.unread_room <= STREAM_WINDOW_BYTES + frames.MAX_FRAME_BYTES
        assert stream.number == number
