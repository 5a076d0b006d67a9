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

HEADS_KEPT = 256

_TOLD_CHARACTERS = 256
_REQUESTS = (SpanName.GATEWAY_REQUEST, SpanName.POD_REQUEST)
_HEAD_RANK = len(ROOTS)
_OTHER_RANK = _HEAD_RANK + 1


class Head(Struct, frozen=True, array_like=True):
    """What one span may say in its trace's summary. New fields come last, with a default.

    Attributes:
        rank: the index in ``ROOTS``, or behind these; the last of all is for a span that has a say only where no other
            has.
        request_id: of a gateway's or a pod's request; nobody else says whose a trace is.
        reason: or the type of its error.
    """

    rank: int
    start_ns: int
    span_id: str
    end_ns: int
    name: str
    is_error: bool
    request_id: str
    model: str
    version: str
    tenant: str
    arm: str
    http_status: int | None
    reason: str
    outcome: str
    batch_rows: int | None
    kept: str

    @property
    def has_a_say(self) -> bool:
        """Whether the span belongs to the trace's frame."""
        return self.rank != _OTHER_RANK


class Outline(Struct, frozen=True, array_like=True):
    """What spans of one trace say together: all that its summary is made of.

    Attributes:
        end_ns: the latest.
        size_bytes: of all these spans, as they are stored.
        heads: the best first, at most ``HEADS_KEPT``; one without a say is here only alone.
    """

    span_count: int
    start_ns: int
    end_ns: int
    has_error: bool
    size_bytes: int
    heads: tuple[Head, ...]


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


def head_of(span: Span) -> Head:
    """Return what the span may say in its trace's summary."""
    if span.name in ROOTS:
        rank = ROOTS.index(span.name)
    else:
        rank = _HEAD_RANK if span.name in STAGES or not span.parent_id else _OTHER_RANK
    return Head(
        rank,
        span.start_ns,
        span.span_id,
        span.end_ns,
        span.name,
        span.status is Status.ERROR,
        _text(span, Attribute.REQUEST_ID) if span.name in _REQUESTS else "",
        _text(span, Attribute.MODEL),
        _text(span, Attribute.VERSION),
        _text(span, Attribute.TENANT),
        _text(span, Attribute.ARM),
        _number(span, Attribute.HTTP_STATUS),
        _text(span, Attribute.REASON) or _text(span, Attribute.ERROR_TYPE),
        _text(span, Attribute.OUTCOME),
        _number(span, Attribute.BATCH_ROWS),
        _text(span, Attribute.KEPT),
    )


def outline_of(heads: Sequence[Head], size_bytes: int) -> Outline:
    """Return the outline of some spans of a trace, at least one."""
    return Outline(
        len(heads),
        min(head.start_ns for head in heads),
        max(head.end_ns for head in heads),
        any(head.is_error for head in heads),
        size_bytes,
        _best(heads),
    )


def merged(one: Outline, other: Outline) -> Outline:
    """Return the outline of two sets of spans; it does not depend on which spans were in which."""
    return Outline(
        one.span_count + other.span_count,
        min(one.start_ns, other.start_ns),
        max(one.end_ns, other.end_ns),
        one.has_error or other.has_error,
        one.size_bytes + other.size_bytes,
        _best((*one.heads, *other.heads)),
    )


def _best(heads: Iterable[Head]) -> tuple[Head, ...]:
    ordered = sorted(heads, key=lambda head: (head.rank, head.start_ns, head.span_id))
    return tuple([head for head in ordered if head.has_a_say][:HEADS_KEPT] or ordered[:1])


def summarise(trace_id: str, outline: Outline) -> Summary:
    """Return the summary of a trace; it does not depend on the order in which spans came."""
    ordered = sorted(outline.heads, key=lambda head: (head.start_ns, head.span_id))
    root = min(ordered, key=lambda head: head.rank)
    ours = [root, *ordered]
    is_error = root.is_error if root.name in ROOTS else outline.has_error
    return Summary(
        trace_id,
        _first(head.request_id for head in ours),
        root.name,
        _first(head.model for head in ours),
        _first(head.version for head in ours),
        _first(head.tenant for head in ours),
        _first(head.arm for head in ours),
        "error" if is_error else "ok",
        root.http_status,
        root.reason,
        root.outcome,
        root.start_ns,
        max(0, root.end_ns - root.start_ns),
        outline.span_count,
        max((head.batch_rows for head in ordered if head.batch_rows is not None), default=None),
        _first(head.kept for head in ours),
        tuple(_stages(ordered)),
    )


def _stages(ordered: Iterable[Head]) -> list[Stage]:
    stages = [head for head in ordered if head.name in STAGES]
    return [Stage(head.name, head.start_ns, max(0, head.end_ns - head.start_ns)) for head in stages[:STAGES_SHOWN]]


def _first(said: Iterable[str]) -> str:
    return next((text for text in said if text), "")


def _text(span: Span, key: str) -> str:
    """Return the span's word on it; a span without one may have it from its process."""
    said = (values.get(key) for values in (span.attributes, span.resource))
    return next((value[:_TOLD_CHARACTERS] for value in said if isinstance(value, str) and value), "")


def _number(span: Span, key: str) -> int | None:
    value = span.attributes.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
