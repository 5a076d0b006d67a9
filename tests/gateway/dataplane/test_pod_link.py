"""Requests over the link: many at once on one connection, each held up by nobody but its own reader."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.messages import PodView
from gateway.dataplane.client import Piece
from gateway.dataplane.health import Standing
from gateway.dataplane.pod_link import _Link
from gateway.dataplane.worker import counts_of
from gateway.decide.tables import account_of
from gateway.errors import PodBroke, PodFailed, PodUnreachable
from gateway.limits.table import RowKind
from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    CREDIT_BYTES,
    DATA,
    LAST,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    WINDOW_BYTES,
    PodAnswer,
    PodCharge,
    PodRequest,
    Reset,
    encode_head,
    frame,
)
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import LadderStep, Quota
from tests.fakes.link_pod import LinkPod, Script, Stream
from tests.gateway.dataplane.mesh import Mesh, post, running_mesh
from tests.gateway.policy import policy


def echo(stream: Stream) -> None:
    stream.answer(stream.body)


def keep(stream: Stream) -> None:
    """Answer when the test says so."""


@asynccontextmanager
async def linked(*scripts: Script, snapshot: Snapshot | None = None) -> AsyncIterator[tuple[Mesh, list[LinkPod]]]:
    with TemporaryDirectory() as directory:
        pods = [LinkPod(Path(directory) / f"{index}.sock", script) for index, script in enumerate(scripts)]
        async with running_mesh([], snapshot or policy()) as mesh:
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
        async with asyncio.timeout(60), linked(*scripts) as (mesh, pods):
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


@pytest.mark.parametrize("sent", [b"short", b"much longer than that"])
def test_a_pod_whose_answer_is_not_as_long_as_it_said_has_failed(sent: bytes) -> None:
    def lying(stream: Stream) -> None:
        stream.begin(10)
        stream.data(sent, is_last=True)

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        with pytest.raises(asyncio.IncompleteReadError):
            await mesh.ask(post())
        health = mesh.gateway.pods.of_version("digits", "1")[0].health
        assert health.lately.counts(mesh.gateway.now_s())[1] == 1

    run(body, lying)


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


def charged(end: Callable[[Stream], None]) -> int:
    """Return what a stream is charged whose pod, or whose caller, ends it after its first piece."""
    metered = Quota("q", "device_time", 10**9, "rolling-24h", ladder=(LadderStep(1.0, "refuse"),))
    account = account_of("ads", metered)

    def begin(stream: Stream) -> None:
        stream.begin()
        stream.data(b"first")

    async def body() -> int:
        async with asyncio.timeout(60), linked(begin, snapshot=policy(quotas=(metered,))) as (mesh, pods):
            row = mesh.table.find(account, RowKind.QUOTA)
            mesh.table.put_quota(row, granted=10**9, shift=0, limit=10**9, resets_at_s=4e9, rate_per_s=0.0)
            caller = await mesh.connect()
            caller.writer.write(post())
            await caller.reader.readuntil(b"first")
            if end is leave:
                caller.writer.transport.abort()
            else:
                end(pods[0].seen[0])
            await until(lambda: not mesh.gateway.in_flight)
            return mesh.table.quota(row).used

    return uvloop.run(body())


def leave(stream: Stream) -> None:
    """It is the caller who leaves."""


def test_a_stream_whose_end_never_came_is_charged_what_was_reserved() -> None:
    reserved = charged(leave)
    assert reserved > 0
    assert charged(lambda stream: stream.refuse("pod_lost", has_run=True)) == reserved


def test_a_stream_that_is_cut_is_charged_what_its_pod_says() -> None:
    assert charged(lambda stream: stream.refuse("handler_failed", has_run=True, device_us=1234)) == 1234


# --- what no pod of ours sends

FORGED = b"HTTP/1.1 200 FORGED\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda stream: stream.data(FORGED), id="a body before its head"),
        pytest.param(lambda stream: stream.data(b"", is_last=True), id="an end before its head"),
        pytest.param(lambda stream: stream.answer(FORGED, status=204), id="a 204 with a body"),
        pytest.param(lambda stream: stream.answer(FORGED, status=304), id="a 304 with a body"),
        pytest.param(lambda stream: stream.answer(b"half", content_length=100), id="less than its length says"),
        pytest.param(lambda stream: stream.answer(b"more", content_length=1), id="more than its length says"),
        pytest.param(lambda stream: stream.begin(-2), id="a length that is none"),
    ],
)
def test_a_pod_that_breaks_the_order_of_an_answer_gives_none(script: Script) -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["reason"]) == (502, "pod_bad_answer")
        assert await mesh.callers[0].reader.read() == b""  # nothing more on the caller's connection
        assert mesh.gateway.in_flight == 0
        assert [pod.outstanding for pod in mesh.gateway.pods.of_version("digits", "1")] == [0]

    run(body, script)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda stream: (stream.begin(5), stream.answer(b"second")), id="a whole answer within another"),
        pytest.param(lambda stream: (stream.begin(5), stream.begin(7)), id="a head within a body"),
        pytest.param(lambda stream: (stream.begin(status=304), stream.data(FORGED, is_last=True)), id="a 304's body"),
        pytest.param(lambda stream: (stream.begin(status=204), stream.data(FORGED)), id="a 204's body"),
    ],
)
def test_what_breaks_the_order_of_an_answer_that_has_begun_does_not_reach_its_caller(script: Script) -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        told = await caller.reader.read()  # until the gateway cuts the connection
        assert told.count(b"HTTP/1.1") == 1
        assert told.partition(b"\r\n\r\n")[2] == b""
        assert mesh.gateway.in_flight == 0

    run(body, script)


def test_the_answer_to_head_tells_a_length_and_has_no_body() -> None:
    def script(stream: Stream) -> None:
        stream.answer(b"body" if stream.request.target.endswith("bad") else b"", content_length=4)

    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        for target, status in (("/predictions/digits", b"200"), ("/predictions/digits?bad", b"502")):
            caller = await mesh.connect()
            caller.writer.write(post(target).replace(b"POST", b"HEAD", 1).replace(b"Length: 2", b"Length: 0")[:-2])
            assert (await caller.reader.readuntil(b"\r\n\r\n")).split(b" ")[1] == status

    run(body, script)


@pytest.mark.parametrize("reason", ["key_revoked", "quota_pending", "queue_full", "no such reason"])
def test_a_pod_that_lost_a_request_cannot_say_that_its_caller_was_refused(reason: str) -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answer = await mesh.ask(post())
        told = json.loads(answer.body)
        assert (answer.status, told["reason"], told["retryable"]) == (502, "pod_lost", False)

    run(body, lambda stream: stream.refuse(reason, has_run=True))


def test_a_request_that_a_pod_ended_is_told_why_and_not_that_the_pod_was_lost() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        answer = await mesh.ask(post())
        told = json.loads(answer.body)
        assert (answer.status, told["reason"]) == (507, "out_of_memory")
        assert "no memory left" in told["message"]
        assert "lost" not in told["message"]

    run(body, lambda stream: stream.refuse("out_of_memory", has_run=True))


@pytest.mark.parametrize("reason", ["deadline_exceeded_running", "deadline_exceeded", "reader_too_slow"])
def test_pods_are_not_left_out_because_their_callers_ran_out_of_time(reason: str) -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        callers = [await mesh.connect() for _ in range(24)]
        for caller in callers:
            caller.writer.write(post())
        await until(lambda: sum(len(pod.seen) for pod in pods) == len(callers))
        for stream in (stream for pod in pods for stream in pod.seen):
            stream.refuse(reason, has_run=True)
        for caller in callers:
            await caller.reader.read()
        siblings = mesh.gateway.pods.of_version("digits", "1")
        assert [pod.health.standing for pod in siblings] == [Standing.HEALTHY] * 2
        assert all(pod.slow_until_s < 0 for pod in siblings)

    run(body, lambda stream: stream.begin(), lambda stream: stream.begin())


def test_a_link_that_is_lost_is_one_failure_of_its_pod_however_many_requests_were_on_it() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        asked = [asyncio.create_task(mesh.ask(post())) for _ in range(24)]
        await until(lambda: sum(len(pod.seen) for pod in pods) == len(asked))
        lost, other = mesh.gateway.pods.of_version("digits", "1")
        assert len(pods[0].seen) >= 5  # so many failures in a row would leave it out
        pods[0].script = pods[1].script = echo
        pods[0].links[0].transport.abort()
        await until(lambda: lost.slow_until_s > 0)
        assert (lost.health.standing, other.health.standing) == (Standing.HEALTHY, Standing.HEALTHY)
        for stream in pods[1].seen:
            echo(stream)
        await asyncio.gather(*asked)

    run(body, keep, keep)


# --- one link, without a gateway

REQUESTED = PodRequest("POST", "/predictions/digits", "request", "ads", "00-0-0-00", 1000, 2, "", [])


class Heard:
    """Remembers what a receiver is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.answers: list[PodAnswer] = []
        self.errors: list[PodFailed] = []

    def on_answer(self, answer: PodAnswer, body: Piece) -> None:
        self.told.append("answer")
        self.answers.append(answer)

    def on_head(self, answer: PodAnswer) -> None:
        self.told.append("head")
        self.answers.append(answer)

    def on_data(self, piece: Piece) -> None:
        self.told.append("data")

    def on_end(self, charge: PodCharge | None = None) -> None:
        self.told.append("end")

    def on_failed(self, error: PodFailed) -> None:
        self.told.append("failed")
        self.errors.append(error)

    def on_room(self, has_room: bool) -> None:
        """Nothing is told of it here."""


class Socket(asyncio.Transport):
    """Remembers what was written, and ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_over

    def abort(self) -> None:
        self.is_over = True

    def close(self) -> None:
        self.is_over = True


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(0))


def connected(loop: asyncio.AbstractEventLoop) -> tuple[_Link, Socket]:
    link, wire = _Link(loop, lambda: None), Socket()
    link.connection_made(wire)
    link.data_received(PREFACE)
    return link, wire


def test_a_request_that_was_told_that_its_pod_is_unreachable_is_not_sent_when_the_connection_comes(
    loop: asyncio.AbstractEventLoop,
) -> None:
    link, wire, heard = _Link(loop, lambda: None), Socket(), Heard()
    link.open(REQUESTED, [b"{}"], heard, is_whole=True)
    link.fail(PodUnreachable("no connection", is_pods_fault=True))
    link.connection_made(wire)
    turn(loop)
    assert (heard.told, wire.written, wire.is_over) == (["failed"], b"", True)


def test_what_was_never_written_because_the_connection_was_ending_may_go_elsewhere(
    loop: asyncio.AbstractEventLoop,
) -> None:
    link, wire = connected(loop)
    before, after = Heard(), Heard()
    link.open(REQUESTED, [b"{}"], before, is_whole=True)
    turn(loop)
    wire.is_over, written = True, wire.written
    link.open(REQUESTED, [b"{}"], after, is_whole=True)
    turn(loop)
    assert not link.takes_new
    link.connection_lost(None)
    assert wire.written == written
    assert [type(heard.errors[0]) for heard in (before, after)] == [PodBroke, PodUnreachable]


def test_a_defect_in_one_request_keeps_no_other_from_hearing_that_the_link_is_lost(
    loop: asyncio.AbstractEventLoop,
) -> None:
    class Defective(Heard):
        def on_failed(self, error: PodFailed) -> None:
            raise KeyError("a defect of ours")

    link, _ = connected(loop)
    defects: list[str] = []
    link._on_defect = lambda where, error: defects.append(repr(error))
    after = Heard()
    link.open(REQUESTED, [b"{}"], Defective(), is_whole=True)
    link.open(REQUESTED, [b"{}"], after, is_whole=True)
    turn(loop)
    link.connection_lost(None)
    assert (after.told, len(defects)) == (["failed"], 1)


def test_a_defect_in_taking_an_answer_keeps_no_other_from_its_own(loop: asyncio.AbstractEventLoop) -> None:
    class Defective(Heard):
        def on_answer(self, answer: PodAnswer, body: Piece) -> None:
            raise KeyError("a defect of ours")

    link, _ = connected(loop)
    defects: list[str] = []
    link._on_defect = lambda where, error: defects.append(repr(error))
    after = Heard()
    link.open(REQUESTED, [b"{}"], Defective(), is_whole=True)
    link.open(REQUESTED, [b"{}"], after, is_whole=True)
    turn(loop)
    head = encode_head(PodAnswer(200, "", "", b"", b"", 2))
    link.data_received(
        b"".join(bytes(piece) for number in (1, 2) for piece in frame(ANSWER | LAST, number, head, b"{}"))
    )
    assert (len(after.answers), len(defects)) == (1, 1)


def test_nothing_begins_on_a_link_whose_pod_has_ended_it(loop: asyncio.AbstractEventLoop) -> None:
    link, _ = connected(loop)
    link.eof_received()
    assert not link.takes_new


@pytest.mark.parametrize(
    ("status", "reason", "taken"),
    [(503, "queue_full", "queue_full"), (503, "key_revoked", ""), (200, "queue_full", ""), (503, "a" * 99, "")],
)
def test_why_a_pod_refused_is_a_reason_of_pods(
    loop: asyncio.AbstractEventLoop, status: int, reason: str, taken: str
) -> None:
    link, _ = connected(loop)
    heard = Heard()
    link.open(REQUESTED, [b"{}"], heard, is_whole=True)
    head = encode_head(PodAnswer(status, "", reason, b"", b"", 0, NOT_TOLD))
    link.data_received(b"".join(bytes(piece) for piece in frame(ANSWER | LAST, 1, head)))
    assert [answer.reason for answer in heard.answers] == [taken]


HEADS = st.builds(
    PodAnswer,
    st.sampled_from([200, 204, 304, 500, 503]),
    st.just(""),
    st.sampled_from(["", "queue_full", "key_revoked"]),
    st.just(b""),
    st.just(b""),
    st.sampled_from([NOT_TOLD, 0, 3, -7]),
).map(encode_head)
RESETS = st.builds(Reset, st.sampled_from(["pod_draining", "handler_failed", "?"]), st.booleans()).map(encode_head)
FRAMES = st.tuples(
    st.sampled_from([ANSWER, ANSWER, DATA, DATA, RESET, CREDIT, REQUEST]),
    st.booleans(),
    st.integers(0, 4),
    st.one_of(HEADS, HEADS, RESETS, st.just(b""), st.binary(max_size=4)),
    st.sampled_from([b"", b"abc", b"abcd"]),
)
AN_ANSWER = re.compile("answer|failed|head(?: data)*(?: end| failed)")


@given(st.lists(FRAMES, max_size=12))
def test_whatever_a_pod_sends_each_request_hears_of_one_answer_in_its_order(
    frames: list[tuple[int, bool, int, bytes, bytes]],
) -> None:
    loop = asyncio.new_event_loop()
    link, wire = connected(loop)
    all_heard = [Heard() for _ in range(3)]
    for heard in all_heard:
        link.open(REQUESTED, [b"{}"], heard, is_whole=True)
    turn(loop)
    for kind, is_last, number, head, body in frames:
        if not wire.is_over:
            pieces = frame(kind | LAST if is_last else kind, number, head, body)
            link.data_received(b"".join(bytes(piece) for piece in pieces))
    link.connection_lost(None)
    loop.close()
    for heard in all_heard:
        told = " ".join(heard.told)
        assert AN_ANSWER.fullmatch(told), told
        assert heard.told[-1] in ("answer", "end", "failed")
        if heard.answers and heard.answers[0].status in (204, 304):
            assert "data" not in heard.told


def test_a_pod_whose_link_was_lost_gets_nothing_while_another_one_is_there() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        while not all(pod.links for pod in pods):
            await mesh.ask(post())
        lost, other = pods
        lost.links[0].transport.abort()  # nothing was under way: its server died between two requests
        seen = len(lost.seen)
        await until(lambda: any(pod.leaving_until_s > 0 for pod in mesh.gateway.pods.of_version("digits", "1")))
        for _ in range(20):
            assert (await mesh.ask(post(body=b"elsewhere"))).body == b"elsewhere"
        assert len(lost.seen) == seen
        assert len(other.links) == 1

    run(body, echo, echo)


def test_an_open_link_is_counted_until_it_is_lost() -> None:
    async def body(mesh: Mesh, pods: list[LinkPod]) -> None:
        assert counts_of(mesh.gateway, 0.0).links == 0
        await mesh.ask(post())
        assert counts_of(mesh.gateway, 0.0).links == 1
        mesh.gateway.pods.of_version("digits", "1")[0].upstream.close()
        assert counts_of(mesh.gateway, 0.0).links == 0

    run(body, echo)
