"""W3C Trace Context and Baggage: reading what callers send strictly, and what of it goes on.

Source: https://www.w3.org/TR/trace-context-2/ (sections 3.2 to 3.4) and https://www.w3.org/TR/baggage/ (section 3).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from msgspec import Struct

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\Z")
_LENGTH = 55  # of version 00
_ODD_DIGITS = "13579bdf"
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
# What must be passed on at least, and here at most.
_TRACESTATE_CHARACTERS, _TRACESTATE_MEMBERS = 512, 32
_BAGGAGE_CHARACTERS, _BAGGAGE_MEMBERS = 8192, 64
_TRACESTATE = re.compile(r"[\x20-\x7e\t]+\Z")

is_usual: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
"""Whether a ``traceparent`` is a whole one of version 00: then its trace's id is at 3, and its span's at 36."""


class TraceContext(Struct, frozen=True, gc=False):
    """Where in a trace we are.

    Attributes:
        trace_id: 32 lower-case hex digits, not all zero.
        span_id: 16 lower-case hex digits, not all zero.
        sampled: the caller records this trace.
    """

    trace_id: str
    span_id: str
    sampled: bool


class Inbound(Struct, frozen=True, gc=False):
    """What of a caller's context holds here.

    Attributes:
        trace_id: of the trace to join; "" begins a new one.
        parent_id: the caller's span in it; "" begins a new trace.
        sampled: the caller's choice; None leaves it to us.
        trace_state: to pass on as it is.
        link: ``traceparent`` of a trace that is not joined, but linked; "" for none.
    """

    trace_id: str = ""
    parent_id: str = ""
    sampled: bool | None = None
    trace_state: str = ""
    link: str = ""


NOTHING_INBOUND = Inbound()


def parse_traceparent(value: str) -> TraceContext | None:
    """Return the caller's context, or None when the field is absent or breaks a rule (then a new trace begins)."""
    if not _TRACEPARENT.match(value) or value.startswith("ff"):
        return None
    if len(value) > _LENGTH and value.startswith("00"):
        return None  # a later version may say more, this one not
    trace_id, span_id = value[3:35], value[36:52]
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, value[54] in _ODD_DIGITS)


def format_context(context: TraceContext) -> str:
    """Return the value of ``traceparent`` or ``traceresponse``."""
    return traceparent(context.trace_id, context.span_id, context.sampled)


def traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    """Return the value of ``traceparent`` or ``traceresponse``."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def inbound(callers: str, given: str, trace_state: str) -> Inbound:
    """Return what of a caller's ``traceparent`` and ``tracestate`` holds.

    Args:
        callers: ``trust`` (its trace, its choice to sample), ``resample`` (its trace, our choice: nobody outside can
            force us to keep traces) or ``restart`` (a new trace, linked to the caller's).
    """
    context = parse_traceparent(given)
    if context is None:
        return NOTHING_INBOUND
    if callers == "restart":
        return Inbound(link=format_context(context))
    sampled = context.sampled if callers == "trust" else None
    kept = kept_trace_state(trace_state) if trace_state else ""
    return Inbound(context.trace_id, context.span_id, sampled, kept)


def kept_trace_state(value: str) -> str:
    """Return ``tracestate`` as it goes on: whole, or "" when it is longer than anybody must pass on or no text."""
    return value if may_go_on(value) and _TRACESTATE.match(value) else ""


def may_go_on(trace_state: str) -> bool:
    """Whether a ``tracestate`` that is text is no longer than anybody must pass on."""
    return len(trace_state) <= _TRACESTATE_CHARACTERS and trace_state.count(",") < _TRACESTATE_MEMBERS


def kept_baggage(value: str, allowed: Collection[str]) -> str:
    """Return the members of ``baggage`` whose keys are allowed; "" when it is longer than anybody must pass on."""
    if not allowed or len(value) > _BAGGAGE_CHARACTERS or value.count(",") >= _BAGGAGE_MEMBERS:
        return ""
    members = (member.strip() for member in value.split(","))
    return ",".join(member for member in members if member.partition("=")[0].strip() in allowed)
