"""W3C Trace Context: reading ``traceparent`` strictly and writing it and ``traceresponse``.

Source: https://www.w3.org/TR/trace-context-2/ (sections 3.2 and 3.4).
"""

from __future__ import annotations

import re

from msgspec import Struct

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class TraceContext(Struct, frozen=True):
    """Where in a trace we are.

    Attributes:
        trace_id: 32 lower-case hex digits, not all zero.
        span_id: 16 lower-case hex digits, not all zero.
        sampled: the caller records this trace.
    """

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(value: str) -> TraceContext | None:
    """Return the caller's context, or None when the field is absent or breaks a rule (then a new trace begins)."""
    match = _TRACEPARENT.match(value)
    if not match:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def format_context(context: TraceContext) -> str:
    """Return the value of ``traceparent`` or ``traceresponse``."""
    return f"00-{context.trace_id}-{context.span_id}-{'01' if context.sampled else '00'}"
