"""Requests over the link: many at once on one connection, each held up by nobody but its own reader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvloop

from gateway.control.messages import PodView
from model_pod.wire.link import CREDIT_BYTES, WINDOW_BYTES
from model_pod.wire.status import PodState
from tests.fakes.link_pod import LinkPod, Script, Stream
from tests.gateway.dataplane.mesh import Mesh, post, running_mesh


def echo(stream: Stream) -> None:
    stream.answer(stream.body)


def keep(stream: Stream) -> None:
    """Answer when the test says so."""


@asynccontextmanager
async def linked(*scripts: Script) -> AsyncIterator[tuple[Mesh, list[LinkPod]]]:
    with TemporaryDirectory() as directory:
        pods = [LinkPod(Path(directory) / f"{index}.sock", script) for index, script in enumerate(scripts)]
        async with running_mesh([]) as mesh:
            for pod in pods:
                await pod.__aenter__()
            mesh.gateway.pods.replace(
                tuple(
                    PodView(f"digits/1/{index}", "digits", "1", pod.address, PodState.READY, True, "", 1)
                    for index, pod in enumerate(pods)
                )
            )
            try:
                yield mesh, pods
            finally:
                for pod in pods:
                    await pod.__aexit__()


def run(test: Callable[[Mesh, list[LinkPod]], Awaitable[None]], *scripts: Script) -> None:
    async def body() -> None:
        async with asyncio.timeout(10), linked(*scripts) as (mesh, pods):
            await test(mesh, pods)

    uvloop.run(body())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.to_thread(int)


def test_requests_share_one_connection_and_each_gets_its_own_answer_in_any_order() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        asked = [asyncio.create_task(mesh.ask(post(body=b"body %d" % number))) for number in range(20)]
        await until(lambda: len(pods[0].seen) == 20)
        for stream in reversed(pods[0].seen):
            echo(stream)
        answers = await asyncio.gather(*asked)
        assert [answer.body for answer in answers] == [b"body %d" % number for number in range(20)]
        assert len(pods[0].links) == 1
        assert {stream.request.tenant for stream in pods[0].seen} == {"ads"}

    run(body, keep)


def test_a_pod_that_takes_nothing_of_a_body_gets_one_window_of_it_and_holds_up_nobody_else() -> None:
    size = 10 * WINDOW_BYTES

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        pods[0].is_taking = False
        upload = asyncio.create_task(mesh.ask(post(body=bytes(size))))
        await until(lambda: bool(pods[0].seen) and len(pods[0].seen[0].body) >= WINDOW_BYTES - 16 * 1024)
        assert (await mesh.ask(post(body=b"small"))).body == b"small"
        large = pods[0].seen[0]
        assert len(large.body) <= WINDOW_BYTES
        assert not large.is_whole
        pods[0].is_taking = True
        large.credit(len(large.body))
        answer = await upload
        assert (answer.status, len(answer.body)) == (200, size)

    def answer_in_windows(stream: Stream) -> None:
        if len(stream.body) <= WINDOW_BYTES:
            stream.answer(stream.body)
            return
        stream.begin(len(stream.body))
        asyncio.get_running_loop().create_task(paced(stream, stream.body))

    run(body, answer_in_windows)


async def paced(stream: Stream, body: bytes) -> None:
    """Send no more than a window that the reader has not credited."""
    sent = 0
    while sent < len(body):
        while sent - stream.credited_bytes >= WINDOW_BYTES:
            await asyncio.to_thread(int)
        piece = body[sent : sent + min(16 * 1024, WINDOW_BYTES - sent + stream.credited_bytes)]
        sent += len(piece)
        stream.data(piece, is_last=sent == len(body))


def test_a_reader_that_takes_nothing_is_credited_nothing_and_the_others_are_answered() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        slow = await mesh.connect()
        slow.writer.write(post(body=b"large"))
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]  # the only way to be a slow reader
        await until(lambda: bool(pods[0].seen))
        stream = pods[0].seen[0]
        task = asyncio.create_task(paced(stream, bytes(40 * WINDOW_BYTES)))
        credited = -1
        while credited != stream.credited_bytes:  # until nothing more is taken
            credited = stream.credited_bytes
            for _ in range(50):
                await asyncio.to_thread(int)
        assert credited < 39 * WINDOW_BYTES
        assert (await mesh.ask(post(body=b"quick"))).body == b"quick"
        slow.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await slow.answer()).body) == 40 * WINDOW_BYTES
        await task

    def script(stream: Stream) -> None:
        if stream.body == b"large":
            stream.begin(40 * WINDOW_BYTES)
        else:
            echo(stream)

    run(body, script)


def test_a_caller_that_leaves_resets_its_stream_and_no_other() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        leaving = await mesh.connect()
        leaving.writer.write(post(body=b"leaving"))
        staying = asyncio.create_task(mesh.ask(post(body=b"staying")))
        await until(lambda: len(pods[0].seen) == 2)
        leaving.writer.transport.abort()
        await pods[0].told.wait()
        resets = {stream.body: stream.reset.reason for stream in pods[0].seen if stream.reset}
        assert resets == {b"leaving": "client_gone"}
        for stream in pods[0].seen:
            echo(stream)  # the one that was reset too: it was on its way, and nobody is told
        assert (await staying).body == b"staying"

    run(body, keep)


def test_what_a_pod_had_when_its_link_is_lost_is_told_so_and_the_next_request_opens_another() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        asked = [asyncio.create_task(mesh.ask(post())) for _ in range(3)]
        await until(lambda: len(pods[0].seen) == 3)
        pods[0].links[0].transport.abort()
        answers = await asyncio.gather(*asked)
        assert {(answer.status, json.loads(answer.body)["reason"]) for answer in answers} == {(502, "pod_lost")}
        pods[0].script = echo
        assert (await mesh.ask(post(body=b"next"))).body == b"next"
        assert len(pods[0].links) == 2

    run(body, keep)


def test_a_pod_that_leaves_finishes_what_it_has_and_gets_nothing_new_on_that_link() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        first = asyncio.create_task(mesh.ask(post(body=b"first")))
        await until(lambda: len(pods[0].seen) == 1)
        pods[0].links[0].leave()
        await asyncio.sleep(0)
        second = asyncio.create_task(mesh.ask(post(body=b"second")))
        await until(lambda: len(pods[0].seen) == 2)
        assert pods[0].seen[1].link is not pods[0].seen[0].link
        for stream in pods[0].seen:
            echo(stream)
        assert [(await task).body for task in (first, second)] == [b"first", b"second"]

    run(body, keep)


def test_what_a_pod_did_not_take_goes_to_another_one() -> None:
    def leaving(stream: Stream) -> None:
        stream.refuse("pod_draining", has_run=False)

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answers = [await mesh.ask(post(body=b"again")) for _ in range(3)]
        assert [answer.body for answer in answers] == [b"again"] * 3

    run(body, leaving, echo)


def test_what_a_pod_may_have_run_goes_nowhere_else() -> None:
    def breaking(stream: Stream) -> None:
        stream.refuse("pod_lost", has_run=True)

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["retryable"]) == (502, False)
        assert sum(len(pod.seen) for pod in pods) == 1

    run(body, breaking, breaking)


@pytest.mark.parametrize(
    "fields",
    [
        b"x-a: 1\r\ncontent-length: 0\r\n",
        b"x-a: 1\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"x-a: 1\nx-b: 2\r\n",
        b"x-a: 1\r",
        b"no colon\r\n",
        b"Connection: close\r\n",
        b"X-Request-Id: forged\r\n",
        b"x-a: \x00\r\n",
    ],
)
def test_what_no_pod_may_tell_a_caller_is_no_answer(fields: bytes) -> None:
    def hostile(stream: Stream) -> None:
        stream.answer(b"{}", fields=fields)

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["reason"]) == (502, "pod_bad_answer")

    run(body, hostile)


def test_an_answer_shorter_than_announced_is_cut_so_that_the_caller_can_tell() -> None:
    def short(stream: Stream) -> None:
        stream.begin(100)
        stream.data(b"only this", is_last=True)

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        with pytest.raises(asyncio.IncompleteReadError):
            await mesh.ask(post())

    run(body, short)


def test_half_a_window_that_was_passed_on_is_credited_at_once() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        asked = asyncio.create_task(mesh.ask(post()))
        await until(lambda: bool(pods[0].seen))
        stream = pods[0].seen[0]
        stream.begin()
        stream.data(bytes(CREDIT_BYTES))
        await pods[0].told.wait()
        assert stream.credited_bytes == CREDIT_BYTES
        stream.data(b"", is_last=True)
        assert len((await asked).body) == CREDIT_BYTES

    run(body, keep)
