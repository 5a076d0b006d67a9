"""What the gateway tells a caller in the head of every answer, whoever made the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus

from gateway.dataplane.tracing import Trace
from gateway.decide.admission import Room
from gateway.decide.decision import Decision
from telemetry import conventions

_STATUS_LINES = {one.value: b"HTTP/1.1 %d %b\r\n" % (one.value, one.phrase.encode()) for one in HTTPStatus}
# traceresponse: https://www.w3.org/TR/trace-context-2/ section 3.5.
_OWN = (
    f"{conventions.REQUEST_ID}: %s\r\n{conventions.TRACERESPONSE}: 00-%s-%s-%s\r\n{conventions.DECISION}: %s\r\n"
    f"%s{conventions.SERVER_TIMING}: gateway;dur=%.3f"
)


def own_fields(
    request_id: str,
    trace: Trace,
    decided: str,
    limits: str,
    in_gateway_s: float,
    waited_s: float = 0.0,
    pod_timing: bytes = b"",
) -> bytes:
    """Return the gateway's own header lines.

    Args:
        decided: value of ``penstock-decision``.
        limits: from ``limit_fields``.
        in_gateway_s: seconds of the request in which no pod had it, and it waited for none.
        waited_s: for a pod to have room.
        pod_timing: value of the pod's ``server-timing``, which ours goes before.
    """
    flags = "01" if trace.sampled else "00"
    lines = _OWN % (request_id, trace.trace_id, trace.span_id, flags, decided, limits, in_gateway_s * 1000)
    if waited_s:
        lines += f", queue-gateway;dur={waited_s * 1000:.3f}"
    return lines.encode() + (b", %b\r\n" % pod_timing if pod_timing else b"\r\n")


def limit_fields(policy: str, rooms: Sequence[Room]) -> str:
    """Return ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11) as header lines.

    They tell the very numbers that decided, as they are once the request is charged.
    """
    if not rooms:
        return ""
    told = ", ".join(
        [
            f'"{room.limit}";r={room.left};t={math.ceil(room.reset_s)}'
            if room.reset_s
            else f'"{room.limit}";r={room.left}'
            for room in rooms
        ]
    )
    return f"ratelimit-policy: {policy}\r\nratelimit: {told}\r\n"


def usual_fields(decided: str, policy: str, rooms: Sequence[Room]) -> str:
    """Return ``own_fields`` of answers that differ in numbers alone, as a pattern for ``%``.

    It takes the request's id, trace, span and flags, the pod's name, what is left of each limit, and the milliseconds
    in the gateway; the line's end or the pod's timing is to follow.
    """
    told = ", ".join(
        [f'"{room.limit}";r=%d' + (f";t={math.ceil(room.reset_s)}" if room.reset_s else "") for room in _escaped(rooms)]
    )
    limits = f"ratelimit-policy: {policy.replace('%', '%%')}\r\nratelimit: {told}\r\n" if rooms else ""
    decided = decided.replace("%", "%%")
    return _OWN.replace("%.3f", "%%.3f") % ("%s", "%s", "%s", "%s", f"{decided};pod=%s;attempts=1", limits)


def _escaped(rooms: Sequence[Room]) -> list[Room]:
    return [Room(room.limit.replace("%", "%%"), room.left, room.reset_s) for room in rooms]


def decision_value(decision: Decision, pod: str = "", attempts: int = 0, refused: str = "") -> str:
    """Return the value of ``penstock-decision``: what was decided and why, for people and their tools.

    Args:
        refused: why the gateway or its pod refused what policy let in.
    """
    told = f"gen={decision.generation}"
    if decision.version:
        told = f"{told};model={decision.model};version={decision.version};why={decision.arm}"
        if decision.rule:
            told = f'{told};rule="{decision.rule}"'
    if decision.refusal is not None or decision.observed or decision.warned or decision.demoted_by:
        told += "".join(_exceptions(decision))
    if refused and decision.refusal is None:
        told = f"{told};refused={refused}"
    return f"{told};pod={pod};attempts={attempts}" if attempts else told


def _exceptions(decision: Decision) -> list[str]:
    """Return what most decisions have not."""
    parts = []
    if decision.refusal is not None:
        parts.append(f";refused={decision.refusal.reason}")
        parts += [f';limit="{limit}"' for limit in decision.refusal.limits]
    parts += [f';over="{limit}"' for limit in decision.observed]
    parts += [f';warn="{quota}"' for quota in decision.warned]
    if decision.demoted_by:
        parts.append(f';demoted="{decision.demoted_by}"')
    return parts


def status_line(status: int, phrase: bytes) -> bytes:
    """Return the first line of an HTTP/1.1 answer; no phrase stands for the standard one."""
    if not phrase and (line := _STATUS_LINES.get(status)) is not None:
        return line
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)
