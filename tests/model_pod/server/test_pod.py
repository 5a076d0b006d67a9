"""The true server against a scripted inference process: every accepted request gets one answer, whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import msgspec
import pytest

from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.server.batching import BatchingPolicy
from model_pod.server.config import PodConfig
from model_pod.server.endpoints import DECODE_HERE_BYTES
from model_pod.server.opened_model import ModelUnusable, OpenedModel
from model_pod.wire import frames
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import Load, LoadFailed, Ran, Run, StageTimes
from model_pod.wire.rows import Row, RowAnswer, RowRefused
from model_pod.wire.status import PodStatus
from tests.fakes.inference_process import Answered, FakeInference, echo, mirror
from tests.model_pod.server.harness import CONFIG, MODEL, Client, Served, run, served

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("x", "FP32", (-1, 2)),))


async def _answer_next(fake: FakeInference) -> int:
    batch, blobs = await fake.received_run()
    await fake.answer(batch, blobs, echo)
    return len(batch.rows)


class Blockers:
    """Two requests that hold the inference process: one runs, one lies ready; what comes after them queues."""

    def __init__(self, fake: FakeInference) -> None:
        self._fake = fake
        self.clients: list[Client] = []
        self._batches: list[tuple[Run, list[memoryview]]] = []

    async def hold(self, pods: Served) -> Self:
        for _ in range(2):
            client = await pods.client()
            client.request("/predictions/digits", b"blocker")
            self.clients.append(client)
            self._batches.append(await self._fake.received_run())
        return self

    async def let_go(self) -> None:
        for client, (batch, blobs) in zip(self.clients, self._batches, strict=True):
            await self._fake.answer(batch, blobs, echo)
            assert (await client.answer()).body == b"blocker"


async def _full_batch(pods: Served, fake: FakeInference) -> list[Client]:
    """Bring four requests into one batch."""
    blockers = await Blockers(fake).hold(pods)
    members = [await pods.client() for _ in range(4)]
    for index, member in enumerate(members):
        member.request("/predictions/digits", b"row %d" % index)
        await pods.until(lambda: pods.pod.dispatcher.queue.row_count == index + 1)  # noqa: B023  awaited within
    await blockers.let_go()
    return members


def test_a_request_is_answered_with_what_it_cost() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request("/predictions/digits/1", b"hello", "X-Request-Id: abc\r\n")
            await _answer_next(fake)
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.headers["x-request-id"] == "abc"
            assert answer.headers["content-type"] == "text/plain"
            assert answer.headers["penstock-usage"].startswith("device_us=2000;batch=1;queue_us=")
            assert answer.headers["server-timing"].endswith(
                "preprocess;dur=1.000, inference;dur=2.000, postprocess;dur=3.000"
            )

    run(scenario())


def test_the_pod_tells_for_how_long_its_batches_held_the_device() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            for answered in range(1, 4):
                assert pods.pod.status().running_s == 0.0
                client.request("/predictions/digits", b"row")
                batch, blobs = await fake.received_run()
                assert pods.pod.status().running_s > 0.0
                await fake.answer(batch, blobs, echo)
                await client.answer()
                status = pods.pod.status()
                assert status.device_s == pytest.approx(answered * 0.002)
                assert (status.batches, status.batch_rows) == (answered, answered)

    run(scenario())


def test_the_model_is_loaded_as_it_was_opened() -> None:
    async def scenario() -> None:
        async with served() as pods:
            assert await (await pods.inferences.next()).load() == Load("digits", "1", "/models/digits", "auto", 4)

    run(scenario())


def test_a_cancelled_request_does_not_delay_its_batch_mates() -> None:
    async def scenario() -> None:
        for leaver in range(4):
            async with served() as pods:
                fake = await pods.loaded()
                members = await _full_batch(pods, fake)
                batch, blobs = await fake.received_run()
                assert len(batch.rows) == 4
                await members[leaver].close()
                await pods.until(lambda: len(pods.edge.connections) == 5)
                await fake.answer(batch, blobs, echo)
                for index, member in enumerate(members):
                    if index != leaver:
                        assert (await member.answer()).body == b"row %d" % index
                assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


def test_a_request_whose_client_left_while_it_was_queued_is_never_run() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            blockers = await Blockers(fake).hold(pods)
            leaver, stayer = await pods.client(), await pods.client()
            for count, client in enumerate((leaver, stayer), start=1):
                client.request("/predictions/digits", b"%d" % count)
                await pods.until(lambda: pods.pod.dispatcher.queue.row_count == count)  # noqa: B023  awaited within
            await leaver.close()
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 1)
            await blockers.let_go()
            batch, blobs = await fake.received_run()
            assert [bytes(blob) for blob in blobs] == [b"2"]
            await fake.answer(batch, blobs, echo)
            assert (await stayer.answer()).body == b"2"

    run(scenario())


def test_one_rows_refusal_is_its_own() -> None:
    def refuse_two(row: Row, blobs: Sequence[Buffer]) -> Answered:
        if bytes(blobs[row.parts[0].blob]) == b"row 2":
            return RowRefused("handler_failed", "ValueError: two"), []
        return echo(row, blobs)

    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            members = await _full_batch(pods, fake)
            await fake.answer(*await fake.received_run(), refuse_two)
            answers = [await member.answer() for member in members]
            assert [answer.status for answer in answers] == [200, 200, 500, 200]
            assert answers[2].headers["penstock-reason"] == "handler_failed"
            assert answers[2].json["message"] == "ValueError: two"
            assert all("batch=4" in answer.headers["penstock-usage"] for answer in answers)

    run(scenario())


def test_a_dead_process_fails_what_ran_and_nothing_else() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            blockers = await Blockers(fake).hold(pods)
            running, ready = blockers.clients
            queued = await pods.client()
            queued.request("/predictions/digits", b"x")
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 1)
            fake.die()
            lost = await running.answer()
            assert (lost.status, lost.headers["penstock-reason"]) == (502, "inference_lost")
            health = await pods.exchange("/v2/health/ready", method="GET")
            assert (health.status, health.headers["retry-after"]) == (503, "1")
            successor = await pods.loaded()
            assert await _answer_next(successor) == 2
            assert [(await client.answer()).status for client in (ready, queued)] == [200, 200]
            assert pods.pod.status().restarts == 1

    run(scenario())


def test_a_request_that_is_too_late_is_never_run() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.inferences.next()  # it has not loaded
            answer = await pods.exchange("/predictions/digits", b"x", "penstock-timeout-ms: 5\r\n")
            assert (answer.status, answer.headers["penstock-reason"]) == (504, "deadline_exceeded")
            await fake.load()
            client = await pods.client()
            client.request("/predictions/digits", b"y")
            batch, blobs = await fake.received_run()
            assert [bytes(blob) for blob in blobs] == [b"y"]
            await fake.answer(batch, blobs, echo)
            assert (await client.answer()).status == 200

    run(scenario())


def test_a_handler_that_hangs_is_killed_and_its_rows_refused() -> None:
    async def scenario() -> None:
        async with served(lambda _: replace(MODEL, response_timeout_s=0.02)) as pods:
            fake = await pods.loaded()
            answer = await pods.exchange("/predictions/digits", b"x")
            assert (answer.status, answer.headers["penstock-reason"]) == (504, "deadline_exceeded_running")
            assert answer.json["retryable"] is False
            assert fake.was_killed
            assert (await pods.loaded()).pid != fake.pid

    run(scenario())


def test_a_machine_that_halts_takes_next_to_nothing_of_a_handlers_time() -> None:
    async def scenario() -> None:
        async with served(lambda _: replace(MODEL, response_timeout_s=0.5)) as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request("/predictions/digits", b"x")
            batch, blobs = await fake.received_run()
            for _ in range(3):
                time.sleep(0.4)  # noqa: ASYNC251  # the loop stands still, as all does on a machine that halts
                for _ in range(20):
                    await asyncio.sleep(0)  # what is due by now is done
            await fake.answer(batch, blobs, echo)
            assert (await client.answer()).status == 200

            client.request("/predictions/digits", b"x")
            await fake.received_run()
            time.sleep(1.0)  # noqa: ASYNC251
            assert (await client.answer()).headers["penstock-reason"] == "deadline_exceeded_running"  # it did hang

    run(scenario())


def test_a_process_that_answers_wrongly_is_killed() -> None:
    async def scenario() -> None:
        async with served() as pods:
            for wrong in (
                Ran(1, (), StageTimes(), 0.0),
                Ran(99, (RowAnswer(blob=0),), StageTimes(), 0.0, charged_us=(0,)),
                Ran(1, (RowAnswer(blob=0),), StageTimes(), 0.0),
                LoadFailed("late", ""),
            ):
                fake = await pods.loaded()
                client = await pods.client()
                client.request("/predictions/digits", b"x")
                await fake.received_run()
                await fake.send(wrong, [b"z"])
                assert (await client.answer()).headers["penstock-reason"] == "inference_lost"
                assert fake.was_killed
                pods.pod.life = replace(pods.pod.life, faults=0)  # no back-off in this test

    run(scenario())


def test_bytes_that_are_no_frame_end_the_process() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            client.request("/predictions/digits", b"x")
            await fake.received_run()
            await fake.send_bytes(b"\xff" * 64)
            assert (await client.answer()).status == 502
            assert fake.was_killed

    run(scenario())


def test_two_failed_loads_refuse_what_waits_with_the_owners_message(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with served() as pods:
            client = await pods.client()
            client.request("/predictions/digits", b"x")
            for _ in range(2):
                fake = await pods.inferences.next()
                await fake.received()
                await fake.send(LoadFailed("No module named 'nothing'.", "Traceback\n  File\n"))
            answer = await client.answer()
            assert (answer.status, answer.headers["penstock-reason"]) == (503, "model_not_ready")
            assert answer.json["message"] == "No module named 'nothing'."
            again = await pods.exchange("/predictions/digits", b"x")
            assert again.headers["penstock-reason"] == "model_not_ready"
            status = await pods.exchange("/penstock/pod", method="GET")
            assert (status.json["state"], status.json["was_ready"]) == ("failed", False)

    run(scenario())
    assert capsys.readouterr().err.count("pod digits/1: Traceback\npod digits/1:   File\n") == 1


def test_each_load_that_ended_is_told_with_its_number_and_what_came_of_it() -> None:
    tries: list[PodConfig] = []

    def open_model(config: PodConfig) -> OpenedModel:
        tries.append(config)
        if len(tries) == 1:
            raise ModelUnusable("The archive is not a zip file.")
        return MODEL

    async def scenario() -> None:
        async with served(open_model) as pods:
            first = await pods.inferences.next()
            assert [(load.number, load.is_loaded) for load in pods.pod.status().loads] == [(1, False)]
            await first.received()
            await first.send(LoadFailed("No module named 'nothing'.", ""))
            pods.pod.life = replace(pods.pod.life, faults=0)  # no back-off in this test
            (await pods.loaded()).die()
            await pods.until(lambda: not pods.pod.is_ready)
            await pods.loaded()
            status = pods.pod.status()
            assert [load.number for load in status.loads] == [1, 2, 3, 4]
            assert [load.is_loaded for load in status.loads] == [False, False, True, True]
            assert all(0.0 <= load.took_s < 60.0 for load in status.loads)
            assert sorted(load.ended_s for load in status.loads) == [load.ended_s for load in status.loads]
            assert msgspec.json.decode(msgspec.json.encode(status), type=PodStatus) == status
            async with served(open_model) as others:
                await others.loaded()
                assert others.pod.status().instance != status.instance

    run(scenario())


def test_a_bad_archive_fails_at_once_and_is_tried_again() -> None:
    tries: list[PodConfig] = []

    def open_model(config: PodConfig) -> OpenedModel:
        tries.append(config)
        if len(tries) == 1:
            raise ModelUnusable("The archive is not a zip file.")
        return MODEL

    async def scenario() -> None:
        async with served(open_model) as pods:
            answer = await pods.exchange("/predictions/digits", b"x")
            if answer.status == 503:
                assert answer.json["message"] == "The archive is not a zip file."
            await pods.loaded()
            assert len(tries) == 2

    run(scenario())


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario() -> None:
        async with served(config=replace(CONFIG, queue_rows=1)) as pods:
            await pods.inferences.next()  # it has not loaded
            (await pods.client()).request("/predictions/digits", b"x")
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 1)
            answer = await pods.exchange("/predictions/digits", b"y")
            assert (answer.status, answer.headers["penstock-reason"]) == (503, "queue_full")
            assert answer.headers["retry-after"] == "1"

    run(scenario())


def test_an_inference_of_more_rows_than_a_batch_has_one_reply() -> None:
    async def scenario() -> None:
        async with served(lambda _: replace(MODEL, signature=SIGNATURE)) as pods:
            fake = await pods.loaded()
            data = [float(value) for value in range(20)]
            tensor = {"name": "x", "datatype": "FP32", "shape": [10, 2], "data": data}
            client = await pods.client()
            client.request("/v2/models/digits/infer", msgspec.json.encode({"id": "7", "inputs": [tensor]}))
            sizes: list[int] = []
            while sum(sizes) < 10:
                batch, blobs = await fake.received_run()
                sizes.append(len(batch.rows))
                await fake.answer(batch, blobs, mirror)
            answer = await client.answer()
            assert sizes == [4, 4, 2]
            assert answer.json == {"model_name": "digits", "model_version": "1", "id": "7", "outputs": [tensor]}
            assert answer.headers["penstock-usage"].startswith("device_us=6000;batch=4;")

    run(scenario())


def test_tokens_of_all_rows_are_told_with_what_they_cost_by_every_protocol() -> None:
    def counting(row: Row, blobs: Sequence[Buffer]) -> Answered:
        outcome, answer_blobs = mirror(row, blobs) if row.tensors else echo(row, blobs)
        forged = (("penstock-tokens", "999"), ("penstock-usage", "device_us=0;tokens=999"))
        return msgspec.structs.replace(outcome, tokens=7, headers=forged), answer_blobs

    async def scenario() -> None:
        async with served(lambda _: replace(MODEL, signature=SIGNATURE)) as pods:
            fake = await pods.loaded()
            tensor = {"name": "x", "datatype": "FP32", "shape": [3, 2], "data": [0.5] * 6}
            asked = [
                ("/predictions/digits", b"hello", 7),
                ("/v2/models/digits/infer", msgspec.json.encode({"inputs": [tensor]}), 21),
            ]
            for path, body, tokens in asked:
                client = await pods.client()
                client.request(path, body)
                batch, blobs = await fake.received_run()
                await fake.answer(batch, blobs, counting)
                answer = await client.answer()
                assert answer.status == 200
                assert answer.headers["penstock-usage"].startswith("device_us=2000;")
                assert answer.headers["penstock-usage"].endswith(f";tokens={tokens}")
                assert "penstock-tokens" not in answer.headers

    run(scenario())


def test_a_batch_is_paid_by_its_requests_to_the_microsecond() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            members = await _full_batch(pods, fake)
            batch, blobs = await fake.received_run()
            outcomes = tuple(RowAnswer(blob=index) for index in range(4))
            await fake.send(
                Ran(batch.batch_id, outcomes, StageTimes(), 0.000_1, charged_us=(7, 0, 60, 33)),
                [bytes(b) for b in blobs],
            )
            answers = [await member.answer() for member in members]
            charged = [answer.headers["penstock-usage"].partition(";")[0] for answer in answers]
            assert charged == ["device_us=7", "device_us=0", "device_us=60", "device_us=33"]

    run(scenario())


def test_what_is_refused_before_it_ran_tells_no_usage() -> None:
    async def scenario() -> None:
        async with served(lambda _: replace(MODEL, signature=SIGNATURE)) as pods:
            await pods.loaded()
            for path, status in (("/v2/models/digits/infer", 400), ("/predictions/other", 404)):
                answer = await pods.exchange(path, b"{")
                assert answer.status == status
                assert "penstock-usage" not in answer.headers

    run(scenario())


def test_requests_with_different_shapes_run_apart() -> None:
    async def scenario() -> None:
        async with served(lambda _: replace(MODEL, policy=BatchingPolicy(4, 60.0))) as pods:
            fake = await pods.inferences.next()
            clients = [await pods.client() for _ in range(2)]
            for size, client in enumerate(clients, start=1):
                tensor = {"name": "x", "datatype": "INT8", "shape": [1, size], "data": [1] * size}
                client.request("/v2/models/digits/infer", msgspec.json.encode({"inputs": [tensor]}))
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 2)
            await fake.load()
            shapes = []
            for client in clients:
                batch, blobs = await fake.received_run()
                shapes.append([row.tensors[0].shape for row in batch.rows])
                await fake.answer(batch, blobs, mirror)
                assert (await client.answer()).status == 200
            assert sorted(shapes) == [[(1,)], [(2,)]]

    run(scenario())


def test_draining_answers_what_was_accepted_and_refuses_the_rest() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            accepted = await pods.client()
            accepted.request("/predictions/digits", b"x")
            batch, blobs = await fake.received_run()
            drained = asyncio.create_task(pods.pod.drain(5.0))
            await pods.until(lambda: pods.pod.is_draining)
            refused = await pods.exchange("/predictions/digits", b"y")
            assert (refused.status, refused.headers["penstock-reason"]) == (503, "pod_draining")
            assert refused.headers["connection"] == "close"
            assert (await pods.exchange("/v2/health/ready", method="GET")).status == 503
            assert (await pods.exchange("/v2/health/live", method="GET")).status == 200
            await fake.answer(batch, blobs, echo)
            assert (await accepted.answer()).body == b"x"
            await drained

    run(scenario())


def test_a_drain_that_has_begun_serves_on_and_closes_connections_as_it_answers() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            pods.pod.begin_drain()
            assert not pods.pod.is_ready
            late = await pods.client()
            late.request("/predictions/digits", b"x")
            batch, blobs = await fake.received_run()
            await fake.answer(batch, blobs, echo)
            answer = await late.answer()
            assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"x", "close")

    run(scenario())


def test_what_a_drain_cannot_finish_is_refused() -> None:
    async def scenario() -> None:
        async with served() as pods:
            await pods.inferences.next()  # it never loads
            client = await pods.client()
            client.request("/predictions/digits", b"x")
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 1)
            await pods.pod.drain(0.01)
            assert (await client.answer()).headers["penstock-reason"] == "pod_draining"

    run(scenario())


def test_an_answer_that_cannot_be_written_is_that_rows_own_failure() -> None:
    def odd(row: Row, blobs: Sequence[Buffer]) -> Answered:
        if bytes(blobs[row.parts[0].blob]) == b"row 1":
            return RowAnswer(headers=(("bad\r\nname", "x"),), blob=0), [b"z"]
        return echo(row, blobs)

    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            members = await _full_batch(pods, fake)
            await fake.answer(*await fake.received_run(), odd)
            answers = [await member.answer() for member in members]
            assert [answer.status for answer in answers] == [200, 500, 200, 200]
            assert answers[1].headers["penstock-reason"] == "bad_output"

    run(scenario())


def test_a_request_that_comes_just_after_its_process_died_waits_for_the_next_one() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            await client.exchange("/v2/health/live", method="GET")
            client.request("/predictions/digits", b"x")
            fake.die()
            await _answer_next(await pods.loaded())
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, b"x")

    run(scenario())


def test_a_batch_that_no_frame_can_carry_is_refused_and_the_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            monkeypatch.setattr(frames, "MAX_HEAD_BYTES", 1000)
            refused = await pods.exchange("/predictions/digits", b"x", f"X-Long: {'y' * 1000}\r\n")
            assert (refused.status, refused.headers["penstock-reason"]) == (413, "body_too_large")
            client = await pods.client()
            client.request("/predictions/digits", b"x")
            await _answer_next(fake)
            assert (await client.answer()).body == b"x"
            queue = pods.pod.dispatcher.queue
            assert (queue.byte_count, queue.row_count, pods.pod.dispatcher.idle.is_set()) == (0, 0, True)

    run(scenario())


def test_a_body_that_is_arriving_when_a_drain_begins_is_answered() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client, leaver = await pods.client(), await pods.client()
            for sender in (client, leaver):
                sender.send(b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
            await pods.until(lambda: pods.pod.dispatcher.queue.byte_count == 2)
            drained = asyncio.create_task(pods.pod.drain(5.0))
            await pods.until(lambda: pods.pod.is_draining)
            await leaver.close()
            await pods.until(lambda: len(pods.edge.connections) == 1)
            assert not drained.done()
            client.send(b"y")
            await _answer_next(fake)
            answer = await client.answer()
            assert (answer.body, answer.headers["connection"]) == (b"xy", "close")
            await drained

    run(scenario())


def test_a_body_that_arrives_after_the_drains_end_is_refused() -> None:
    async def scenario() -> None:
        async with served() as pods:
            await pods.loaded()
            client = await pods.client()
            client.send(b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
            await pods.until(lambda: pods.pod.dispatcher.queue.byte_count == 1)
            await pods.pod.drain(0.01)
            client.send(b"y")
            assert (await client.answer()).headers["penstock-reason"] == "pod_draining"

    run(scenario())


def _large_inference(length: int = 100_000) -> bytes:
    """Return a request whose body is decoded beside the loop."""
    tensor = {"name": "x", "datatype": "INT32", "shape": [1, length], "data": [1000] * length}
    body = msgspec.json.encode({"inputs": [tensor]})
    assert len(body) > DECODE_HERE_BYTES
    return body


def test_a_large_inference_is_decoded_beside_the_loop_and_answered_though_a_drain_begins() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            client = await pods.client()
            body = _large_inference()
            client.request("/v2/models/digits/infer", body)
            await pods.until(lambda: pods.pod.dispatcher.queue.byte_count == len(body))
            drained = asyncio.create_task(pods.pod.drain(5.0))
            batch, blobs = await fake.received_run()
            assert [tensor.shape for tensor in batch.rows[0].tensors] == [(100_000,)]
            await fake.answer(batch, blobs, mirror)
            answer = await client.answer()
            assert (answer.status, len(answer.json["outputs"][0]["data"])) == (200, 100_000)
            await drained
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (_large_inference(), "penstock-timeout-ms: 0\r\n", "deadline_exceeded"),
        (_large_inference()[:-1], "", "malformed_body"),
        (_large_inference().replace(b"INT32", b"INT33"), "", "bad_input"),
    ],
    ids=["late", "cut short", "wrong"],
)
def test_a_large_inference_that_is_late_or_wrong_is_refused(body: bytes, headers: str, reason: str) -> None:
    async def scenario() -> None:
        async with served() as pods:
            await pods.loaded()
            client = await pods.client()
            for _ in range(2):
                answer = await client.exchange("/v2/models/digits/infer", body, headers)
                assert answer.headers["penstock-reason"] == reason
            assert pods.pod.dispatcher.queue.byte_count == 0

    run(scenario())


def test_a_large_inference_whose_client_left_while_it_was_queued_is_never_run() -> None:
    async def scenario() -> None:
        async with served() as pods:
            fake = await pods.loaded()
            blockers = await Blockers(fake).hold(pods)
            leaver = await pods.client()
            leaver.request("/v2/models/digits/infer", _large_inference())
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 1)
            await leaver.close()
            await pods.until(lambda: pods.pod.dispatcher.queue.row_count == 0)
            await blockers.let_go()

    run(scenario())
