"""Frames of HTTP/2 (RFC 9113 4 and 6): bytes to frames and back. Knows nothing of streams."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
# What every peer may send (SETTINGS_MAX_FRAME_SIZE's lowest); larger frames would only make others wait longer.
MAX_FRAME_BYTES = 16_384
MAX_WINDOW_BYTES = 2**31 - 1
USUAL_WINDOW_BYTES = 65_535

# Not an enum: these are compared for every frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(2, 7)

_HEAD = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_U32 = struct.Struct(">I")
_TWO_U32 = struct.Struct(">II")

Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream, payload."""


class Code(IntEnum):
    """Why a stream or connection ends (RFC 9113 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class ConnectionBroken(Exception):
    """The peer broke the protocol, or a bound, in a way that ends the connection."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamBroken(Exception):
    """The peer broke the protocol in a way that ends one stream."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame_head(kind: int, flags: int, stream: int, payload_bytes: int) -> bytes:
    """Return the nine bytes before a payload."""
    return _HEAD.pack(payload_bytes >> 8, payload_bytes & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    return frame_head(kind, flags, stream, len(payload)) + payload


def settings_frame(settings: dict[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in settings.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return what a SETTINGS frame sets, in its order.

    Raises:
        ConnectionBroken: it is not whole.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionBroken(Code.FRAME_SIZE_ERROR, "SETTINGS is not made of whole settings")
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, credited_bytes: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, _U32.pack(credited_bytes))


def rst_stream(stream: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _U32.pack(code))


def go_away(last_stream: int, code: int, said: str = "") -> bytes:
    """Return a GOAWAY frame; ``said`` is for whoever debugs the peer."""
    return frame(GOAWAY, 0, 0, _TWO_U32.pack(last_stream, code) + said.encode())


def read_u32(payload: bytes, what: str) -> int:
    """Return the one number that a payload is.

    Raises:
        ConnectionBroken: it is not of four bytes.
    """
    if len(payload) != _U32.size:
        raise ConnectionBroken(Code.FRAME_SIZE_ERROR, f"{what} is not of four bytes")
    number: int = _U32.unpack(payload)[0]
    return number


def header_frames(stream: int, block: bytes, max_frame_bytes: int, *, ends: bool) -> bytes:
    """Return a header block as HEADERS and as many CONTINUATION as it takes."""
    flags = END_STREAM if ends else 0
    if len(block) <= max_frame_bytes:
        return frame_head(HEADERS, flags | END_HEADERS, stream, len(block)) + block
    pieces = [block[at : at + max_frame_bytes] for at in range(0, len(block), max_frame_bytes)]
    frames = [frame(HEADERS, flags, stream, pieces[0])]
    frames += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    return b"".join([*frames, frame(CONTINUATION, END_HEADERS, stream, pieces[-1])])


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a payload without its padding.

    Raises:
        ConnectionBroken: the padding is longer than what there is.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionBroken(Code.PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]


class FrameReader:
    """Frames from whatever the socket gave."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now; to be read to the end.

        Raises:
            ConnectionBroken: a frame is larger than we allow.
        """
        if self._pending:
            data = self._pending + data
        at, end = 0, len(data)
        while end - at >= HEADER_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > MAX_FRAME_BYTES:
                raise ConnectionBroken(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes; {MAX_FRAME_BYTES} are allowed")
            stop = at + HEADER_BYTES + size
            if stop > end:
                break
            yield kind, flags, stream & 0x7FFFFFFF, data[at + HEADER_BYTES : stop]
            at = stop
        self._pending = data[at:]
