"""What came over the wire is cut down to what one span may hold, and the span says what it lost."""

from __future__ import annotations

from msgspec.structs import replace

from telemetry.hub import bounds
from telemetry.hub.bounds import bounded
from telemetry.span import Event, Link
from tests.telemetry.hub.traces import TRACE, plain_span, request_spans


def test_a_span_within_its_bounds_stays_as_it_is() -> None:
    assert [bounded(span) for span in request_spans()] == request_spans()


def test_too_many_of_anything_are_left_out_and_counted() -> None:
    span = replace(
        plain_span(TRACE, "1" * 16),
        attributes={f"key-{at}": at for at in range(bounds.ATTRIBUTES + 3)},
        links=tuple(Link(TRACE, f"{at:016x}") for at in range(bounds.LINKS + 2)),
        events=tuple(Event(at, "event") for at in range(bounds.EVENTS + 1)),
        dropped_attributes=10,
    )
    cut = bounded(span)
    assert (len(cut.attributes), len(cut.links), len(cut.events)) == (bounds.ATTRIBUTES, bounds.LINKS, bounds.EVENTS)
    assert (cut.dropped_attributes, cut.dropped_links, cut.dropped_events) == (13, 2, 1)


def test_long_texts_and_deep_arrays_are_cut() -> None:
    deep: tuple[object, ...] = ("bottom",)
    for _ in range(100):
        deep = (deep,)
    attributes = {"text": "x" * 10_000, "bytes": b"x" * 10_000, "many": tuple(range(1000)), "deep": deep}
    span = replace(plain_span(TRACE, "1" * 16), name="n" * 1000, message="m" * 10_000, attributes=attributes)
    cut = bounded(span)
    assert (len(cut.name), len(cut.message)) == (bounds.NAME_CHARACTERS, bounds.TEXT_CHARACTERS)
    assert cut.attributes["text"] == "x" * bounds.TEXT_CHARACTERS
    assert cut.attributes["bytes"] == b"x" * bounds.TEXT_CHARACTERS
    assert cut.attributes["many"] == tuple(range(bounds.ARRAY_ITEMS))
    kept: tuple[object, ...] = ()
    for _ in range(bounds.ARRAY_DEPTH):
        kept = (kept,)
    assert cut.attributes["deep"] == kept


def test_moments_beyond_what_the_store_can_hold_are_the_last_that_it_can() -> None:
    span = replace(plain_span(TRACE, "1" * 16), start_ns=2**64 - 1, end_ns=2**64 - 1, events=(Event(2**64 - 1, "e"),))
    cut = bounded(span)
    assert (cut.start_ns, cut.end_ns, cut.events[0].at_ns) == (bounds.LAST_NS,) * 3
