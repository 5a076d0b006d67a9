"""However a request ends, it is counted once and recorded once, under what its caller got."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.control.messages import RequestCounts, SloEvents
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Tracing
from policies.snapshot.slos import Objective
from telemetry.record import Recorder
from telemetry.records import GatewayRequest, Source
from tests.fakes.pod import Answering, Script, Seen, cut_short, die, echo, never
from tests.fakes.sidecar import FakeSidecar
from tests.gateway.dataplane.mesh import Mesh, in_mesh, post, view
from tests.gateway.policy import KEY, STRANGER_KEY, policy

AVAILABILITY = Objective("digits-availability", "vision", 3600.0, 0.99, status_below=500)
LATENCY = Objective("digits-latency", "vision", 3600.0, 0.99, status_below=500, within_s=0.000_001)
WARMTH = Objective("digits-warm", "vision", 3600.0, 0.99, pod="ready")
CALLERS_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def refusing(seen: Seen, connection: Answering) -> None:
    """Refuse as a pod with a full queue does."""
    del seen
    head = b"HTTP/1.1 503 Service Unavailable\r\npenstock-reason: queue_full\r\ncontent-length: 2\r\n\r\n{}"
    connection.write(head)


async def made_up(seen: Seen, connection: Answering) -> None:
    """Answer as a handler that makes up reasons."""
    del seen
    connection.write(b"HTTP/1.1 500 Oh\r\npenstock-reason: gremlins\r\ncontent-length: 0\r\n\r\n")


class Account:
    """What was counted and recorded."""

    def __init__(self) -> None:
        self.counts: list[RequestCounts] = []
        self.events: list[SloEvents] = []
        self.records: list[GatewayRequest] = []


def settled(
    tmp_path: Path, body: Callable[[Mesh], Awaitable[None]], *scripts: Script, snapshot: Snapshot | None = None
) -> Account:
    """Return what was counted and recorded while a test body ran."""
    seen = Account()
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-gateway", "worker 0", 7))

    async def and_take(mesh: Mesh) -> None:
        await body(mesh)
        while mesh.gateway.in_flight:  # noqa: ASYNC110  a caller that left is noticed by the loop, not told to the test
            await asyncio.sleep(0)
        for tally in mesh.gateway.settlement.take_tallies():
            seen.counts += tally.requests
            seen.events += tally.events

    in_mesh(and_take, *scripts, snapshot=snapshot or policy(objectives=(AVAILABILITY, LATENCY)), recorder=recorder)
    recorder.close()
    seen.records = [record for record in sidecar.records() if isinstance(record, GatewayRequest)]
    sidecar.close()
    return seen


def kinds(seen: Account) -> list[tuple[str, str, str, int, str, int]]:
    """Return what was counted, without times: model, version, tenant, status, reason and how many."""
    return [
        (one.model, one.version, one.tenant, one.status, one.reason, sum(one.buckets))
        for one in sorted(seen.counts, key=lambda one: (one.status, one.reason))
    ]


async def ask(mesh: Mesh) -> None:
    await mesh.ask(post())


def test_an_answered_request(tmp_path: Path) -> None:
    seen = settled(tmp_path, ask, echo)
    assert kinds(seen) == [("digits", "1", "ads", 200, "", 1)]
    assert [(one.slo, one.version, one.tier, one.good, one.bad) for one in seen.events] == [
        ("digits-availability", "1", "gold", 1, 0),
        ("digits-latency", "1", "gold", 0, 1),  # nothing is answered within a microsecond
    ]
    (record,) = seen.records
    assert (record.status, record.reason, record.outcome, record.arm) == (200, "", "bad", "stable")
    (attempt,) = record.attempts
    assert (attempt.pod, attempt.reason) == ("digits/1/0", "")
    assert record.started_s <= attempt.started_s <= attempt.ended_s <= record.ended_s
    assert seen.counts[0].exemplar_trace == record.trace_id


@pytest.mark.parametrize(
    ("script", "status", "reason", "attempt"),
    [
        (refusing, 503, "queue_full", ""),
        (made_up, 500, "", ""),
        (die, 502, "pod_lost", "pod_lost"),
        (cut_short, 502, "pod_lost", "pod_lost"),
    ],
)
def test_a_request_that_its_pod_failed(tmp_path: Path, script: Script, status: int, reason: str, attempt: str) -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        await caller.reader.read(1)

    seen = settled(tmp_path, body, script)
    assert kinds(seen) == [("digits", "1", "ads", status, reason, 1)]
    assert seen.events[0].bad == 1
    (record,) = seen.records
    assert (record.status, record.reason, record.outcome) == (status, reason, "bad")
    assert [one.reason for one in record.attempts] == [attempt]


def test_a_request_whose_deadline_passes(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        await mesh.ask(post("/predictions/digits", b"{}", "penstock-timeout-ms: 500"))

    seen = settled(tmp_path, body, never)
    assert kinds(seen) == [("digits", "1", "ads", 504, "deadline_exceeded_running", 1)]
    assert seen.records[0].attempts[0].reason == "deadline_exceeded_running"


@pytest.mark.parametrize(
    ("script", "state", "meaning"),
    [
        (echo, PodState.READY, (1, 0, 0)),
        (echo, PodState.RESTARTING, (0, 1, 0)),
        (never, PodState.READY, (1, 0, 0)),
        (never, PodState.RESTARTING, (0, 1, 0)),
        (None, PodState.READY, (0, 1, 0)),
    ],
)
def test_a_request_is_cold_when_its_pod_is_not_ready_or_there_is_none(
    tmp_path: Path, script: Script | None, state: PodState, meaning: tuple[int, int, int]
) -> None:
    async def body(mesh: Mesh) -> None:
        mesh.gateway.pods.replace(tuple(view(pod, number, state) for number, pod in enumerate(mesh.pods)))
        await mesh.ask(post("/predictions/digits", b"{}", "penstock-timeout-ms: 60"))

    scripts = () if script is None else (script,)
    (warm,) = settled(tmp_path, body, *scripts, snapshot=policy(objectives=(WARMTH,))).events
    assert (warm.good, warm.bad, warm.ignored) == meaning


def test_a_pod_that_is_lost_while_it_has_a_request_was_ready_when_the_request_came(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        await mesh.ask(post())

    (warm,) = settled(tmp_path, body, die, snapshot=policy(objectives=(WARMTH,))).events
    assert (warm.good, warm.bad) == (1, 0)


def test_a_caller_that_leaves_says_nothing_unless_it_waited_longer_than_promised(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        await mesh.pods[0].asked.wait()
        caller.writer.transport.abort()

    seen = settled(tmp_path, body, never)
    assert kinds(seen) == [("digits", "1", "ads", 499, "client_gone", 1)]
    # Whether it would have been answered nobody knows; that it was not within the latency's microsecond is sure.
    assert [(one.good, one.bad, one.ignored) for one in seen.events] == [(0, 0, 1), (0, 1, 0)]
    assert seen.records[0].outcome == "bad"


def test_refusals_are_counted_for_the_model_that_was_meant(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        await mesh.ask(post())
        await mesh.ask(post(key=STRANGER_KEY))
        await mesh.ask(post("/predictions/made-up"))
        await mesh.ask(b"GARBAGE\r\n\r\n")

    seen = settled(tmp_path, body, snapshot=policy(objectives=(AVAILABILITY,)))
    assert kinds(seen) == [
        ("", "", "", 400, "malformed_http", 1),
        ("", "", "", 401, "key_unknown", 1),
        ("", "", "ads", 404, "model_not_found", 1),
        ("digits", "1", "ads", 503, "no_pod_ready", 1),
    ]
    assert [(one.slo, one.bad) for one in seen.events] == [("digits-availability", 1)]


def test_questions_about_a_model_are_no_events_of_its_objectives(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        request = f"GET /v2/models/digits HTTP/1.1\r\nHost: mesh\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        await mesh.ask(request.encode())

    seen = settled(tmp_path, body, echo)
    assert kinds(seen) == [("digits", "1", "ads", 200, "", 1)]
    assert seen.events == []


def test_health_is_not_counted(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        await mesh.ask(b"GET /readyz HTTP/1.1\r\nHost: mesh\r\n\r\n")

    seen = settled(tmp_path, body, echo)
    assert (seen.counts, seen.records) == ([], [])


@pytest.mark.parametrize(
    ("callers", "joins", "sampled", "links"),
    [("trust", True, True, ""), ("resample", True, False, ""), ("restart", False, False, CALLERS_TRACE)],
)
def test_what_a_callers_trace_counts_is_policy(
    tmp_path: Path, callers: str, joins: bool, sampled: bool, links: str
) -> None:
    async def body(mesh: Mesh) -> None:
        for _ in range(50):  # a rate of requests that leaves hardly any share
            mesh.gateway.tracer._sampler.keeps("0" * 32)
        mesh.gateway.tracer.measure(0.01)
        fields = (f"traceparent: {CALLERS_TRACE}", "tracestate: a=b", "baggage: tenant=x,secret=y")
        answer = await mesh.ask(post("/predictions/digits", b"{}", *fields))
        seen = mesh.pods[0].seen[0].fields
        assert (seen.get("tracestate") == "a=b") is joins
        assert seen.get("baggage") == "tenant=x"
        assert answer.fields["traceresponse"].endswith("-01" if sampled else "-00")
        assert seen["traceparent"].split("-")[1] == answer.fields["traceresponse"].split("-")[1]

    tracing = Tracing(callers=callers, kept_per_s=1e-9, baggage=("tenant",))
    (record,) = settled(tmp_path, body, echo, snapshot=policy(tracing=tracing)).records
    assert (record.trace_id == CALLERS_TRACE.split("-")[1]) is joins
    assert (record.parent_id == CALLERS_TRACE.split("-")[2]) is joins
    assert record.caller_trace == links
    assert record.sampled is sampled


def test_the_pods_span_is_a_child_of_the_attempt(tmp_path: Path) -> None:
    parents: list[str] = []

    async def body(mesh: Mesh) -> None:
        await mesh.ask(post())
        parents.append(mesh.pods[0].seen[0].fields["traceparent"].split("-")[2])

    (record,) = settled(tmp_path, body, echo).records
    assert parents == [record.attempts[0].span_id]


def test_with_tracing_off_everything_is_counted_and_nothing_recorded(tmp_path: Path) -> None:
    seen = settled(tmp_path, ask, echo, snapshot=policy(tracing=Tracing(kept_per_s=0.0)))
    assert kinds(seen) == [("digits", "1", "ads", 200, "", 1)]
    assert seen.records == []


def test_a_caller_cannot_choose_an_id_that_is_of_every_share(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        for _ in range(50):
            mesh.gateway.tracer._sampler.keeps("0" * 32)
        mesh.gateway.tracer.measure(0.01)
        await mesh.ask(post("/predictions/digits", b"{}", f"traceparent: 00-{'f' * 32}-{'1' * 16}-01"))

    (record,) = settled(tmp_path, body, echo, snapshot=policy(tracing=Tracing(kept_per_s=1e-9))).records
    assert (record.trace_id, record.sampled) == ("f" * 32, False)


def test_two_traceparents_are_none(tmp_path: Path) -> None:
    async def body(mesh: Mesh) -> None:
        second = CALLERS_TRACE.replace("4bf9", "0000")
        fields = (f"traceparent: {CALLERS_TRACE}", f"traceparent: {second}")
        await mesh.ask(post("/predictions/digits", b"{}", *fields))

    (record,) = settled(tmp_path, body, echo).records
    assert record.parent_id == ""
    assert record.trace_id not in (CALLERS_TRACE.split("-")[1], "0000")


def test_a_defect_in_counting_costs_no_caller_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("a defect")

    async def body(mesh: Mesh) -> None:
        monkeypatch.setattr(mesh.gateway.settlement._tallies, "add", broken)
        for _ in range(2):
            assert (await mesh.ask(post())).status == 200
        mesh.gateway.settlement.take_tallies()  # nothing was counted, and that is told
        assert mesh.gateway.settlement._lost == {"settlement": 2}

    assert settled(tmp_path, body, echo).counts == []
    assert capsys.readouterr().err.count("a request was not counted") == 1


def test_what_a_stopped_supervisor_does_not_take_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.dataplane.settlement.MAX_CLOSED_TALLIES", 3)

    async def body(mesh: Mesh) -> None:
        for _ in range(5):
            await mesh.ask(post())
            mesh.gateway.settlement._begin_slot()
        tallies = mesh.gateway.settlement.take_tallies()
        assert len(tallies) == 3
        assert tallies[-1].dropped == {"tally": 2}

    settled(tmp_path, body, echo)
