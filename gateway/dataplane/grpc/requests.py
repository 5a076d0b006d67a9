"""A call's fields as the request that the rest of the gateway knows: what is gRPC's own is taken out or translated."""

from __future__ import annotations

import re

from model_pod.wire.http1 import RequestHead
from model_pod.wire.refusals import Refused
from telemetry.conventions import TIMEOUT_MS
from telemetry.http2.fields import Head
from telemetry.http2.header_blocks import Fields

PREFIX_BYTES = 5
ENCODINGS = b"identity,gzip"
_GRPC_TYPE = re.compile(rb"application/grpc(?:\+proto)?(?:;|\Z)")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])\Z")
_MS_PER_UNIT = {b"H": 3_600_000.0, b"M": 60_000.0, b"S": 1000.0, b"m": 1.0, b"u": 1e-3, b"n": 1e-6}
_MAX_TIMEOUT_MS = 10**11
_TIMEOUT_FIELD = TIMEOUT_MS.encode()
# Between us and the caller; `grpc-` is gRPC's own, of which the pod gets what we say.
_NOT_A_HEADER = frozenset({b"te", b"content-type", b"content-length", b"expect", b"host"})
_OF_GRPC = b"grpc-"
_MAX_NAMES = 4096
POD_TYPE = b"application/grpc"
METHOD_FIELD = b"grpc-method"
ENCODING_FIELD = b"grpc-encoding"


class _Headers(dict[bytes, bool]):
    """Which fields of a call are header fields of its request: names recur, so each is judged once."""

    def __missing__(self, name: bytes) -> bool:
        is_header = name not in _NOT_A_HEADER and not name.startswith(_OF_GRPC)
        if len(self) < _MAX_NAMES:
            self[name] = is_header
        return is_header


_is_header = _Headers()


def is_grpc(head: Head) -> bool:
    """Whether a request is a call: by its content type, as gRPC's protocol says it."""
    return head.method == b"POST" and _GRPC_TYPE.match(value_of(head.fields, b"content-type")) is not None


def value_of(fields: Fields, name: bytes) -> bytes:
    """Return the first value of a field, b"" when it is not there."""
    for known, value in fields:
        if known == name:
            return value
    return b""


def timeout_ms(fields: Fields) -> int | None:
    """Return the caller's time, rounded down; None when it gives none.

    Raises:
        Refused: ``bad_header``.
    """
    given = value_of(fields, b"grpc-timeout")
    if not given:
        return None
    written = _TIMEOUT.match(given)
    if written is None:
        raise Refused("bad_header", "grpc-timeout must be up to 8 digits and one of H, M, S, m, u, n")
    return min(int(int(written[1]) * _MS_PER_UNIT[written[2]]), _MAX_TIMEOUT_MS)


def encoding_of(fields: Fields) -> bytes:
    """Return how the caller compresses messages.

    Raises:
        Refused: ``encoding_not_supported``.
    """
    encoding = value_of(fields, ENCODING_FIELD) or b"identity"
    if encoding not in ENCODINGS.split(b","):
        raise Refused("encoding_not_supported", f"messages may be compressed by {ENCODINGS.decode()}")
    return encoding


def to_http(head: Head, target: str, method: str, body_bytes: int, *, to_pod: bool) -> RequestHead:
    """Return a call as a request.

    Args:
        method: of gRPC.
        body_bytes: of its message with the prefix.
        to_pod: the message goes along; else the request has no body.

    Raises:
        Refused: ``bad_header``.
    """
    is_header = _is_header
    fields = [pair for pair in head.fields if is_header[pair[0]]]
    if to_pod:
        fields += [(b"content-type", POD_TYPE), (METHOD_FIELD, method.encode())]
        if (encoding := encoding_of(head.fields)) != b"identity":
            fields.append((ENCODING_FIELD, encoding))
    values = dict(fields)
    if len(values) != len(fields):
        _refuse_repeated(fields)
    asked_ms = timeout_ms(head.fields)
    if asked_ms is not None and _TIMEOUT_FIELD not in values:
        values[_TIMEOUT_FIELD] = b"%d" % asked_ms
    request = RequestHead("POST" if to_pod else "GET", target, fields, values, 1, True)
    if to_pod:
        request.content_length = body_bytes
    return request


# Where two are there, whoever reads the first and whoever reads the last would not mean the same.
_ONCE = frozenset({b"authorization", b"idempotency-key", b"penstock-version", _TIMEOUT_FIELD})


def _refuse_repeated(fields: Fields) -> None:
    seen: set[bytes] = set()
    for name, _ in fields:
        if name in seen and name in _ONCE:
            raise Refused("bad_header", f"{name.decode()} is there twice")
        seen.add(name)
