"""Tracing: gives each request its place in a trace, and decides at its head whether the trace is of the kept share."""

from __future__ import annotations

import random

from msgspec import Struct

from model_pod.wire.http1 import RequestHead
from policies.snapshot.mesh import Tracing
from telemetry.head_sampling import HeadSampler
from telemetry.trace_context import (
    NOTHING_INBOUND,
    Inbound,
    inbound,
    is_usual,
    kept_baggage,
    may_go_on,
)

# Request, span, attempt and trace, as bytes; what decides whether a trace is kept comes last.
_ID_BYTES = 16 + 8 + 8 + 16
_RANDOM_BITS = 2**56 - 1
_SHORT_STATE = 31  # characters of a ``tracestate`` that has too few members for any bound


class Trace(Struct, frozen=True, gc=False):
    """Where a request is in a trace.

    Attributes:
        request_id: 32 hex digits that no other request has.
        trace_id: 32 hex digits.
        span_id: of its ``gateway.request``.
        attempt_id: for the span of its first attempt.
        parent_id: the caller's span, "" without one.
        sampled: the trace is of the kept share.
        trace_state, baggage: of the caller, as far as they go on to the pod.
        link: ``traceparent`` of the caller's trace, when it is linked and not joined.
    """

    request_id: str
    trace_id: str
    span_id: str
    attempt_id: str
    parent_id: str
    sampled: bool
    trace_state: str
    baggage: str
    link: str


NO_TRACE = Trace("", "", "", "", "", False, "", "", "")


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
        given = request.values.get(b"traceparent")
        caller = NOTHING_INBOUND if given is None else self._inbound(request, given)
        return self._trace_of(caller, self._kept_baggage(request) if self._baggage else "")

    def _trace_of(self, caller: Inbound, baggage: str) -> Trace:
        # All ids of the request in one draw; one that is all zeros has no chance worth a question.
        bits = self._random_bits(8 * _ID_BYTES)
        ids = bits.to_bytes(_ID_BYTES).hex()
        # By our own chance even where the trace is the caller's: it could choose an id that is of every share.
        kept = self._sampler.keeps_random(bits & _RANDOM_BITS) and self.is_on
        return Trace(
            ids[:32],
            caller.trace_id or ids[64:],
            ids[32:48],
            ids[48:64],
            caller.parent_id,
            kept if caller.sampled is None else caller.sampled,
            caller.trace_state,
            baggage,
            caller.link,
        )

    def begin_usual(self, given: bytes, state: bytes) -> Trace:
        """Do what ``begin`` does for a request without baggage.

        Args:
            given: value of ``traceparent``, b"" without one.
            state: value of ``tracestate``, visible ASCII, b"" without one.
        """
        if self._callers != "resample" or not is_usual(given):
            caller = inbound(self._callers, given.decode("ascii"), state.decode("ascii")) if given else NOTHING_INBOUND
            return self._trace_of(caller, "")
        # As ``_trace_of`` does it, without an ``Inbound`` in between: most requests come here.
        bits, text, kept_state = self._random_bits(8 * _ID_BYTES), given.decode("ascii"), state.decode("ascii")
        ids = bits.to_bytes(_ID_BYTES).hex()
        kept = self._sampler.keeps_random(bits & _RANDOM_BITS) and self.is_on
        if len(kept_state) > _SHORT_STATE and not may_go_on(kept_state):
            kept_state = ""
        return Trace(ids[:32], text[3:35], ids[32:48], ids[48:64], text[36:52], kept, kept_state, "", "")

    def new_span_id(self) -> str:
        """Return 16 hex digits, for the span of an attempt that is not the first."""
        return f"{self._random_bits(64):016x}"

    def new_request_id(self) -> str:
        """Return an id that no other request has, for one that leaves no trace."""
        return f"{self._random_bits(128):032x}"

    def measure(self, elapsed_s: float) -> None:
        """Fit the kept share to the rate of requests since the last time."""
        self._sampler.measure(elapsed_s)

    def note_others(self, rate_per_s: float) -> None:
        """Take into account what the other workers of the gateway do."""
        self._sampler.others_rate_per_s = rate_per_s

    def _inbound(self, request: RequestHead, given: bytes) -> Inbound:
        state = request.values.get(b"tracestate", b"")
        if len(request.values) != len(request.fields):  # some field came more than once
            if len(_values(request, b"traceparent")) > 1:
                return NOTHING_INBOUND  # which of them is meant nobody can tell
            state = b",".join(_values(request, b"tracestate"))
        return inbound(self._callers, given.decode("latin-1"), state.decode("latin-1"))

    def _kept_baggage(self, request: RequestHead) -> str:
        return kept_baggage((request.get(b"baggage") or b"").decode("latin-1"), self._baggage)


def _values(request: RequestHead, name: bytes) -> list[bytes]:
    return [value for field, value in request.fields if field.lower() == name]
