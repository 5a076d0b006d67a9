"""Cuts a span that came over the wire down to what one span may hold; what is left out is counted in the span."""

from __future__ import annotations

from itertools import islice

from telemetry.span import Attributes, Event, Link, Span, Value

# OpenTelemetry's defaults (SDK specification, "Span limits") but for links: a batch has one for each member.
ATTRIBUTES = 128
EVENTS = 128
LINKS = 1024
ARRAY_ITEMS = 128
ARRAY_DEPTH = 4
KEY_CHARACTERS = 256
NAME_CHARACTERS = 256
TEXT_CHARACTERS = 4096
STATE_CHARACTERS = 512  # W3C Trace Context, section 3.3.1.5
LAST_NS = 2**63 - 1
"""The latest moment that the store can hold; OTLP's has one bit more."""


def bounded(span: Span) -> Span:
    """Return the span within all bounds: the first of everything stays, long texts are cut."""
    attributes, dropped = _attributes(span.attributes)
    resource, _ = _attributes(span.resource)
    return Span(
        span.trace_id,
        span.span_id,
        span.parent_id,
        _text(span.name, NAME_CHARACTERS),
        span.kind,
        min(span.start_ns, LAST_NS),
        min(span.end_ns, LAST_NS),
        span.status,
        _text(span.message, TEXT_CHARACTERS),
        attributes,
        tuple(_link(link) for link in span.links[:LINKS]),
        tuple(_event(event) for event in span.events[:EVENTS]),
        _text(span.trace_state, STATE_CHARACTERS),
        resource,
        _text(span.scope, NAME_CHARACTERS),
        span.dropped_attributes + dropped,
        span.dropped_links + max(0, len(span.links) - LINKS),
        span.dropped_events + max(0, len(span.events) - EVENTS),
    )


def _link(link: Link) -> Link:
    return Link(link.trace_id, link.span_id, _attributes(link.attributes)[0])


def _event(event: Event) -> Event:
    return Event(min(event.at_ns, LAST_NS), _text(event.name, NAME_CHARACTERS), _attributes(event.attributes)[0])


def _attributes(attributes: Attributes) -> tuple[Attributes, int]:
    """Return the attributes that stay, and how many do not."""
    kept = {_text(key, KEY_CHARACTERS): _value(value, ARRAY_DEPTH) for key, value in _first(attributes)}
    return kept, len(attributes) - len(kept)


def _first(attributes: Attributes) -> islice[tuple[str, Value]]:
    return islice(attributes.items(), ATTRIBUTES)


def _value(value: Value, depth: int) -> Value:
    match value:
        case str():
            return _text(value, TEXT_CHARACTERS)
        case bytes():
            return value[:TEXT_CHARACTERS]
        case tuple():
            return tuple(_value(item, depth - 1) for item in value[:ARRAY_ITEMS]) if depth else ()
        case _:
            return value


def _text(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[:characters]
