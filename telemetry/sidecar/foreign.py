"""Spans that somebody else made, put together by trace: what belongs together is kept or left out together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from telemetry.sidecar.weight import attributes_bytes, span_bytes
from telemetry.span import Span


class ForeignTrace(Struct, frozen=True):
    """What came of one trace.

    Attributes:
        begins: its first span is here, so that nobody else decides on it.
        size_bytes: what it weighs.
    """

    trace_id: str
    spans: tuple[Span, ...]
    begins: bool
    size_bytes: int


def by_trace(spans: Iterable[Span]) -> list[ForeignTrace]:
    """Return spans by their traces, in the order in which these come."""
    of_trace: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        of_trace[span.trace_id].append(span)
    return [_trace(trace_id, together) for trace_id, together in of_trace.items()]


def _trace(trace_id: str, spans: list[Span]) -> ForeignTrace:
    resources = {id(span.resource): span.resource for span in spans}
    size_bytes = sum(map(span_bytes, spans)) + sum(map(attributes_bytes, resources.values()))
    return ForeignTrace(trace_id, tuple(spans), not all(span.parent_id for span in spans), size_bytes)
