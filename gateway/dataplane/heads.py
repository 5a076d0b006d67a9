"""Heads: what the gateway writes to a pod and to a client. Rebuilt from parsed fields; no byte is passed on unread."""

from __future__ import annotations

import math
from http import HTTPStatus

from gateway.dataplane.tracing import Trace
from gateway.decide.decision import Decision
from model_pod.wire.http1 import RequestHead, ResponseHead
from model_pod.wire.http1.head import HOP_BY_HOP, Fields
from telemetry import conventions
from telemetry.trace_context import traceparent

# Never passed to a pod: framing is ours, and identity comes from the key alone (clients may write what they like).
_NOT_FOR_PODS = HOP_BY_HOP | {
    b"authorization",
    b"baggage",
    b"content-length",
    b"expect",
    b"forwarded",
    b"host",
    b"traceparent",
    b"tracestate",
    b"via",
    b"x-real-ip",
    b"x-request-id",
}
# Fields of ours, and those by which a hop would tell the next one who calls.
_OURS = (b"penstock-", b"x-forwarded-", b"x-tenant")
_USAGE = conventions.USAGE.encode()
# TorchServe's sequence headers are spelled so; other names with an underscore are dropped, since what reads them
# later may not tell `_` from `-`.
_UNDERSCORES_KEPT = b"ts_"
_NOT_FOR_CLIENTS = HOP_BY_HOP | {
    b"content-length",
    b"date",
    b"ratelimit",
    b"ratelimit-policy",
    b"server",
    b"server-timing",
    b"x-request-id",
}

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def pod_request_head(
    request: RequestHead, request_id: str, trace: Trace, attempt_id: str, decision: Decision, timeout_s: float
) -> bytes:
    """Return the head of the request as a pod gets it; ``attempt_id`` is the span that its own are children of."""
    lines = [f"{request.method} {request.target} HTTP/1.1\r\nhost: pod\r\n".encode("latin-1")]
    drop = request.connection_names
    for name, value in request.fields:
        lower = name.lower()
        if lower in _NOT_FOR_PODS or lower in drop or lower.startswith(_OURS):
            continue
        if b"_" in lower and not lower.startswith(_UNDERSCORES_KEPT):
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    if request.chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif request.content_length is not None:
        lines.append(b"content-length: %d\r\n" % request.content_length)
    if trace.trace_state:
        lines.append(f"tracestate: {trace.trace_state}\r\n".encode("latin-1"))
    if trace.baggage:
        lines.append(f"baggage: {trace.baggage}\r\n".encode("latin-1"))
    lines.append(
        f"{conventions.REQUEST_ID}: {request_id}\r\n"
        f"{conventions.TRACEPARENT}: {traceparent(trace.trace_id, attempt_id, trace.sampled)}\r\n"
        f"{conventions.TENANT}: {decision.tenant}\r\n"
        f"{conventions.TIMEOUT_MS}: {max(1, int(timeout_s * 1000))}\r\n\r\n".encode("latin-1")
    )
    return b"".join(lines)


def client_head(
    status: int, phrase: bytes, fields: Fields, ours: bytes, framing: bytes, connection: bytes, date: bytes
) -> bytes:
    """Return the head of an answer as its client gets it.

    Args:
        fields: written before ours.
        ours: whole field lines.
        framing: ``content-length: N``, ``transfer-encoding: chunked`` or nothing, as a field line.
        connection: from ``connection_field``.
    """
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, phrase)]
    lines += [b"%b: %b\r\n" % field for field in fields]
    lines += [ours, framing, connection, b"date: %b\r\n\r\n" % date]
    return b"".join(lines)


def connection_field(request: RequestHead | None, *, keep_alive: bool) -> bytes:
    """Return the field line that says whether the connection lives on, where the client would not assume it."""
    if not keep_alive:
        return b"connection: close\r\n"
    return b"" if request is None or request.minor_version else b"connection: keep-alive\r\n"


def fields_for_client(response: ResponseHead) -> tuple[Fields, bytes, bytes]:
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
        if lower not in _NOT_FOR_CLIENTS and lower not in drop:
            fields.append((name, value))
    return fields, timing, usage


def limit_fields(decision: Decision) -> str:
    """Return ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11) as field lines.

    They tell the very numbers that decided, as they are once the request is charged.
    """
    if not decision.rooms:
        return ""
    rooms = ", ".join(
        f'"{room.limit}";r={room.left};t={math.ceil(room.reset_s)}' if room.reset_s else f'"{room.limit}";r={room.left}'
        for room in decision.rooms
    )
    return f"ratelimit-policy: {decision.policy}\r\nratelimit: {rooms}\r\n"


def phrase_of(status: int) -> bytes:
    """Return the standard reason phrase, "" for a status that has none."""
    return _PHRASES.get(status, b"")


def decision_value(decision: Decision, pod: str = "", attempts: int = 0) -> str:
    """Return the value of ``penstock-decision``: what was decided and why, for people and their tools."""
    parts = [f"gen={decision.generation}"]
    if decision.version:
        parts.append(f"model={decision.model};version={decision.version};why={decision.arm}")
    if decision.refusal is not None:
        parts.append(f"refused={decision.refusal.reason}")
        parts += [f'limit="{limit}"' for limit in decision.refusal.limits]
    parts += [f'over="{limit}"' for limit in decision.observed]
    parts += [f'warn="{quota}"' for quota in decision.warned]
    if decision.demoted_by:
        parts.append(f'demoted="{decision.demoted_by}"')
    if attempts:
        parts.append(f"pod={pod};attempts={attempts}")
    return ";".join(parts)
