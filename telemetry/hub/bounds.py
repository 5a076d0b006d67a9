"""Cuts a span that came over the wire down to what one span may hold; what is left out is counted in the span."""

from __future__ import annotations

from itertools import islice

from telemetry import limits
from telemetry.span import Attributes, Event, Link, Span, Value

LAST_NS = 2**63 - 1
"""The latest moment that the store can hold; OTLP's has one bit more."""

# What a pair of key and value, an item of an array or an event takes beside its texts, rather too much.
_PAIR_BYTES = 16
_ITEM_BYTES = 9
_EVENT_BYTES = 32


class _Room:
    """How many bytes are left for what is still to come."""

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes

    def takes(self, size_bytes: int) -> bool:
        """Take so many of them, or none when they are not there."""
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True


def bounded(span: Span) -> Span:
    """Return the span within all bounds: the first of everything stays, long texts are cut."""
    name, message = _text(span.name, limits.NAME_CHARACTERS), _text(span.message, limits.TEXT_CHARACTERS)
    scope, state = _text(span.scope, limits.NAME_CHARACTERS), _text(span.trace_state, limits.STATE_CHARACTERS)
    room = _Room(limits.SPAN_BYTES - sum(_size(text) for text in (name, message, scope, state)))
    attributes = _attributes(span.attributes, room)
    events = _events(span.events, room)
    room = _Room(limits.LINKS_BYTES)
    return Span(
        span.trace_id,
        span.span_id,
        span.parent_id,
        name,
        span.kind,
        min(span.start_ns, LAST_NS),
        min(span.end_ns, LAST_NS),
        span.status,
        message,
        attributes,
        tuple(_link(link, room) for link in span.links[: limits.LINKS]),
        events,
        state,
        _attributes(span.resource, _Room(limits.RESOURCE_BYTES)),
        scope,
        span.dropped_attributes + len(span.attributes) - len(attributes),
        span.dropped_links + max(0, len(span.links) - limits.LINKS),
        span.dropped_events + len(span.events) - len(events),
    )


def _link(link: Link, room: _Room) -> Link:
    """Return the link; where there is no room it says no more than whereto."""
    return Link(link.trace_id, link.span_id, _attributes(link.attributes, room))


def _events(events: tuple[Event, ...], room: _Room) -> tuple[Event, ...]:
    kept = []
    for event in events[: limits.EVENTS]:
        name = _text(event.name, limits.NAME_CHARACTERS)
        if room.takes(_EVENT_BYTES + _size(name)):
            kept.append(Event(min(event.at_ns, LAST_NS), name, _attributes(event.attributes, room)))
    return tuple(kept)


def _attributes(attributes: Attributes, room: _Room) -> Attributes:
    """Return the attributes that stay: of the first ones those that there is room for, each whole."""
    kept: Attributes = {}
    for key, value in islice(attributes.items(), limits.ATTRIBUTES):
        short_key, short = _text(key, limits.KEY_CHARACTERS), _value(value, limits.ARRAY_DEPTH)
        if room.takes(_PAIR_BYTES + _size(short_key) + _size(short)):
            kept[short_key] = short
    return kept


def _value(value: Value, depth: int) -> Value:
    match value:
        case str():
            return _text(value, limits.TEXT_CHARACTERS)
        case bytes():
            return value[: limits.TEXT_CHARACTERS]
        case tuple():
            return tuple(_value(item, depth - 1) for item in value[: limits.ARRAY_ITEMS]) if depth else ()
        case _:
            return value


def _size(value: Value) -> int:
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode())
        case bytes():
            return len(value)
        case tuple():
            return sum(_ITEM_BYTES + _size(item) for item in value)
        case _:
            return 0


def _text(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[:characters]
