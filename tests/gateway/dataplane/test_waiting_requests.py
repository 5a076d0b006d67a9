"""Requests that find the pods busy wait their turn whole; those that leave or end before it are seen by no pod."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.forward import Forward
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.waiting import Tried
from gateway.dataplane.worker import counts_of
from gateway.decide.decision import Decision, Refusal
from gateway.decide.fair_queue import Ticket
from gateway.decisions.folder import find_record
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from tests.fakes.pod import Answering, Seen, echo
from tests.gateway.dataplane.mesh import Answer, Caller, Mesh, in_mesh, post, view
from tests.gateway.policy import policy


class Pod:
    """A pod that keeps each request until it may go; every answer is its request's body."""

    def __init__(self) -> None:
        self._may_go = asyncio.Semaphore(0)

    async def script(self, seen: Seen, answering: Answering) -> None:
        await self._may_go.acquire()
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.body), seen.body))

    def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self._may_go.release()


def one_at_a_time(*, queue_wait_s: float = 60.0, **tier: object) -> Snapshot:
    """Return a policy of one request in flight; who waits is not told to give up within a test."""
    snapshot = policy(in_flight=1)
    return replace(snapshot, tiers={"gold": replace(snapshot.tiers["gold"], queue_wait_s=queue_wait_s, **tier)})


async def ask(mesh: Mesh, body: bytes, *fields: str) -> Caller:
    """Send a request, and return its caller once it is at the pod or has its place."""
    before = len(mesh.pods[0].seen) + mesh.gateway.waiting.count
    caller = await mesh.connect()
    caller.writer.write(post("/predictions/digits", body, *fields))
    while len(mesh.pods[0].seen) + mesh.gateway.waiting.count == before:
        await asyncio.to_thread(int)
    return caller


async def ended(mesh: Mesh, body: bytes, *fields: str) -> Answer:
    """Send a request that may have left the queue before anybody looks, and return its answer."""
    caller = await mesh.connect()
    caller.writer.write(post("/predictions/digits", body, *fields))
    return await caller.answer()


async def waiting(mesh: Mesh, count: int) -> None:
    while mesh.gateway.waiting.count != count:
        await asyncio.to_thread(int)


def reason(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["reason"]


def test_a_request_waits_for_a_busy_pod_and_is_answered_in_its_turn() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        callers = [await ask(mesh, name) for name in (b"first", b"second", b"third")]
        assert mesh.gateway.waiting.count == counts_of(mesh.gateway, 0.0).waiting == 2
        assert len(mesh.pods[0].seen) == 1
        pod.let_go(3)
        assert [(await caller.answer()).body for caller in callers] == [b"first", b"second", b"third"]
        assert [seen.body for seen in mesh.pods[0].seen] == [b"first", b"second", b"third"]
        assert (mesh.gateway.waiting.count, mesh.gateway.waiting.held_bytes) == (0, 0)
        (waits,) = counts_of(mesh.gateway, 0.0).waits
        assert (waits.model, waits.tier, sum(waits.buckets)) == ("digits", "gold", 2)
        assert waits.sum_s > 0.0

    in_mesh(body, pod.script, snapshot=one_at_a_time())


def test_a_body_that_is_still_coming_waits_and_arrives_whole() -> None:
    pod, size = Pod(), 1_000_000

    async def body(mesh: Mesh) -> None:
        await ask(mesh, b"first")
        upload = await ask(mesh, bytes(size))
        assert 0 < mesh.gateway.waiting.held_bytes < size  # the rest is still on its way
        pod.let_go(2)
        answer = await upload.answer()
        assert (answer.status, len(answer.body)) == (200, size)
        assert mesh.gateway.waiting.held_bytes == 0

    in_mesh(body, pod.script, snapshot=one_at_a_time())


def test_a_caller_that_leaves_frees_its_place_and_no_pod_sees_its_request() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        first = await ask(mesh, b"first")
        leaving = await ask(mesh, b"leaving")
        last = await ask(mesh, b"last")
        leaving.writer.transport.abort()
        await waiting(mesh, 1)
        pod.let_go(2)
        assert [(await caller.answer()).body for caller in (first, last)] == [b"first", b"last"]
        assert [seen.body for seen in mesh.pods[0].seen] == [b"first", b"last"]

    in_mesh(body, pod.script, snapshot=one_at_a_time())


def test_a_deadline_that_passes_in_the_queue_is_told_so_and_no_pod_sees_the_request() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        first = await ask(mesh, b"first")
        assert reason(await ended(mesh, b"late", "penstock-timeout-ms: 100")) == (504, "deadline_exceeded")
        pod.let_go()
        assert (await first.answer()).body == b"first"
        assert len(mesh.pods[0].seen) == 1
        assert mesh.gateway.waiting.count == 0

    in_mesh(body, pod.script, snapshot=one_at_a_time())


def test_who_has_waited_as_long_as_its_tier_waits_is_refused_with_when_to_come_back() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        await ask(mesh, b"first")
        answer = await ended(mesh, b"second")
        assert reason(answer) == (503, "waited_too_long")
        assert int(answer.fields["retry-after"]) >= 1
        pod.let_go()

    in_mesh(body, pod.script, snapshot=one_at_a_time(queue_wait_s=0.05))


def test_beyond_the_tenant_s_places_a_request_is_refused_at_once() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        callers = [await ask(mesh, name) for name in (b"first", b"second")]
        answer = await mesh.ask(post(body=b"third"))
        assert reason(answer) == (503, "pods_busy")
        assert int(answer.fields["retry-after"]) >= 1
        pod.let_go(2)
        assert [(await caller.answer()).status for caller in callers] == [200, 200]

    in_mesh(body, pod.script, snapshot=one_at_a_time(queue_length=1))


def test_a_tier_that_does_not_wait_is_refused_at_once() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        first = await ask(mesh, b"first")
        assert reason(await mesh.ask(post())) == (503, "pods_busy")
        pod.let_go()
        assert (await first.answer()).status == 200

    in_mesh(body, pod.script, snapshot=one_at_a_time(queue_wait_s=0.0))


def test_another_pod_that_comes_takes_who_waits() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        mesh.gateway.pods.replace((view(mesh.pods[0], 0),))
        first = await ask(mesh, b"first")
        second = await ask(mesh, b"second")
        mesh.gateway.pods.replace((view(mesh.pods[0], 0), view(mesh.pods[1], 1)))
        await waiting(mesh, 0)
        pod.let_go(2)
        assert [(await caller.answer()).status for caller in (first, second)] == [200, 200]
        assert [len(one.seen) for one in mesh.pods] == [1, 1]

    in_mesh(body, pod.script, pod.script, snapshot=one_at_a_time())


def test_when_no_pod_is_left_who_waits_is_told() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        await ask(mesh, b"first")
        second = await ask(mesh, b"second")
        mesh.gateway.pods.replace((view(mesh.pods[0], 0, PodState.FAILED),))
        assert reason(await second.answer()) == (503, "no_pod_ready")
        assert mesh.gateway.waiting.count == 0
        pod.let_go()

    in_mesh(body, pod.script, snapshot=one_at_a_time())


def test_what_waits_when_its_worker_leaves_is_told_that_it_was_not_run_and_may_be_sent_again() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        first = await ask(mesh, b"first")
        second = await ask(mesh, b"second")
        leaving = [cast(ClientConnection, one) for one in mesh.gateway.connections]
        at_pod = next(one for one in leaving if isinstance(one._forward, Forward) and one._forward._ticket is None)
        at_pod.give_up()  # its place at the pod is nobody's
        for connection in leaving:
            connection.give_up()
        assert reason(await first.answer()) == (503, "gateway_stopped")
        answer = await second.answer()
        assert reason(answer) == (503, "pods_busy")
        assert "was not run" in json.loads(answer.body)["message"]
        assert int(answer.fields["retry-after"]) >= 1
        assert len(mesh.pods[0].seen) == 1

    in_mesh(body, pod.script, snapshot=one_at_a_time())


def test_a_request_that_has_ended_is_neither_refused_again_nor_sent() -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        first = await ask(mesh, b"first")
        second = await ask(mesh, b"second")
        forwards = [cast(ClientConnection, one)._forward for one in mesh.gateway.connections]
        forward = next(one for one in forwards if isinstance(one, Forward) and one._ticket is not None)
        forward.refuse(Refusal("pods_busy", "once"))
        forward.refuse(Refusal("shed", "twice"))
        assert forward.resume(mesh.gateway.now_s()) is Tried.ENDED
        assert reason(await second.answer()) == (503, "pods_busy")
        pod.let_go()
        assert (await first.answer()).body == b"first"
        second.writer.write(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await second.answer()).status == 200  # and not the second refusal
        assert len(mesh.pods[0].seen) == 1

    in_mesh(body, pod.script, snapshot=one_at_a_time())


class Nobody:
    """A waiter that goes nowhere."""

    def resume(self, now_s: float) -> Tried:
        return Tried.NO_ROOM

    def lane(self, now_s: float) -> str:
        return ""

    def refuse(self, refusal: Refusal) -> None:
        """It waits no more."""


def test_those_who_came_before_a_cost_was_known_count_no_more_than_those_after_them() -> None:
    async def body(mesh: Mesh) -> None:
        decision = Decision(1, None, "ads", "gold", model="digits", version="1")
        costs: list[float] = []
        for _ in range(2):
            place = mesh.gateway.wait(Nobody(), decision, mesh.gateway.now_s() + 10.0, mesh.gateway.now_s())
            assert isinstance(place, Ticket)
            costs.append(place.asked.cost)
            await mesh.ask(post())  # its answer tells what it cost
        assert costs[0] == costs[1]

    in_mesh(body, echo, snapshot=policy(rate_per_s=1000.0))


def test_the_record_of_a_request_that_found_no_place_has_the_reason_its_caller_got(tmp_path: Path) -> None:
    pod = Pod()

    async def body(mesh: Mesh) -> None:
        log = mesh.gateway.settlement.decisions = DecisionLog(tmp_path)
        first = await ask(mesh, b"first")
        refused = await mesh.ask(post())
        pod.let_go()
        await first.answer()
        await asyncio.to_thread(log.close)
        record = find_record(tmp_path, bytes.fromhex(refused.fields["x-request-id"]))
        assert record is not None
        assert (record.ended.status, record.ended.reason) == reason(refused) == (503, "pods_busy")
        assert record.ended.refusal == ""  # policy let it in

    in_mesh(body, pod.script, snapshot=one_at_a_time(queue_wait_s=0.0))
