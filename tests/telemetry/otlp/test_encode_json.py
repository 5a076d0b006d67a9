"""OTLP's JSON of spans is read back as the same spans, by the decoder that takes official exporters' JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from telemetry.otlp.decode import decode_json
from telemetry.otlp.encode_json import spans_json
from telemetry.span import Span
from tests.telemetry.hub.traces import batch_spans, request_spans
from tests.telemetry.otlp.spans import spans


def by_id(told: list[Span]) -> list[Span]:
    return sorted(told, key=lambda span: (span.trace_id, span.span_id))


def test_a_trace_and_its_batch_come_back() -> None:
    told = [*request_spans(), *batch_spans()]
    made = spans_json(told)
    assert len(made["resourceSpans"]) == 2  # the gateway's worker and the pod
    decoded = decode_json(json.dumps(made).encode())
    assert by_id(decoded.spans) == by_id(told)


@given(st.lists(spans(), max_size=4, unique_by=lambda span: (span.trace_id, span.span_id)))
def test_whatever_spans_hold_comes_back(told: list[Span]) -> None:
    decoded = decode_json(json.dumps(spans_json(told), allow_nan=False).encode())
    assert len(decoded.spans) == len(told)
    assert [repr(span.attributes) for span in by_id(decoded.spans)] == [repr(span.attributes) for span in by_id(told)]
