"""The corpus against a worker's data plane: nothing of what is refused runs, what is legal runs as it was written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvloop

from gateway.control.messages import PodView
from model_pod.wire.http1 import HeadLimits, RequestReader
from model_pod.wire.refusals import REASONS, Refused
from model_pod.wire.status import PodState
from policies.snapshot.mesh import Bounds
from tests.gateway.dataplane.mesh import Mesh, post, running_mesh
from tests.gateway.policy import policy
from tests.http_corpus.cases import GATE_REASONS, LIMIT_BYTES, Hostile, Legal, hostile, legal
from tests.http_corpus.notation import PATH
from tests.http_corpus.witness import Answered, RecordingPod, answers_in

HOSTILE = list(hostile())
KINDS = sorted({case.kind for case in HOSTILE})
LEGAL = list(legal())
_WITHIN_S = 60.0
_FOLLOWING = b"GET /livez HTTP/1.1\r\nHost: mesh\r\nConnection: close\r\n\r\n"
Test = Callable[[Mesh, RecordingPod], Awaitable[None]]


def with_a_recording_pod(test: Test) -> None:
    """Run one test body against a data plane whose only pod remembers what reached it."""

    async def body() -> None:
        snapshot = policy(bounds=Bounds(body_bytes=LIMIT_BYTES))
        with TemporaryDirectory() as folder:
            async with (
                asyncio.timeout(_WITHIN_S),
                running_mesh([], snapshot) as mesh,
                RecordingPod(Path(folder) / "recording.sock") as pod,
            ):
                view = PodView("digits/1/0", "digits", "1", pod.address, PodState.READY, was_ready=True)
                mesh.gateway.pods.replace((view,))
                await test(mesh, pod)

    uvloop.run(body())


async def exchange(mesh: Mesh, data: bytes, methods: list[str], end: bytes = b"") -> list[Answered]:
    """Send bytes on a connection of their own; return every answer that it gave before it ended."""
    reader, writer = await asyncio.open_unix_connection(mesh.path)
    try:
        writer.write(data + end)
        return answers_in(await reader.read(), methods)
    finally:
        writer.transport.abort()


def refused_at_its_head(case: Hostile) -> bool:
    reader = RequestReader(HeadLimits())
    reader.feed(case.data)
    try:
        return reader.next_event(LIMIT_BYTES) is None
    except Refused:
        return True


async def hostile_faults(mesh: Mesh, pod: RecordingPod, case: Hostile) -> list[str]:
    """Return what is wrong with the answer to one hostile request."""
    before = pod.byte_count
    answers = await exchange(mesh, case.data, ["POST"] * 2)
    if len(answers) != 1:
        return [f"{case.name}: {len(answers)} answers"]
    answer, faults = answers[0], []
    if not case.is_refused_with(answer.reason) or answer.status != REASONS[answer.reason].status:
        faults.append(f"{case.name}: {answer.status} {answer.reason}, not {case.reason}")
    if answer.fields.get("connection") != "close" or not answer.is_whole:
        faults.append(f"{case.name}: the refusal is not the connection's last and whole answer")
    if pod.byte_count != before and refused_at_its_head(case):
        faults.append(f"{case.name}: {pod.byte_count - before} bytes reached the pod")
    return faults


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_hostile_request_runs(kind: str) -> None:
    async def body(mesh: Mesh, pod: RecordingPod) -> None:
        faults: list[str] = []
        for case in HOSTILE:
            if case.kind == kind:
                faults += await hostile_faults(mesh, pod, case)
        assert not faults, "\n".join(faults)
        assert pod.requests == []
        assert pod.faults == []

    with_a_recording_pod(body)


def lives_on(case: Legal) -> bool:
    head = case.data.partition(b"\r\n\r\n")[0].lower().replace(b" ", b"")
    says = head.partition(b"\r\nconnection:")[2].partition(b"\r\n")[0].split(b",")
    return b"close" not in says and (b"http/1.0\r\n" not in head or b"keep-alive" in says)


async def legal_faults(mesh: Mesh, pod: RecordingPod, case: Legal) -> list[str]:
    """Return what is wrong with how one legal request was answered, and with what reached the pod of it."""
    before = len(pod.requests)
    end = _FOLLOWING if lives_on(case) else b""
    answers = await exchange(mesh, case.data, [case.method, "GET"], end)
    faults = []
    if len(answers) != (2 if end else 1) or not all(answer.is_whole for answer in answers):
        return [f"{case.name}: {answers}"]
    answer = answers[0]
    if any("date" not in answer.fields for answer in answers):
        faults.append(f"{case.name}: an answer without a date")
    if answer.reason in GATE_REASONS - {"method_not_allowed"}:
        faults.append(f"{case.name}: refused, {answer.reason}")
    if end and (answers[1].status, answers[1].body) != (200, b'{"live":true}\n'):
        faults.append(f"{case.name}: the request after it: {answers[1]}")
    reached = [(request.method, request.target, request.body) for request in pod.requests[before:]]
    is_for_the_pod = case.method == "POST" and case.target.partition("?")[0] == PATH
    if reached != [(case.method, case.target, case.body)] and (reached or is_for_the_pod):
        faults.append(f"{case.name}: the pod got {reached}; the answer is {answer}")
    return faults


def test_every_legal_request_is_taken_and_reaches_the_pod_as_the_one_request_it_is() -> None:
    async def body(mesh: Mesh, pod: RecordingPod) -> None:
        faults: list[str] = []
        for case in LEGAL:
            faults += await legal_faults(mesh, pod, case)
        assert not faults, "\n".join(faults)
        assert pod.faults == []
        assert len(pod.requests) > len(LEGAL) / 2

    with_a_recording_pod(body)


def test_fields_that_speak_of_one_hop_or_of_framing_go_no_further() -> None:
    hop = ["connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "expect", "x-hop", "authorization"]

    async def body(mesh: Mesh, pod: RecordingPod) -> None:
        for case in LEGAL:
            await exchange(mesh, case.data, [case.method, "GET"], _FOLLOWING if lives_on(case) else b"")
        passed_on = {name for request in pod.requests for name in request.fields}
        assert passed_on.isdisjoint(hop), passed_on & set(hop)
        for request in pod.requests:
            assert ("transfer-encoding" in request.fields) + ("content-length" in request.fields) <= 1
            assert request.fields["host"] == "pod"

    with_a_recording_pod(body)


def test_a_hostile_request_after_a_good_one_is_refused_and_the_good_one_is_answered() -> None:
    good = post("/predictions/digits", b"good")

    async def body(mesh: Mesh, pod: RecordingPod) -> None:
        for case in HOSTILE[:: len(HOSTILE) // 200]:
            pod.requests.clear()
            answers = await exchange(mesh, good + case.data, ["POST", "POST"])
            assert [answer.status for answer in answers] == [200, REASONS[answers[-1].reason].status], case.name
            assert case.is_refused_with(answers[-1].reason), case.name
            assert [request.body for request in pod.requests] == [b"good"], case.name

    with_a_recording_pod(body)


def test_fifty_pipelined_requests_are_answered_in_order_up_to_the_invalid_one_and_nothing_after_it_runs() -> None:
    requests = [post(f"/predictions/digits?n={n}", b"%d" % n) for n in range(50)]
    requests[40] = b"POST /predictions/digits HTTP/1.1\r\nHost: mesh\r\nContent-Length: 1, 1\r\n\r\nx"

    async def body(mesh: Mesh, pod: RecordingPod) -> None:
        answers = await exchange(mesh, b"".join(requests), ["POST"] * 50)
        assert [answer.status for answer in answers] == [200] * 40 + [400]
        assert answers[-1].fields["connection"] == "close"
        assert [request.body for request in pod.requests] == [b"%d" % n for n in range(40)]

    with_a_recording_pod(body)
