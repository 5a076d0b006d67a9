"""The link: many requests at once over one connection between a gateway worker and a pod, as frames.

A worker that knows the pod to speak the link (``PodStatus.link``) opens a connection to the pod's one address and sends
``PREFACE``, which no HTTP request begins with; the pod answers with it. Then frames go both ways:

    u32 payload_bytes, u32 stream, u32 head_bytes, u8 kind (with ``LAST``), head, body

all little endian; ``head_bytes`` of the payload are the head, the rest is body. A stream is one request and its answer;
its number is the worker's choice and is not used again on the connection. ``docs/reference/link.md`` is the whole
description.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from msgspec import Struct

LINK_VERSION = 1
PREFACE = b"PENSTOCK-LINK/1\r\n"
# Of a stream's body that its reader has not credited; so one stream holds up the others by so much at most.
WINDOW_BYTES = 64 * 1024
# A reader credits what it took once it is so much: a frame per half window, not per piece.
CREDIT_BYTES = WINDOW_BYTES // 2
MAX_HEAD_BYTES = 256 * 1024
MAX_STREAMS = 4096

REQUEST = 1  # worker to pod: head ``PodRequest``, then the body's first bytes
ANSWER = 2  # pod to worker: head ``PodAnswer``, then the body's first bytes
DATA = 3  # either: more of the body; the last of an answer made as it goes may have the head ``PodCharge``
RESET = 4  # either, head ``Reset``: the stream ends here, whatever was on its way
CREDIT = 5  # either, head ``u32``: the reader took so many bytes of the stream's body
LEAVING = 6  # pod to worker, stream 0: begin nothing new on this connection
LAST = 0x80  # with REQUEST, ANSWER, DATA: the body ends with this frame

_HEADER = struct.Struct("<IIIB")
_CREDIT = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
frame_header: Final = _HEADER.pack
"""Bytes of the payload, stream, bytes of the head in it, kind: what a frame begins with."""
NOT_TOLD = -1

Buffer = bytes | bytearray | memoryview
Frame = tuple[int, int, bytes, bytes]
"""Kind with ``LAST``, stream, head, body."""


class BadLink(Exception):
    """The other end sent what is no frame of the link; the connection cannot be trusted any further."""


class PodRequest(Struct, frozen=True, array_like=True, gc=False):
    """A request as a pod gets it.

    Attributes:
        target: origin form, as the client wrote it.
        tenant: who calls.
        traceparent: the attempt's span as a W3C value.
        timeout_ms: the caller's remaining time.
        content_length: of the body; ``NOT_TOLD`` when the client sends it in chunks.
        idempotency_key: under which the pod keeps the outcome, unique among tenants; "" keeps none.
        fields: what of the client's header fields goes on, in its spelling.
    """

    method: str
    target: str
    request_id: str
    tenant: str
    traceparent: str
    timeout_ms: int
    content_length: int
    idempotency_key: str
    fields: list[tuple[bytes, bytes]]


class PodAnswer(Struct, frozen=True, array_like=True, gc=False):
    """The head of a pod's answer.

    Attributes:
        phrase: the handler's, "" for the status's usual one.
        reason: of the registry, when it is a refusal of the pod; "" for an answer of the model.
        fields: whole header lines for the client, each with its CRLF, without those of framing and connection.
        timing: value of ``server-timing``, b"" without one.
        content_length: of the body; ``NOT_TOLD`` when it comes as it is made.
        device_us: microseconds of the device that the request is charged; ``NOT_TOLD`` when the pod cannot say.
        tokens: that the handler counted.
        queued_rows: rows that wait in the pod or run there at this moment.
        ahead_us: microseconds of the device that those probably take.
        cold: the request met a cold start: the model was not loaded when it came. None when the pod does not say.
    """

    status: int
    phrase: str
    reason: str
    fields: bytes
    timing: bytes
    content_length: int
    device_us: int = 0
    tokens: int = 0
    queued_rows: int = 0
    ahead_us: int = 0
    cold: bool | None = None


class PodCharge(Struct, frozen=True, array_like=True, gc=False):
    """What an answer cost that came as it was made, as the head of its last DATA frame; fields as in ``PodAnswer``."""

    device_us: int = 0
    tokens: int = 0
    queued_rows: int = 0
    ahead_us: int = 0


class Reset(Struct, frozen=True, array_like=True, gc=False):
    """Why a stream ends early.

    Attributes:
        reason: of the registry; "client_gone" from a worker whose caller left.
        has_run: the request may have been run; a pod says False of what it never let in, and it may go elsewhere.
        device_us: microseconds of the device that it is charged; ``NOT_TOLD`` when the pod cannot say.
        tokens: that the handler counted.
    """

    reason: str
    has_run: bool = True
    device_us: int = NOT_TOLD
    tokens: int = 0


encode_head = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(PodRequest).decode
decode_answer = msgspec.msgpack.Decoder(PodAnswer).decode
decode_charge = msgspec.msgpack.Decoder(PodCharge).decode
decode_reset = msgspec.msgpack.Decoder(Reset).decode


def frame(kind: int, stream: int, head: bytes = b"", body: Buffer = b"") -> list[Buffer]:
    """Return a frame as pieces to write."""
    prefix = _HEADER.pack(len(head) + len(body), stream, len(head), kind) + head
    return [prefix, body] if len(body) else [prefix]


def credit(stream: int, byte_count: int) -> bytes:
    """Return the frame that says that so much of a stream's body was taken."""
    return _HEADER.pack(_CREDIT.size, stream, _CREDIT.size, CREDIT) + _CREDIT.pack(byte_count)


def credited(head: bytes) -> int:
    """Return what a CREDIT frame credits; raises ``BadLink``."""
    if len(head) != _CREDIT.size:
        raise BadLink("a credit is not of four bytes")
    byte_count: int = _CREDIT.unpack(head)[0]
    return byte_count


class FrameReader:
    """Frames from whatever the socket gave."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole now.

        Raises:
            BadLink: a frame is larger than any of ours.
        """
        if self._pending:
            data = self._pending + data
        frames: list[Frame] = []
        at, end = 0, len(data)
        unpack_from = _HEADER.unpack_from
        while end - at >= HEADER_BYTES:
            payload_bytes, stream, head_bytes, kind = unpack_from(data, at)
            if head_bytes > MAX_HEAD_BYTES or not 0 <= payload_bytes - head_bytes <= WINDOW_BYTES:
                raise BadLink(f"a frame of {payload_bytes} bytes with a head of {head_bytes} is over the limit")
            head_at = at + HEADER_BYTES
            stop = head_at + payload_bytes
            if stop > end:
                break
            body_at = head_at + head_bytes
            frames.append((kind, stream, data[head_at:body_at], data[body_at:stop]))
            at = stop
        self._pending = data[at:]
        return frames
