"""Heads between the gateway and pods: rebuilt from parsed fields, so that no byte is passed on unread.

Pods are not trusted to keep to what a caller may be told, whichever protocol they speak.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from gateway.dataplane.tracing import Trace
from gateway.dataplane.usage import read_usage
from gateway.decide.decision import Decision
from model_pod.wire.http1 import RequestHead, ResponseHead
from model_pod.wire.http1.head import HOP_BY_HOP, NOT_FOR_CALLERS, Fields
from model_pod.wire.link import NOT_TOLD, PodAnswer, PodRequest
from model_pod.wire.refusals import REASON_HEADER, REASONS, Refused
from telemetry import conventions

# Never passed to a pod: framing is ours, and identity comes from the credential alone (callers may write what they
# like). The trace's and the idempotency key's fields are written anew.
_NOT_FOR_PODS = HOP_BY_HOP | {
    b"authorization",
    b"baggage",
    b"content-length",
    b"expect",
    b"forwarded",
    b"host",
    b"idempotency-key",
    b"traceparent",
    b"tracestate",
    b"via",
    b"x-real-ip",
    b"x-request-id",
}
# Fields of ours, and those by which a hop would tell the next one who calls.
_OURS = (b"penstock-", b"x-forwarded-", b"x-tenant")
# TorchServe's sequence headers are spelled so; other names with an underscore are dropped, since what reads them
# later may not tell `_` from `-`.
_UNDERSCORES_KEPT = b"ts_"
# What is remembered of names has a bound in number and in bytes; where made-up names fill it, all are judged anew.
_MAX_NAMES, _MAX_NAME_BYTES = 4096, 64
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_IDEMPOTENCY_KEY = re.compile(rb"\"?([\x21\x23-\x7e]{1,255})\"?")
# What a field's value may hold (RFC 9110 5.5).
_OF_VALUES = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
# What our own pods tell of most answers, found sooner than it is judged line by line.
_AS_OURS_TELL = re.compile(rb"content-type: [a-z0-9/+.; =-]+\r\n(?:penstock-usage: [a-z_=;0-9]+\r\n)?").fullmatch
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_PHRASE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_USAGE = conventions.USAGE.encode()
_REASON = REASON_HEADER.encode()


class _Judged(dict[bytes, bool]):
    """Names of fields as written, and whether they go on: names recur, so each is judged once."""

    def __init__(self, judge: Callable[[bytes], bool]) -> None:
        self._judge = judge

    def __missing__(self, name: bytes) -> bool:
        goes_on = self._judge(name.lower())
        if len(name) <= _MAX_NAME_BYTES:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[name] = goes_on
        return goes_on


def _is_for_pods(name: bytes) -> bool:
    if name in _NOT_FOR_PODS or name.startswith(_OURS):
        return False
    return b"_" not in name or name.startswith(_UNDERSCORES_KEPT)


def _may_be_told(name: bytes) -> bool:
    return name not in NOT_FOR_CALLERS and _TOKEN.fullmatch(name) is not None


_passed = _Judged(_is_for_pods)
goes_to_pods = _passed.__getitem__
"""Whether a client's field of that name, as written, goes on to a pod."""
_told = _Judged(_may_be_told)
# By the names of all fields, what takes out those that go on to a pod: a client names its fields alike every time.
_MAX_REMEMBERED, _MAX_REMEMBERED_BYTES = 1024, 1024
_passing: dict[tuple[bytes, ...], itemgetter[Any]] = {}


def pod_request(
    request: RequestHead,
    request_id: str,
    trace: Trace,
    attempt_id: str,
    decision: Decision,
    timeout_s: float,
    idempotency_key: str = "",
) -> PodRequest:
    """Return the request as a pod gets it; ``attempt_id`` is the span that its own are children of."""
    getter = _passing.get(request.names)
    fields = list(getter(request.fields)) if getter is not None else _fields_for_pods(request)
    drop = request.connection_names
    if drop and not drop <= HOP_BY_HOP:
        fields = [field for field in fields if field[0].lower() not in drop]
    if trace.trace_state:
        fields.append((b"tracestate", trace.trace_state.encode("latin-1")))
    if trace.baggage:
        fields.append((b"baggage", trace.baggage.encode("latin-1")))
    return PodRequest(
        request.method,
        request.target,
        request_id,
        decision.tenant,
        f"00-{trace.trace_id}-{attempt_id}-01" if trace.sampled else f"00-{trace.trace_id}-{attempt_id}-00",
        max(1, int(timeout_s * 1000)),
        NOT_TOLD if request.chunked else request.content_length or 0,
        idempotency_key,
        fields,
    )


def _fields_for_pods(request: RequestHead) -> Fields:
    """Return the fields that go on, and remember which these are by the names of all."""
    passed = [index for index, (name, _) in enumerate(request.fields) if _passed[name]]
    # An itemgetter of less than two is another thing.
    if request.names and len(passed) > 1 and sum(map(len, request.names)) <= _MAX_REMEMBERED_BYTES:
        if len(_passing) >= _MAX_REMEMBERED:
            _passing.clear()
        _passing[request.names] = itemgetter(*passed)
    return [request.fields[index] for index in passed]


def idempotency_key(tenant: str, shown: bytes) -> str:
    """Return the key under which a pod keeps the outcome: what the caller shows is its tenant's own.

    Source: draft-ietf-httpapi-idempotency-key-header-07, whose value is a string in quotes; without is accepted too.

    Raises:
        Refused: ``bad_header``.
    """
    match = _IDEMPOTENCY_KEY.fullmatch(shown.strip(b" \t"))
    if match is None:
        raise Refused("bad_header", "idempotency-key must be 1 to 255 visible characters, such as a UUID")
    return f"{tenant}/{match[1].decode('ascii')}"


def http_head(request: PodRequest) -> bytes:
    """Return the head by which a pod gets a request over HTTP/1.1."""
    lines = [f"{request.method} {request.target} HTTP/1.1\r\nhost: pod\r\n".encode("latin-1")]
    lines += [b"%b: %b\r\n" % field for field in request.fields]
    if request.content_length == NOT_TOLD:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif request.content_length or request.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        lines.append(b"content-length: %d\r\n" % request.content_length)
    if request.idempotency_key:
        lines.append(f"idempotency-key: {request.idempotency_key}\r\n".encode("latin-1"))
    lines.append(
        f"{conventions.REQUEST_ID}: {request.request_id}\r\n"
        f"{conventions.TRACEPARENT}: {request.traceparent}\r\n"
        f"{conventions.TENANT}: {request.tenant}\r\n"
        f"{conventions.TIMEOUT_MS}: {request.timeout_ms}\r\n\r\n".encode("latin-1")
    )
    return b"".join(lines)


def answer_of(response: ResponseHead, *, has_body: bool) -> PodAnswer:
    """Return the head of a pod's HTTP/1.1 answer as the link would tell it."""
    fields, timing, usage = _for_clients(response)
    reason = _known_reason(response) if response.status >= 400 else ""
    # A pod that refused and tells no cost has not let the request near the model; one that answers had no device.
    device_us, tokens = read_usage(usage) if usage else (NOT_TOLD if reason else 0, 0)
    length = response.content_length
    if length is None:
        length = NOT_TOLD if has_body else 0
    block = b"".join([b"%b: %b\r\n" % field for field in fields])
    return PodAnswer(
        response.status, response.phrase.decode("latin-1"), reason, block, timing, length, device_us, tokens
    )


def is_for_clients(answer: PodAnswer) -> bool:
    """Whether the header lines that a pod gives for its caller are lines, and none is the gateway's to write."""
    return (
        (_AS_OURS_TELL(answer.fields) is not None or _are_for_clients(answer.fields))
        and _VALUE(answer.timing) is not None
        and (not answer.phrase or _PHRASE.fullmatch(answer.phrase) is not None)
    )


def _are_for_clients(fields: bytes) -> bool:
    *lines, rest = fields.split(b"\r\n")
    told = _told
    return (
        not rest
        and fields.translate(None, _OF_VALUES) == b"\r\n" * len(lines)
        and all(told[line.partition(b": ")[0]] for line in lines)
    )


def _for_clients(response: ResponseHead) -> tuple[Fields, bytes, bytes]:
    """Return the fields of a pod's answer that go on, its ``server-timing`` and its ``penstock-usage``."""
    fields: Fields = []
    timing = usage = b""
    drop: frozenset[bytes] = frozenset()
    for name, value in response.fields:
        if name.lower() == b"connection":
            drop |= {part.strip(b" \t").lower() for part in value.split(b",")}
    for name, value in response.fields:
        lower = name.lower()
        if lower == b"server-timing":
            timing = value
        elif lower == _USAGE:
            usage = value
        if lower not in NOT_FOR_CALLERS and lower not in drop:
            fields.append((name, value))
    return fields, timing, usage


def _known_reason(response: ResponseHead) -> str:
    """Return why a pod refused; "" where its handler chose the status, whatever it says of itself."""
    named = next((value for name, value in response.fields if name.lower() == _REASON), b"").decode("latin-1")
    return named if named in REASONS else ""
