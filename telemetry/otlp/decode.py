"""An ``ExportTraceServiceRequest``, in protobuf or OTLP/JSON -> spans, and how many of its spans are none.

It uses the official messages. What a span here has no room for is left out: versions and attributes of scopes, schema
URLs, trace states of links.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from telemetry import limits
from telemetry.otlp.count import BadWire, check_json, check_protobuf
from telemetry.span import Attributes, Event, Kind, Link, Span, Status, Value

_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_KINDS = {kind.value: kind for kind in Kind}
_STATUSES = {status.value: status for status in Status}
_NO_ID = "AA=="  # one byte, which is no id: its link is left out, and not the request refused
_LINK_ID_FIELDS = ("traceId", "spanId")
_NO_TRACE_ID = "A trace id is 16 bytes that are not all zero."
_NO_SPAN_ID = "A span id is 8 bytes that are not all zero."
_NO_PARENT_ID = "A parent's span id is 8 bytes, or none."

Item = TypeVar("Item")
Made = TypeVar("Made")


class NotOtlp(Exception):
    """A body is no request at all; the text is for its sender."""


class Decoded(Struct, frozen=True):
    """What one request had.

    Attributes:
        rejected: how many of its spans are none, and so are not among ``spans``.
        why: of the first of these; "" when there is none.
    """

    spans: list[Span]
    rejected: int = 0
    why: str = ""


def decode_protobuf(body: bytes) -> Decoded:
    """Return the spans of a body in protobuf.

    Raises:
        NotOtlp: it is no such message.
        TooMany: it holds more than is looked at.
    """
    try:
        check_protobuf(body)
        return _spans(ExportTraceServiceRequest.FromString(body))
    except (BadWire, DecodeError):
        raise NotOtlp("The body is not an ExportTraceServiceRequest in protobuf.") from None


def decode_json(body: bytes) -> Decoded:
    """Return the spans of a body in OTLP/JSON, whose ids are hexadecimal where protobuf's JSON has base64.

    Raises:
        NotOtlp: it is no such message.
        TooMany: it holds more than is looked at.
    """
    check_json(body)
    try:
        document = json.loads(body, parse_constant=_no_constant)
        if not isinstance(document, dict):
            raise ParseError("it is no object")
        rejected = _make_official(document)
        decoded = _spans(ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True))
    except _STUMBLES as error:
        detail = str(error).partition("\n")[0]
        raise NotOtlp(f"The body is not an ExportTraceServiceRequest in JSON: {detail:.200}") from None
    return Decoded(decoded.spans, decoded.rejected + len(rejected), next(iter(rejected), decoded.why))


# The official parser assumes objects and small numbers where it finds something else, and stumbles in many ways.
_STUMBLES = (ParseError, ValueError, TypeError, AttributeError, RecursionError, ArithmeticError, SystemError)


def _no_constant(name: str) -> None:
    raise ParseError(f"{name} is no JSON")


def _make_official(document: object) -> list[str]:
    """Change spans and links in place to what the official parser reads, and return why spans were taken out.

    Spans without ids are not worth its time. What is not shaped as it should be is left to it.
    """
    rejected: list[str] = []
    for resource_spans in _list(document, "resourceSpans"):
        for scope_spans in _list(resource_spans, "scopeSpans"):
            spans = _list(scope_spans, "spans")
            reasons = [_why_no_span(span) for span in spans]
            spans[:] = [_official_span(span) for span, why in zip(spans, reasons, strict=True) if not why]
            rejected += [why for why in reasons if why]
    return rejected


def _why_no_span(span: object) -> str:
    """Return why a span in JSON is none; "" when it may be one."""
    if not isinstance(span, dict):
        return ""
    if not _is_hex_id(span.get("traceId"), _TRACE_ID_BYTES):
        return _NO_TRACE_ID
    if not _is_hex_id(span.get("spanId"), _SPAN_ID_BYTES):
        return _NO_SPAN_ID
    parent = span.get("parentSpanId")
    return _NO_PARENT_ID if parent and len(_hex_bytes(parent)) != _SPAN_ID_BYTES else ""


def _is_hex_id(digits: object, length: int) -> bool:
    # What is neither text nor absent is for the parser to refuse, with the whole body.
    return not isinstance(digits, str | None) or _is_id(_hex_bytes(digits), length)


def _hex_bytes(digits: object) -> bytes:
    try:
        return bytes.fromhex(digits) if isinstance(digits, str) else b""
    except ValueError:
        return b""


def _official_span(span: object) -> object:
    if isinstance(span, dict):
        _ids_to_base64(span, ("traceId", "spanId", "parentSpanId"))
        if isinstance(span.get("kind"), float | bool):
            raise ParseError("a kind is a whole number")  # the parser would cut it down to one
        for link in _list(span, "links"):
            _ids_to_base64(link, _LINK_ID_FIELDS)
    return span


def _ids_to_base64(owner: object, fields: Sequence[str]) -> None:
    if isinstance(owner, dict):
        for field in fields:
            if isinstance(owner.get(field), str) and owner[field]:
                owner[field] = base64.b64encode(_hex_bytes(owner[field])).decode() or _NO_ID


def _list(document: object, field: str) -> list[Any]:
    found = document.get(field) if isinstance(document, dict) else None
    return found if isinstance(found, list) else []


def _spans(request: ExportTraceServiceRequest) -> Decoded:
    spans: list[Span] = []
    rejected, first_reason = 0, ""
    for resource_spans in request.resource_spans:
        resource, _ = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name
            for span in scope_spans.spans:
                if reason := _why_rejected(span):
                    rejected += 1
                    first_reason = first_reason or reason
                else:
                    spans.append(_span(span, resource, scope))
    return Decoded(spans, rejected, first_reason)


def _why_rejected(span: otlp.Span) -> str:
    if not _is_id(span.trace_id, _TRACE_ID_BYTES):
        return _NO_TRACE_ID
    if not _is_id(span.span_id, _SPAN_ID_BYTES):
        return _NO_SPAN_ID
    if span.parent_span_id and len(span.parent_span_id) != _SPAN_ID_BYTES:
        return _NO_PARENT_ID
    return ""


def _is_id(value: bytes, length: int) -> bool:
    return len(value) == length and any(value)


def _span(span: otlp.Span, resource: Attributes, scope: str) -> Span:
    attributes, dropped = _attributes(span.attributes)
    links, dropped_links = _limited(span.links, limits.LINKS, _link)
    events, dropped_events = _limited(span.events, limits.EVENTS, _event)
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else "",
        name=span.name,
        kind=_KINDS.get(span.kind, Kind.UNSPECIFIED),
        start_ns=span.start_time_unix_nano,
        # A clock that was set back in between makes a span that took no time, not one that took less.
        end_ns=max(span.start_time_unix_nano, span.end_time_unix_nano),
        status=_STATUSES.get(span.status.code, Status.UNSET),
        message=span.status.message,
        attributes=attributes,
        links=links,
        events=events,
        trace_state=span.trace_state,
        resource=resource,
        scope=scope,
        dropped_attributes=span.dropped_attributes_count + dropped,
        dropped_links=span.dropped_links_count + dropped_links,
        dropped_events=span.dropped_events_count + dropped_events,
    )


def _limited(items: Sequence[Item], limit: int, make: Callable[[Item], Made | None]) -> tuple[tuple[Made, ...], int]:
    """Return what could be made of the first items, and how many others there were."""
    made = tuple(one for item in items[:limit] if (one := make(item)) is not None) if items else ()
    return made, len(items) - len(made)


def _link(link: otlp.Span.Link) -> Link | None:
    if not _is_id(link.trace_id, _TRACE_ID_BYTES) or not _is_id(link.span_id, _SPAN_ID_BYTES):
        return None
    return Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)[0])


def _event(event: otlp.Span.Event) -> Event:
    return Event(event.time_unix_nano, event.name, _attributes(event.attributes)[0])


def _attributes(pairs: Sequence[KeyValue]) -> tuple[Attributes, int]:
    """Return the first attributes, and how many others there were; a key means what it says last."""
    attributes = {pair.key: _value(pair.value) for pair in pairs[: limits.ATTRIBUTES] if pair.key} if pairs else {}
    return attributes, len(pairs) - len(attributes)


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "array_value":
            return tuple(_value(item) for item in value.array_value.values)
        case "kvlist_value":
            return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
        case "string_value" | "bool_value" | "int_value" | "double_value" | "bytes_value" as field:
            found: Value = getattr(value, field)
            return found
        case _:  # no value, or an index into a table that traces do not have
            return ""


def _plain(value: AnyValue) -> object:
    """Return a value as JSON has it; bytes become base64 and numbers that JSON lacks their names, as in OTLP/JSON."""
    match value.WhichOneof("value"):
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value" if not math.isfinite(value.double_value):
            return "NaN" if math.isnan(value.double_value) else "Infinity" if value.double_value > 0 else "-Infinity"
        case None:
            return None
        case _:
            return _value(value)
