"""How a call ends: our refusals as gRPC's codes, and trailers."""

from __future__ import annotations

from enum import IntEnum

from telemetry.http2.fields import field


class Status(IntEnum):
    """gRPC's codes, as far as we use them."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_BY_HTTP = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    405: Status.UNIMPLEMENTED,
    408: Status.DEADLINE_EXCEEDED,
    409: Status.ABORTED,
    413: Status.RESOURCE_EXHAUSTED,
    414: Status.INVALID_ARGUMENT,
    415: Status.INVALID_ARGUMENT,
    422: Status.INVALID_ARGUMENT,
    429: Status.RESOURCE_EXHAUSTED,
    431: Status.INVALID_ARGUMENT,
    499: Status.CANCELLED,
    501: Status.UNIMPLEMENTED,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
    507: Status.RESOURCE_EXHAUSTED,
}
MAX_MESSAGE_CHARS = 1024
_OK_TRAILERS = field(b"grpc-status", b"0")
_HEX = [b"%%%02X" % byte for byte in range(256)]
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("%")}


def status_of(http_status: int) -> Status:
    """Return the code that says what an HTTP status says."""
    usual = Status.FAILED_PRECONDITION if http_status < 500 else Status.INTERNAL
    return _BY_HTTP.get(http_status, usual)


def trailers(status: Status, message: str = "") -> bytes:
    """Return the fields that end a call, as a header block."""
    if status is Status.OK:
        return _OK_TRAILERS
    block = field(b"grpc-status", b"%d" % status)
    return block + field(b"grpc-message", percent_encoded(message[:MAX_MESSAGE_CHARS])) if message else block


def percent_encoded(message: str) -> bytes:
    """Return a message as gRPC writes it: UTF-8, where all but printable ASCII is escaped."""
    return b"".join([bytes((byte,)) if byte in _PLAIN else _HEX[byte] for byte in message.encode()])
