"""Requests with an idempotency key, over both edges: run once, answered as often as they are asked."""

from __future__ import annotations

import asyncio

import pytest

from model_pod.server.endpoints import DECODE_HERE_BYTES
from model_pod.server.grpc_responder import MAX_GATHERED_BYTES
from model_pod.wire.inference import Partial, Piece, Run
from model_pod.wire.link import NOT_TOLD
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer, RowRefused
from tests.fakes.inference_process import FakeInference, echo
from tests.model_pod.server.harness import Served, run, served
from tests.model_pod.server.link_peer import linked, pod_request
from tests.model_pod.server.test_grpc import predictions

PATH = "/predictions/digits"
KEYED = "Idempotency-Key: k1\r\npenstock-tenant: ads\r\n"


async def _answer_next(fake: FakeInference) -> None:
    await fake.answer(*await fake.received_run(), echo)


async def _answered_once(pods: Served, fake: FakeInference) -> None:
    client = await pods.client()
    client.request(PATH, b"hello", KEYED)
    await _answer_next(fake)
    assert (await client.answer()).body == b"hello"


def test_a_retry_over_http_gets_the_kept_answer_at_no_cost() -> None:
    async def scenario() -> None:
        async with served() as pods:
            await _answered_once(pods, await pods.loaded())
            again = await pods.exchange(PATH, b"hello", KEYED)
            assert (again.status, again.body) == (200, b"hello")
            assert again.headers["idempotency-replayed"] == "true"
            assert again.headers["penstock-usage"] == "device_us=0;batch=0;queue_us=0"
            assert again.headers["content-type"] == "text/plain"

    run(scenario())


def test_a_retry_by_another_edge_gets_it_too() -> None:
    async def scenario() -> None:
        async with served() as pods:
            await _answered_once(pods, await pods.loaded())
            peer = await linked(pods)
            fields = [(b"Host", b"pod")]
            peer.request(1, pod_request(idempotency_key="k1", fields=fields), b"hello")
            heard = await peer.ended(1)
            assert heard.answer is not None
            assert (heard.body, heard.answer.device_us) == (b"hello", 0)
            assert b"idempotency-replayed: true\r\n" in heard.answer.fields
            assert b"penstock-usage: device_us=0;" in heard.answer.fields

    run(scenario())


def test_another_payload_or_another_tenant_is_another_matter() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            await _answered_once(pods, fake)
            reused = await pods.exchange(PATH, b"other", KEYED)
            assert (reused.status, reused.json["reason"]) == (422, "idempotency_key_reused")
            elsewhere = await pods.exchange(f"{PATH}/1", b"hello", KEYED)
            assert elsewhere.json["reason"] == "idempotency_key_reused"
            client = await pods.client()
            client.request(PATH, b"theirs", KEYED.replace("ads", "search"))
            await _answer_next(fake)
            assert (await client.answer()).body == b"theirs"

    run(scenario())


def test_while_one_is_answered_the_next_is_asked_to_come_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request(PATH, b"hello", KEYED)
            run_, blobs = await fake.received_run()
            early = await pods.exchange(PATH, b"hello", KEYED)
            assert (early.status, early.json["reason"]) == (409, "idempotency_in_progress")
            assert (early.json["retryable"], early.headers["retry-after"]) == (True, "1")
            await fake.answer(run_, blobs, echo)
            await client.answer()

    run(scenario())


def test_what_never_ran_is_run_when_it_comes_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            pods.pod.dispatcher.queue.max_rows = 0
            full = await pods.exchange(PATH, b"hello", KEYED)
            assert full.json["reason"] == "queue_full"
            pods.pod.dispatcher.queue.max_rows = 4
            client = await pods.client()
            client.request(PATH, b"hello", KEYED)
            await pods.until(lambda: len(pods.pod.dispatcher.queue) == 1)
            pods.pod.dispatcher.refuse_queued(Refused("model_not_ready", "not yet"))
            assert (await client.answer()).status == 503
            await _answered_once(pods, await pods.loaded())

    run(scenario())


def test_what_was_lost_while_it_ran_is_not_run_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request(PATH, b"hello", KEYED)
            await fake.received_run()
            fake.die()
            assert (await client.answer()).json["reason"] == "inference_lost"
            again = await pods.exchange(PATH, b"hello", KEYED)
            assert (again.json["reason"], again.headers["idempotency-replayed"]) == ("inference_lost", "true")

    run(scenario())


def test_a_lost_link_lets_what_has_a_key_run_on_for_the_next_one() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            peer.request(1, pod_request(idempotency_key="k1"), b"keyed")
            peer.request(2, pod_request(), b"plain")
            queue = pods.pod.dispatcher.queue
            await pods.until(lambda: len(queue) == 2)
            peer.writer.close()
            await pods.until(lambda: len(queue) == 1)
            fake = await pods.loaded()
            run_, blobs = await fake.received_run()
            assert [bytes(blob) for blob in blobs] == [b"keyed"]
            await fake.answer(run_, blobs, echo)
            await pods.until(lambda: not pods.pod.dispatcher.row_count)
            successor = await linked(pods)
            successor.request(1, pod_request(idempotency_key="k1"), b"keyed")
            heard = await successor.ended(1)
            assert heard.answer is not None
            assert heard.body == b"keyed"
            assert b"idempotency-replayed: true\r\n" in heard.answer.fields

    run(scenario())


def test_a_caller_that_leaves_frees_its_place_unless_its_request_has_begun() -> None:
    async def scenario() -> None:
        async with served() as pods:
            peer = await linked(pods)
            queue = pods.pod.dispatcher.queue
            peer.request(1, pod_request(idempotency_key="k1"), b"one")
            await pods.until(lambda: len(queue) == 1)
            peer.reset(1)
            await pods.until(lambda: len(queue) == 0)
            fake = await pods.loaded()
            peer.request(2, pod_request(idempotency_key="k1"), b"one")
            run_, blobs = await fake.received_run()
            peer.reset(2)
            peer.request(3, pod_request("/ping"))
            await peer.ended(3)
            await fake.answer(run_, blobs, echo)
            await pods.until(lambda: not pods.pod.dispatcher.row_count)
            peer.request(4, pod_request(idempotency_key="k1"), b"one")
            assert (await peer.ended(4)).body == b"one"
            assert 2 not in peer.heard

    run(scenario())


def test_a_streamed_body_has_the_same_payload_as_one_in_a_piece() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(idempotency_key="k1"), b"hel", last=False)
            peer.data(1, b"lo", last=True)
            await _answer_next(fake)
            await peer.ended(1)
            peer.request(2, pod_request(idempotency_key="k1"), b"hello")
            assert (await peer.ended(2)).body == b"hello"

    run(scenario())


def test_an_answer_that_was_too_large_to_keep_is_not_made_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request(PATH, b"hello", KEYED)
            large = bytes(65 * 2**20)
            answering = asyncio.create_task(
                fake.answer(*await fake.received_run(), lambda *_: (RowAnswer(blob=0), [large]))
            )
            assert (await client.answer()).body == large
            await answering
            gone = await pods.exchange(PATH, b"hello", KEYED)
            assert (gone.status, gone.json["reason"]) == (409, "idempotency_outcome_gone")
            assert not gone.json["retryable"]
            status = await pods.exchange("/penstock/pod", method="GET")
            assert status.json["outcomes_dropped"] == 1

    run(scenario())


def test_a_key_that_is_none_is_refused() -> None:
    async def scenario() -> None:
        async with served() as pods:
            for key in ("k" * 256, "é"):
                refused = await pods.exchange(PATH, b"hello", f"Idempotency-Key: {key}\r\n")
                assert (refused.status, refused.json["reason"]) == (400, "malformed_http")

    run(scenario())


async def _first_piece(fake: FakeInference, head: RowAnswer) -> Run:
    batch, _ = await fake.received_run()
    await fake.send(Partial(batch.batch_id, (Piece(0, 0, head),)), [b"one"])
    return batch


def test_an_answer_that_is_put_together_and_fails_on_its_way_has_run_and_is_not_run_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            grpc = [(b"content-type", b"application/grpc"), (b"grpc-method", b"Predictions")]
            asked = pod_request(idempotency_key="k1", fields=grpc)
            peer.request(1, asked, predictions(data=b"x"))
            batch = await _first_piece(fake, RowAnswer(blob=0))
            await fake.answer(batch, [], lambda *_: (RowRefused("handler_failed", "no more"), []))
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert (answer.status, answer.reason, answer.device_us) == (500, "handler_failed", 2000)
            peer.request(2, asked, predictions(data=b"x"))
            again = (await peer.ended(2)).answer
            assert again is not None
            assert again.reason == "handler_failed"
            assert b"idempotency-replayed: true\r\n" in again.fields

    run(scenario())


def test_an_answer_that_does_not_fit_one_message_has_run_and_is_not_run_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            grpc = f"{KEYED}Content-Type: application/grpc\r\nGrpc-Method: Predictions\r\n"
            client = await pods.client()
            client.request(PATH, predictions(data=b"x"), grpc)
            batch = await _first_piece(fake, RowAnswer(blob=0))
            await fake.answer(batch, [], lambda *_: (RowAnswer(blob=0), [bytes(MAX_GATHERED_BYTES)]))
            refused = await client.answer()
            assert refused.json["reason"] == "bad_output"
            assert refused.headers["penstock-usage"].startswith("device_us=2000;")
            again = await client.exchange(PATH, predictions(data=b"x"), grpc)
            assert (again.json["reason"], again.headers["idempotency-replayed"]) == ("bad_output", "true")

    run(scenario())


def test_an_answer_whose_head_cannot_be_sent_has_run_and_is_not_run_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(idempotency_key="k1"), b"x")
            await _first_piece(fake, RowAnswer(headers=(("x", "a\r\nforged: yes"),), blob=0))
            answer = (await peer.ended(1)).answer
            assert answer is not None
            assert answer.reason == "bad_output"
            assert answer.device_us >= 0
            peer.request(2, pod_request(idempotency_key="k1"), b"x")
            again = (await peer.ended(2)).answer
            assert again is not None
            assert b"idempotency-replayed: true\r\n" in again.fields

    run(scenario())


def test_what_lay_ready_when_a_process_died_and_never_ran_is_run_when_it_comes_again() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            peer = await linked(pods)
            peer.request(1, pod_request(), b"runs")
            await fake.received_run()
            peer.request(2, pod_request(idempotency_key="k1"), b"lies ready")
            await fake.received_run()
            fake.die()
            await peer.ended(1)
            pods.pod.dispatcher.refuse_queued(Refused("model_not_ready", "not yet"))
            answer = (await peer.ended(2)).answer
            assert answer is not None
            assert (answer.reason, answer.device_us) == ("model_not_ready", NOT_TOLD)

    run(scenario())


@pytest.mark.parametrize(("error", "reason"), [(MemoryError(), "out_of_memory"), (KeyError("x"), "malformed_body")])
def test_a_body_that_breaks_its_decoding_is_answered_and_its_key_is_free_again(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("model_pod.protocols.oip_v2.decode", broken)

    async def scenario() -> None:
        async with served() as pods:
            await pods.loaded()
            for _ in range(2):
                answer = await pods.exchange("/v2/models/digits/infer", bytes(DECODE_HERE_BYTES + 1), KEYED)
                assert answer.json["reason"] == reason

    run(scenario())
    assert "a body was not decoded" in capsys.readouterr().err
