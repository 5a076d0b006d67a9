"""A scripted source for the hub's pages: traces as sidecars send them, and a mesh that says what the test sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from telemetry.conventions import Attribute, SpanName
from telemetry.hub import simulations
from telemetry.hub.overview import firing
from telemetry.hub.query import TraceQuery, newest, parse, place
from telemetry.hub.reader import StoredBatch, StoredTrace
from telemetry.hub.summary import Summary, head_of, outline_of, summarise
from telemetry.hub.views import list_json, otlp_json, trace_json
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
from telemetry.slo.told import ToldLevel, ToldSlots
from telemetry.span import Attributes, Kind, Span
from tests.fakes.counted import Counted
from tests.fakes.fleet import ScriptedFleet, brief

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


_COUNTED = frozenset(trace_id_of(number) for number in range(9))
"""Traces that the counters tell of, too, as exemplars."""


class ScriptedSource:
    """Answers from what it was given; a test may change it at any time.

    Attributes:
        answer: of ``/api/overview``.
        spans: of every trace.
        counted: of ``/api/red`` and ``/api/changes``.
        releases: of ``/api/rollouts`` and ``/api/shadows``, by the name of what is listed.
        fleet: of ``/api/drift``, ``/api/machine`` and ``/api/telemetry``.
        past: of ``/api/alerts``.
        changed: what was changed of any model.
        slots: what is counted of any objective.
    """

    def __init__(self, answer: Json, spans: Iterable[Span] = ()) -> None:
        self.answer = answer
        self.spans = list(spans)
        self.fleet = ScriptedFleet()
        self.past: Json = alerts_past()
        self.changed: list[Json] = [
            {"at_s": 1_800_001_500.0, "kind": "canary", "text": "canary 2: running, 0.2 of requests"},
            {"at_s": 1_800_002_400.0, "kind": "policy", "text": "policy 4: route digits: stable 1 -> 2"},
        ]
        self.slots: ToldSlots | None = counted_slots()
        self.counted = Counted([one for one in self._by_trace() if one in _COUNTED])
        self.releases: dict[str, Json] = {
            kind: {"at_s": 0.0, kind: [], "is_known": True, "error": ""} for kind in ("rollouts", "shadows")
        }

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

    async def simulation(self, query: Mapping[str, str]) -> Json:
        """Return what the true simulator says of the objective that was set."""
        asked = simulations.parse(query)
        told = simulations.find(self.answer["slos"], asked.slo, asked.model)
        return simulations.simulation_json(told, msgspec.structs.replace(asked, model=told.model), self.slots)

    async def alerts(self) -> Json:
        """Return what was set."""
        return self.past

    async def changes_of(self, model: str) -> Json:
        """Return what was set."""
        return {"changes": self.changed}

    async def rollouts(self) -> Json:
        """Return what was set, without its past."""
        known = self.releases["rollouts"]
        return known | {"rollouts": [without_past(one) for one in known.get("rollouts", [])]}

    async def rollout(self, model: str) -> Json:
        """Return what was set, all of each."""
        return self.releases["rollouts"]

    async def shadows(self) -> Json:
        """Return what was set."""
        return self.releases["shadows"]

    async def drift(self) -> Json:
        """Return what was set, in brief."""
        return brief(self.fleet.drift)

    async def drift_of(self, model: str) -> Json:
        """Return what was set of one model."""
        told = self.fleet.drift
        return told | {"versions": [one for one in told["versions"] if one["model"] == model]}

    async def machine(self) -> Json:
        """Return what was set."""
        return self.fleet.machine

    async def machine_of(self, sidecar: str) -> Json | None:
        """Return what was set of one sidecar."""
        return next((one for one in self.fleet.machine["sidecars"] if one["name"] == sidecar), None)

    async def telemetry(self) -> Json:
        """Return what was set."""
        return self.fleet.telemetry

    async def changes(self) -> Json:
        """Return what was set."""
        return {"records": self.counted.records, "unreadable": 0, "is_known": True, "error": ""}

    async def measured(self, span: str) -> Json:
        """Return what was set."""
        return self.counted.all(span)

    async def measured_model(self, model: str, version: str, span: str) -> Json:
        """Return what was set."""
        return self.counted.one(model, version, span)

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return the traces that the query wants."""
        wanted = parse(query)
        summaries = [_summary(spans) for spans in self._by_trace().values()]
        return list_json(newest([each for each in summaries if _matches(each, wanted)], wanted.limit), wanted)

    async def trace(self, wanted: str) -> Json | None:
        """Return the trace with its batches."""
        stored = self._stored(wanted)
        return None if stored is None else trace_json(stored)

    async def trace_otlp(self, wanted: str) -> Json | None:
        """Return the same as OTLP."""
        stored = self._stored(wanted)
        return None if stored is None else otlp_json(stored)

    def _stored(self, wanted: str) -> StoredTrace | None:
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
        return StoredTrace(spans[0].trace_id, request_id, tuple(spans), tuple(batches), known)

    def _by_trace(self) -> dict[str, list[Span]]:
        by_trace: dict[str, list[Span]] = {}
        for span in self.spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        return by_trace


def alerts_past(*more: Json, receivers: Sequence[str] = ("webhook/hooks.example",)) -> Json:
    """Return an alert that fires, one that was over before, and ``more``, as the mesh tells of them."""
    told = [_telling("begin", "ok", 1_800_000_001.0)]
    before = [_telling("begin", "ok", 1_799_987_001.0), _telling("end", "failed", 1_799_990_003.0, why="503")]
    fires = episode(told=told)
    over = episode(began_s=1_799_987_000.0, ended_s=1_799_990_000.0, highest_burn=21.5, told=before)
    alerts = [fires, over, *more]
    return {"at_s": 1_800_000_600.0, "receivers": list(receivers), "alerts": alerts, "is_known": True, "error": ""}


def episode(**changed: Any) -> Json:
    """Return one time that an alert fired; ``changed`` replaces parts of it."""
    answer: Json = {
        "slo": "fast",
        "model": "digits",
        "severity": "page",
        "name": "page 1h",
        "tier": "fast",
        "runbook": "docs/runbooks/slo-page-fast.md",
        "began_s": 1_800_000_000.0,
        "ended_s": None,
        "highest_burn": 31.4,
        "told": [],
    }
    return answer | changed


def _telling(what: str, result: str, at_s: float, why: str = "") -> Json:
    return {"to": "webhook/hooks.example", "what": what, "result": result, "at_s": at_s, "why": why}


def counted_slots() -> ToldSlots:
    """Return six days of which twenty minutes, an hour ago, had a twentieth bad; ten minutes were not counted."""
    to_s = 1_800_000_000
    events: dict[int, dict[int, list[int]]] = {10: {}, 60: {}, 3600: {}}
    for at in range(6 * 1440, 0, -1):
        if 200 <= at < 210:
            continue
        for slot_s, slots in events.items():
            if slot_s >= 60 or at <= 120:
                counts = slots.setdefault((to_s - 60 * at) // slot_s * slot_s, [0, 0])
                counts[0] += 950 if 60 <= at < 80 else 1000
                counts[1] += 50 if 60 <= at < 80 else 0
    levels = tuple(
        ToldLevel(slot_s, tuple(slots), *(tuple(counts[at] for counts in slots.values()) for at in (0, 1)))
        for slot_s, slots in events.items()
    )
    return ToldSlots(float(to_s), levels, ((to_s - 600_000.0, to_s - 12_600.0), (to_s - 12_000.0, float(to_s))))


def without_past(rollout: Json) -> Json:
    """Return a rollout as a list has it."""
    verdict = rollout.get("verdict")
    return rollout | {"transitions": [], "verdict": verdict and verdict | {"history": []}}


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
        "events": "requests",
        "good_when": "A request is good when its status is below 500.",
        "status": "page",
        "good": 1_234_567,
        "bad": 845,
        "ignored": 17,
        "remaining_ratio": 0.316,
        "is_enough": True,
        "exhaustion_s": 93_600.0,
        "regained_ratio": 0.41,
        "regained_in_s": 86_400.0,
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
        "tier": "fast",
        "runbook": "docs/runbooks/slo-page-fast.md",
    }
    return answer | changed


def _point(start_s: int, at: int) -> Json:
    bad = 5 if 100 <= at < 160 else 0
    burn = {
        "300": bad * 6.0,
        "1800": bad * 3.0,
        "3600": max(0.0, min(17.0, (at - 100) / 4)),
        "21600": 1.0,
        "259200": 0.4,
    }
    remaining = 1.0 - min(0.6, max(0.0, (at - 100) * 0.01))
    if 200 <= at < 230:
        return {
            "start_s": start_s,
            "good": 0,
            "bad": 0,
            "ignored": 0,
            "remaining_ratio": None,
            "burn": {},
            "is_known": False,
        }
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
    span_id, waited_s = two_hex(number, 12) + "0000", 0.0005 + 0.0008 * (number % _MEMBERS)
    return Member(trace_id_of(number), span_id, 0, request_id_of(number), 4, waited_s, 1500 + number)


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
