"""Spans as the store keeps them: columns that are searched, and the rest as msgpack."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from telemetry.hub.summary import Head, Outline, Summary, head_of
from telemetry.span import Attributes, Event, Kind, Link, Span, Status

_encode = msgspec.msgpack.Encoder().encode


class _Body(Struct, array_like=True):
    """What of a span is in no column. New fields come last, with a default."""

    parent_id: str
    name: str
    kind: Kind
    status: Status
    message: str
    attributes: dict[str, Any]
    events: list[tuple[int, str, dict[str, Any]]]
    trace_state: str
    scope: str
    dropped_attributes: int
    dropped_links: int
    dropped_events: int


_decode_body = msgspec.msgpack.Decoder(_Body).decode
_decode_attributes = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_summary = msgspec.msgpack.Decoder(Summary).decode
_decode_outline = msgspec.msgpack.Decoder(Outline).decode

_LINK_BYTES = 128
_ROW_BYTES = 512


class LinkRow(NamedTuple):
    """One link; whence it comes is in its span's row."""

    to_trace: str
    to_span: str
    attributes: bytes


class SpanRow(NamedTuple):
    """One span before it is written.

    Attributes:
        size_bytes: about how much memory it holds, and the file for it.
        head: what it says in its trace's summary.
    """

    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    size_bytes: int
    resource: bytes
    body: bytes
    links: tuple[LinkRow, ...]
    head: Head


def row_of(span: Span) -> SpanRow:
    """Return the row of a span, which is within its bounds."""
    body = _Body(
        span.parent_id,
        span.name,
        span.kind,
        span.status,
        span.message,
        span.attributes,
        [(event.at_ns, event.name, event.attributes) for event in span.events],
        span.trace_state,
        span.scope,
        span.dropped_attributes,
        span.dropped_links,
        span.dropped_events,
    )
    links = tuple(LinkRow(link.trace_id, link.span_id, _encode(link.attributes)) for link in span.links)
    resource, rest = _encode(span.resource), _encode(body)
    links_bytes = sum(_LINK_BYTES + len(link.attributes) for link in links)
    size_bytes = _ROW_BYTES + len(resource) + len(rest) + links_bytes
    return SpanRow(
        span.trace_id, span.span_id, span.start_ns, span.end_ns, size_bytes, resource, rest, links, head_of(span)
    )


def span_of(ids: tuple[str, str], times_ns: tuple[int, int], resource: bytes, body: bytes, links: list[Link]) -> Span:
    """Return the span of what was stored.

    Raises:
        msgspec.MsgspecError: the bytes are none that were written here.
    """
    rest = _decode_body(body)
    return Span(
        *ids,
        rest.parent_id,
        rest.name,
        rest.kind,
        *times_ns,
        rest.status,
        rest.message,
        _attributes(rest.attributes),
        tuple(links),
        tuple(Event(at_ns, name, _attributes(attributes)) for at_ns, name, attributes in rest.events),
        rest.trace_state,
        read_attributes(resource),
        rest.scope,
        rest.dropped_attributes,
        rest.dropped_links,
        rest.dropped_events,
    )


def read_attributes(stored: bytes) -> Attributes:
    """Return attributes as they were stored."""
    return _attributes(_decode_attributes(stored))


def write_summary(summary: Summary) -> bytes:
    """Return a summary as it is stored."""
    return _encode(summary)


def read_summary(stored: bytes) -> Summary:
    """Return a summary as it was stored."""
    return _decode_summary(stored)


def write_outline(outline: Outline) -> bytes:
    """Return an outline as it is stored."""
    return _encode(outline)


def read_outline(stored: bytes) -> Outline:
    """Return an outline as it was stored."""
    return _decode_outline(stored)


def _attributes(decoded: dict[str, Any]) -> Attributes:
    """Return attributes with arrays as tuples again."""
    if any(isinstance(value, list) for value in decoded.values()):
        return {key: _value(value) for key, value in decoded.items()}
    return decoded


def _value(value: Any) -> Any:
    return tuple(_value(item) for item in value) if isinstance(value, list) else value
