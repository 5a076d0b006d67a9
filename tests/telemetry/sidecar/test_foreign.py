"""Spans of one trace go together, in their order, with what they weigh."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.foreign import by_trace
from telemetry.sidecar.weight import attributes_bytes, span_bytes
from telemetry.span import Attributes, Kind, Span

RESOURCE: Attributes = {"service.name": "handler"}


def made(trace: str, number: int, parent: str = "p") -> Span:
    return Span(trace, str(number), parent, "x" * number, Kind.INTERNAL, 1, 2, resource=RESOURCE)


@given(st.lists(st.sampled_from("abc")))
def test_every_span_is_in_its_trace_once_in_its_order(traces: list[str]) -> None:
    spans = [made(trace, number) for number, trace in enumerate(traces)]
    together = by_trace(spans)
    assert sorted(trace.trace_id for trace in together) == sorted(set(traces))
    for trace in together:
        assert trace.spans == tuple(span for span in spans if span.trace_id == trace.trace_id)
        assert trace.size_bytes == sum(map(span_bytes, trace.spans)) + attributes_bytes(RESOURCE)
        assert not trace.begins


def test_a_trace_begins_where_a_span_has_no_parent() -> None:
    one, other = by_trace([made("a", 1), made("b", 2), made("b", 3, parent="")])
    assert (one.begins, other.begins) == (False, True)
