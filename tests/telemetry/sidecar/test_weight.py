"""A weight is never less than what is written, so that a parcel of so much weight is no longer than that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.weight import attributes_bytes, span_bytes
from telemetry.span import Event, Kind, Link, Span

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS | st.binary(max_size=50)
ATTRIBUTES = st.dictionaries(TEXTS, PLAIN | st.lists(PLAIN, max_size=20).map(tuple), max_size=8)
LINKS = st.builds(Link, st.just("a" * 32), st.just("b" * 16), ATTRIBUTES)
EVENTS = st.builds(Event, st.integers(0, 2**63), TEXTS, ATTRIBUTES)
SPANS = st.builds(
    Span,
    *(st.just("a" * 32), st.just("b" * 16), st.just("c" * 16), TEXTS, st.sampled_from(Kind)),
    *(st.integers(0, 2**63), st.integers(0, 2**63)),
    message=TEXTS,
    attributes=ATTRIBUTES,
    links=st.lists(LINKS, max_size=4).map(tuple),
    events=st.lists(EVENTS, max_size=4).map(tuple),
    trace_state=TEXTS,
    resource=ATTRIBUTES,
    scope=TEXTS,
)


@given(SPANS)
def test_nothing_weighs_less_than_its_bytes(span: Span) -> None:
    assert len(encode_spans([span])) <= span_bytes(span) + attributes_bytes(span.resource)
