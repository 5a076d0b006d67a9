"""Traces for the hub's tests: one request that rode in a batch with another, as sidecars would send it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from telemetry.materialise import spans_of
from telemetry.records import (
    Attempt,
    BatchTimes,
    Frame,
    GatewayRequest,
    Member,
    Part,
    PodBatch,
    PodRequest,
    Record,
    Source,
)
from telemetry.span import Kind, Span

START_NS = 1_800_000_000_000_000_000
MS = 1_000_000
TRACE, OTHER_TRACE, BATCH_TRACE = "a" * 32, "b" * 32, "c" * 32
BATCH_SPAN = "e" * 16
ROOT, ATTEMPT, POD_SPAN = "1" * 16, "2" * 16, "3" * 12 + "0000"
OTHER_POD_SPAN = "4" * 12 + "0000"

GATEWAY = Source("penstock-gateway", "worker 0", 1)
POD = Source("penstock-pod", "digits/1", 2, "digits", "1")

BATCH = BatchTimes(
    batch_id=7,
    trace_id=BATCH_TRACE,
    span_id=BATCH_SPAN,
    sent_s=0.020,
    began_s=0.030,
    preprocess_s=0.010,
    inference_s=0.020,
    postprocess_s=0.005,
    ended_s=0.066,
    answered_s=0.067,
    row_count=4,
    request_count=2,
    runs=1,
    device_s=0.02,
)
REQUEST = GatewayRequest(
    trace_id=TRACE,
    span_id=ROOT,
    parent_id="",
    sampled=True,
    started_s=0.0,
    ended_s=0.1,
    method="POST",
    api="infer",
    status=200,
    reason="",
    request_id="request-1",
    generation=1,
    tenant="acme",
    model="digits",
    version="1",
    arm="stable",
    outcome="good",
    attempts=(Attempt(ATTEMPT, "digits/1/0", 0.010, 0.090),),
)
POD_REQUEST = PodRequest(
    trace_id=TRACE,
    span_id=POD_SPAN,
    parent_id=ATTEMPT,
    sampled=True,
    started_s=0.012,
    ended_s=0.080,
    endpoint="infer",
    status=200,
    reason="",
    request_id="request-1",
    tenant="acme",
    row_count=2,
    cold=False,
    parts=(Part(0, 2, 0.014, BATCH, device_us=10_000),),
)
POD_BATCH = PodBatch(
    BATCH,
    (
        Member(TRACE, POD_SPAN, 0, "request-1", 2, 0.006),
        Member(OTHER_TRACE, OTHER_POD_SPAN, 0, "request-2", 2, 0.001),
    ),
    "cpu",
    0,
)


def gateway_spans(request: GatewayRequest = REQUEST) -> list[Span]:
    """Return what the gateway's sidecar sends."""
    return _spans(GATEWAY, request)


def pod_spans(request: PodRequest = POD_REQUEST) -> list[Span]:
    """Return what the pod's sidecar sends of the request."""
    return _spans(POD, request)


def batch_spans(batch: PodBatch = POD_BATCH) -> list[Span]:
    """Return what the pod's sidecar sends of the batch."""
    return _spans(POD, batch)


def request_spans() -> list[Span]:
    """Return the whole trace of the request."""
    return [*gateway_spans(), *pod_spans()]


def numbered(number: int, **changes: object) -> list[Span]:
    """Return the gateway's part of another request, which began that many milliseconds later."""
    request = replace(
        REQUEST,
        trace_id=f"{number + 1:032x}",
        request_id=f"numbered-{number}",
        started_s=number / 1000,
        ended_s=number / 1000 + 0.1,
        attempts=(),
        **changes,
    )
    return gateway_spans(request)


def plain_span(trace_id: str, span_id: str, parent_id: str = "", name: str = "work") -> Span:
    """Return a span as a handler makes it."""
    return Span(trace_id, span_id, parent_id, name, Kind.INTERNAL, START_NS, START_NS + MS)


def by_id(spans: Sequence[Span]) -> list[Span]:
    """Return the spans in an order of their own."""
    return sorted(spans, key=lambda span: span.span_id)


def _spans(source: Source, record: Record) -> list[Span]:
    return spans_of(Frame(1, source, START_NS, {}, (record,)), record)
