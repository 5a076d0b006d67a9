"""Decides what a receiver of spans answers, over HTTP (``POST /v1/traces``) or gRPC; others bring the server.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp (1.10).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum

from google.protobuf.json_format import MessageToJson
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.otlp.count import TooMany
from telemetry.otlp.decode import Decoded, NotOtlp, decode_json, decode_protobuf
from telemetry.otlp.encode import encode_status
from telemetry.span import Span

PATH = "/v1/traces"
MAX_BYTES = 20 * 2**20
"""Of a body, after it is unpacked, as the protocol recommends; who has little memory says less. How many messages it
may hold is in ``telemetry.otlp.count``."""
MAX_JSON_BYTES = 2 * 2**20
RETRY_AFTER_S = 1
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MEMBERS = 1024
_PIECE_BYTES = 64 * 1024

Take = Callable[[list[Span]], int]
"""Keeps spans and returns for how many of them it had no room: the last ones."""


class Encoding(Enum):
    """How a message is written; the values are content types."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


class Code(IntEnum):
    """What went wrong, as ``google.rpc.Code`` numbers it."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Answer(Struct, frozen=True):
    """What to answer.

    Attributes:
        headers: beside ``content-type`` and ``content-length``, with lower-case names.
    """

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """A request is not taken; the text is for its sender.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, code: Code, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def answer(headers: Mapping[str, str], body: bytes, take: Take, max_bytes: int = MAX_BYTES) -> Answer:
    """Decode a request, hand its spans on and say what became of them.

    Args:
        headers: of the request, with lower-case names.
        body: as it came, at most ``max_bytes``; a longer one is answered before it is read, by ``too_large``.
        take: keeps the spans; it is asked once, and not at all when there are none.
    """
    encoding = _encoding(headers)
    if encoding is None:
        allowed = " or ".join(encoding.value for encoding in Encoding)
        return _refusal(Encoding.PROTOBUF, Refused(415, Code.INVALID_ARGUMENT, f"Spans come as {allowed}."))
    try:
        message = taken(encoding, headers.get("content-encoding", ""), body, take, max_bytes)
        return Answer(200, encoding.value, message)
    except Refused as refused:
        return _refusal(encoding, refused)


def taken(encoding: Encoding, packing: str, body: bytes, take: Take, max_bytes: int = MAX_BYTES) -> bytes:
    """Decode a request, hand its spans on and return the message that answers it.

    Args:
        packing: how the body is packed: ``gzip``, or not at all.

    Raises:
        Refused: it is not taken, as a whole.
    """
    most_bytes = min(max_bytes, MAX_JSON_BYTES) if encoding is Encoding.JSON else max_bytes
    decoded = _decode(_unpacked(packing, body, most_bytes), encoding)
    return _success(encoding, decoded, _taken(decoded.spans, take))


def too_large(headers: Mapping[str, str], max_bytes: int = MAX_BYTES) -> Answer:
    """Return the answer to a body that is too long to be read."""
    return _refusal(_encoding(headers) or Encoding.PROTOBUF, larger_than(max_bytes))


def too_slow(headers: Mapping[str, str]) -> Answer:
    """Return the answer to a body that does not come to its end."""
    slow = Refused(408, Code.DEADLINE_EXCEEDED, "The body did not come in time.")
    return _refusal(_encoding(headers) or Encoding.PROTOBUF, slow)


def busy(headers: Mapping[str, str]) -> Answer:
    """Return the answer to a request that there is no time or room for now; its sender may come again."""
    return _refusal(_encoding(headers) or Encoding.PROTOBUF, no_time())


def no_time() -> Refused:
    """Return why a request is not even looked at now; its sender may come again."""
    return Refused(503, Code.UNAVAILABLE, "There is no time for spans now.")


def larger_than(max_bytes: int) -> Refused:
    """Return why a body of more bytes is not read."""
    return Refused(413, Code.RESOURCE_EXHAUSTED, f"A body has at most {max_bytes} bytes, after it is unpacked too.")


def _encoding(headers: Mapping[str, str]) -> Encoding | None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((encoding for encoding in Encoding if encoding.value == media_type), None)


def _unpacked(packing: str, body: bytes, max_bytes: int) -> bytes:
    match packing.strip().lower():
        case "" | "identity":
            unpacked = body
        case "gzip":
            unpacked = _gunzip(body, max_bytes)
        case _:
            raise Refused(415, Code.INVALID_ARGUMENT, "A body is packed with gzip or not at all.")
    if len(unpacked) > max_bytes:
        raise larger_than(max_bytes)
    return unpacked


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Return what one or several members hold, one after the other (RFC 1952, section 2.2)."""
    unpacked = bytearray()
    packed = memoryview(body)
    try:
        for _ in range(_GZIP_MEMBERS):
            packed = packed[_unpack_member(packed, unpacked, max_bytes) :]
            if not packed:
                return bytes(unpacked)
    except zlib.error:
        raise Refused(400, Code.INVALID_ARGUMENT, "The body is not gzip, as its content-encoding says.") from None
    raise Refused(400, Code.INVALID_ARGUMENT, f"A body has at most {_GZIP_MEMBERS} members of gzip.")


def _unpack_member(packed: memoryview, unpacked: bytearray, max_bytes: int) -> int:
    """Add what the first member holds, and return how long it is; it is fed in pieces, since each copies its rest."""
    unpacker = zlib.decompressobj(_GZIP)
    for at in range(0, len(packed), _PIECE_BYTES):
        # One byte more than allowed tells a body that is too large from one that just fits.
        unpacked += unpacker.decompress(packed[at : at + _PIECE_BYTES], max_bytes + 1 - len(unpacked))
        if len(unpacked) > max_bytes:
            raise larger_than(max_bytes)
        if unpacker.eof:
            return min(len(packed), at + _PIECE_BYTES) - len(unpacker.unused_data)
    raise Refused(400, Code.INVALID_ARGUMENT, "The body ends within a member of gzip.")


def _decode(body: bytes, encoding: Encoding) -> Decoded:
    if not body:  # a request without any span, in either encoding
        return Decoded([])
    try:
        return decode_json(body) if encoding is Encoding.JSON else decode_protobuf(body)
    except NotOtlp as error:
        raise Refused(400, Code.INVALID_ARGUMENT, str(error)) from None
    except TooMany as error:
        raise Refused(413, Code.RESOURCE_EXHAUSTED, str(error)) from None


def _taken(spans: list[Span], take: Take) -> int:
    """Return how many spans found no room; a sender may send them all again only if none did."""
    left_out = take(spans) if spans else 0
    if spans and left_out >= len(spans):
        raise Refused(503, Code.UNAVAILABLE, "There is no room for spans now.")
    return left_out


def _success(encoding: Encoding, decoded: Decoded, left_out: int) -> bytes:
    response = ExportTraceServiceResponse()
    if decoded.rejected or left_out:
        response.partial_success.rejected_spans = decoded.rejected + left_out
        response.partial_success.error_message = decoded.why or "There was no room for the last spans."
    is_json = encoding is Encoding.JSON
    return MessageToJson(response, indent=None).encode() if is_json else response.SerializeToString()


def _refusal(encoding: Encoding, refused: Refused) -> Answer:
    message = str(refused)
    if encoding is Encoding.JSON:
        body = json.dumps({"code": refused.code, "message": message}).encode()
    else:
        body = encode_status(refused.code, message)
    headers = (("retry-after", str(RETRY_AFTER_S)),) if refused.status == 503 else ()
    return Answer(refused.status, encoding.value, body, headers)
