"""Answers of calls: header lines as fields, and refusals, which are JSON everywhere else, as a code and a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dataplane.grpc.status import Status, status_of
from model_pod.wire.refusals import REASON_HEADER
from telemetry.http2.fields import counted, field, named

# :status 200, which the static table has whole.
_STATUS_200 = b"\x88"
CALL_HEAD = _STATUS_200 + field(b"content-type", b"application/grpc") + field(b"grpc-accept-encoding", b"identity,gzip")
_GRPC_ANSWER = b"content-type: application/grpc\r\n"
# Header names that would mean something else in gRPC: its own, and those whose values would have to be base64.
_NOT_METADATA = re.compile(rb"(?:content-type|content-length|grpc-[^:]*|[^:]*-bin|:[^:]*)\Z")
_PLAIN = re.compile(rb"[\t\x20-\x7e]*\Z")
_PLAIN_LINES = re.compile(rb"[\r\n\x20-\x7e]*\Z")
_MAX_NAMES = 4096
_PREFIX_BYTES = 4
MAX_JSON_BYTES = 64 * 1024


class Ending(Struct, frozen=True):
    """How a call failed."""

    status: Status
    message: str
    reason: str = ""


def is_message(fields: bytes) -> bool:
    """Whether an answer with these header lines is made of gRPC's messages."""
    return _GRPC_ANSWER in fields.lower()


def metadata(fields: bytes) -> bytes:
    """Return header lines as fields of an answer, as a header block; what metadata cannot carry is left out."""
    block = []
    is_plain = _PLAIN_LINES.match(fields)
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        start = _starts[name]
        if start and (is_plain or _PLAIN.match(value)):
            block += [start, counted(value.strip(b" \t"))]
    return b"".join(block)


class _Starts(dict[bytes, bytes]):
    """The first part of each field, by its name as written, b"" where metadata has no such name: names recur."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        start = named(lower) if lower and not _NOT_METADATA.match(lower) else b""
        if len(self) < _MAX_NAMES:
            self[name] = start
        return start


_starts = _Starts()


def whole_message(content: bytes) -> bytes:
    """Return a message with its prefix, not compressed."""
    return b"\x00" + len(content).to_bytes(_PREFIX_BYTES) + content


def json_of(body: bytes | memoryview) -> Mapping[str, Any]:
    """Return the object that a JSON body is; of a list one that has it as ``items``, of anything else an empty one."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    if isinstance(told, list):
        return {"items": told}
    return told if isinstance(told, dict) else {}


def ending_of(http_status: int, body: bytes | memoryview) -> Ending:
    """Return what an answer that is no message says of why there is none."""
    if http_status < 400:
        return Ending(Status.INTERNAL, "the pod does not speak gRPC; call this model over HTTP", "pod_bad_answer")
    told = json_of(body)
    message = told.get("message") or told.get("error") or f"the model's server answered HTTP status {http_status}"
    return Ending(status_of(http_status), str(message), str(told.get("reason", "")))


def reason_field(reason: str) -> bytes:
    """Return the field that names a reason."""
    return field(REASON_HEADER.encode(), reason.encode()) if reason else b""
