"""Draws a trace for people at a terminal: the tree of its spans as bars, the batch that it rode in, its parts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from deploy.commands.table import table
from telemetry.conventions import Attribute, SpanName

BAR_COLUMNS = 40
NAME_COLUMNS = 60
TEXT_COLUMNS = 120
MEMBERS_SHOWN = 64
LINKS_SHOWN = 8
_LEAST_REST = 0.0005

_STAGES = (SpanName.POD_QUEUE, SpanName.POD_PREPROCESS, SpanName.POD_INFERENCE, SpanName.POD_POSTPROCESS)
_OURS = (SpanName.POD_REQUEST, SpanName.GATEWAY_FORWARD, SpanName.POD_INFERENCE)


class LinkReport(Struct, frozen=True):
    """Another span that a span has to do with."""

    trace_id: str
    span_id: str
    is_stored: bool = False


class SpanReport(Struct, frozen=True):
    """One span, as far as it is drawn."""

    span_id: str
    parent_id: str
    name: str
    start_ns: int
    duration_ns: int
    status: str
    message: str
    attributes: dict[str, Any]
    links: tuple[LinkReport, ...] = ()


class MemberReport(Struct, frozen=True):
    """Whose rows a batch had; None where its sidecar did not say."""

    trace_id: str
    request_id: str
    rows: int | None
    queue_wait_s: float | None
    is_this: bool
    is_stored: bool
    device_s: float | None = None


class BatchReport(Struct, frozen=True):
    """A batch that the request rode in; ``spans`` has the batch's own and those that the handler made for it."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]
    spans: tuple[SpanReport, ...]
    members: tuple[MemberReport, ...]


class PartReport(Struct, frozen=True):
    """What a share of the request's time was spent on."""

    name: str
    duration_ns: int
    share: float


class TraceReport(Struct, frozen=True):
    """What the hub answers; ``root_id`` is the span of the request, "" where none is of one."""

    trace_id: str
    request_id: str
    start_ns: int
    duration_ns: int
    spans: tuple[SpanReport, ...]
    batches: tuple[BatchReport, ...]
    parts: tuple[PartReport, ...]
    covered_ratio: float
    root_id: str = ""


def is_whole(trace: TraceReport) -> bool:
    """Whether nothing is missing that must be there: gateway and pod tell the hub apart, and when they like."""
    known = {span.span_id for span in trace.spans}
    answered = {span.parent_id for span in trace.spans if span.name == SpanName.POD_REQUEST}
    batches = {batch.trace_id for batch in trace.batches}
    for span in trace.spans:
        if span.name == SpanName.GATEWAY_FORWARD and span.status != "error" and span.span_id not in answered:
            return False
        if span.name in _OURS and span.parent_id and span.parent_id not in known:
            return False
        if span.name == SpanName.POD_INFERENCE and any(link.trace_id not in batches for link in span.links):
            return False
    return True


def draw(trace: TraceReport, bar: str = "█") -> str:
    """Return the trace as text; ``bar`` is the character that bars are made of."""
    axis = _Axis(trace.start_ns, trace.duration_ns, bar)
    sections = [_headline(trace), _tree(trace.spans, axis)]
    sections += [_batch(batch, axis, trace.trace_id) for batch in trace.batches]
    if trace.parts:
        sections.append(_parts(trace))
    return "\n\n".join(sections)


class _Axis:
    """Where on a line a moment is."""

    def __init__(self, start_ns: int, duration_ns: int, bar: str) -> None:
        self.start_ns = start_ns
        self._duration_ns = max(1, duration_ns)
        self._bar = bar

    def bar(self, span: SpanReport) -> str:
        """Return the span's bar, at least one character long; what lies outside the axis is cut off."""
        first = min(self._column(span.start_ns), BAR_COLUMNS - 1)
        last = max(first + 1, self._column(span.start_ns + span.duration_ns))
        return " " * first + self._bar * (last - first)

    def _column(self, at_ns: int) -> int:
        return max(0, min(BAR_COLUMNS, round((at_ns - self.start_ns) * BAR_COLUMNS / self._duration_ns)))


def _headline(trace: TraceReport) -> str:
    root = next((span for span in trace.spans if span.span_id == trace.root_id), None)
    start_ns, took_ns = (trace.start_ns, trace.duration_ns) if root is None else (root.start_ns, root.duration_ns)
    at = datetime.fromtimestamp(start_ns / 1e9, UTC)
    lines = [f"trace    {plain(trace.trace_id)}"]
    if trace.request_id:
        lines.append(f"request  {plain(trace.request_id)}")
    took, whole = _ms(took_ns), _ms(trace.duration_ns)
    inside = f", inside a trace of {whole}" if whole != took else ""
    lines.append(f"began    {at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC and took {took}{inside}")
    if root is not None and root.name == SpanName.GATEWAY_REQUEST:
        lines.append(f"was      {_said(root)}")
        lines += [f"linked   {_linked(link)}" for link in root.links[:LINKS_SHOWN]]
    return "\n".join(lines)


def _linked(link: LinkReport) -> str:
    return f"{plain(link.trace_id)}{'' if link.is_stored else ' (not stored)'}"


def _said(root: SpanReport) -> str:
    shown = (
        ("", Attribute.HTTP_STATUS),
        ("", Attribute.OUTCOME),
        ("", Attribute.REASON),
        ("model ", Attribute.MODEL),
        ("version ", Attribute.VERSION),
        ("arm ", Attribute.ARM),
        ("tenant ", Attribute.TENANT),
    )
    words = [f"{label}{root.attributes[key]}" for label, key in shown if key in root.attributes]
    return plain(", ".join(words))


def _tree(spans: Sequence[SpanReport], axis: _Axis) -> str:
    rows = []
    for depth, span in _ordered(spans):
        name = f"{'  ' * depth}{plain(span.name)}"[:NAME_COLUMNS]
        began_ms = (span.start_ns - axis.start_ns) / 1e6
        failed = f"  {plain(span.message) or 'failed'}" if span.status == "error" else ""
        rows.append((name, f"{began_ms:10.3f}", f"{span.duration_ns / 1e6:10.3f}", f"{axis.bar(span)}{failed}"))
    return table(("SPAN", "  AFTER ms", "   TOOK ms", ""), rows)


def _ordered(spans: Sequence[SpanReport]) -> Iterator[tuple[int, SpanReport]]:
    """Yield spans below their parents by their start, with their depth; every span exactly once, whatever it claims."""
    children: defaultdict[str, list[SpanReport]] = defaultdict(list)
    known = {span.span_id for span in spans}
    ordered = sorted(spans, key=lambda span: (span.start_ns, _place(span), -span.duration_ns), reverse=True)
    for span in ordered:
        children[span.parent_id if span.parent_id in known else ""].append(span)
    shown: set[str] = set()
    # Spans that are each other's parents hang on nothing: they come last, as if they had none.
    waiting = [*((0, span) for span in ordered), *((0, span) for span in children[""])]
    while waiting:
        depth, span = waiting.pop()
        if span.span_id in shown:
            continue
        shown.add(span.span_id)
        yield depth, span
        waiting += [(depth + 1, child) for child in children[span.span_id]]


def _place(span: SpanReport) -> int:
    """Return where in a request's life a stage is: one that took no time began with the next."""
    return _STAGES.index(span.name) if span.name in _STAGES else -1


def _batch(batch: BatchReport, axis: _Axis, trace_id: str) -> str:
    said = batch.attributes
    keys = (Attribute.BATCH_ID, Attribute.BATCH_ROWS, Attribute.BATCH_REQUESTS, Attribute.DEVICE)
    number, rows, requests, device = (plain(str(said.get(key, "?"))) for key in keys)
    lines = [f"batch {number}: {rows} rows of {requests} requests on {device}, trace {plain(batch.trace_id)}"]
    if batch.trace_id != trace_id:
        lines.append(_tree(batch.spans, axis))
    lines.append(_members(batch.members[:MEMBERS_SHOWN]))
    if len(batch.members) > MEMBERS_SHOWN:
        lines.append(f"and {len(batch.members) - MEMBERS_SHOWN} more")
    return "\n".join(lines)


def _members(members: Iterable[MemberReport]) -> str:
    rows = [
        (
            f"{plain(member.request_id or member.trace_id)}{' (this)' if member.is_this else ''}",
            member.rows,
            f"{member.queue_wait_s * 1e3:10.3f}" if member.queue_wait_s is not None else None,
            f"{member.device_s * 1e3:10.3f}" if member.device_s is not None else None,
            "yes" if member.is_stored else "no",
        )
        for member in members
    ]
    return table(("WHO RODE ALONG", "ROWS", " WAITED ms", " DEVICE ms", "STORED"), rows)


def _parts(trace: TraceReport) -> str:
    root = next((span for span in trace.spans if span.span_id == trace.root_id), None)
    whole_ns = root.duration_ns if root is not None else trace.duration_ns
    rest = max(0.0, 1.0 - trace.covered_ratio)
    told = [(plain(part.name), part.duration_ns, part.share) for part in trace.parts]
    told += [("unexplained", round(whole_ns * rest), rest)] if rest >= _LEAST_REST else []
    told += [("all of it", whole_ns, 1.0)]
    rows = [(name, f"{took_ns / 1e6:10.3f}", f"{share:6.1%}") for name, took_ns, share in told]
    overlap = sum(share for _, _, share in told[:-1]) - 1.0
    note = f"\nparts of several batches overlap by {overlap:.1%}" if overlap > _LEAST_REST else ""
    covered = f"the parts cover {trace.covered_ratio:.1%} of the request's time"
    return f"{table(('PART', '   TOOK ms', ' SHARE'), rows)}\n{covered}{note}"


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.3f} ms"


def plain(text: str) -> str:
    """Return a text that cannot command a terminal: what spans carry was written by anybody."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:TEXT_COLUMNS])


def plain_json(text: str) -> str:
    """Return JSON that says the same and cannot command a terminal: what none prints is written as its escape."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    # JSON has controls of ASCII as escapes already, but for this one and white space between its values.
    return " " if letter == "\r" else "\\u007f" if letter == "\x7f" else json.dumps(letter)[1:-1]
