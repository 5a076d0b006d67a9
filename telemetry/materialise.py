"""Turns records into spans: names, parents, links and attributes are given here, off every hot path.

A trace: ``gateway.request`` > ``gateway.forward`` (one per attempt) > ``pod.request`` > ``pod.queue``,
``pod.preprocess``, ``pod.inference``, ``pod.postprocess``; and for each copy that was sent to a shadow
``gateway.request`` > ``gateway.shadow`` > ``pod.request``. A batch is a trace of its own with one ``pod.batch``; it
and the ``pod.inference`` of its members link to each other (scatter and gather has no parent: OpenTelemetry
specification, "Links between spans").
"""

from __future__ import annotations

from typing import Protocol

from telemetry.conventions import Attribute, SpanName
from telemetry.records import (
    MAX_PARTS,
    Attempt,
    BatchTimes,
    Frame,
    GatewayCopy,
    GatewayRequest,
    Part,
    PodBatch,
    PodLoad,
    PodRequest,
    Record,
    Source,
    Stage,
    part_id,
)
from telemetry.span import Attributes, Kind, Link, Span, Status, Value
from telemetry.trace_context import parse_traceparent

# The gateway's reason for a request whose caller did not wait.
CALLER_LEFT = "client_gone"
# The arm of every copy, whichever version it asked.
SHADOW_ARM = "shadow"
# Why a copy failed that was sent and not answered.
NO_ANSWER = "no_answer"


def spans_of(frame: Frame, record: Record) -> list[Span]:
    """Return the spans of one record, the outermost first."""
    clock = _Clock(frame.wall_offset_ns, resource_of(frame.source))
    match record:
        case GatewayRequest():
            return _gateway_request(clock, record)
        case GatewayCopy():
            return [_gateway_copy(clock, record)]
        case PodRequest():
            return _pod_request(clock, frame.source, record)
        case PodBatch():
            return [_pod_batch(clock, frame.source, record)]
        case PodLoad():
            return [_pod_load(clock, frame.source, record)]


def resource_of(source: Source) -> Attributes:
    """Return the attributes of the process that recorded."""
    resource: Attributes = {
        Attribute.SERVICE_NAME: source.service,
        Attribute.SERVICE_INSTANCE: source.instance,
        Attribute.PROCESS_PID: source.pid,
    }
    if source.package:
        resource[Attribute.SERVICE_VERSION] = source.package
    if source.model:
        resource |= {Attribute.MODEL: source.model, Attribute.VERSION: source.version}
    return resource


class StageSpan(Protocol):
    """Makes the span of one stage of a part."""

    def __call__(
        self, stage: Stage, name: str, start_s: float, end_s: float, link: Link | None = None, reason: str = ""
    ) -> Span:
        """Return the span; a ``reason`` makes it an error."""
        ...


class _Clock:
    """Makes spans of monotonic moments."""

    def __init__(self, wall_offset_ns: int, resource: Attributes) -> None:
        self._offset_ns = wall_offset_ns
        self._resource = resource

    def span(
        self,
        ids: tuple[str, str, str],
        name: str,
        times_s: tuple[float, float],
        attributes: Attributes,
        kind: Kind = Kind.INTERNAL,
        reason: str = "",
        links: tuple[Link, ...] = (),
        trace_state: str = "",
    ) -> Span:
        """Return a span; ``ids`` are of the trace, the span and its parent, and a ``reason`` makes it an error."""
        trace_id, span_id, parent_id = ids
        started_s, ended_s = times_s
        start_ns = self._offset_ns + round(started_s * 1e9)
        return Span(
            trace_id,
            span_id,
            parent_id,
            name,
            kind,
            start_ns,
            max(start_ns, self._offset_ns + round(ended_s * 1e9)),
            Status.ERROR if reason else Status.UNSET,
            reason,
            attributes,
            links,
            trace_state=trace_state,
            resource=self._resource,
            scope="penstock",
        )


def _gateway_request(clock: _Clock, record: GatewayRequest) -> list[Span]:
    attributes = _said(
        {
            **_method(record.method),
            Attribute.HTTP_STATUS: record.status,
            Attribute.API: record.api,
            Attribute.REQUEST_ID: record.request_id,
            Attribute.GENERATION: record.generation,
            Attribute.TENANT: record.tenant,
            Attribute.MODEL: record.model,
            Attribute.VERSION: record.version,
            Attribute.ARM: record.arm if record.version else "",
            Attribute.OUTCOME: record.outcome,
            Attribute.REASON: record.reason,
        }
    )
    failure = _failure(record.status, record.reason)
    if failure:
        attributes[Attribute.ERROR_TYPE] = failure
    root = clock.span(
        (record.trace_id, record.span_id, record.parent_id),
        SpanName.GATEWAY_REQUEST,
        (record.started_s, record.ended_s),
        attributes,
        Kind.SERVER,
        failure,
        _caller_link(record.caller_trace),
        record.trace_state,
    )
    return [root, *_attempts(clock, record)]


def _method(method: str) -> Attributes:
    """Return what a request's method is called; no method of HTTP has a slash, and gRPC's are all POST."""
    service, slash, name = method.rpartition("/")
    if not slash:
        return {Attribute.HTTP_METHOD: method}
    return {
        Attribute.HTTP_METHOD: "POST",
        Attribute.RPC_SYSTEM: "grpc",
        Attribute.RPC_SERVICE: service,
        Attribute.RPC_METHOD: name,
    }


def _attempts(clock: _Clock, record: GatewayRequest) -> list[Span]:
    spans = []
    for number, attempt in enumerate(record.attempts, 1):
        attributes: Attributes = {Attribute.ATTEMPT: number, Attribute.POD: attempt.pod}
        if number > 1:
            attributes[Attribute.HTTP_RESEND_COUNT] = number - 1
        if attempt.status:
            attributes[Attribute.HTTP_STATUS] = attempt.status
        if attempt.reason:
            attributes[Attribute.REASON] = attempt.reason
        failure = _attempt_failure(attempt)
        if failure:
            attributes[Attribute.ERROR_TYPE] = failure
        spans.append(
            clock.span(
                (record.trace_id, attempt.span_id, record.span_id),
                SpanName.GATEWAY_FORWARD,
                (attempt.started_s, attempt.ended_s),
                attributes,
                Kind.CLIENT,
                failure,
            )
        )
    return spans


def _gateway_copy(clock: _Clock, record: GatewayCopy) -> Span:
    attributes = _said(
        {
            Attribute.HTTP_STATUS: record.status or "",
            Attribute.REQUEST_ID: record.request_id,
            Attribute.GENERATION: record.generation,
            Attribute.TENANT: record.tenant,
            Attribute.MODEL: record.model,
            Attribute.VERSION: record.version,
            Attribute.ARM: SHADOW_ARM,
            Attribute.SHADOW: record.shadow,
            Attribute.POD: record.pod,
        }
    )
    if record.is_repeat:
        attributes[Attribute.REPEAT] = True
    failure = _failure(record.status, "") if record.status else NO_ANSWER
    if failure:
        attributes[Attribute.ERROR_TYPE] = failure
    return clock.span(
        (record.trace_id, record.span_id, record.parent_id),
        SpanName.GATEWAY_SHADOW,
        (record.started_s, record.ended_s),
        attributes,
        Kind.CLIENT,
        failure,
    )


def _pod_request(clock: _Clock, source: Source, record: PodRequest) -> list[Span]:
    attributes = _said(
        {
            Attribute.HTTP_STATUS: record.status,
            Attribute.API: record.endpoint,
            Attribute.REQUEST_ID: record.request_id,
            Attribute.TENANT: record.tenant,
            Attribute.MODEL: source.model,
            Attribute.VERSION: source.version,
            Attribute.ROWS: record.row_count,
            Attribute.REASON: record.reason,
            Attribute.ARM: SHADOW_ARM if record.shadow else "",
            Attribute.SHADOW: record.shadow,
        }
    )
    if record.cold:
        attributes[Attribute.COLD_START] = True
    failure = _failure(record.status, record.reason)
    if failure:
        attributes[Attribute.ERROR_TYPE] = failure
    root = clock.span(
        (record.trace_id, record.span_id, record.parent_id),
        SpanName.POD_REQUEST,
        (record.started_s, record.ended_s),
        attributes,
        Kind.SERVER,
        failure,
    )
    parts = [span for part in record.parts if part.part <= MAX_PARTS for span in _part(clock, record, part)]
    return [root, *parts]


def _part(clock: _Clock, record: PodRequest, part: Part) -> list[Span]:
    """Return the spans of one part: its wait, and the stages of its batch, which all its members share."""
    batch = part.batch

    def stage_span(
        stage: Stage, name: str, start_s: float, end_s: float, link: Link | None = None, reason: str = ""
    ) -> Span:
        attributes: Attributes = {Attribute.PART: part.part, Attribute.ROWS: part.row_count}
        if batch is not None:
            attributes |= {Attribute.BATCH_ID: batch.batch_id, Attribute.BATCH_ROWS: batch.row_count}
        if stage is Stage.INFERENCE and batch is not None:
            attributes[Attribute.DEVICE_S] = part.device_us / 1e6
        ids = (record.trace_id, part_id(record.span_id, part.part, stage), record.span_id)
        return clock.span(ids, name, (start_s, end_s), attributes, reason=reason, links=() if link is None else (link,))

    if batch is None:
        return [stage_span(Stage.QUEUE, SpanName.POD_QUEUE, part.enqueued_s, record.ended_s)]
    # A request may come while a batch that it will not be in runs; one that rides along never waits less than nothing.
    spans = [stage_span(Stage.QUEUE, SpanName.POD_QUEUE, part.enqueued_s, max(part.enqueued_s, batch.sent_s))]
    link = Link(batch.trace_id, batch.span_id, {Attribute.BATCH_ID: batch.batch_id})
    if not batch.ended_s:  # it was lost, or the caller left before its end: how far it came nobody knows
        lost_s = max(batch.sent_s, batch.answered_s or record.ended_s)
        failure = _failure(record.status, record.reason)
        return [*spans, stage_span(Stage.INFERENCE, SpanName.POD_INFERENCE, batch.sent_s, lost_s, link, failure)]
    return [*spans, *_stages(batch, stage_span, link, _failure(record.status, record.reason))]


def _stages(batch: BatchTimes, stage_span: StageSpan, link: Link, failure: str) -> list[Span]:
    """Return a span for each stage that took time; what failed is the one that it came to last.

    A handler that is one function has only ``pod.inference``. Where its rows were run again one by one, nobody knows
    which stage failed for this one: then it is ``pod.inference`` too.
    """
    took = (
        (Stage.PREPROCESS, SpanName.POD_PREPROCESS, batch.preprocess_s),
        (Stage.INFERENCE, SpanName.POD_INFERENCE, batch.inference_s),
        (Stage.POSTPROCESS, SpanName.POD_POSTPROCESS, batch.postprocess_s),
    )
    ran = [stage for stage, _, stage_s in took if stage_s > 0 or stage is Stage.INFERENCE]
    failed = ran[-1] if batch.runs == 1 else Stage.INFERENCE
    spans, start_s = [], batch.began_s
    for stage, name, stage_s in took:
        end_s = start_s + stage_s
        if stage in ran:
            reason = failure if stage is failed else ""
            spans.append(stage_span(stage, name, start_s, end_s, link if stage is Stage.INFERENCE else None, reason))
        start_s = end_s
    return spans


def _pod_batch(clock: _Clock, source: Source, record: PodBatch) -> Span:
    times = record.times
    attributes = _said(
        {
            Attribute.MODEL: source.model,
            Attribute.VERSION: source.version,
            Attribute.BATCH_ID: times.batch_id,
            Attribute.BATCH_ROWS: times.row_count,
            Attribute.BATCH_REQUESTS: times.request_count,
            Attribute.BATCH_RUNS: times.runs,
            Attribute.BATCH_QUEUED_ROWS: record.queued_rows,
            Attribute.DEVICE: record.device,
            Attribute.DEVICE_S: times.device_s,
            Attribute.REASON: record.reason,
        }
    )
    links = tuple(
        Link(
            member.trace_id,
            part_id(member.span_id, member.part, Stage.INFERENCE),
            {
                Attribute.REQUEST_ID: member.request_id,
                Attribute.ROWS: member.row_count,
                Attribute.QUEUE_WAIT_S: member.queue_s,
                Attribute.DEVICE_S: member.device_us / 1e6,
            },
        )
        for member in record.members
        if member.part <= MAX_PARTS
    )
    return clock.span(
        (times.trace_id, times.span_id, ""),
        SpanName.POD_BATCH,
        (times.sent_s, _ended_s(times)),
        attributes,
        reason=record.reason,
        links=links,
    )


def _ended_s(times: BatchTimes) -> float:
    return times.answered_s or times.ended_s or times.sent_s


def _pod_load(clock: _Clock, source: Source, record: PodLoad) -> Span:
    attributes = _said(
        {
            Attribute.MODEL: source.model,
            Attribute.VERSION: source.version,
            Attribute.DEVICE: record.device,
            Attribute.HANDLER_S: record.handler_s,
        }
    )
    ids = (record.trace_id, record.span_id, "")
    return clock.span(ids, SpanName.POD_LOAD, (record.started_s, record.ended_s), attributes, reason=record.message)


def _said(attributes: dict[str, Value]) -> Attributes:
    """Leave out what is not known."""
    return {key: value for key, value in attributes.items() if value != ""}


def _failure(status: int, reason: str) -> str:
    """Return what makes a server's span an error: 5xx does, the caller's own 4xx does not (HTTP conventions)."""
    if status < 500:
        return ""
    return reason or str(status)


def _attempt_failure(attempt: Attempt) -> str:
    """Return what makes a client's span an error: any refusal does, a caller that left does not."""
    if attempt.reason:
        return "" if attempt.reason == CALLER_LEFT else attempt.reason
    return str(attempt.status) if attempt.status >= 400 else ""


def _caller_link(caller_trace: str) -> tuple[Link, ...]:
    context = parse_traceparent(caller_trace) if caller_trace else None
    return (Link(context.trace_id, context.span_id),) if context is not None else ()
