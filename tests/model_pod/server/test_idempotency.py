"""Requests with an idempotency key, over both edges: run once, answered as often as they are asked."""

from __future__ import annotations

import asyncio

from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer
from tests.fakes.inference_process import FakeInference, echo
from tests.model_pod.server.harness import Served, run, served
from tests.model_pod.server.link_peer import linked, pod_request

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
