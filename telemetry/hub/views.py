"""Turns stored traces into the JSON API's answers."""

from __future__ import annotations

import base64
import math
from collections.abc import Container, Sequence
from typing import Any

import msgspec

from telemetry.conventions import Attribute
from telemetry.hub.parts import Breakdown, break_down, root_of
from telemetry.hub.query import TraceQuery, cursor
from telemetry.hub.reader import StoredBatch, StoredTrace
from telemetry.hub.summary import Summary
from telemetry.otlp.encode_json import spans_json
from telemetry.span import Attributes, Event, Link, Span, Value

Json = dict[str, Any]

# JavaScript's numbers are exact up to here (ECMA-262, Number.MAX_SAFE_INTEGER).
_EXACT = 2**53 - 1


def list_json(found: Sequence[Summary], query: TraceQuery) -> Json:
    """Return one page of the list of traces; ``found`` has one more than the page when there are more."""
    shown = found[: query.limit]
    has_more = len(found) > query.limit
    return {"traces": [msgspec.to_builtins(s) for s in shown], "next": cursor(shown[-1]) if has_more else None}


def trace_json(stored: StoredTrace) -> Json:
    """Return a trace with its batches, and where the time of the request went that was asked for."""
    root = root_of(stored.spans, stored.wanted_request)
    breakdown = break_down(root, stored.spans) if root is not None else Breakdown()
    start_ns = min(span.start_ns for span in stored.spans)
    end_ns = max(span.end_ns for span in stored.spans)
    return {
        "trace_id": stored.trace_id,
        "request_id": stored.wanted_request or _text(root.attributes if root else {}, Attribute.REQUEST_ID),
        "start_ns": start_ns,
        "duration_ns": max(0, end_ns - start_ns),
        "root_id": root.span_id if root else "",
        "spans": [span_json(span, stored.request_ids) for span in stored.spans],
        "batches": [_batch_json(batch, stored) for batch in stored.batches],
        "parts": [msgspec.to_builtins(part) for part in breakdown.parts],
        "covered_ratio": breakdown.covered_ratio,
    }


def otlp_json(stored: StoredTrace) -> Json:
    """Return a trace as OTLP's JSON, with the spans of the batches that it rode in, each once."""
    told = [*stored.spans, *(span for batch in stored.batches for span in batch.spans)]
    return spans_json(list({(span.trace_id, span.span_id): span for span in told}.values()))


def span_json(span: Span, stored_traces: Container[str]) -> Json:
    """Return one span; its links say whether what they lead to is stored."""
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "service": _text(span.resource, Attribute.SERVICE_NAME),
        "instance": _text(span.resource, Attribute.SERVICE_INSTANCE),
        "start_ns": span.start_ns,
        "duration_ns": max(0, span.end_ns - span.start_ns),
        "status": span.status.name.lower(),
        "message": span.message,
        "attributes": attributes_json(span.attributes),
        "links": [_link_json(link, link.trace_id in stored_traces) for link in span.links],
        "events": [_event_json(event) for event in span.events],
        "scope": span.scope,
        "resource": attributes_json(span.resource),
        "dropped": span.dropped_attributes + span.dropped_links + span.dropped_events,
    }


def attributes_json(attributes: Attributes) -> Json:
    """Return attributes as JSON can hold them."""
    return {key: _value_json(value) for key, value in attributes.items()}


def _value_json(value: Value) -> Any:
    """Return the value; bytes in base64, and numbers that JSON or a browser cannot hold as texts."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case tuple():
            return [_value_json(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case int() if abs(value) > _EXACT:
            return str(value)
        case _:
            return value


def _link_json(link: Link, is_stored: bool) -> Json:
    return {
        "trace_id": link.trace_id,
        "span_id": link.span_id,
        "attributes": attributes_json(link.attributes),
        "is_stored": is_stored,
    }


def _event_json(event: Event) -> Json:
    return {"at_ns": event.at_ns, "name": event.name, "attributes": attributes_json(event.attributes)}


def _batch_json(batch: StoredBatch, stored: StoredTrace) -> Json:
    span = batch.span
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "attributes": attributes_json(span.attributes),
        "start_ns": span.start_ns,
        "duration_ns": max(0, span.end_ns - span.start_ns),
        "spans": [span_json(other, stored.request_ids) for other in batch.spans],
        "members": [_member_json(link, stored) for link in span.links],
    }


def _member_json(link: Link, stored: StoredTrace) -> Json:
    request_id = _text(link.attributes, Attribute.REQUEST_ID) or stored.request_ids.get(link.trace_id, "")
    is_this = link.trace_id == stored.trace_id and stored.wanted_request in ("", request_id)
    return {
        "trace_id": link.trace_id,
        "span_id": link.span_id,
        "request_id": request_id,
        "rows": _count(link.attributes.get(Attribute.ROWS)),
        "queue_wait_s": _seconds(link.attributes.get(Attribute.QUEUE_WAIT_S)),
        "device_s": _seconds(link.attributes.get(Attribute.DEVICE_S)),
        "is_this": is_this,
        "is_stored": link.trace_id in stored.request_ids,
    }


def _count(value: Value | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: Value | None) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(attributes: Attributes, key: str) -> str:
    value = attributes.get(key)
    return value if isinstance(value, str) else ""
