"""Every request that asks for an inference is recorded once, with an outcome, whatever becomes of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path

from model_pod.server.opened_model import ModelUnusable, OpenedModel
from model_pod.server.pod import Pod
from model_pod.server.request_span import RequestSpans
from telemetry.record import Recorder
from telemetry.records import PodBatch, PodLoad, PodRequest, Record, Source
from tests.fakes.inference_process import echo
from tests.fakes.sidecar import FakeSidecar
from tests.model_pod.server.harness import CONFIG, MODEL, Served, run, served

TRACE, SPAN = "a" * 32, "b" * 16
FROM_GATEWAY = f"traceparent: 00-{TRACE}-{SPAN}-01\r\npenstock-tenant: ads\r\nx-request-id: r1\r\n"


def recorded(tmp_path: Path, scenario: Callable[[Served], Awaitable[None]], model: OpenedModel = MODEL) -> list[Record]:
    """Return everything that a pod recorded while the scenario ran."""
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-pod", "digits/1", 7, "digits", "1"))

    async def body() -> None:
        async with served(lambda _: model, spans=RequestSpans(recorder, 20.0)) as pods:
            await scenario(pods)

    run(body())
    recorder.close()
    records = sidecar.records()
    sidecar.close()
    return records


def requests(records: list[Record]) -> list[PodRequest]:
    return [record for record in records if isinstance(record, PodRequest)]


def only_request(records: list[Record]) -> PodRequest:
    (request,) = requests(records)
    return request


def test_an_answered_request_is_recorded_with_its_batch(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        fake = await pods.loaded()
        client = await pods.client()
        client.request("/predictions/digits", b"hello", FROM_GATEWAY)
        await fake.answer(*await fake.received_run(), echo)
        assert (await client.answer()).status == 200

    records = recorded(tmp_path, scenario)
    load, batch, request = records
    assert isinstance(load, PodLoad)
    assert isinstance(batch, PodBatch)
    assert isinstance(request, PodRequest)
    assert load.message == ""
    assert (request.trace_id, request.parent_id, request.sampled) == (TRACE, SPAN, True)
    assert (request.status, request.reason, request.endpoint) == (200, "", "predict")
    assert (request.tenant, request.request_id, request.row_count, request.cold) == ("ads", "r1", 1, False)
    (part,) = request.parts
    assert part.batch == batch.times
    assert request.started_s <= part.enqueued_s <= batch.times.sent_s <= batch.times.answered_s <= request.ended_s
    (member,) = batch.members
    assert (member.trace_id, member.span_id, member.request_id) == (TRACE, request.span_id, "r1")


def test_a_request_without_a_gateway_begins_a_trace_of_its_own(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        fake = await pods.loaded()
        client = await pods.client()
        client.request("/predictions/digits", b"hello")
        await fake.answer(*await fake.received_run(), echo)
        await client.answer()

    request = only_request(recorded(tmp_path, scenario))
    assert request.parent_id == ""
    assert len(request.trace_id) == 32
    assert request.sampled


def test_a_caller_that_leaves_while_its_batch_runs_is_recorded_as_gone(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        fake = await pods.loaded()
        client = await pods.client()
        client.request("/predictions/digits", b"hello")
        run_message = await fake.received_run()
        await client.close()
        pods.clients.clear()
        await pods.until(lambda: not pods.edge.connections)
        await fake.answer(*run_message, echo)
        await pods.until(lambda: pods.pod.dispatcher.running_rows == 0)

    request = only_request(recorded(tmp_path, scenario))
    assert (request.status, request.reason) == (499, "")
    assert request.parts[0].batch is not None  # it was sent, whatever came of it


def test_batch_mates_of_a_lost_process_are_recorded_with_the_reason(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        fake = await pods.loaded()
        client = await pods.client()
        client.request("/predictions/digits", b"hello")
        await fake.received_run()
        fake.kill()
        assert (await client.answer()).status == 502

    records = recorded(tmp_path, scenario)
    assert only_request(records).reason == "inference_lost"
    (batch,) = [record for record in records if isinstance(record, PodBatch)]
    assert batch.reason == "inference_lost"
    assert batch.times.ended_s == 0.0


def test_a_request_that_cannot_be_decoded_is_recorded(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        await pods.loaded()
        assert (await pods.exchange("/v2/models/digits/infer", b"{")).status == 400

    request = only_request(recorded(tmp_path, scenario))
    assert (request.status, request.reason, request.endpoint, request.parts) == (400, "malformed_body", "infer", ())


def test_a_request_whose_body_is_too_large_is_recorded(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        await pods.loaded()
        client = await pods.client()
        client.send(b"POST /predictions/digits HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
        assert (await client.answer()).status == 413

    assert only_request(recorded(tmp_path, scenario)).reason == "body_too_large"


def test_a_request_to_a_model_that_cannot_be_opened_is_recorded(tmp_path: Path) -> None:
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-pod", "digits/1", 7, "digits", "1"))

    def broken(_: object) -> OpenedModel:
        raise ModelUnusable("The archive is no archive.")

    async def body() -> None:
        async with served(broken, spans=RequestSpans(recorder, 20.0)) as pods:
            await pods.until(lambda: pods.pod.life.message != "")
            assert (await pods.exchange("/predictions/digits", b"hello")).status == 503

    run(body())
    recorder.close()
    (request,) = requests(sidecar.records())
    sidecar.close()
    assert (request.status, request.reason, request.cold) == (503, "model_not_ready", True)


def test_what_is_no_inference_is_not_recorded(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        await pods.loaded()
        await pods.exchange("/ping", method="GET")
        await pods.exchange("/v2/models/digits", method="GET")
        await pods.exchange("/nowhere", method="GET")

    assert requests(recorded(tmp_path, scenario)) == []


def test_a_pod_without_a_sidecar_records_nothing_and_answers() -> None:
    async def scenario() -> None:
        async with served(config=CONFIG) as pods:
            assert isinstance(pods.pod, Pod)
            fake = await pods.loaded()
            client = await pods.client()
            client.request("/predictions/digits", b"hello")
            await fake.answer(*await fake.received_run(), echo)
            assert (await client.answer()).status == 200
            assert pods.pod.spans is None

    run(scenario())


def test_what_was_answered_is_free_at_once(tmp_path: Path) -> None:
    """A circle of batch, request and span would keep bodies beyond the queue's bound, until it is collected."""
    kept: list[weakref.ref[object]] = []

    async def scenario(pods: Served) -> None:
        fake = await pods.loaded()
        client = await pods.client()
        gc.disable()
        try:
            client.request("/predictions/digits", b"hello", FROM_GATEWAY)
            run_message = await fake.received_run()
            kept.append(weakref.ref(pods.pod.dispatcher._batches[0]))
            await fake.answer(*run_message, echo)
            await client.answer()
            await pods.until(lambda: pods.pod.dispatcher.running_rows == 0)
            assert kept[0]() is None
        finally:
            gc.enable()

    recorded(tmp_path, scenario)


def test_a_copy_says_which_shadow_it_is_for(tmp_path: Path) -> None:
    async def scenario(pods: Served) -> None:
        fake = await pods.loaded()
        client = await pods.client()
        client.request("/predictions/digits", b"hello", f"{FROM_GATEWAY}penstock-shadow: dark\r\n")
        await fake.answer(*await fake.received_run(), echo)
        await client.answer()

    assert only_request(recorded(tmp_path, scenario)).shadow == "dark"
