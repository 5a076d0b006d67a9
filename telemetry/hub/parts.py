"""Decides what the time of a request was spent on: disjoint parts of each process, and what they leave unexplained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from telemetry.conventions import Attribute, SpanName
from telemetry.span import Span, Status

Interval = tuple[int, int]
"""Start and end, nanoseconds since the epoch."""

GATEWAY = "gateway"  # deciding, reading, answering: everything outside its attempts
LOST_ATTEMPT = "lost attempt"  # an attempt that failed and of which no pod tells
TRANSPORT = "transport"  # between gateway and pod both ways, and from the pod's server to its inference process
DECODE = "decode"
QUEUE = "queue"
PREPROCESS = "preprocess"
INFERENCE = "inference"
POSTPROCESS = "postprocess"
ANSWER = "answer"  # from the inference process back through the server until the last byte is handed over

_STAGES = {
    SpanName.POD_QUEUE: QUEUE,
    SpanName.POD_PREPROCESS: PREPROCESS,
    SpanName.POD_INFERENCE: INFERENCE,
    SpanName.POD_POSTPROCESS: POSTPROCESS,
}


class TimePart(Struct, frozen=True):
    """What a request's time was spent on.

    Attributes:
        start_ns: when it began first.
        duration_ns: of all its intervals, overlaps counted once.
        share: of the request's duration.
    """

    name: str
    start_ns: int
    duration_ns: int
    share: float


class Breakdown(Struct, frozen=True):
    """Where a request's time went.

    Attributes:
        covered_ratio: share of its duration that lies in any part; 1 for a request that took no time.
    """

    parts: tuple[TimePart, ...] = ()
    covered_ratio: float = 0.0


def root_of(spans: Sequence[Span], request_id: str = "") -> Span | None:
    """Return the span of the whole request: the gateway's, or the pod's when that was asked directly.

    Args:
        request_id: which request is meant, where a trace has several; "" for the first.
    """
    rank = {SpanName.GATEWAY_REQUEST: 0, SpanName.POD_REQUEST: 1}
    ours = [span for span in spans if span.name in rank]
    meant = [span for span in ours if request_id and span.attributes.get(Attribute.REQUEST_ID) == request_id]
    return min(meant or ours, key=lambda span: (rank[span.name], span.start_ns, span.span_id), default=None)


def break_down(root: Span, spans: Sequence[Span]) -> Breakdown:
    """Return the parts of one request, in the order in which they began.

    Args:
        root: as ``root_of`` finds it.
        spans: of its trace.
    """
    whole = (root.start_ns, root.end_ns)
    found = _Found(spans)
    if root.name == SpanName.GATEWAY_REQUEST:
        found.gateway(root)
    else:
        found.pod(root, whole)
    duration_ns = _length([whole])
    if not duration_ns:
        return Breakdown((), 1.0)
    parts = [
        TimePart(name, min(intervals)[0], _length(intervals), _length(intervals) / duration_ns)
        for name, raw in found.intervals.items()
        if (intervals := _clipped(raw, whole))
    ]
    every = [interval for raw in found.intervals.values() for interval in _clipped(raw, whole)]
    return Breakdown(tuple(sorted(parts, key=lambda part: part.start_ns)), _length(every) / duration_ns)


class _Found:
    """Intervals by the part they belong to, gathered from the outside in."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.intervals: defaultdict[str, list[Interval]] = defaultdict(list)
        self._children: defaultdict[str, list[Span]] = defaultdict(list)
        for span in spans:
            self._children[span.parent_id].append(span)

    def gateway(self, request: Span) -> None:
        """Add the gateway's own time, and that of each attempt."""
        attempts = self._named(request, SpanName.GATEWAY_FORWARD)
        self.intervals[GATEWAY] += _without((request.start_ns, request.end_ns), _times(attempts))
        for attempt in attempts:
            self._attempt(attempt)

    def _attempt(self, attempt: Span) -> None:
        times = (attempt.start_ns, attempt.end_ns)
        answers = self._named(attempt, SpanName.POD_REQUEST)
        if answers:
            self.intervals[TRANSPORT] += _without(times, _times(answers))
        elif attempt.status is Status.ERROR:
            self.intervals[LOST_ATTEMPT].append(times)
        for answer in answers:
            self.pod(answer, times)

    def pod(self, request: Span, within: Interval) -> None:
        """Add the time of one pod's request; another machine's clock may put some of it outside ``within``."""
        stages = [span for span in self._children[request.span_id] if span.name in _STAGES]
        self._add(DECODE, [(request.start_ns, min((s.start_ns for s in stages), default=request.end_ns))], within)
        for span in stages:
            self._add(_STAGES[span.name], _times([span]), within)
        self._add(TRANSPORT, _handovers(stages), within)
        if stages:
            self._add(ANSWER, [(max(span.end_ns for span in stages), request.end_ns)], within)

    def _add(self, name: str, intervals: Iterable[Interval], within: Interval) -> None:
        self.intervals[name] += _clipped(intervals, within)

    def _named(self, parent: Span, name: str) -> list[Span]:
        return [span for span in self._children[parent.span_id] if span.name == name]


def _handovers(stages: Iterable[Span]) -> list[Interval]:
    """Return the time between each part's queue and its preprocessing, which is in another process."""
    left: dict[object, int] = {}
    began: dict[object, int] = {}
    for span in stages:
        part = span.attributes.get(Attribute.PART, 0)
        if span.name == SpanName.POD_QUEUE:
            left[part] = span.end_ns
        elif span.name == SpanName.POD_PREPROCESS:
            began[part] = span.start_ns
    return [(left[part], began[part]) for part in left.keys() & began.keys()]


def _times(spans: Iterable[Span]) -> list[Interval]:
    return [(span.start_ns, span.end_ns) for span in spans]


def _clipped(intervals: Iterable[Interval], outer: Interval) -> list[Interval]:
    """Return what of them lies within ``outer``; nothing of no length."""
    cut = ((max(start, outer[0]), min(end, outer[1])) for start, end in intervals)
    return [(start, end) for start, end in cut if start < end]


def _without(whole: Interval, holes: Iterable[Interval]) -> list[Interval]:
    """Return what of ``whole`` no hole covers."""
    rest, at = [], whole[0]
    for start, end in _merged(_clipped(holes, whole)):
        rest.append((at, start))
        at = end
    return _clipped([*rest, (at, whole[1])], whole)


def _length(intervals: Iterable[Interval]) -> int:
    return sum(end - start for start, end in _merged(intervals))


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same moments as intervals that neither touch nor overlap."""
    merged: list[Interval] = []
    for start, end in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
