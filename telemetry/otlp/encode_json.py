"""Spans as OTLP's JSON, as any back end or viewer takes it: ids in hex, moments as texts, one entry a process."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

from telemetry.span import Attributes, Event, Link, Span, Value

Json = dict[str, Any]


def spans_json(spans: Sequence[Span]) -> Json:
    """Return the spans as one ``ExportTraceServiceRequest``."""
    processes: dict[str, tuple[Attributes, dict[str, list[Json]]]] = {}
    for span in spans:
        key = json.dumps(_attributes(span.resource), sort_keys=True)
        _, scopes = processes.setdefault(key, (span.resource, {}))
        scopes.setdefault(span.scope, []).append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [{"scope": {"name": scope}, "spans": made} for scope, made in scopes.items()],
            }
            for resource, scopes in processes.values()
        ]
    }


def _span(span: Span) -> Json:
    # 64-bit integers are texts in protobuf's JSON; enumerations are numbers in OTLP's.
    made: Json = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "traceState": span.trace_state,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
        "events": [_event(event) for event in span.events],
        "links": [_link(link) for link in span.links],
        "status": {"code": int(span.status), "message": span.message},
        "droppedAttributesCount": span.dropped_attributes,
        "droppedLinksCount": span.dropped_links,
        "droppedEventsCount": span.dropped_events,
    }
    return {key: value for key, value in made.items() if value not in ("", 0, [])}


def _event(event: Event) -> Json:
    return {"timeUnixNano": str(event.at_ns), "name": event.name, "attributes": _attributes(event.attributes)}


def _link(link: Link) -> Json:
    return {"traceId": link.trace_id, "spanId": link.span_id, "attributes": _attributes(link.attributes)}


def _attributes(attributes: Attributes) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> Json:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case str():
            return {"stringValue": value}
        case _:
            return {"arrayValue": {"values": [_value(item) for item in value]}}


def _not_finite(value: float) -> str:
    """Return what protobuf's JSON calls a number that JSON has none for."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
