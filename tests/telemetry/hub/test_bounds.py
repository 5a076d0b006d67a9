"""What came over the wire is cut down to what one span may hold, and the span says what it lost."""

from __future__ import annotations

from hypothesis import given
from msgspec.structs import replace

from telemetry import limits
from telemetry.hub import bounds
from telemetry.hub.bounds import bounded
from telemetry.hub.rows import row_of
from telemetry.span import Event, Link, Span
from tests.telemetry.hub.traces import TRACE, plain_span, request_spans
from tests.telemetry.otlp.spans import spans


def test_a_span_within_its_bounds_stays_as_it_is() -> None:
    assert [bounded(span) for span in request_spans()] == request_spans()


def test_too_many_of_anything_are_left_out_and_counted() -> None:
    span = replace(
        plain_span(TRACE, "1" * 16),
        attributes={f"key-{at}": at for at in range(limits.ATTRIBUTES + 3)},
        links=tuple(Link(TRACE, f"{at:016x}") for at in range(limits.LINKS + 2)),
        events=tuple(Event(at, "event") for at in range(limits.EVENTS + 1)),
        dropped_attributes=10,
    )
    cut = bounded(span)
    assert (len(cut.attributes), len(cut.links), len(cut.events)) == (limits.ATTRIBUTES, limits.LINKS, limits.EVENTS)
    assert (cut.dropped_attributes, cut.dropped_links, cut.dropped_events) == (13, 2, 1)


def test_long_texts_and_deep_arrays_are_cut() -> None:
    deep: tuple[object, ...] = ("bottom",)
    for _ in range(100):
        deep = (deep,)
    attributes = {"text": "x" * 10_000, "bytes": b"x" * 10_000, "many": tuple(range(1000)), "deep": deep}
    span = replace(plain_span(TRACE, "1" * 16), name="n" * 1000, message="m" * 10_000, attributes=attributes)
    cut = bounded(span)
    assert (len(cut.name), len(cut.message)) == (limits.NAME_CHARACTERS, limits.TEXT_CHARACTERS)
    assert cut.attributes["text"] == "x" * limits.TEXT_CHARACTERS
    assert cut.attributes["bytes"] == b"x" * limits.TEXT_CHARACTERS
    assert cut.attributes["many"] == tuple(range(limits.ARRAY_ITEMS))
    kept: tuple[object, ...] = ()
    for _ in range(limits.ARRAY_DEPTH):
        kept = (kept,)
    assert cut.attributes["deep"] == kept


def test_moments_beyond_what_the_store_can_hold_are_the_last_that_it_can() -> None:
    span = replace(plain_span(TRACE, "1" * 16), start_ns=2**64 - 1, end_ns=2**64 - 1, events=(Event(2**64 - 1, "e"),))
    cut = bounded(span)
    assert (cut.start_ns, cut.end_ns, cut.events[0].at_ns) == (bounds.LAST_NS,) * 3


def size_bytes(span: Span) -> int:
    """Return how large it is in the store, but for its process and its links."""
    row = row_of(span)
    return len(row.body)


def test_a_span_as_a_whole_is_bounded_and_what_is_left_out_is_counted() -> None:
    long = {f"{at:03}": tuple("é" * 1000 for _ in range(20)) for at in range(limits.ATTRIBUTES)}
    event = Event(1, "n" * 256, {"k": "x" * 4096})
    cut = bounded(
        replace(plain_span(TRACE, "1" * 16), attributes={**long, "short": 1}, events=(event,) * limits.EVENTS)
    )
    assert 40_000 < size_bytes(cut) <= limits.SPAN_BYTES
    assert len(cut.attributes) + cut.dropped_attributes == limits.ATTRIBUTES + 1
    assert len(cut.events) + cut.dropped_events == limits.EVENTS
    assert all(cut.attributes[key] == long[key] for key in cut.attributes)


def test_links_and_the_process_have_bounds_of_their_own() -> None:
    links = tuple(Link(TRACE, f"{at:016x}", {"k": "x" * 1000}) for at in range(limits.LINKS))
    process = {f"{at:03}": "x" * 1000 for at in range(limits.ATTRIBUTES)}
    row = row_of(bounded(replace(plain_span(TRACE, "1" * 16), links=links, resource=process)))
    assert len(row.resource) <= limits.RESOURCE_BYTES
    assert len(row.links) == limits.LINKS  # whereto is told of each
    assert limits.LINKS_BYTES / 2 < sum(len(link.attributes) for link in row.links) <= limits.LINKS_BYTES


@given(spans())
def test_no_span_is_larger_than_its_bound(span: Span) -> None:
    assert size_bytes(bounded(span)) <= limits.SPAN_BYTES
