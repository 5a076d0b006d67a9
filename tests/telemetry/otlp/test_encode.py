from __future__ import annotations

import math

import pytest
from google.rpc.status_pb2 import Status as OfficialStatus  # type: ignore[import-untyped]  # it has no stubs
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from telemetry.otlp.encode import MAX_KNOWN, encode_spans, encode_status
from telemetry.span import Attributes, Event, Kind, Link, Span, Value
from tests.telemetry.otlp.spans import spans, values

TRACE, OTHER_TRACE, SPAN, PARENT = "1" * 32, "2" * 32, "3" * 16, "4" * 16


def _official_value(value: Value) -> AnyValue:
    official = AnyValue()
    match value:
        case bool():
            official.bool_value = value
        case int():
            official.int_value = value
        case float():
            official.double_value = value
        case str():
            official.string_value = value
        case bytes():
            official.bytes_value = value
        case tuple():
            official.array_value.SetInParent()
            official.array_value.values.extend(_official_value(item) for item in value)
    return official


def _official_attributes(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_official_value(value)) for key, value in attributes.items()]


def _official_span(span: Span) -> otlp.Span:
    return otlp.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        trace_state=span.trace_state,
        name=span.name,
        kind=otlp.Span.SpanKind.ValueType(span.kind),
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=_official_attributes(span.attributes),
        dropped_attributes_count=span.dropped_attributes,
        events=[_official_event(event) for event in span.events],
        dropped_events_count=span.dropped_events,
        links=[_official_link(link) for link in span.links],
        dropped_links_count=span.dropped_links,
        status=_official_status(span),
    )


def _official_status(span: Span) -> otlp.Status | None:
    if not span.status and not span.message:
        return None
    return otlp.Status(message=span.message, code=otlp.Status.StatusCode.ValueType(span.status))


def _official_event(event: Event) -> otlp.Span.Event:
    return otlp.Span.Event(
        time_unix_nano=event.at_ns, name=event.name, attributes=_official_attributes(event.attributes)
    )


def _official_link(link: Link) -> otlp.Span.Link:
    ids = bytes.fromhex(link.trace_id), bytes.fromhex(link.span_id)
    return otlp.Span.Link(trace_id=ids[0], span_id=ids[1], attributes=_official_attributes(link.attributes))


def _official_request(recorded: list[Span]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resources: list[Attributes] = []
    for span in recorded:
        if span.resource not in resources:
            resources.append(span.resource)
    for resource in resources:
        group = request.resource_spans.add()
        group.resource.attributes.extend(_official_attributes(resource))
        of_resource = [span for span in recorded if span.resource == resource]
        for scope in dict.fromkeys(span.scope for span in of_resource):
            scoped = group.scope_spans.add()
            scoped.scope.name = scope
            scoped.scope.SetInParent()
            scoped.spans.extend(_official_span(span) for span in of_resource if span.scope == scope)
    return request


def _decoded(*recorded: Span) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(encode_spans(recorded))


def _span(**fields: object) -> Span:
    return Span(TRACE, SPAN, "", "n", Kind.INTERNAL, 1, 2, **fields)  # type: ignore[arg-type]  # any of its fields


@given(st.lists(spans(), max_size=3))
def test_the_official_messages_read_what_was_recorded(recorded: list[Span]) -> None:
    resources = [(group.resource, group) for group in _decoded(*recorded).resource_spans]
    assert [group for _, group in resources] == list(_official_request(recorded).resource_spans)


@given(values)
def test_a_value_is_read_as_it_was_whatever_was_encoded_before(value: Value) -> None:
    # True, 1 and 1.0 are equal, and so are 0.0 and -0.0.
    for before in (1, True, 1.0, 0, False, 0.0, -0.0, ""):
        _decoded(_span(attributes={"k": before}))
    (pair,) = _decoded(_span(attributes={"k": value})).resource_spans[0].scope_spans[0].spans[0].attributes
    assert pair.value.SerializeToString() == _official_value(value).SerializeToString()


def test_spans_are_grouped_by_what_their_resources_say_and_not_by_which_object_says_it() -> None:
    one, same, other = {"service.name": "pod"}, {"service.name": "pod"}, {"service.name": "hub"}
    groups = _decoded(_span(resource=one), _span(resource=other), _span(resource=same)).resource_spans
    assert [len(group.scope_spans[0].spans) for group in groups] == [2, 1]


def test_no_spans_are_no_bytes() -> None:
    assert encode_spans([]) == b""


def test_a_number_that_is_no_number_stays_one() -> None:
    (pair,) = _decoded(_span(attributes={"k": math.nan})).resource_spans[0].scope_spans[0].spans[0].attributes
    assert math.isnan(pair.value.double_value)


def test_what_has_no_place_in_the_protocol_travels_as_text() -> None:
    attributes: Attributes = {"large": 2**70, "half": "a\ud800b"}
    pairs = _decoded(_span(attributes=attributes)).resource_spans[0].scope_spans[0].spans[0].attributes
    assert [pair.value.string_value for pair in pairs] == ["1180591620717411303424", "a?b"]


@pytest.mark.parametrize(
    "span",
    [
        Span("12", SPAN, "", "n", Kind.INTERNAL, 1, 2),
        Span(TRACE, SPAN, "12", "n", Kind.INTERNAL, 1, 2),
        Span(TRACE, "x" * 16, "", "n", Kind.INTERNAL, 1, 2),
        _span(links=(Link(TRACE, ""),)),
    ],
)
def test_ids_of_the_wrong_shape_are_an_error_here_and_not_at_the_receiver(span: Span) -> None:
    with pytest.raises(ValueError):
        encode_spans([span])


def test_more_values_than_are_kept_are_encoded_all_the_same() -> None:
    recorded = [_span(attributes={"k": f"value {index}"}) for index in range(MAX_KNOWN + 10)]
    read = _decoded(*recorded).resource_spans[0].scope_spans[0].spans
    assert [span.attributes[0].value.string_value for span in read] == [f"value {i}" for i in range(MAX_KNOWN + 10)]


@given(st.integers(0, 2**31 - 1), st.text(st.characters(exclude_categories=["Cs"])))
def test_an_error_is_read_as_it_was(code: int, message: str) -> None:
    assert OfficialStatus.FromString(encode_status(code, message)) == OfficialStatus(code=code, message=message)
