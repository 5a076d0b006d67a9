"""Copies of answered requests, and late labels: handed over whole, or lost and counted; never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.copies.messages import MAX_COPIED_BYTES, Answered, FromGatewayWorker, LateLabel, LateLabels
from gateway.dataplane import copying
from gateway.dataplane.feedback import MAX_LABELS, read_feedback
from gateway.decide.route import FEEDBACK_BYTES
from model_pod.wire.frames import FrameDecoder
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Feedback, Recording, Shadow
from policies.snapshot.samples import Sampling
from tests.fakes.pod import Answering, Script, Seen, chunks, echo
from tests.gateway.dataplane.mesh import Mesh, in_mesh, post
from tests.gateway.policy import policy

SHADOW = Shadow("dark", "2", 1.0, repeat_stable=0.0)


def copied(**route: Any) -> Snapshot:
    snapshot = policy()
    changed = replace(snapshot.routes["digits"], **(route or {"shadows": (SHADOW,), "feedback": Feedback("/label")}))
    tenant = replace(snapshot.tenants["ads"], is_copied=True)
    return replace(snapshot, routes={"digits": changed}, tenants={"ads": tenant})


class Copies:
    """Where a worker hands copies to."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[Any, list[bytes]]] = asyncio.Queue()
        self.connected = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        decoder: FrameDecoder[object] = FrameDecoder(cast(type[object], FromGatewayWorker))
        while data := await reader.read(65_536):
            for message, blobs in decoder.feed(data):
                self.told.put_nowait((message, [bytes(blob) for blob in blobs]))
        writer.close()


@asynccontextmanager
async def taking(mesh: Mesh) -> AsyncIterator[Copies]:
    copies = Copies()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "copies.sock"
        server = await asyncio.start_unix_server(copies.read, path)
        mesh.gateway.copies.follow(str(path))
        await copies.connected.wait()
        try:
            yield copies
        finally:
            server.close()
            mesh.gateway.copies.follow("")


def with_copies(test: Callable[[Mesh, Copies], Awaitable[None]], script: Script, snapshot: Snapshot) -> None:
    async def body(mesh: Mesh) -> None:
        async with taking(mesh) as copies:
            await test(mesh, copies)

    in_mesh(body, script, snapshot=snapshot)


def test_a_request_is_copied_as_its_pod_got_it_with_its_answer() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        answer = await mesh.ask(post("/predictions/digits?a=1", b'{"data": [1]}', "X-Test: a", "Cookie: c"))
        told, blobs = await copies.told.get()
        assert isinstance(told, Answered)
        assert (told.request_id, told.target) == (answer.fields["x-request-id"], "/predictions/digits?a=1")
        assert (told.shadows, told.is_labelled, told.is_recorded) == (("dark",), True, False)
        assert blobs == [b'{"data": [1]}', b'{"data": [1]}']
        assert (b"X-Test", b"a") in told.fields
        assert not any(name.lower() == b"authorization" for name, _ in told.fields)

    with_copies(body, echo, copied())


def test_an_answer_in_pieces_is_copied_whole() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        head = post(body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        answer = await mesh.ask(head + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        _, blobs = await copies.told.get()
        assert blobs == [b"abcd", answer.body]

    with_copies(body, chunks, copied())


def test_bodies_that_are_too_large_are_not_copied_and_counted() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        await mesh.ask(post(body=b"x" * (MAX_COPIED_BYTES + 1)))
        await mesh.ask(post(body=b"small"))
        _, blobs = await copies.told.get()
        assert blobs[0] == b"small"
        assert mesh.gateway.copies.lost == {"too_large": 1}

    with_copies(body, echo, copied())


def test_copies_of_requests_that_wait_for_answers_hold_no_more_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying, "_MAX_MAKING_BYTES", 150)
    may_answer = asyncio.Event()

    async def late(seen: Seen, answering: Answering) -> None:
        await may_answer.wait()
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def outstanding(mesh: Mesh, count: int) -> None:
        pods = mesh.gateway.pods.of_version("digits", "1")
        async with asyncio.timeout(20.0):
            while sum(pod.outstanding for pod in pods) != count:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.001)

    async def body(mesh: Mesh, copies: Copies) -> None:
        callers = [await mesh.connect() for _ in range(3)]
        for count, caller in enumerate(callers, 1):
            caller.writer.write(post(body=b"x" * 100))
            await outstanding(mesh, count)
        callers.pop().writer.close()
        await outstanding(mesh, 2)
        may_answer.set()
        assert [(await caller.answer()).body for caller in callers] == [b"ok", b"ok"]
        _, blobs = await copies.told.get()
        assert blobs == [b"x" * 100, b"ok"]
        assert mesh.gateway.copies.lost == {"behind": 1}
        assert mesh.gateway.copies.making._held_bytes == 0
        await mesh.ask(post(body=b"x" * 100))
        _, blobs = await copies.told.get()
        assert len(blobs[0]) == 100

    with_copies(body, late, copied())


@pytest.mark.parametrize("request_bytes", [10, MAX_COPIED_BYTES + 1])
def test_of_a_tenant_that_denies_only_the_answer_is_handed_over_for_its_label(request_bytes: int) -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        await mesh.ask(post("/predictions/digits?planted=1", b"planted".ljust(request_bytes), "X-Planted: a"))
        told, blobs = await copies.told.get()
        assert isinstance(told, Answered)
        assert (told.is_labelled, told.shadows, told.is_recorded) == (True, (), False)
        assert (told.target, told.fields, blobs) == ("", (), [b"", b'{"label": 7}'])

    async def label(seen: Seen, answering: Answering) -> None:
        answering.write(b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"label": 7}')

    snapshot = copied()
    denying = {"ads": replace(snapshot.tenants["ads"], is_copied=False)}
    with_copies(body, label, replace(snapshot, tenants=denying))


def test_a_refusal_is_not_copied() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        mesh.gateway.pods.replace(())
        assert (await mesh.ask(post())).status == 503
        await mesh.ask(post("/feedback", b"[]"))
        told, _ = await copies.told.get()
        assert isinstance(told, LateLabels)

    with_copies(body, echo, copied())


def test_with_nobody_there_requests_are_answered_and_copies_counted_as_lost() -> None:
    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(post())).status == 200
        assert mesh.gateway.copies.lost == {"away": 1}

    in_mesh(body, echo, snapshot=copied())


def test_what_is_not_taken_in_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_MAX_WAITING_BYTES", -1)

    async def body(mesh: Mesh, copies: Copies) -> None:
        assert (await mesh.ask(post())).status == 200
        assert mesh.gateway.copies.lost == {"behind": 1}

    with_copies(body, echo, copied(record=Recording(1.0)))


def test_one_that_comes_back_is_handed_copies_again() -> None:
    async def body(mesh: Mesh) -> None:
        async with taking(mesh):
            pass
        async with taking(mesh) as copies:
            await mesh.ask(post())
            await copies.told.get()

    in_mesh(body, echo, snapshot=copied())


# --- late labels


def test_labels_are_passed_on_under_their_tenants_name() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        labels = b'[{"request_id": "r1", "label": {"digit": 2}, "observed_at": "1970-01-01T00:00:05Z"}]'
        answer = await mesh.ask(post("/feedback", labels))
        assert (answer.status, answer.body) == (202, b'{"accepted": 1}\n')
        told, _ = await copies.told.get()
        assert told == LateLabels("ads", (LateLabel("r1", '{"digit": 2}', 5.0),))

    with_copies(body, echo, copied())


def test_labels_that_come_in_pieces_are_read_at_their_end() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        head = post("/feedback", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        caller = await mesh.connect()
        caller.writer.write(head + b"1\r\n{\r\n")
        await asyncio.sleep(0)
        rest = b'"request_id":"r1","label":"2"}'
        caller.writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))
        assert (await caller.answer()).status == 202
        told, _ = await copies.told.get()
        assert told.labels == (LateLabel("r1", '"2"', 0.0),)

    with_copies(body, echo, copied())


def test_labels_that_nobody_takes_may_be_sent_again() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post("/feedback", b"[]"))
        assert (answer.status, answer.fields["penstock-reason"]) == (503, "feedback_unavailable")
        assert int(answer.fields["retry-after"]) > 0

    in_mesh(body, echo, snapshot=copied())


def test_where_no_route_keeps_answers_there_is_no_feedback() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post("/feedback", b"[]"))
        assert (answer.status, answer.fields["penstock-reason"]) == (404, "path_not_found")

    in_mesh(body, echo)


@pytest.mark.parametrize("apart", [0, 3, 30])
def test_a_caller_that_sends_labels_in_pieces_may_go_on_with_the_connection(apart: int) -> None:
    told = b'[{"request_id": "r1", "label": 7}]'

    async def body(mesh: Mesh, copies: Copies) -> None:
        caller = await mesh.connect()
        whole = post("/feedback", told)
        for _ in range(2):
            caller.writer.write(whole[: len(whole) - len(told) + apart])
            while not mesh.gateway.in_flight:  # noqa: ASYNC110 - nothing tells that what was sent is read
                await asyncio.sleep(0)
            caller.writer.write(whole[len(whole) - len(told) + apart :])
            assert (await caller.answer()).status == 202
        caller.writer.write(whole * 2)
        assert [(await caller.answer()).status for _ in range(2)] == [202, 202]
        for _ in range(4):
            labels, _ = await copies.told.get()
            assert labels == LateLabels("ads", (LateLabel("r1", "7", 0.0),))

    with_copies(body, echo, copied())


@pytest.mark.parametrize("length", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_labels_under_way_hold_no_more_memory_than_there_is_for_bodies(length: bytes) -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        mesh.gateway.bodies.room_bytes = 2 * FEEDBACK_BYTES
        head = post("/feedback", b"").replace(b"Content-Length: 0", length)
        for count in range(1, 3):
            caller = await mesh.connect()
            caller.writer.write(head)
            while mesh.gateway.in_flight < count:  # noqa: ASYNC110 - nothing tells that what was sent is read
                await asyncio.sleep(0)
        assert mesh.gateway.bodies.held_bytes >= 2_000_000
        answer = await mesh.ask(head)
        assert (answer.status, answer.fields["penstock-reason"]) == (503, "overload_memory")

    with_copies(body, echo, copied())


def test_too_many_bytes_of_labels_are_refused_before_they_come() -> None:
    async def body(mesh: Mesh, copies: Copies) -> None:
        head = post("/feedback", b"").replace(b"Content-Length: 0", b"Content-Length: 1048577")
        assert (await mesh.ask(head)).status == 413

    with_copies(body, echo, copied())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"nonsense", "labels are told as"),
        (b'[{"request_id": "a"}]', "label"),
        (b'[{"request_id": "", "label": 1}]', "entry 0: request_id"),
        (
            b'[{"request_id": "a", "label": 1}, {"request_id": "' + b"b" * 129 + b'", "label": 1}]',
            "entry 1: request_id",
        ),
        (b'[{"request_id": "a", "label": "' + b"x" * 5000 + b'"}]', "entry 0: its label is longer"),
        (b'[{"request_id": "a", "label": 1, "observed_at": "2027-01-01T00:00:00"}]', "time zone"),
        (b'[{"request_id": "a", "label": 1, "observed": 1}]', "observed"),
        (b"[" + b",".join([b'{"request_id":"a","label":1}'] * (MAX_LABELS + 1)) + b"]", "1001 labels"),
    ],
)
def test_labels_that_cannot_be_read_say_which_and_why(body: bytes, told: str) -> None:
    with pytest.raises(Refused, match=told) as refused:
        read_feedback(body)
    assert refused.value.reason == "malformed_body"


def test_one_label_needs_no_list() -> None:
    assert read_feedback(b' {"request_id": "a", "label": null}') == (LateLabel("a", "null", 0.0),)


def test_a_request_is_a_sample_only_once_something_has_happened_to_it() -> None:
    sampling = Sampling(("/data",), triggers=("drift",))

    async def body(mesh: Mesh, copies: Copies) -> None:
        await mesh.ask(post("/predictions/digits", b'{"data": [1]}'))
        mesh.gateway.copies.drifting = frozenset({("digits", "1")})
        answer = await mesh.ask(post("/predictions/digits", b'{"data": [2]}'))
        told, blobs = await copies.told.get()
        assert isinstance(told, Answered)
        assert (told.request_id, told.why_sample) == (answer.fields["x-request-id"], "drift")
        assert blobs[0] == b'{"data": [2]}'
        assert copies.told.empty()

    with_copies(body, echo, copied(samples=sampling))


def test_of_a_request_that_is_no_sample_its_label_is_handed_over_without_it() -> None:
    sampling = Sampling(("/data",), triggers=("error",))

    async def body(mesh: Mesh, copies: Copies) -> None:
        for path in ("/predictions/digits", "/predictions/digits?a=1"):
            await mesh.ask(post(path, b'{"data": [1]}', "X-Test: a"))
            told, blobs = await copies.told.get()
            assert isinstance(told, Answered)
            assert (told.why_sample, told.target, told.fields, blobs[0]) == ("", "", (), b"")

    with_copies(body, echo, copied(samples=sampling, feedback=Feedback("/label")))


def test_a_request_that_is_too_large_to_be_a_sample_leaves_its_label() -> None:
    sampling = Sampling(("/data",), rate=1.0)

    async def body(mesh: Mesh, copies: Copies) -> None:
        await mesh.ask(post("/predictions/digits", b"x" * (MAX_COPIED_BYTES + 1)))
        told, blobs = await copies.told.get()
        assert isinstance(told, Answered)
        assert (told.why_sample, told.is_labelled, blobs[0]) == ("", True, b"")
        assert mesh.gateway.copies.lost == {"too_large": 1}
        assert mesh.gateway.copies.making._held_bytes == 0

    with_copies(body, short_answer, copied(samples=sampling, feedback=Feedback("/label")))


async def short_answer(seen: Seen, answering: Answering) -> None:
    answering.write(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"label":1}')
