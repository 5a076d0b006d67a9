"""Decides how a trace is drawn: spans in the order of their tree, the batches they rode in, and where the time went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from telemetry.conventions import Attribute, SpanName
from telemetry.hub.parts import TimePart
from telemetry.hub.shown.answers import Batch, Member, ShownSpan, SpanLink, Trace
from telemetry.hub.shown.axis import Bar, Tick, bar, time_ticks
from telemetry.hub.shown.formats import count, duration, duration_ns, exact_ns, percent, share, value
from telemetry.hub.shown.stages import STAGES, UNEXPLAINED, in_order, stage_of_part, stage_of_span

ROWS = 1000
ROWS_OF_PAGE = 2000
"""Of all waterfalls and lists of members together: with more a browser is slow, and so is the hub."""
ROWS_INSIDE = 50
"""Of a batch's own waterfall; the batch is a trace of its own, which has a page."""
DEPTHS = 12
"""So many levels are indented; what lies deeper stands below the last."""

_SKEW_NS = 1_000_000
"""Clocks of processes on one machine agree better than this; a child that starts so much earlier has another clock."""

Fact = tuple[str, str]


class Chip(Struct, frozen=True):
    """A batch that a span rode in, and where on the page it is."""

    anchor: str
    text: str


class EventRow(Struct, frozen=True):
    """A moment within a span."""

    at: str
    name: str
    facts: tuple[Fact, ...]


class Row(Struct, frozen=True):
    """One span of the waterfall.

    Attributes:
        badges: what is odd about it, in words.
        links: traces that it links to and that are none of the page's batches.
    """

    span_id: str
    name: str
    who: str
    depth: int
    stage: str
    bar: Bar
    started: str
    duration: str
    is_error: bool
    message: str
    badges: tuple[str, ...]
    chips: tuple[Chip, ...]
    facts: tuple[Fact, ...]
    events: tuple[EventRow, ...]
    links: tuple[SpanLink, ...]


class Waterfall(Struct, frozen=True):
    """Spans along one axis; ``hidden_count`` are beyond ``ROWS``."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    stages: tuple[str, ...]
    hidden_count: int


class MemberRow(Struct, frozen=True):
    """A request that rode in a batch: how long it waited, drawn up to the moment the batch began, and what it cost."""

    member: Member
    label: str
    waited: str
    cost: str
    bar: Bar


class BatchView(Struct, frozen=True):
    """A batch and who rode along.

    Attributes:
        bar: its run on the axis of its members.
        hidden_count: of members for which the page has no room.
    """

    anchor: str
    trace_id: str
    title: str
    duration: str
    bar: Bar
    members: tuple[MemberRow, ...]
    hidden_count: int
    facts: tuple[Fact, ...]
    inside: Waterfall | None


class PartRow(Struct, frozen=True):
    """A part of a request's time, and where it lies in the bar of all parts."""

    name: str
    stage: str
    duration: str
    share: str
    bar: Bar


class TraceView(Struct, frozen=True):
    """One trace as its page shows it; whoever sends on ``traceparent`` goes on with the trace below its request."""

    trace_id: str
    request_id: str
    traceparent: str
    title: str
    facts: tuple[Fact, ...]
    is_error: bool
    waterfall: Waterfall
    batches: tuple[BatchView, ...]
    parts: tuple[PartRow, ...]
    covered: str


def trace_view(trace: Trace) -> TraceView:
    """Return what the page of one trace shows."""
    root = _root(trace)
    own = waterfall(trace.spans, trace.batches)
    return TraceView(
        trace.trace_id,
        trace.request_id,
        f"00-{trace.trace_id}-{root.span_id}-01",
        _title(root),
        _headline(trace, root),
        any(span.status == "error" for span in trace.spans),
        own,
        _batch_views(trace.batches, ROWS_OF_PAGE - len(own.rows)),
        part_rows(trace.parts, trace.covered_ratio),
        share(trace.covered_ratio),
    )


def _root(trace: Trace) -> ShownSpan:
    """Return the span that the trace is told by: the request's own, also below its caller's spans."""
    own = (span for span in trace.spans if span.span_id == trace.root_id)
    return next(own, None) or next(iter(_in_tree_order(trace.spans)))[0]


def waterfall(spans: Sequence[ShownSpan], batches: Sequence[Batch] = (), room: int = ROWS) -> Waterfall:
    """Return the spans along one axis that begins with the first; at most ``room`` of them are shown."""
    start_ns = min(span.start_ns for span in spans)
    length_ns = max(span.start_ns + span.duration_ns for span in spans) - start_ns
    by_id = {span.span_id: span for span in spans}
    chips = _chips(batches)
    shown = list(_in_tree_order(spans))[:room]
    rows = [_row(span, depth, by_id, chips, (start_ns, length_ns)) for span, depth in shown]
    stages = in_order(row.stage for row in rows)
    return Waterfall(tuple(rows), time_ticks(length_ns / 1e9), stages, len(spans) - len(rows))


def _batch_views(batches: Sequence[Batch], room: int) -> tuple[BatchView, ...]:
    """Return the batches; the first ones have what rows there are."""
    views = []
    for batch in batches:
        view = batch_view(batch, room)
        room -= len(view.members) + (len(view.inside.rows) if view.inside else 0)
        views.append(view)
    return tuple(views)


def batch_view(batch: Batch, room: int = ROWS) -> BatchView:
    """Return the batch with its members, the one that waited longest first.

    Args:
        room: how many rows there are for its members and then for its spans.
    """
    members = sorted(batch.members, key=lambda member: (-(member.queue_wait_s or 0.0), member.request_id))
    longest_s = max((member.queue_wait_s or 0.0 for member in members), default=0.0)
    whole_s = longest_s + batch.duration_ns / 1e9
    facts = [*batch.attributes.items(), ("started", exact_ns(batch.start_ns))]
    shown = _with_this(members, room)
    room_inside = min(ROWS_INSIDE, room - len(shown))
    return BatchView(
        _anchor(batch),
        batch.trace_id,
        _batch_title(batch),
        duration_ns(batch.duration_ns),
        bar(longest_s, batch.duration_ns / 1e9, whole_s),
        tuple(_member_row(member, longest_s, whole_s) for member in shown),
        len(members) - len(shown),
        _facts(facts),
        waterfall(batch.spans, room=room_inside) if len(batch.spans) > 1 and room_inside > 0 else None,
    )


def _with_this(members: Sequence[Member], room: int) -> Sequence[Member]:
    """Return the first members; where there is no room for all, this request comes before others."""
    if len(members) <= room:
        return members
    return sorted(members, key=lambda member: not member.is_this)[: max(0, room)]


def part_rows(parts: Sequence[TimePart], covered_ratio: float) -> tuple[PartRow, ...]:
    """Return the parts side by side in one bar, and at its end what no part explains.

    Parts that overlap, as those of a request with several batches do, share the bar in proportion.
    """
    unexplained = max(0.0, 1.0 - covered_ratio)
    total = sum(part.share for part in parts) + unexplained
    rows, at = [], 0.0
    for part in parts:
        place = bar(at, part.share, total)
        took = duration_ns(part.duration_ns)
        rows.append(PartRow(part.name, stage_of_part(part.name), took, share(part.share), place))
        at += part.share
    if parts and unexplained >= 0.0005:
        rows.append(PartRow("unexplained", UNEXPLAINED, "", share(unexplained), bar(at, unexplained, total)))
    return tuple(rows)


def _in_tree_order(spans: Sequence[ShownSpan]) -> Iterator[tuple[ShownSpan, int]]:
    """Yield every span once with its depth, parents before children; those in a ring of parents come last."""
    known = {span.span_id for span in spans}
    children: defaultdict[str, list[ShownSpan]] = defaultdict(list)
    # Behind each other, for they are taken from the end; a stage that took no time began with the next.
    for span in sorted(spans, key=lambda span: (span.start_ns, _place(span), -span.duration_ns), reverse=True):
        children[span.parent_id if span.parent_id in known else ""].append(span)
    seen: set[str] = set()
    for first in [*reversed(children[""]), *spans]:
        waiting = [(first, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.span_id not in seen:
                seen.add(span.span_id)
                yield span, min(depth, DEPTHS)
                waiting += [(child, depth + 1) for child in children[span.span_id]]


def _place(span: ShownSpan) -> int:
    return STAGES.index(stage_of_span(span.name))


def _row(
    span: ShownSpan,
    depth: int,
    by_id: dict[str, ShownSpan],
    chips: dict[str, list[Chip]],
    axis_ns: tuple[int, int],
) -> Row:
    linked = {chip.anchor for chip in chips.get(span.span_id, ())}
    return Row(
        span.span_id,
        span.name,
        " ".join(word for word in (span.service.removeprefix("penstock-"), span.instance) if word),
        depth,
        stage_of_span(span.name),
        bar(span.start_ns - axis_ns[0], span.duration_ns, axis_ns[1]),
        f"+{duration_ns(span.start_ns - axis_ns[0])}",
        duration_ns(span.duration_ns),
        span.status == "error",
        span.message,
        _badges(span, by_id),
        tuple(chips.get(span.span_id, ())),
        _facts(span.attributes.items()),
        tuple(EventRow(exact_ns(e.at_ns), e.name, _facts(e.attributes.items())) for e in span.events),
        tuple(link for link in span.links if f"batch-{link.span_id}" not in linked),
    )


def _badges(span: ShownSpan, by_id: dict[str, ShownSpan]) -> tuple[str, ...]:
    badges = []
    parent = by_id.get(span.parent_id)
    if span.parent_id and parent is None and span.name != SpanName.GATEWAY_REQUEST:
        badges.append("parent is not stored")
    if parent is not None and span.start_ns < parent.start_ns - _SKEW_NS:
        badges.append("its clock is not its parent's")
    if span.dropped:
        badges.append(f"{span.dropped} left out")
    return tuple(badges)


def _chips(batches: Sequence[Batch]) -> dict[str, list[Chip]]:
    """Return the batches of each span: those it links to, and those that link to it."""
    chips: defaultdict[str, list[Chip]] = defaultdict(list)
    for batch in batches:
        for span_id in {member.span_id for member in batch.members if member.is_this}:
            chips[span_id].append(Chip(_anchor(batch), _batch_title(batch).lower()))
    return dict(chips)


def _member_row(member: Member, longest_s: float, whole_s: float) -> MemberRow:
    waited_s = member.queue_wait_s or 0.0
    return MemberRow(
        member,
        member.request_id or member.trace_id,
        duration(member.queue_wait_s),
        duration(member.device_s),
        bar(longest_s - waited_s, waited_s, whole_s) if whole_s > 0 else Bar("0%", percent(0.0)),
    )


def _anchor(batch: Batch) -> str:
    return f"batch-{batch.span_id}"


def _batch_title(batch: Batch) -> str:
    rows = batch.attributes.get(Attribute.BATCH_ROWS)
    requests = batch.attributes.get(Attribute.BATCH_REQUESTS, len(batch.members))
    return f"Batch of {_several(rows, 'row')}, {_several(requests, 'request')}"


def _several(number: Any, what: str) -> str:
    if not isinstance(number, int):
        return f"some {what}s"
    return f"{count(number)} {what}" if number == 1 else f"{count(number)} {what}s"


def _title(root: ShownSpan) -> str:
    model, version = (root.attributes.get(key) for key in (Attribute.MODEL, Attribute.VERSION))
    if not model:
        return root.name
    return f"{value(model)}/{value(version)}" if version else value(model)


def _headline(trace: Trace, root: ShownSpan) -> tuple[Fact, ...]:
    """Return what one wants to know first."""
    names = (
        ("status", Attribute.HTTP_STATUS),
        ("reason", Attribute.REASON),
        ("outcome", Attribute.OUTCOME),
        ("tenant", Attribute.TENANT),
        ("arm", Attribute.ARM),
        ("kept", Attribute.KEPT),
    )
    told = ((label, root.attributes[key]) for label, key in names if root.attributes.get(key, "") != "")
    took, whole = duration_ns(root.duration_ns), duration_ns(trace.duration_ns)
    inside = (("inside a trace of", whole),) if trace.root_id and took != whole else ()
    started_ns = root.start_ns if trace.root_id else trace.start_ns
    times = (("duration", took if trace.root_id else whole), *inside, ("started", f"{exact_ns(started_ns)} UTC"))
    return (*times, *_facts(told), ("spans", count(len(trace.spans))))


def _facts(pairs: Iterable[tuple[str, Any]]) -> tuple[Fact, ...]:
    return tuple((key, value(held)) for key, held in pairs)
