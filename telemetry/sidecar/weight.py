"""How much memory a span takes, by a rule that is quick and rather says too much."""

from __future__ import annotations

from telemetry.span import Attributes, Span, Value

# What things take beside their texts. On the wire they are smaller, so that spans of so much weight are no more bytes
# there; and each message of OTLP is at least one of these, two in a pair of key and value.
SPAN_BYTES = 400
PAIR_BYTES = 120
ITEM_BYTES = 60
LINK_BYTES = 200
EVENT_BYTES = 150
# Of UTF-8 for a character that is not ASCII, at most.
_CHARACTER_BYTES = 4


def span_bytes(span: Span) -> int:
    """Return the weight of a span without its resource, which it shares with others."""
    links = sum(LINK_BYTES + attributes_bytes(link.attributes) for link in span.links)
    events = sum(EVENT_BYTES + text_bytes(event.name) + attributes_bytes(event.attributes) for event in span.events)
    texts = text_bytes(span.name) + text_bytes(span.message) + text_bytes(span.scope) + text_bytes(span.trace_state)
    return SPAN_BYTES + texts + attributes_bytes(span.attributes) + links + events


def attributes_bytes(attributes: Attributes) -> int:
    """Return the weight of attributes."""
    return sum([pair_bytes(key, value) for key, value in attributes.items()])


def pair_bytes(key: str, value: Value) -> int:
    """Return the weight of one attribute."""
    return PAIR_BYTES + text_bytes(key) + _value_bytes(value)


def text_bytes(text: str) -> int:
    """Return the weight of a text."""
    return len(text) if text.isascii() else _CHARACTER_BYTES * len(text)


def _value_bytes(value: Value) -> int:
    match value:
        case str():
            return text_bytes(value)
        case bytes():
            return len(value)
        case tuple():
            return sum(ITEM_BYTES + _value_bytes(item) for item in value)
    return 0
