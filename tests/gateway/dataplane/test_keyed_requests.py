"""Requests with an idempotency key: only the key's own pod knows whether one has run, so none goes to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvloop
from msgspec.structs import replace

from gateway.control.messages import PodView
from model_pod.wire.status import PodState
from tests.fakes.link_pod import LinkPod, Script, Stream
from tests.gateway.dataplane.mesh import Mesh, post, running_mesh
from tests.gateway.policy import policy

KEYED = "idempotency-key: order-1"


def echo(stream: Stream) -> None:
    stream.answer(stream.body)


def full(stream: Stream) -> None:
    stream.answer(b"{}", status=503, reason="queue_full", fields=b"penstock-reason: queue_full\r\n")


def first_refuses(refuse: Callable[[Stream], None]) -> Script:
    """Refuse the first request of all, and answer the others."""
    seen: list[Stream] = []

    def script(stream: Stream) -> None:
        seen.append(stream)
        if len(seen) == 1:
            refuse(stream)
        else:
            echo(stream)

    return script


def leaving(stream: Stream) -> None:
    stream.refuse("pod_draining", has_run=False)


def leaving_in_words(stream: Stream) -> None:
    stream.answer(b"{}", status=503, reason="pod_draining")


@asynccontextmanager
async def two_pods(script: Script, count: int = 2, in_flight: int = 100) -> AsyncIterator[tuple[Mesh, list[LinkPod]]]:
    with TemporaryDirectory() as directory:
        pods = [LinkPod(Path(directory) / f"{index}.sock", script) for index in range(count)]
        snapshot = policy(in_flight=in_flight)
        patient = replace(snapshot, tiers={"gold": replace(snapshot.tiers["gold"], queue_wait_s=60.0)})
        async with running_mesh([], patient) as mesh:
            for pod in pods:
                await pod.__aenter__()
            views = (
                PodView(f"digits/1/{index}", "digits", "1", pod.address, PodState.READY, True, "", 1)
                for index, pod in enumerate(pods)
            )
            mesh.gateway.pods.replace(tuple(views))
            try:
                yield mesh, pods
            finally:
                for pod in pods:
                    await pod.__aexit__()


def run(
    test: Callable[[Mesh, list[LinkPod]], Awaitable[None]], script: Script, count: int = 2, in_flight: int = 100
) -> None:
    async def body() -> None:
        async with asyncio.timeout(30), two_pods(script, count, in_flight) as (mesh, pods):
            await test(mesh, pods)

    uvloop.run(body())


def asked(pods: list[LinkPod]) -> list[int]:
    return [len(pod.seen) for pod in pods]


def test_a_pod_without_room_refuses_for_all_while_others_are_tried_without_a_key() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answer = await mesh.ask(post("/predictions/digits", b"{}", KEYED))
        assert (answer.status, answer.fields["penstock-reason"]) == (503, "queue_full")
        assert sorted(asked(pods)) == [0, 1]
        await mesh.ask(post())
        assert sum(asked(pods)) == 3

    run(body, full)


@pytest.mark.parametrize("refuse", [leaving, leaving_in_words])
def test_the_keys_of_a_pod_that_leaves_go_to_another_and_stay_there(refuse: Callable[[Stream], None]) -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        for _ in range(3):
            assert (await mesh.ask(post("/predictions/digits", b"{}", KEYED))).status == 200
        assert sorted(asked(pods)) == [1, 3]

    run(body, first_refuses(refuse))


def test_a_key_whose_pod_cannot_be_reached_is_refused_and_may_be_asked_again() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        owner = mesh.gateway.pods.pick_keyed("digits", "1", b"ads/order-1", 8, 0.0)
        gone = next(pod for pod in pods if pod.address == owner.view.address)
        gone.path.unlink()
        answer = await mesh.ask(post("/predictions/digits", b"{}", KEYED))
        assert (answer.status, answer.fields["penstock-reason"]) == (503, "no_pod_ready")
        assert "retry-after" in answer.fields
        assert asked(pods) == [0, 0]

    run(body, echo)


def test_the_place_of_an_attempt_that_failed_is_there_for_the_next_one() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        assert (await mesh.ask(post())).status == 200
        assert asked(pods) == [2]

    def not_taken(stream: Stream) -> None:
        stream.refuse("pod_draining", has_run=False)

    run(body, first_refuses(not_taken), count=1, in_flight=1)


def test_many_that_wait_for_a_key_s_busy_pod_keep_nobody_from_the_other_one() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        async def send(*fields: str) -> None:
            (await mesh.connect()).writer.write(post("/predictions/digits", b"{}", *fields))

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():
                await asyncio.to_thread(int)

        await send(KEYED)
        await until(lambda: sum(asked(pods)) == 1)
        own, other = pods if pods[0].seen else reversed(pods)
        await send()
        await until(lambda: len(other.seen) == 1)
        for _ in range(20):
            await send(KEYED)
        for _ in range(5):
            await send()
        await until(lambda: mesh.gateway.waiting.count == 25)
        for number in range(5):
            other.seen[number].answer(b"{}")
            await until(lambda count=number + 2: len(other.seen) == count)  # type: ignore[misc]  # a default binds it
        assert (len(own.seen), mesh.gateway.waiting.count) == (1, 20)
        own.seen[0].answer(b"{}")
        await until(lambda: len(own.seen) == 2)

    run(body, lambda stream: None, in_flight=1)
