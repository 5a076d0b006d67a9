"""A scripted source for the hub's pages: traces as sidecars send them, and a mesh that says what the test sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from telemetry.conventions import Attribute, SpanName
from telemetry.hub.overview import firing
from telemetry.hub.query import TraceQuery, newest, parse, place
from telemetry.hub.reader import StoredBatch, StoredTrace
from telemetry.hub.summary import Summary, head_of, outline_of, summarise
from telemetry.hub.views import list_json, trace_json
from telemetry.materialise import spans_of
from telemetry.records import (
    Attempt,
    BatchTimes,
    Frame,
    GatewayRequest,
    Member,
    Part,
    PodBatch,
    PodRequest,
    Source,
)
from telemetry.span import Attributes, Kind, Span

Json = dict[str, Any]

_GATEWAY = Source("penstock-gateway", "worker 0", 101)
_POD = Source("penstock-pod", "digits/1", 202, "digits", "1")
_MEMBERS = 3


def two_hex(number: int, digits: int) -> str:
    """Return an id that a test can foresee."""
    return f"{number + 1:0{digits}x}"


def trace_id_of(number: int) -> str:
    """Return the trace id of the numbered request."""
    return two_hex(number, 32)


def request_id_of(number: int) -> str:
    """Return the request id of the numbered request."""
    return f"req-{number:04}"


class ScriptedSource:
    """Answers from what it was given; a test may change it at any time.

    Attributes:
        answer: of ``/api/overview``.
        spans: of every trace.
    """

    def __init__(self, answer: Json, spans: Iterable[Span] = ()) -> None:
        self.answer = answer
        self.spans = list(spans)

    async def overview(self) -> Json:
        """Return what was set."""
        return self.answer | {"firing": firing(self.answer)}

    async def slos(self) -> Json:
        """Return the objectives that were set."""
        slos = {"at": 0.0, "slot_s": 10, "models": self.answer["models"], "slos": self.answer["slos"]}
        return {"slos": slos, "as_of": 0.0, "error": self.answer["error"]}

    async def slo_history(self, query: Mapping[str, str]) -> Json:
        """Return a past in which one request in twenty failed for a while."""
        span_s, step_s = float(query.get("span_s", "3600")), 10
        points = [_point(1_800_000_000 + step_s * at, at) for at in range(int(min(span_s / step_s, 360)))]
        named = {"slo": query["slo"], "model": query["model"]}
        return {**named, "step_s": step_s, "points": points, "error": ""}

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return the traces that the query wants."""
        wanted = parse(query)
        summaries = [_summary(spans) for spans in self._by_trace().values()]
        return list_json(newest([each for each in summaries if _matches(each, wanted)], wanted.limit), wanted)

    async def trace(self, wanted: str) -> Json | None:
        """Return the trace with its batches."""
        by_trace = self._by_trace()
        ids = {str(span.attributes.get(Attribute.REQUEST_ID)): span.trace_id for span in self.spans}
        spans = by_trace.get(ids.get(wanted, wanted))
        if spans is None:
            return None
        linked = {link.trace_id for span in spans for link in span.links} | {spans[0].trace_id}
        batches = [
            StoredBatch(span, tuple(by_trace[span.trace_id]))
            for span in self.spans
            if span.name == SpanName.POD_BATCH and span.trace_id in linked
        ]
        known = {trace_id: _summary(each).request_id for trace_id, each in by_trace.items()}
        request_id = wanted if wanted in ids else ""
        return trace_json(StoredTrace(spans[0].trace_id, request_id, tuple(spans), tuple(batches), known))

    def _by_trace(self) -> dict[str, list[Span]]:
        by_trace: dict[str, list[Span]] = {}
        for span in self.spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        return by_trace


def _summary(spans: Sequence[Span]) -> Summary:
    return summarise(spans[0].trace_id, outline_of([head_of(span) for span in spans], 0))


def _matches(summary: Summary, query: TraceQuery) -> bool:
    has_all = all(getattr(summary, column) == value for column, value in query.equal)
    is_listed = bool(query.q) or summary.name != SpanName.POD_BATCH
    begins = summary.trace_id.startswith(query.q) or summary.request_id.startswith(query.q)
    is_older = query.after is None or place(summary) < query.after
    is_as_long = _is_within(summary.duration_ns, query.min_ns, query.max_ns)
    is_then = _is_within(summary.start_ns, query.since_ns, query.until_ns)
    return has_all and is_listed and begins and is_older and is_as_long and is_then


def _is_within(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def mesh(**changed: Any) -> Json:
    """Return the overview of a mesh with one model whose alert fires; ``changed`` replaces parts of it."""
    model = {"requests_per_s": 41.25, "error_ratio": 0.0125, "p50_s": 0.00312, "p99_s": 0.0184}
    pod = {"message": "", "device": "cpu", "queued_rows": 3, "running_rows": 8, "restarts": 1, "load_s": 1.4}
    answer: Json = {
        "models": [
            {"model": "digits", "version": "1", **model},
            {"model": "digits", "version": "2", **model, "error_ratio": 0.0},
            {"model": "text", "version": "1", "requests_per_s": 0.2, "error_ratio": 0.0, "p50_s": 0.041, "p99_s": 0.09},
        ],
        "slos": [objective(), objective(model="text", status="ok", remaining_ratio=0.93, bad=2, alerts=[_alert()])],
        "pods": [
            {"name": "digits/1/0", "model": "digits", "version": "1", "state": "ready", **pod},
            {"name": "digits/2/0", "model": "digits", "version": "2", "state": "restarting", **pod},
            {"name": "text/1/0", "model": "text", "version": "1", "state": "ready", **pod},
        ],
        "mesh": "demo",
        "error": "",
    }
    return answer | changed


def objective(**changed: Any) -> Json:
    """Return an objective of which a page fires; ``changed`` replaces parts of it."""
    burn = [
        {"window_s": window_s, "burn_rate": rate, "good": 9000, "bad": 160}
        for window_s, rate in ((300.0, 31.4), (1800.0, 18.2), (3600.0, 16.9), (21600.0, 2.7), (259200.0, 0.31))
    ]
    answer: Json = {
        "name": "fast",
        "owner": "team-digits",
        "model": "digits",
        "target": 0.999,
        "period_s": 2592000.0,
        "within_s": 0.2,
        "status": "page",
        "good": 1_234_567,
        "bad": 845,
        "ignored": 17,
        "remaining_ratio": 0.316,
        "is_enough": True,
        "exhaustion_s": 93_600.0,
        "burn": burn,
        "alerts": [
            _alert(state="firing", since=1_800_000_000.0, long_burn=16.9, short_burn=31.4),
            _alert(name="page 6h", factor=6.0, long_s=21600.0, short_s=1800.0, held_back="not enough data: 3 events"),
            _alert(name="ticket 3d", severity="ticket", factor=1.0, long_s=259200.0, short_s=21600.0),
        ],
        "recent": [
            {"state": "resolved", "name": "page 1h", "severity": "page", "at": 1_799_990_000.0},
            {"state": "firing", "name": "page 1h", "severity": "page", "at": 1_800_000_000.0},
        ],
        "versions": [
            {"version": "1", "good": 900_000, "bad": 5, "ignored": 0, "remaining_ratio": 0.99, "burn": burn[:2]},
            {"version": "2", "good": 334_567, "bad": 840, "ignored": 17, "remaining_ratio": -1.51, "burn": burn[:2]},
        ],
    }
    return answer | changed


def _alert(**changed: Any) -> Json:
    answer: Json = {
        "severity": "page",
        "name": "page 1h",
        "factor": 14.4,
        "long_s": 3600.0,
        "short_s": 300.0,
        "long_burn": 0.4,
        "short_burn": 0.0,
        "state": "inactive",
        "since": None,
        "held_back": "",
    }
    return answer | changed


def _point(start_s: int, at: int) -> Json:
    bad = 5 if 100 <= at < 160 else 0
    burn = {"300": bad * 6.0, "3600": max(0.0, min(17.0, (at - 100) / 4)), "21600": 1.0}
    remaining = 1.0 - min(0.6, max(0.0, (at - 100) * 0.01))
    return {"start_s": start_s, "good": 95, "bad": bad, "ignored": 0, "remaining_ratio": remaining, "burn": burn}


def requests(count: int, started_s: float = 1_800_000_000.0, failing_every: int = 9) -> list[Span]:
    """Return the spans of so many requests, three of which share each batch; some fail."""
    members: list[Member] = []
    spans: list[Span] = []
    for number in range(count):
        is_bad = number % failing_every == failing_every - 1
        batch = _batch(number // _MEMBERS, started_s)
        spans += _request(number, batch, started_s, is_bad)
        members.append(_member(number))
        if len(members) == _MEMBERS or number == count - 1:
            spans += spans_of(_frame(_POD), PodBatch(batch, tuple(members), "cpu", 2))
            members = []
    return spans


def _frame(source: Source) -> Frame:
    return Frame(1, source, 0, {}, ())


def _batch(number: int, started_s: float) -> BatchTimes:
    at_s = started_s + number * 0.7 + 0.004
    ids = (two_hex(10_000 + number, 32), two_hex(10_000 + number, 16))
    took_s = 0.004 + 0.0011 * (number * 7 % 13)
    stages = (at_s, at_s + 0.0004, 0.0009, took_s, 0.0006, at_s + 0.0025 + took_s, at_s + 0.003 + took_s)
    return BatchTimes(number, *ids, *stages, row_count=12, request_count=_MEMBERS, runs=1, device_s=took_s)


def _member(number: int) -> Member:
    span_id = two_hex(number, 12) + "0000"
    return Member(trace_id_of(number), span_id, 0, request_id_of(number), 4, 0.0005 + 0.0008 * (number % _MEMBERS))


def _request(number: int, batch: BatchTimes, started_s: float, is_bad: bool) -> list[Span]:
    waited_s = 0.0005 + 0.0008 * (number % _MEMBERS)
    came_s = batch.sent_s - waited_s - 0.001
    trace_id, pod_span = trace_id_of(number), two_hex(number, 12) + "0000"
    root, attempt = two_hex(1000 + number, 16), two_hex(5000 + number, 16)
    status, reason = (503, "pod_failed") if is_bad else (200, "")
    parts = (Part(0, 4, came_s + 0.001, batch, round(batch.device_s / _MEMBERS * 1e6)),)
    left_s = batch.answered_s + 0.0006
    request = GatewayRequest(
        trace_id, root, "", True, came_s - 0.0012, left_s + 0.0009, "POST", "torchserve", status, reason,
        request_id_of(number), 3, ("vision-team", "search")[number % 2], "digits", "1", "stable",
        "bad" if is_bad else "good", (Attempt(attempt, "digits/1/0", came_s - 0.0008, left_s + 0.0004, reason),),
    )  # fmt: skip
    answered = PodRequest(
        trace_id, pod_span, attempt, True, came_s, left_s, "predict", status, reason, request_id_of(number),
        request.tenant, 4, False, parts,
    )  # fmt: skip
    return [*spans_of(_frame(_GATEWAY), request), *spans_of(_frame(_POD), answered)]


_ids = itertools.count(0xABC0000)


def span(trace_id: str, name: str, parent_id: str = "", span_id: str = "", **changed: Any) -> Span:
    """Return one span of a tenth of a second; ``changed`` replaces parts of it."""
    made = Span(trace_id, span_id or f"{next(_ids):016x}", parent_id, name, Kind.INTERNAL, 1_000_000_000, 1_100_000_000)
    return msgspec.structs.replace(made, **changed)


def hostile(trace_id: str) -> list[Span]:
    """Return a trace whose every text tries to be more than text."""
    attack = "<script>document.title='broken'</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"
    attributes: Attributes = {attack: attack, "javascript": "javascript:alert(1)", Attribute.MODEL: attack}
    root = span(trace_id, SpanName.GATEWAY_REQUEST, attributes={**attributes, Attribute.REQUEST_ID: attack})
    resource: Attributes = {Attribute.SERVICE_NAME: attack}
    return [root, span(trace_id, attack, root.span_id, attributes=attributes, resource=resource, message=attack)]
