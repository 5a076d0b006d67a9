"""Tracing: gives each request its place in a trace, and decides at its head whether the trace is of the kept share."""

from __future__ import annotations

import random

from msgspec import Struct

from model_pod.wire.http1 import RequestHead
from policies.snapshot import Tracing
from telemetry.head_sampling import HeadSampler
from telemetry.trace_context import NOTHING_INBOUND, Inbound, inbound, kept_baggage


class Trace(Struct, frozen=True):
    """Where a request is in a trace.

    Attributes:
        trace_id: 32 hex digits.
        span_id: of its ``gateway.request``.
        parent_id: the caller's span, "" without one.
        sampled: the trace is of the kept share.
        trace_state, baggage: of the caller, as far as they go on to the pod.
        link: ``traceparent`` of the caller's trace, when it is linked and not joined.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    trace_state: str
    baggage: str
    link: str


NO_TRACE = Trace("", "", "", False, "", "", "")


class Tracer:
    """One worker's traces.

    Args:
        is_recorded: somebody is told of them; else none is sampled but by a caller that is trusted.
    """

    def __init__(self, tracing: Tracing, is_recorded: bool) -> None:
        self._is_recorded = is_recorded
        self._random_bits = random.Random().getrandbits
        self._sampler = HeadSampler(tracing.kept_per_s)
        self.use(tracing)

    def use(self, tracing: Tracing) -> None:
        """Trace by this policy from the next request on."""
        self._callers = tracing.callers
        self._baggage = frozenset(tracing.baggage)
        self._sampler.kept_per_s = tracing.kept_per_s
        self.is_on = tracing.kept_per_s > 0 and self._is_recorded

    def begin(self, request: RequestHead) -> Trace:
        """Return the trace of a request: its caller's if that is believed, else a new one."""
        bits = self._random_bits
        given = request.get(b"traceparent")
        caller = NOTHING_INBOUND if given is None else self._inbound(request, given)
        own_id = (bits(128) | 1).to_bytes(16).hex()
        trace_id = caller.trace_id or own_id
        # By our own chance even where the trace is the caller's: it could choose an id that is of every share.
        kept = self._sampler.keeps(own_id) and self.is_on
        sampled = kept if caller.sampled is None else caller.sampled
        baggage = self._kept_baggage(request) if self._baggage else ""
        return Trace(trace_id, self.new_span_id(), caller.parent_id, sampled, caller.trace_state, baggage, caller.link)

    def new_span_id(self) -> str:
        """Return 16 hex digits, not all zero."""
        return (self._random_bits(64) | 1).to_bytes(8).hex()

    def measure(self, elapsed_s: float) -> None:
        """Fit the kept share to the rate of requests since the last time."""
        self._sampler.measure(elapsed_s)

    def note_others(self, rate_per_s: float) -> None:
        """Take into account what the other workers of the gateway do."""
        self._sampler.others_rate_per_s = rate_per_s

    def _inbound(self, request: RequestHead, given: bytes) -> Inbound:
        if len(_values(request, b"traceparent")) > 1:
            return NOTHING_INBOUND  # which of them is meant nobody can tell
        trace_state = b",".join(_values(request, b"tracestate")).decode("latin-1")
        return inbound(self._callers, given.decode("latin-1"), trace_state)

    def _kept_baggage(self, request: RequestHead) -> str:
        return kept_baggage((request.get(b"baggage") or b"").decode("latin-1"), self._baggage)


def _values(request: RequestHead, name: bytes) -> list[bytes]:
    return [value for field, value in request.fields if field.lower() == name]
