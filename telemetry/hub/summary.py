"""Decides how a trace is summed up: one line of the list of traces, from its outermost spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from telemetry.conventions import Attribute, SpanName
from telemetry.span import Span, Status

ROOTS = (SpanName.GATEWAY_REQUEST, SpanName.POD_REQUEST, SpanName.POD_BATCH, SpanName.POD_LOAD)
"""Which span a trace is called by, the best first; any other trace by its first span without a parent."""

STAGES = (
    SpanName.GATEWAY_FORWARD,
    SpanName.POD_QUEUE,
    SpanName.POD_PREPROCESS,
    SpanName.POD_INFERENCE,
    SpanName.POD_POSTPROCESS,
)
STAGES_SHOWN = 32

_HEADS = frozenset((*ROOTS, *STAGES))


class Extent(Struct, frozen=True):
    """What all spans of a trace say together; ``end_ns`` is the latest."""

    span_count: int
    start_ns: int
    end_ns: int
    has_error: bool


class Stage(Struct, frozen=True):
    """One coloured bar of the line."""

    name: str
    start_ns: int
    duration_ns: int


class Summary(Struct, frozen=True):
    """One trace in the list.

    Attributes:
        request_id: of its first request; "" for a trace that is of none.
        name: of the span that the trace is called by.
        status: ``ok`` or ``error``.
        http_status: None where the trace is of no request.
        start_ns, duration_ns: of the span that the trace is called by.
        batch_rows: of the largest batch that the request rode in; None when it rode in none.
        kept: why a sidecar kept it.
    """

    trace_id: str
    request_id: str
    name: str
    model: str
    version: str
    tenant: str
    arm: str
    status: str
    http_status: int | None
    reason: str
    outcome: str
    start_ns: int
    duration_ns: int
    span_count: int
    batch_rows: int | None
    kept: str
    stages: tuple[Stage, ...]


def is_head(span: Span) -> bool:
    """Whether the span may have a say in its trace's summary."""
    return span.name in _HEADS or not span.parent_id


def summarise(trace_id: str, extent: Extent, heads: Sequence[Span]) -> Summary:
    """Return the summary; it does not depend on the order in which spans came.

    Args:
        heads: those spans of the trace that ``is_head`` picks, or its first span if there is none of them.
    """
    ordered = sorted(heads, key=lambda span: (span.start_ns, span.span_id))
    root = min(ordered, key=_rank)
    ours = [root, *ordered]
    is_error = root.status is Status.ERROR if root.name in ROOTS else extent.has_error
    return Summary(
        trace_id,
        _text(ours, Attribute.REQUEST_ID),
        root.name,
        _text(ours, Attribute.MODEL),
        _text(ours, Attribute.VERSION),
        _text(ours, Attribute.TENANT),
        _text(ours, Attribute.ARM),
        "error" if is_error else "ok",
        _number(root, Attribute.HTTP_STATUS),
        _text([root], Attribute.REASON) or _text([root], Attribute.ERROR_TYPE),
        _text([root], Attribute.OUTCOME),
        root.start_ns,
        max(0, root.end_ns - root.start_ns),
        extent.span_count,
        max((rows for span in ordered if (rows := _number(span, Attribute.BATCH_ROWS)) is not None), default=None),
        _text(ours, Attribute.KEPT),
        tuple(_stages(ordered)),
    )


def _rank(span: Span) -> int:
    return ROOTS.index(span.name) if span.name in ROOTS else len(ROOTS)


def _stages(ordered: Iterable[Span]) -> list[Stage]:
    stages = [span for span in ordered if span.name in STAGES]
    return [Stage(span.name, span.start_ns, max(0, span.end_ns - span.start_ns)) for span in stages[:STAGES_SHOWN]]


def _text(spans: Iterable[Span], key: str) -> str:
    """Return the first span's word on it; a span without one may have it from its process."""
    said = (values.get(key) for span in spans for values in (span.attributes, span.resource))
    return next((value for value in said if isinstance(value, str) and value), "")


def _number(span: Span, key: str) -> int | None:
    value = span.attributes.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
