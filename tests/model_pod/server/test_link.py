"""The link against a raw peer: what is answered, what is cut, and what one request may cost the others."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from model_pod.server.http import EdgeLimits
from model_pod.server.link import LinkConnection
from model_pod.server.request_span import RequestSpans
from model_pod.wire.inference import Gone, Partial, Piece, Run
from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    HEADER_BYTES,
    LAST,
    LINK_VERSION,
    MAX_HEAD_BYTES,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    WINDOW_BYTES,
    encode_head,
    frame,
)
from model_pod.wire.rows import RowAnswer, RowRefused
from telemetry.record import Recorder
from telemetry.records import PodRequest as RecordedRequest
from telemetry.records import Source
from tests.fakes.inference_process import FakeInference, echo
from tests.fakes.sidecar import FakeSidecar
from tests.model_pod.server.harness import CONFIG, Served, run, served
from tests.model_pod.server.link_peer import LinkPeer, linked, pod_request

MIB = 2**20


async def _answer_next(fake: FakeInference) -> None:
    await fake.answer(*await fake.received_run(), echo)


def _only_link(pods: Served) -> LinkConnection:
    (link,) = (each for each in pods.edge.connections if isinstance(each, LinkConnection))
    return link


async def _send_large(peer: LinkPeer, stream: int, body: bytes) -> None:
    """Send a body in window-sized frames, each when the pod has taken the one before."""
    for at in range(0, len(body), WINDOW_BYTES):
        while peer.heard[stream].credited_bytes < at:
            await peer.read()
        peer.data(stream, body[at : at + WINDOW_BYTES], last=at + WINDOW_BYTES >= len(body))


def test_a_request_is_answered_with_its_cost_and_the_rows_that_are_ahead() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(content_length=5), b"hello")
            run_, blobs = await fake.received_run()
            assert run_.rows[0].request_id == "r1"
            headers = dict(run_.rows[0].headers)
            assert headers["Content-Type"] == "text/plain"
            assert headers["penstock-tenant"] == "ads"
            await fake.answer(run_, blobs, echo)
            heard = await peer.ended(1)
            answer = heard.answer
            assert answer is not None
            assert (answer.status, heard.body, answer.content_length, answer.reason) == (200, b"hello", 5, "")
            assert b"content-type: text/plain\r\n" in answer.fields
            assert b"penstock-usage: device_us=2000;batch=1;" in answer.fields
            assert answer.timing.startswith(b"queue;dur=")
            assert (answer.device_us, answer.queued_rows, answer.ahead_us) == (2000, 0, 0)

    run(scenario())


def test_an_answer_says_whether_its_request_met_a_cold_start() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.inferences.next()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"before it is loaded")
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 1)
            await fake.load()
            colds = []
            for stream in (1, 2, 3):
                if stream > 1:
                    peer.request(stream, pod_request(), b"after it is loaded")
                await _answer_next(fake)
                answer = (await peer.ended(stream)).answer
                colds.append(answer.cold if answer is not None else None)
                if stream == 2:
                    pods.pod.begin_drain()  # what still comes is served by a model that is loaded
            assert colds == [True, False, False]

    run(scenario())


def test_the_answer_says_how_much_device_time_waits_in_the_pod() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"a")
            await _answer_next(fake)
            await peer.ended(1)
            for stream in range(2, 8):  # one batch runs, one lies ready, each of the four that were there at once
                peer.request(stream, pod_request(), b"b")
            first, blobs = await fake.received_run()
            await pods.until(lambda: pods.pod.dispatcher.row_count == 6)
            await fake.answer(first, blobs, echo)
            answer = (await peer.ended(2)).answer
            assert answer is not None
            assert answer.queued_rows == 6 - len(first.rows)
            assert answer.ahead_us > 0

    run(scenario())


def test_one_address_serves_links_and_http_and_says_so() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            status = await pods.exchange("/penstock/pod", method="GET")
            assert status.json["link"] == LINK_VERSION
            peer.request(1, pod_request("/penstock/pod", method="GET"))
            assert (await peer.ended(1)).json["state"] == "ready"
            client = await pods.client()
            client.send(b"P")
            await asyncio.sleep(0)
            client.send(b"OST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            await _answer_next(fake)
            assert (await client.answer()).body == b"hi"

    run(scenario())


def test_a_preface_may_come_a_byte_at_a_time() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            for byte in PREFACE[:-1]:
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            rest = PREFACE[-1:] + b"".join(frame(REQUEST | LAST, 9, encode_head(pod_request("/ping"))))
            client.send(rest)
            assert await client.part(len(PREFACE)) == PREFACE
            peer = LinkPeer(*client.streams)
            assert (await peer.ended(9)).json == {"status": "Unhealthy"}

    run(scenario())


def test_half_a_preface_has_as_long_as_a_head() -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(head_s=0.0)) as pods:
            client = await pods.client()
            client.send(PREFACE[:5])
            answer = await client.answer()
            assert (answer.status, answer.headers["penstock-reason"]) == (408, "head_too_slow")
            assert await client.rest() == b""

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (pod_request("/nothing"), 404, "path_not_found"),
        (pod_request("/predictions/other"), 404, "model_not_found"),
        (pod_request("/v2/models/digits/infer", method="PUT"), 405, "method_not_allowed"),
        (pod_request(content_length=7), 400, "malformed_http"),
        (pod_request(idempotency_key="k" * 2000), 400, "malformed_http"),
        (pod_request("/v2/models/digits/infer"), 400, "malformed_body"),
    ],
)
def test_what_never_ran_is_refused_in_its_own_stream_and_says_so(request_: object, status: int, reason: str) -> None:
    async def scenario() -> None:
        async with served() as pods:
            await pods.loaded()
            peer = await linked(pods)
            peer.request(1, request_, b"body")  # type: ignore[arg-type]  # parametrised
            peer.request(2, pod_request("/v2/health/live", method="GET"))
            heard = await peer.ended(1)
            assert heard.answer is not None
            assert (heard.answer.status, heard.answer.reason, heard.answer.device_us) == (status, reason, NOT_TOLD)
            assert (heard.json["reason"], heard.json["request_id"]) == (reason, "r1")
            assert (await peer.ended(2)).json == {"live": True}

    run(scenario())


def test_a_refusal_of_the_handler_tells_what_it_cost() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"body")
            await fake.answer(*await fake.received_run(), lambda *_: (RowRefused("row_refused", "not this one"), []))
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert (answer.status, answer.reason, answer.device_us) == (422, "row_refused", 2000)

    run(scenario())


def test_a_request_that_died_with_its_process_does_not_claim_that_it_never_ran() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"body")
            await fake.received_run()
            fake.die()
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert (answer.reason, answer.device_us) == ("inference_lost", 0)

    run(scenario())


def test_a_handler_cannot_write_lines_that_are_not_its_own() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            headers = (("X-Mine", "é"), ("Server", "x"), ("Penstock-Decision", "x"), ("RateLimit", "x"))
            peer.request(1, pod_request(), b"body")
            handlers = RowAnswer(phrase="F\u0101", content_type="a/b", headers=headers, blob=0)
            await fake.answer(*await fake.received_run(), lambda *_: (handlers, [b"x"]))
            answer = (await peer.ended(1)).answer
            assert answer is not None
            names = {line.split(b":")[0].lower() for line in answer.fields.split(b"\r\n") if line}
            assert b"x-mine" in names
            assert not names & {b"server", b"penstock-decision", b"ratelimit", b"server-timing"}
            assert answer.phrase == ""
            peer.request(2, pod_request(), b"body")
            broken = RowAnswer(headers=(("X-Mine", "a\r\nset-cookie: b"),), blob=0)
            await fake.answer(*await fake.received_run(), lambda *_: (broken, [b"x"]))
            refused = (await peer.ended(2)).answer
            assert refused is not None
            assert (refused.reason, b"set-cookie" in refused.fields) == ("bad_output", False)

    run(scenario())


def test_a_head_request_is_answered_with_the_length_alone() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            peer.request(1, pod_request("/v2/health/live", method="HEAD"))
            heard = await peer.ended(1)
            assert heard.answer is not None
            assert (heard.answer.content_length, heard.body) == (len(b'{"live":true}'), b"")

    run(scenario())


def test_a_large_body_delays_no_small_one_and_is_credited_as_it_is_taken() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            body = bytes(range(256)) * (16 * MIB // 256)
            peer.request(1, pod_request(content_length=len(body)), last=False)
            sending = asyncio.create_task(_send_large(peer, 1, body))
            for stream in range(2, 30):
                peer.request(stream, pod_request(), b"small")
            answered = 0
            while answered < 28:
                run_, blobs = await fake.received_run()
                assert all(len(blob) == 5 for blob in blobs)
                answered += len(run_.rows)
                await fake.answer(run_, blobs, echo)
            assert pods.pod.dispatcher.queue.byte_count < len(body)
            await sending
            run_, blobs = await fake.received_run()
            assert bytes(blobs[0]) == body
            await fake.answer(run_, blobs, lambda *_: (RowAnswer(blob=0), [b"ok"]))
            assert (await peer.ended(1)).body == b"ok"
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


def test_a_large_answer_waits_for_its_reader_and_small_ones_pass_it() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            large = bytes(range(256)) * (MIB // 256)
            peer.request(1, pod_request(), b"large, please")
            await fake.answer(*await fake.received_run(), lambda *_: (RowAnswer(blob=0), [large]))
            while len(peer.heard[1].body) < WINDOW_BYTES:
                await peer.read()
            for stream in range(2, 20):
                peer.request(stream, pod_request(), b"small")
            while len([each for each in peer.heard.values() if each.is_whole]) < 18:
                reading = asyncio.create_task(peer.read())
                answering = asyncio.create_task(_answer_next(fake))
                await asyncio.wait((reading, answering), return_when=asyncio.FIRST_COMPLETED)
                answering.cancel()
                await asyncio.wait((reading, answering))
            assert len(peer.heard[1].body) == WINDOW_BYTES  # and not a byte more without credit
            while not peer.heard[1].is_whole:
                peer.credit(1, WINDOW_BYTES // 2)
                await peer.read()
            assert peer.heard[1].body == large

    run(scenario())


def test_large_answers_take_turns() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            for stream in (1, 2):
                peer.request(stream, pod_request(), b"large, please")
            while not (peer.heard[1].answer and peer.heard[2].answer):
                run_, blobs = await fake.received_run()
                await fake.answer(run_, blobs, lambda *_: (RowAnswer(blob=0), [bytes(MIB)]))
                while len(peer.heard[1].body) + len(peer.heard[2].body) < len(run_.rows) * WINDOW_BYTES:
                    await peer.read()
            for stream in (1, 2):
                peer.credit(stream, WINDOW_BYTES)
            peer.order.clear()
            while sum(byte_count for _, _, byte_count in peer.order) < 2 * WINDOW_BYTES:
                await peer.read()
            assert {stream for _, stream, _ in peer.order[:2]} == {1, 2}

    run(scenario())


def test_a_caller_that_leaves_frees_its_place_and_is_not_run() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            peer.request(1, pod_request(), b"leaves")
            peer.request(2, pod_request(), b"stays")
            queue = pods.pod.dispatcher.queue
            await pods.until(lambda: len(queue) == 2)
            peer.reset(1)
            await pods.until(lambda: len(queue) == 1)
            fake = await pods.loaded()
            run_, blobs = await fake.received_run()
            assert [bytes(blob) for blob in blobs] == [b"stays"]
            await fake.answer(run_, blobs, echo)
            assert (await peer.ended(2)).body == b"stays"
            assert 1 not in peer.heard

    run(scenario())


def test_a_lost_link_ends_what_it_had_and_gives_the_bytes_back() -> None:
    async def scenario() -> None:
        async with served() as pods:
            dispatcher = pods.pod.dispatcher
            peer = await linked(pods)
            peer.request(1, pod_request(), b"queued")
            peer.request(2, pod_request(content_length=100), b"half", last=False)
            await pods.until(lambda: len(dispatcher.queue) == 1 and dispatcher.queue.byte_count > 10)
            peer.writer.close()
            await pods.until(lambda: not len(dispatcher.queue) and not pods.edge.connections)
            assert dispatcher.queue.byte_count == 0
            assert dispatcher.idle.is_set()

    run(scenario())


@pytest.mark.parametrize(
    "sent",
    [
        frame(REQUEST | LAST, 0, encode_head(pod_request())),
        frame(REQUEST | LAST, 1, b"\xc1"),
        frame(REQUEST | LAST, 1, encode_head(["GET"])),
        frame(ANSWER | LAST, 1),
        frame(99, 1),
        frame(REQUEST, 5, encode_head(pod_request())) + frame(REQUEST, 5, encode_head(pod_request())),
        frame(REQUEST | LAST, 5, encode_head(pod_request())) + frame(DATA, 5, b"", b"more"),
        frame(REQUEST, 5, encode_head(pod_request())) + frame(CREDIT, 5, b"\0\0\0\1"),
        frame(REQUEST, 5, encode_head(pod_request())) + frame(CREDIT, 5, b"\1"),
        [b"\xff" * HEADER_BYTES],
        [bytes(8) + (MAX_HEAD_BYTES + 1).to_bytes(4, "little") + b"\3"],
        frame(REQUEST, 5, encode_head(pod_request()))
        + frame(DATA, 5, b"", bytes(WINDOW_BYTES // 2 - 1))
        + frame(DATA, 5, b"", bytes(WINDOW_BYTES)),
    ],
    ids=[
        "stream zero",
        "no MessagePack",
        "another message",
        "an answer",
        "an unknown kind",
        "a stream begun twice",
        "a body after its end",
        "credit for nothing",
        "half a credit",
        "noise",
        "a head over the limit",
        "more than the window",
    ],
)
def test_a_worker_that_breaks_the_link_is_cut_off(sent: list[bytes]) -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            peer.send(b"".join(sent))
            await peer.until_over()
            await pods.until(lambda: not pods.edge.connections)
            assert pods.pod.dispatcher.queue.byte_count == 0
            assert pods.pod.dispatcher.idle.is_set()

    run(scenario())


def test_frames_of_streams_that_have_ended_are_no_fault() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            peer.request(1, pod_request("/nothing", content_length=200_000), b"part", last=False)
            assert (await peer.ended(1)).answer is not None
            peer.data(1, bytes(WINDOW_BYTES))
            peer.credit(1, 1)
            peer.reset(1)
            peer.request(2, pod_request("/v2/health/live", method="GET"))
            assert (await peer.ended(2)).json == {"live": True}

    run(scenario())


@pytest.mark.parametrize("told", [NOT_TOLD, 1001])
def test_a_body_over_the_limit_is_refused(told: int) -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(body_bytes=1000)) as pods:
            peer = await linked(pods)
            peer.request(1, pod_request(content_length=told), bytes(600), last=False)
            peer.data(1, bytes(401), last=True)
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert (answer.status, answer.reason) == (413, "body_too_large")
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


@pytest.mark.parametrize("sent_bytes", [4, 6])
def test_a_body_of_another_length_than_told_is_refused(sent_bytes: int) -> None:
    async def scenario() -> None:
        async with served() as pods:
            await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(content_length=5), last=False)
            peer.data(1, bytes(sent_bytes), last=True)
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert (answer.status, answer.reason) == (400, "malformed_http")
            assert pods.pod.dispatcher.idle.is_set()

    run(scenario())


def test_a_body_that_stops_arriving_is_refused_in_its_stream() -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(body_idle_s=5.0)) as pods:
            peer = await linked(pods)
            peer.request(1, pod_request(content_length=5), b"ha", last=False)
            dispatcher = pods.pod.dispatcher
            await pods.until(lambda: dispatcher.queue.byte_count == 2)
            loop_s = asyncio.get_running_loop().time()
            _only_link(pods).sweep(loop_s + 4.0)
            assert dispatcher.queue.byte_count == 2
            _only_link(pods).sweep(loop_s + 6.0)
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert (answer.status, answer.reason) == (408, "body_too_slow")
            assert dispatcher.queue.byte_count == 0
            assert dispatcher.idle.is_set()

    run(scenario())


def test_an_answer_that_nobody_takes_ends_early() -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(stall_s=5.0)) as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"large, please")
            await fake.answer(*await fake.received_run(), lambda *_: (RowAnswer(blob=0), [bytes(MIB)]))
            while len(peer.heard[1].body) < WINDOW_BYTES:
                await peer.read()
            _only_link(pods).sweep(asyncio.get_running_loop().time() + 6.0)
            heard = await peer.ended(1)
            assert heard.reset is not None
            assert (heard.reset.reason, heard.reset.has_run) == ("reader_too_slow", True)

    run(scenario())


def test_a_full_queue_refuses_on_the_link_as_it_does_over_http() -> None:
    async def scenario() -> None:
        async with served(config=replace(CONFIG, queue_rows=1)) as pods:
            peer = await linked(pods)
            peer.request(1, pod_request(), b"one")
            peer.request(2, pod_request(), b"two")
            heard = await peer.ended(2)
            assert heard.answer is not None
            assert (heard.answer.status, heard.answer.reason, heard.answer.device_us) == (503, "queue_full", NOT_TOLD)
            assert b"retry-after: 1\r\n" in heard.answer.fields

    run(scenario())


def test_a_drain_is_told_and_what_comes_after_it_may_go_elsewhere() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"before")
            run_, blobs = await fake.received_run()
            pods.pod.begin_drain()
            pods.edge.leave()
            assert not pods.edge.is_idle
            draining = asyncio.create_task(pods.pod.drain(5.0))
            await asyncio.sleep(0)
            peer.request(2, pod_request(), b"after")
            reset = (await peer.ended(2)).reset
            assert reset is not None
            assert (reset.reason, reset.has_run) == ("pod_draining", False)
            assert peer.is_told_to_leave
            assert not draining.done()
            await fake.answer(run_, blobs, echo)
            assert (await peer.ended(1)).body == b"before"
            await draining
            assert pods.edge.is_idle
            await pods.edge.close(0.0, 5.0)
            await peer.until_over()

    run(scenario())


def test_a_drain_waits_for_a_body_that_is_still_coming() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"half", last=False)
            await pods.until(lambda: pods.pod.dispatcher.queue.byte_count == 4)
            draining = asyncio.create_task(pods.pod.drain(5.0))
            for _ in range(5):
                await asyncio.sleep(0)
            assert not draining.done()
            peer.data(1, b" and half", last=True)
            await _answer_next(fake)
            assert (await peer.ended(1)).body == b"half and half"
            await draining

    run(scenario())


def test_a_link_that_is_made_while_the_pod_drains_is_told_at_once() -> None:
    async def scenario() -> None:
        async with served() as pods:
            pods.edge.leave()
            peer = await linked(pods)
            while not peer.is_told_to_leave:
                await peer.read()

    run(scenario())


def test_what_waits_when_the_drain_is_over_may_go_elsewhere() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            peer.request(1, pod_request(), b"never runs")
            await pods.until(lambda: len(pods.pod.dispatcher.queue) == 1)
            await pods.pod.drain(0.0)
            reset = (await peer.ended(1)).reset
            assert reset is not None
            assert (reset.reason, reset.has_run) == ("pod_draining", False)

    run(scenario())


def test_closing_lets_a_large_answer_reach_its_reader() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"large, please")
            await fake.answer(*await fake.received_run(), lambda *_: (RowAnswer(blob=0), [bytes(MIB)]))
            while len(peer.heard[1].body) < WINDOW_BYTES:
                await peer.read()
            pods.edge.leave()
            closing = asyncio.create_task(pods.edge.close(0.0, 20.0))
            while not peer.heard[1].is_whole:
                peer.credit(1, WINDOW_BYTES // 2)
                await peer.read()
            await closing
            assert len(peer.heard[1].body) == MIB

    run(scenario())


def test_a_peer_on_tcp_that_vanishes_is_found_out_by_the_system() -> None:
    async def scenario() -> None:
        async with served() as pods:
            await linked(pods)
            transport = _only_link(pods)._transport
            connected = transport.get_extra_info("socket")
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000

    run(scenario())


def test_spans_of_the_link_are_those_of_http(tmp_path: Path) -> None:
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-pod", "digits/1", 7, "digits", "1"))

    async def scenario() -> None:
        async with served(spans=RequestSpans(recorder, 20.0)) as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            trace = f"00-{'a' * 32}-{'b' * 16}-01"
            peer.request(1, pod_request(traceparent=trace, request_id="r9"), b"x")
            await _answer_next(fake)
            await peer.ended(1)
            peer.request(2, pod_request(traceparent=trace), b"leaves")
            await fake.received_run()
            peer.reset(2)
            peer.request(3, pod_request("/v2/health/live", method="GET"))
            await peer.ended(3)

    run(scenario())
    recorder.close()
    first, second = (record for record in sidecar.records() if isinstance(record, RecordedRequest))
    sidecar.close()
    assert (first.trace_id, first.parent_id, first.request_id, first.tenant) == ("a" * 32, "b" * 16, "r9", "ads")
    assert (first.status, first.endpoint, second.status) == (200, "predict", 499)


class _Counted:
    """A transport that counts what is written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write_count = 0
        self._transport = transport

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.write_count += 1
        self._transport.write(data)


def test_the_answers_of_one_batch_go_out_in_one_call() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            for stream in range(1, 5):
                peer.request(stream, pod_request(), b"x")
            await pods.until(lambda: pods.pod.dispatcher.row_count == 4)
            fake = await pods.loaded()
            run_, blobs = await fake.received_run()
            assert len(run_.rows) == 4
            link = _only_link(pods)
            counted = _Counted(link._transport)
            link._transport = cast(asyncio.Transport, counted)
            await fake.answer(run_, blobs, echo)
            for stream in range(1, 5):
                assert (await peer.ended(stream)).body == b"x"
            assert counted.write_count == 1

    run(scenario())


def test_a_request_that_breaks_the_pod_is_reset_and_the_link_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("model_pod.protocols.torchserve.decode", broken)

    async def scenario() -> None:
        async with served() as pods:
            await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"x")
            reset = (await peer.ended(1)).reset
            assert reset is not None
            assert (reset.reason, reset.has_run) == ("pod_lost", True)
            peer.request(2, pod_request("/v2/health/live", method="GET"))
            assert (await peer.ended(2)).json == {"live": True}

    run(scenario())
    assert "a request failed here: KeyError" in capsys.readouterr().err


def _first_piece(run_: Run, content_type: str = "text/event-stream") -> Partial:
    head = RowAnswer(content_type=content_type, blob=0)
    return Partial(run_.batch_id, (Piece(0, 0, head),))


def test_a_streamed_answer_goes_on_piece_by_piece_and_says_at_its_end_what_it_cost() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"stream, please")
            run_, blobs = await fake.received_run()
            await fake.send(_first_piece(run_), [b"one "])
            while peer.heard[1].body != b"one ":
                await peer.read()
            answer = peer.heard[1].answer
            assert answer is not None
            assert (answer.status, answer.content_length, answer.device_us) == (200, NOT_TOLD, NOT_TOLD)
            assert b"content-type: text/event-stream\r\n" in answer.fields
            assert answer.timing.startswith(b"queue;dur=")
            await fake.send(Partial(run_.batch_id, (Piece(0, 0),)), [b"two "])
            while peer.heard[1].body != b"one two ":
                await peer.read()
            await fake.answer(run_, blobs, lambda *_: (RowAnswer(blob=0), [b"three"]))
            heard = await peer.ended(1)
            assert heard.body == b"one two three"
            assert heard.charge is not None
            assert heard.charge.device_us == 2000

    run(scenario())


def test_a_stream_that_its_handler_breaks_off_is_reset() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"stream, please")
            run_, blobs = await fake.received_run()
            await fake.send(_first_piece(run_), [b"one "])
            await fake.answer(run_, blobs, lambda *_: (RowRefused("handler_failed", "no more"), []))
            heard = await peer.ended(1)
            assert heard.reset is not None
            assert (heard.body, heard.reset.reason, heard.reset.has_run) == (b"one ", "handler_failed", True)
            assert heard.reset.device_us == 2000

    run(scenario())


def test_a_stream_with_a_key_has_run_and_cannot_be_told_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(idempotency_key="k1"), b"stream, please")
            run_, _ = await fake.received_run()
            await fake.send(_first_piece(run_), [b"one "])
            while not peer.heard[1].body:
                await peer.read()
            for stream in (2, 3):
                peer.request(stream, pod_request(idempotency_key="k1"), b"stream, please")
                answer = (await peer.ended(stream)).answer
                assert answer is not None
                assert answer.reason == "idempotency_outcome_gone"
            peer.reset(1)  # nobody will ever read the rest
            message, _ = await fake.received()
            assert isinstance(message, Gone)

    run(scenario())


def test_a_stream_that_dies_with_its_process_does_not_claim_that_it_cost_nothing() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"stream, please")
            run_, _ = await fake.received_run()
            await fake.send(_first_piece(run_), [b"one "])
            while not peer.heard[1].body:
                await peer.read()
            fake.die()
            reset = (await peer.ended(1)).reset
            assert reset is not None
            assert (reset.reason, reset.device_us) == ("inference_lost", NOT_TOLD)

    run(scenario())


def test_the_head_alone_of_a_streamed_answer_says_that_its_cost_is_not_known_and_ends_its_span(tmp_path: Path) -> None:
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-pod", "digits/1", 7, "digits", "1"))

    async def scenario() -> None:
        async with served(spans=RequestSpans(recorder, 20.0)) as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            trace = f"00-{'a' * 32}-{'b' * 16}-01"
            peer.request(1, pod_request(method="HEAD", traceparent=trace), b"stream, please")
            run_, blobs = await fake.received_run()
            await fake.send(_first_piece(run_), [b"one "])
            heard = await peer.ended(1)
            assert heard.answer is not None
            assert (heard.answer.status, heard.answer.device_us, heard.body) == (200, NOT_TOLD, b"")
            await fake.answer(run_, blobs, lambda *_: (RowAnswer(blob=0), [b"two"]))
            await pods.until(lambda: not pods.pod.dispatcher.row_count)

    run(scenario())
    recorder.close()
    (recorded,) = (record for record in sidecar.records() if isinstance(record, RecordedRequest))
    sidecar.close()
    assert recorded.status == 200
