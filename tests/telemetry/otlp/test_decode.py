from __future__ import annotations

import base64
import json
import math
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from telemetry.limits import ATTRIBUTES, LINKS
from telemetry.otlp.decode import Decoded, NotOtlp, decode_json, decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.span import Kind, Span, Status, Value
from tests.telemetry.otlp.spans import spans

TRACE, SPAN, PARENT = bytes.fromhex("5b8efff798038103d269b633813fc60c"), bytes(range(1, 9)), bytes(range(2, 10))

# https://github.com/open-telemetry/opentelemetry-proto/blob/v1.10.0/examples/trace.json, with more kinds of values.
EXAMPLE = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "my.library", "version": "1.0.0"},
                    "spans": [
                        {
                            "traceId": "5B8EFFF798038103D269B633813FC60C",
                            "spanId": "EEE19B7EC3C1B174",
                            "parentSpanId": "EEE19B7EC3C1B173",
                            "name": "I'm a server span",
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": 1544712661000000000,
                            "kind": 2,
                            "status": {"code": 2, "message": "oh"},
                            "attributes": [
                                {"key": "text", "value": {"stringValue": "some value"}},
                                {"key": "count", "value": {"intValue": "-7"}},
                                {"key": "bytes", "value": {"bytesValue": base64.b64encode(b"\0x").decode()}},
                            ],
                            "links": [{"traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175"}],
                            "aFieldOfTheFuture": {"x": [1]},
                        }
                    ],
                }
            ],
        }
    ]
}


def _request(*found: otlp.Span) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(found)
    return request


def _decode(*found: otlp.Span) -> Decoded:
    return decode_protobuf(_request(*found).SerializeToString())


def _official(**fields: Any) -> otlp.Span:
    return otlp.Span(**{"trace_id": TRACE, "span_id": SPAN, "name": "n", **fields})


def _json_span(fields: bytes) -> bytes:
    """Return a body with one span in JSON, which has ids and these fields; a field that comes twice is the last one."""
    ids = b'"traceId": "%s", "spanId": "%s", ' % (b"1" * 32, b"2" * 16)
    return b'{"resourceSpans": [{"scopeSpans": [{"spans": [{' + ids + fields + b"}]}]}]}"


def _value_of(value: AnyValue) -> Value:
    return _decode(_official(attributes=[KeyValue(key="k", value=value)])).spans[0].attributes["k"]


@given(st.lists(spans(), max_size=3))
def test_what_we_encode_comes_back(recorded: list[Span]) -> None:
    decoded = decode_protobuf(encode_spans(recorded))
    assert sorted(map(repr, decoded.spans)) == sorted(map(repr, recorded))
    assert (decoded.rejected, decoded.why) == (0, "")


@given(st.lists(spans(), max_size=2))
def test_json_says_the_same_as_protobuf(recorded: list[Span]) -> None:
    body = encode_spans(recorded)
    document = MessageToDict(ExportTraceServiceRequest.FromString(body))
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for owner in (span, *span.get("links", ())):
                    for field in {"traceId", "spanId", "parentSpanId"} & owner.keys():
                        owner[field] = base64.b64decode(owner[field]).hex()
    assert decode_json(json.dumps(document).encode()) == decode_protobuf(body)


def test_the_protocols_own_example_is_read() -> None:
    (span,) = decode_json(json.dumps(EXAMPLE).encode()).spans
    assert (span.trace_id, span.span_id) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    assert (span.parent_id, span.kind, span.name) == ("eee19b7ec3c1b173", Kind.SERVER, "I'm a server span")
    assert (span.start_ns, span.end_ns) == (1544712660000000000, 1544712661000000000)
    assert (span.status, span.message) == (Status.ERROR, "oh")
    assert span.attributes == {"text": "some value", "count": -7, "bytes": b"\0x"}
    assert (span.resource, span.scope) == ({"service.name": "my.service"}, "my.library")
    assert [(link.trace_id, link.span_id) for link in span.links] == [
        ("5b8efff798038103d269b633813fc60d", "eee19b7ec3c1b175")
    ]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"trace_id": b""}, "trace id"),
        ({"trace_id": bytes(16)}, "trace id"),
        ({"trace_id": TRACE[:8]}, "trace id"),
        ({"span_id": bytes(8)}, "span id"),
        ({"span_id": TRACE}, "span id"),
        ({"parent_span_id": b"\1"}, "parent"),
    ],
)
def test_a_span_without_ids_is_rejected_alone(fields: dict[str, bytes], why: str) -> None:
    decoded = _decode(_official(), _official(**fields), _official(**fields))
    assert (len(decoded.spans), decoded.rejected) == (1, 2)
    assert why in decoded.why


@pytest.mark.parametrize("field", ["traceId", "spanId", "parentSpanId"])
def test_an_id_in_json_that_is_not_hexadecimal_rejects_its_span_alone(field: str) -> None:
    document = json.loads(json.dumps(EXAMPLE))
    (scope_spans,) = document["resourceSpans"][0]["scopeSpans"]
    scope_spans["spans"].append({**scope_spans["spans"][0], field: "W47/95gDgQPSabYzgT/GDA=="})
    decoded = decode_json(json.dumps(document).encode())
    assert (len(decoded.spans), decoded.rejected) == (1, 1)


def test_a_parent_of_zeros_is_no_parent() -> None:
    assert _decode(_official(parent_span_id=bytes(8))).spans[0].parent_id == ""
    assert _decode(_official(parent_span_id=PARENT)).spans[0].parent_id == PARENT.hex()


def test_a_span_whose_clock_was_set_back_took_no_time() -> None:
    (span,) = _decode(_official(start_time_unix_nano=5, end_time_unix_nano=3)).spans
    assert (span.start_ns, span.end_ns) == (5, 5)


def test_kinds_and_statuses_of_the_future_are_unspecified() -> None:
    body = _request(_official(kind=77, status=otlp.Status(code=9, message="m"))).SerializeToString()  # type: ignore[arg-type]
    (span,) = decode_protobuf(body).spans
    assert (span.kind, span.status, span.message) == (Kind.UNSPECIFIED, Status.UNSET, "m")


def test_a_map_becomes_its_json() -> None:
    pairs = [
        KeyValue(key="text", value=AnyValue(string_value="ä")),
        KeyValue(key="list", value=AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()]))),
        KeyValue(key="bytes", value=AnyValue(bytes_value=b"x")),
        KeyValue(key="nan", value=AnyValue(double_value=float("nan"))),
        KeyValue(key="less", value=AnyValue(double_value=float("-inf"))),
        KeyValue(key="half", value=AnyValue(double_value=0.5)),
        KeyValue(key="more", value=AnyValue(double_value=float("inf"))),
    ]
    value = _value_of(AnyValue(kvlist_value=KeyValueList(values=pairs)))
    assert value == (
        '{"text":"ä","list":[1,null],"bytes":"eA==","nan":"NaN","less":"-Infinity","half":0.5,"more":"Infinity"}'
    )


def test_a_value_that_is_missing_is_the_empty_text() -> None:
    assert _value_of(AnyValue()) == ""
    assert _value_of(AnyValue(string_value_strindex=3)) == ""


def test_what_is_too_much_is_counted_as_dropped() -> None:
    pairs = [KeyValue(key=str(index), value=AnyValue(int_value=index)) for index in range(ATTRIBUTES + 5)]
    links = [otlp.Span.Link(trace_id=TRACE, span_id=SPAN)] * (LINKS + 1)
    bad_link = otlp.Span.Link(trace_id=TRACE, span_id=b"1")
    (span,) = _decode(
        _official(attributes=pairs, dropped_attributes_count=2, links=[bad_link, *links], dropped_links_count=1)
    ).spans
    assert (len(span.attributes), span.dropped_attributes) == (ATTRIBUTES, 7)
    assert (len(span.links), span.dropped_links) == (LINKS - 1, 4)


def test_spans_of_one_resource_share_it() -> None:
    first, second = _decode(_official(), _official()).spans
    assert first.resource is second.resource


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"resourceSpans": 3}',
        b'{"resourceSpans": [["scopeSpans"]]}',
        _json_span(b'"traceId": 5'),
        _json_span(b'"startTimeUnixNano": -1'),
        _json_span(b'"startTimeUnixNano": 1' + b"0" * 5000),
        _json_span(
            b'"attributes": [{"key": "k", "value": ' + b'{"arrayValue": {"values": [' * 200 + b"]}}" * 200 + b"}]"
        ),
        _json_span(b'"kind": 1e400'),
        _json_span(b'"kind": 1.5'),
        _json_span(b'"kind": true'),
        _json_span(b'"kind": Infinity'),
        _json_span(b'"droppedLinksCount": 1e400'),
        _json_span(b'"status": {"code": 1e400}'),
        _json_span(b'"attributes": [{"key": "k", "value": {"doubleValue": NaN}}]'),
        _json_span(b'"attributes": [{"key": "k", "value": {"intValue": 1e400}}]'),
        b'{"aFieldOfTheFuture": -Infinity}',
    ],
)
def test_what_is_no_otlp_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotOtlp, match="JSON"):
        decode_json(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for decode in (decode_protobuf, decode_json):
        with suppress(NotOtlp):
            decode(body)


_FIELDS = (
    "resourceSpans resource attributes key value scopeSpans scope spans traceId spanId parentSpanId kind status code "
    "links events name startTimeUnixNano stringValue intValue boolValue doubleValue bytesValue arrayValue kvlistValue "
    "values droppedLinksCount"
)
_documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just("1" * 32)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_FIELDS.split()), inner, max_size=4)
    ),
)


@given(_documents)
def test_any_json_is_read_or_refused(document: object) -> None:
    nested = {"resourceSpans": [{"scopeSpans": [{"spans": [document]}]}]}
    for body in (document, {"resourceSpans": document}, nested):
        with suppress(NotOtlp):
            decode_json(json.dumps(body).encode())


def test_numbers_that_json_lacks_come_as_texts() -> None:
    fields = b'"attributes": [{"key": "k", "value": {"doubleValue": "-Infinity"}}]'
    (span,) = decode_json(_json_span(fields)).spans
    assert span.attributes == {"k": -math.inf}


def test_spans_without_ids_in_json_are_not_read_any_further() -> None:
    body = b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": 1.5}, {"traceId": "", "attributes": 3}]}]}]}'
    assert decode_json(body) == Decoded([], 2, "A trace id is 16 bytes that are not all zero.")
