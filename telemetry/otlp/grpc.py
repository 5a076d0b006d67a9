"""OTLP over gRPC as bytes: the message of a call, and the fields that end one. It knows no connection.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from telemetry.http2.fields import Head, field
from telemetry.otlp.encode import encode_status
from telemetry.otlp.receive import RETRY_AFTER_S, Code, Refused, larger_than

EXPORT_SPANS = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_OTHERS = {
    b"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "Metrics",
    b"/opentelemetry.proto.collector.logs.v1.LogsService/Export": "Logs",
    b"/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export": "Profiles",
}
PREFIX_BYTES = 5
ENCODINGS = ("identity", "gzip")

# :status 200, which the static table has whole.
ANSWER_HEAD = b"\x88" + field(b"content-type", b"application/grpc") + field(b"grpc-accept-encoding", b"identity,gzip")
OK_TRAILERS = field(b"grpc-status", b"0")
NOT_GRPC = field(b":status", b"415") + field(b"content-type", b"text/plain; charset=utf-8")
ONLY_GRPC = b"over HTTP/2 only gRPC is spoken here: POST with content-type application/grpc\n"
_MESSAGE_CHARACTERS = 1024
_UNIMPLEMENTED = 12
_is_grpc_type = re.compile(rb"application/grpc(?:\+proto)?(?:;|\Z)").match
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("%")}


def is_grpc(head: Head) -> bool:
    """Whether a request is a call: by its content type, as gRPC's protocol says it."""
    return head.method == b"POST" and _is_grpc_type(_fields(head).get(b"content-type", b"")) is not None


def why_unknown(path: bytes) -> bytes:
    """Return the fields that answer a call of another method than ``EXPORT_SPANS``."""
    other = _OTHERS.get(path)
    said = f"{other} are not taken here, only spans are." if other else f"No method is at {path.decode('latin-1')}."
    return ANSWER_HEAD + _ending(_UNIMPLEMENTED, said)


def packing_of(head: Head) -> str:
    """Return how a call packs its messages: ``identity`` or ``gzip``.

    Raises:
        Refused: some other way.
    """
    packing = _fields(head).get(b"grpc-encoding", b"identity").decode("latin-1").lower()
    if packing not in ENCODINGS:
        raise Refused(415, Code.INVALID_ARGUMENT, f"Messages are packed by one of {', '.join(ENCODINGS)}.")
    return packing


def message_of(body: bytes | bytearray, packing: str, max_bytes: int) -> tuple[str, bytes]:
    """Return how the one message of a call is packed, and what it holds.

    Raises:
        Refused: it is not one whole message of that length.
    """
    length = int.from_bytes(body[1:PREFIX_BYTES])
    if length > max_bytes:
        raise larger_than(max_bytes)
    if len(body) < PREFIX_BYTES or len(body) != PREFIX_BYTES + length:
        raise Refused(400, Code.INVALID_ARGUMENT, "A call has one message, and that is not whole.")
    if body[0] > 1 or (body[0] == 1 and packing == "identity"):
        raise Refused(400, Code.INVALID_ARGUMENT, "The message is packed, and grpc-encoding does not say how.")
    return (packing if body[0] else "identity"), bytes(body[PREFIX_BYTES:])


def whole_message(content: bytes) -> bytes:
    """Return a message with its prefix, not packed."""
    return b"\x00" + len(content).to_bytes(PREFIX_BYTES - 1) + content


def refusal(refused: Refused) -> bytes:
    """Return the fields of an answer that is a refusal; whose sender may come again is told when."""
    may_come_again = refused.code is Code.UNAVAILABLE
    ending = _ending(refused.code, str(refused))
    if may_come_again:
        status = encode_status(refused.code, str(refused), RETRY_AFTER_S)
        ending += field(b"grpc-status-details-bin", base64.b64encode(status).rstrip(b"="))
    return ANSWER_HEAD + ending


def _ending(code: int, message: str) -> bytes:
    return field(b"grpc-status", b"%d" % code) + field(b"grpc-message", _escaped(message[:_MESSAGE_CHARACTERS]))


def _escaped(message: str) -> bytes:
    """Return a message as gRPC writes it: UTF-8, where all but printable ASCII is escaped."""
    return b"".join([b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in message.encode()])


def _fields(head: Head) -> Mapping[bytes, bytes]:
    return dict(reversed(head.fields))  # of two with one name the first holds
