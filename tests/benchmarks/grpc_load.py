"""A closed loop of gRPC calls: connections that each make one unary call after the other, as cheaply as Python can.

Fields that never change are sent as references to the connection's table, as gRPC's own clients do; the trace and the
user differ in every call.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

from tests.benchmarks.heads import traceparent

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0x0, 0x1, 0x4, 0x6, 0x8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEADER_BYTES = 9
_METHOD_POST, _SCHEME_HTTP = b"\x83", b"\x86"  # of the static table
_FIRST_INDEX = 62  # of the connection's own table: what was put there last
_USERS = [b"user-" + b"x" * (number % 29) + str(number).encode() for number in range(997)]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def infer_request(model: str, content_bytes: int) -> bytes:
    """Return a ModelInferRequest of one tensor of bytes, with its prefix."""
    shape = _varint(content_bytes)
    tensor = _proto(1, b"data") + _proto(2, b"UINT8") + _proto(3, shape)
    message = _proto(1, model.encode()) + _proto(5, tensor) + _proto(7, b"\x07" * content_bytes)
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _proto(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


class CallHeads:
    """Header blocks of one connection's calls."""

    def __init__(self, authority: str, key: str) -> None:
        kept = (
            (":path", METHOD),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "penstock-bench/1"),
            ("authorization", f"Bearer {key}"),
            ("grpc-timeout", "10S"),
        )
        self._first = b"".join(_literal(0x40, name.encode(), value.encode()) for name, value in kept)
        self._later = bytes(0x80 | (_FIRST_INDEX + len(kept) - 1 - at) for at in range(len(kept)))

    def block(self, index: int) -> bytes:
        """Return the next call's head."""
        kept, self._first = self._first or self._later, b""
        trace = _literal(0, b"traceparent", traceparent(index).encode())
        return _METHOD_POST + _SCHEME_HTTP + kept + trace + _literal(0, b"x-user-id", _USERS[index % 997])


def _literal(representation: int, name: bytes, value: bytes) -> bytes:
    return bytes((representation, len(name))) + name + bytes((len(value),)) + value


@dataclass(slots=True)
class Calls:
    """What calls are made, and what came of them.

    Attributes:
        message: of each call, with its prefix.
        answer: of each call, with its prefix.
        until_s: none begins later.
    """

    key: str
    message: bytes
    answer: bytes
    until_s: float
    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    begun: int = 0


class _Connection(asyncio.Protocol):
    """Makes a call when the last one has ended."""

    def __init__(self, calls: Calls, authority: str, done: asyncio.Future[None]) -> None:
        self._calls = calls
        self._heads = CallHeads(authority, calls.key)
        self._done = done
        self._stream = -1
        self._pending = b""
        self._body = b""
        self._began_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        room = (2**30).to_bytes(4, "big")
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0) + frame(_WINDOW_UPDATE, 0, 0, room))
        self._call()

    def _call(self) -> None:
        calls = self._calls
        self._began_s = time.monotonic()
        if self._began_s >= calls.until_s:
            self._transport.close()
            return
        self._stream += 2
        self._body = b""
        block = self._heads.block(calls.begun)
        calls.begun += 1
        head = frame(_HEADERS, _END_HEADERS, self._stream, block)
        self._transport.write(head + frame(_DATA, _END_STREAM, self._stream, calls.message))

    def data_received(self, data: bytes) -> None:
        data = self._pending + data
        at = 0
        while len(data) - at >= _HEADER_BYTES:
            end = at + _HEADER_BYTES + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            self._on_frame(data[at + 3], data[at + 4], data[at + _HEADER_BYTES : end])
            at = end
        self._pending = data[at:]

    def _on_frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._body += payload
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            self._calls.latencies_s.append(time.monotonic() - self._began_s)
            self._calls.failed += self._body != self._calls.answer
            self._call()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.monotonic() < self._calls.until_s:
            self._calls.failed += 1
        if not self._done.done():
            self._done.set_result(None)


async def run(address: str, calls: Calls, connections: int) -> None:
    """Make calls over so many connections until their time is over."""
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    done: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    for one in done:
        await loop.create_connection(lambda one=one: _Connection(calls, address, one), host, int(port))  # type: ignore[misc]  # a default binds it
    await asyncio.gather(*done)
