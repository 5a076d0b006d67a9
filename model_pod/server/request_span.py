"""One request's span in the pod: begun with its head, ended with its answer, its refusal or its caller's leaving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from telemetry.head_sampling import HeadSampler
from telemetry.record import Packed, Recorder
from telemetry.trace_context import parse_traceparent

CALLER_LEFT = 499


class TimedBatch(Protocol):
    """The batch that a part ran in."""

    def times(self) -> Packed:
        """Return a ``telemetry.records.BatchTimes`` as a tuple."""
        ...


class RecordedPart(Protocol):
    """One part of a request, as far as it is recorded."""

    part: int
    row_count: int
    enqueued_s: float
    batch: TimedBatch | None
    device_us: int


class RequestSpan(Struct):
    """What will be recorded of one request.

    Attributes:
        trace_id, span_id: of its ``pod.request``.
        parent_id: the gateway's attempt; "" when the pod was asked directly.
        cold: it came when no model was loaded.
        parts: filled in when it is queued.
        shadow: it is a copy for the shadow of this name.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    started_s: float
    endpoint: str
    request_id: str
    tenant: str
    cold: bool = False
    parts: Sequence[RecordedPart] = ()
    shadow: str = ""

    def record(self, status: int, reason: str, now_s: float) -> Packed:
        """Return the record, a ``telemetry.records.PodRequest`` as a tuple, and let go of the parts."""
        parts, self.parts = self.parts, ()  # each part knows its span, and a circle would keep the request's body
        row_count, recorded = 0, []
        for part in parts:
            row_count += part.row_count
            batch = part.batch
            times = None if batch is None else batch.times()
            recorded.append((part.part, part.row_count, part.enqueued_s, times, part.device_us))
        return (
            "p",
            self.trace_id,
            self.span_id,
            self.parent_id,
            self.sampled,
            self.started_s,
            now_s,
            self.endpoint,
            status,
            reason,
            self.request_id,
            self.tenant,
            row_count,
            self.cold,
            recorded,
            self.shadow,
        )


class RequestSpans:
    """Begins and ends the spans of a pod's requests.

    Args:
        kept_per_s: traces per second that are kept of requests which no gateway has decided about.
    """

    def __init__(self, recorder: Recorder, kept_per_s: float) -> None:
        self.recorder = recorder
        self._sampler = HeadSampler(kept_per_s)

    def begin(self, traceparent: str, tenant: str, endpoint: str, request_id: str, now_s: float) -> RequestSpan:
        """Return the span of a request whose head has come.

        Args:
            traceparent: of the gateway's attempt; "" when the pod was asked directly.
        """
        span_id = self.recorder.new_span_id()
        context = parse_traceparent(traceparent) if traceparent else None
        if context is None:
            trace_id = self.recorder.new_trace_id()
            sampled = self._sampler.keeps(trace_id)
            return RequestSpan(trace_id, span_id, "", sampled, now_s, endpoint, request_id, tenant)
        return RequestSpan(
            context.trace_id, span_id, context.span_id, context.sampled, now_s, endpoint, request_id, tenant
        )

    def end(self, span: RequestSpan, status: int, reason: str, now_s: float) -> None:
        """Record how it ended."""
        self.recorder.record(span.record(status, reason, now_s))

    def flush(self, elapsed_s: float) -> None:
        """Tell the sidecar; called about every ``FLUSH_EVERY_S``."""
        self._sampler.measure(elapsed_s)
        self.recorder.flush()
