"""The edge against raw bytes: what is refused, what is kept, and what takes too long."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

import pytest

from model_pod.server.http import LINGER_S, EdgeLimits, HttpConnection
from tests.fakes.inference_process import FakeInference, echo
from tests.model_pod.server.harness import CONFIG, Served, run, served


async def _answer_next(fake: FakeInference) -> None:
    await fake.answer(*await fake.received_run(), echo)


def _only_connection(pods: Served) -> HttpConnection:
    (connection,) = pods.edge.connections
    assert isinstance(connection, HttpConnection)
    return connection


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed_http"),
        (b"POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "malformed_http"),
        (b"GET /ping HTTP/2.0\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
        (b"POST /ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "transfer_coding_not_supported"),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413, "body_too_large"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int, reason: str
) -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(body_bytes=1000)) as pods:
            client = await pods.client()
            client.send(request_bytes)
            answer = await client.answer()
            assert (answer.status, answer.headers["penstock-reason"]) == (status, reason)
            assert answer.headers["connection"] == "close"
            assert answer.json["request_id"] == answer.headers["x-request-id"]
            assert await client.rest() == b""

    run(scenario())


def test_a_chunked_body_over_the_limit_is_refused_while_it_arrives() -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(body_bytes=1000)) as pods:
            client = await pods.client()
            client.send(b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send((b"190\r\n" + b"x" * 400 + b"\r\n") * 3)
            assert (await client.answer()).status == 413
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


def test_pipelined_requests_are_answered_one_by_one_in_order() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request("/predictions/digits", b"one")
            client.request("/ping", method="GET")
            client.request("/predictions/digits", b"two")
            await _answer_next(fake)
            assert [(await client.answer()).body, (await client.answer()).status] == [b"one", 200]
            await _answer_next(fake)
            assert (await client.answer()).body == b"two"

    run(scenario())


def test_a_refused_request_without_a_body_keeps_its_connection() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            refused = await client.exchange("/nothing", method="GET")
            assert (refused.status, refused.headers["connection"]) == (404, "keep-alive")
            assert (await client.exchange("/v2/health/live", method="GET")).json == {"live": True}

    run(scenario())


@pytest.mark.parametrize(
    ("target", "reason", "message"),
    [
        ("/predictions/other", "model_not_found", "Model not found: other"),
        ("/predictions/digits/9", "version_not_found", "Model version: 9 does not exist for model: digits"),
    ],
)
def test_a_wrong_name_is_refused_in_torchserves_words(target: str, reason: str, message: str) -> None:
    async def scenario() -> None:
        async with served() as pods:
            answer = await pods.exchange(target, b"body")
            assert (answer.status, answer.json["reason"], answer.json["message"]) == (404, reason, message)

    run(scenario())


def test_a_client_that_waits_for_100_continue_gets_it_before_its_body_is_due() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.send(
                b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            assert (await client.answer()).status == 100
            client.send(b"hi")
            await _answer_next(fake)
            assert (await client.answer()).body == b"hi"

    run(scenario())


def test_a_head_request_gets_a_head_alone() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            answer = await client.exchange("/v2/health/live", method="HEAD")
            assert (answer.status, answer.headers["content-length"]) == (200, "13")
            assert (await client.exchange("/v2/health/live", method="GET")).body == b'{"live":true}'

    run(scenario())


def test_a_connection_of_http_1_0_is_closed_after_its_answer() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            client.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
            assert (await client.answer()).headers["connection"] == "close"
            assert await client.rest() == b""

    run(scenario())


def test_a_slow_head_a_slow_body_and_a_silent_client_are_ended() -> None:
    async def scenario() -> None:
        async with served() as pods:
            silent = await pods.client()
            await pods.until(lambda: len(pods.edge.connections) == 1)
            _only_connection(pods).sweep(time.monotonic() + 9.9)
            _only_connection(pods).sweep(time.monotonic() + 10.1)
            assert await silent.rest() == b""
            await pods.until(lambda: not pods.edge.connections)

            for sent, reason in (
                (b"GET /ping HT", "head_too_slow"),
                (b"POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", "body_too_slow"),
            ):
                slow = await pods.client()
                slow.send(sent)
                await pods.until(lambda: len(pods.edge.connections) == 1)
                connection = _only_connection(pods)
                await pods.until(lambda: bool(connection._reader.unread_bytes or connection._body_bytes))  # noqa: B023
                connection.sweep(time.monotonic() + 15.1)
                answer = await slow.answer()
                assert (answer.status, answer.headers["penstock-reason"]) == (408, reason)
                assert await slow.rest() == b""
                connection.sweep(time.monotonic() + LINGER_S)
                await pods.until(lambda: not pods.edge.connections)
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


def test_an_idle_connection_is_kept_for_a_while_and_then_closed() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            await client.exchange("/v2/health/live", method="GET")
            _only_connection(pods).sweep(time.monotonic() + 74.0)
            await client.exchange("/v2/health/live", method="GET")
            _only_connection(pods).sweep(time.monotonic() + 75.1)
            assert await client.rest() == b""

    run(scenario())


def test_bodies_that_arrive_share_the_queues_bytes() -> None:
    async def scenario() -> None:
        async with served(config=replace(CONFIG, queue_bytes=1000)) as pods:
            holder = await pods.client()
            holder.send(b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n" + b"x" * 800)
            await pods.until(lambda: pods.pod.dispatcher.queue.byte_count == 800)
            answer = await pods.exchange("/predictions/digits", b"y" * 300)
            assert (answer.status, answer.headers["penstock-reason"]) == (503, "queue_full")
            await holder.close()
            await pods.until(lambda: pods.pod.dispatcher.queue.byte_count == 0)

    run(scenario())


def test_a_client_that_reads_slowly_gets_its_next_answer_when_it_has_read_the_last() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            body = b"z" * 2**22
            client = await pods.client()
            client.request("/predictions/digits", body)
            client.request("/v2/health/live", method="GET")
            await _answer_next(fake)
            assert (await client.answer()).body == body
            assert (await client.answer()).json == {"live": True}

    run(scenario())


def test_connections_are_bounded() -> None:
    async def scenario() -> None:
        async with served(limits=EdgeLimits(connection_count=1)) as pods:
            first = await pods.client()
            await first.exchange("/v2/health/live", method="GET")
            second = await pods.client()
            assert (await second.answer()).headers["penstock-reason"] == "queue_full"
            assert (await first.exchange("/v2/health/live", method="GET")).status == 200

    run(scenario())


def test_a_client_that_resets_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            raw = socket.create_connection(("127.0.0.1", pods.port))
            raw.sendall(b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            batch, blobs = await fake.received_run()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            raw.close()
            await pods.until(lambda: not pods.edge.connections)
            await fake.answer(batch, blobs, echo)
            await pods.until(lambda: pods.pod.dispatcher.idle.is_set())
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


def test_a_request_id_that_cannot_be_sent_back_is_replaced() -> None:
    async def scenario() -> None:
        async with served() as pods:
            long = await pods.exchange("/v2/health/live", headers=f"x-request-id: {'a' * 129}\r\n", method="GET")
            assert len(long.headers["x-request-id"]) == 32

    run(scenario())


def test_health_and_metadata_tell_the_truth() -> None:
    async def scenario() -> None:
        async with served() as pods:
            before = await pods.exchange("/ping", method="GET")
            assert (before.status, before.body) == (500, b'{\n  "status": "Unhealthy"\n}\n')
            assert (await pods.exchange("/v2/models/digits/ready", method="GET")).status == 503
            await pods.loaded()
            assert (await pods.exchange("/ping", method="GET")).body == b'{\n  "status": "Healthy"\n}\n'
            assert (await pods.exchange("/v2/health/ready", method="GET")).json == {"ready": True}
            ready = await pods.exchange("/v2/models/digits/versions/1/ready", method="GET")
            assert ready.json == {"name": "digits", "ready": True}
            metadata = await pods.exchange("/v2/models/digits", method="GET")
            assert metadata.json["versions"] == ["1"]
            status = (await pods.exchange("/penstock/pod", method="GET")).json
            assert (status["state"], status["device"]) == ("ready", "cpu")
            assert status["load_s"] > 0.0

    run(scenario())


def test_a_deadline_that_is_no_number_and_binary_tensors_are_refused() -> None:
    async def scenario() -> None:
        async with served() as pods:
            wrong = await pods.exchange("/predictions/digits", b"x", "penstock-timeout-ms: soon\r\n")
            assert (wrong.status, wrong.headers["connection"]) == (400, "keep-alive")
            binary = await pods.exchange("/v2/models/digits/infer", b"{}", "Inference-Header-Content-Length: 2\r\n")
            assert binary.status == 400
            assert "binary tensor extension" in binary.json["error"]

    run(scenario())


def test_a_client_that_reads_steadily_is_not_cut_off_and_one_that_stalls_is() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            body = b"z" * 2**25
            client.request("/predictions/digits", body)
            await _answer_next(fake)
            connection = _only_connection(pods)
            transport = connection._transport
            await pods.until(lambda: transport.get_write_buffer_size() > 0)
            now_s = time.monotonic()
            for _ in range(5):
                unsent_bytes = transport.get_write_buffer_size()
                await client.part(2**22)
                await pods.until(lambda: transport.get_write_buffer_size() < unsent_bytes)  # noqa: B023  awaited within
                now_s += 39.0
                connection.sweep(now_s)
            assert pods.edge.connections == {connection}
            connection.sweep(now_s + 39.9)
            assert not transport.is_closing()
            connection.sweep(now_s + 40.0)
            await pods.until(lambda: not pods.edge.connections)

    run(scenario())


def test_a_connection_that_is_closed_on_a_client_that_reads_nothing_ends_all_the_same() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request("/predictions/digits", b"z" * 2**25, "Connection: close\r\n")
            await _answer_next(fake)
            connection = _only_connection(pods)
            await pods.until(connection._transport.is_closing)
            connection.sweep(time.monotonic() + 39.0)
            assert pods.edge.connections == {connection}
            connection.sweep(time.monotonic() + 41.0)
            await pods.until(lambda: not pods.edge.connections)

    run(scenario())


def test_a_connection_that_is_idle_when_the_edge_closes_may_send_one_request_yet() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            await client.exchange("/v2/health/live", method="GET")
            await pods.pod.drain(1.0)
            closed = asyncio.create_task(pods.edge.close(idle_for_s=10.0, within_s=10.0))
            await asyncio.sleep(0)
            answer = await client.exchange("/predictions/digits", b"x")
            assert (answer.status, answer.headers["penstock-reason"]) == (503, "pod_draining")
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""
            await closed

    run(scenario())


def test_a_connection_that_stays_idle_is_closed_with_the_edge() -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            await client.exchange("/v2/health/live", method="GET")
            closed = asyncio.create_task(pods.edge.close(idle_for_s=0.05, within_s=10.0))
            assert await client.rest() == b""
            await closed

    run(scenario())
