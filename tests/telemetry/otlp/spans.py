"""Spans of every shape, for properties."""

from __future__ import annotations

from hypothesis import strategies as st

from telemetry.span import Attributes, Event, Kind, Link, Span, Status, Value

# What UTF-8 can carry; the encoder's answer to half of a surrogate pair has a test of its own.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = texts.filter(bool)
trace_ids = st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex)
span_ids = st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex)
moments_ns = st.integers(0, 2**63)
counts = st.integers(0, 2**20)

scalars = st.one_of(
    texts,
    st.text("é", min_size=120, max_size=300),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2, 3),
    st.floats(allow_nan=False),
    st.binary(max_size=8),
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2).map(tuple), max_leaves=4
)
attributes: st.SearchStrategy[Attributes] = st.dictionaries(keys, values, max_size=3)

links = st.builds(Link, trace_ids, span_ids, attributes)
events = st.builds(Event, moments_ns, texts, attributes)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start_ns, end_ns = sorted((draw(moments_ns), draw(moments_ns)))
    return Span(
        trace_id=draw(trace_ids),
        span_id=draw(span_ids),
        parent_id=draw(st.one_of(st.just(""), span_ids)),
        name=draw(texts),
        kind=draw(st.sampled_from(Kind)),
        start_ns=start_ns,
        end_ns=end_ns,
        status=draw(st.sampled_from(Status)),
        message=draw(texts),
        attributes=draw(attributes),
        links=tuple(draw(st.lists(links, max_size=2))),
        events=tuple(draw(st.lists(events, max_size=2))),
        trace_state=draw(texts),
        resource=draw(st.sampled_from([{}, {"service.name": "pod", "process.pid": 1}, {"service.name": "gateway"}])),
        scope=draw(st.sampled_from(["", "penstock", "a-handler"])),
        dropped_attributes=draw(counts),
        dropped_links=draw(counts),
        dropped_events=draw(counts),
    )
