"""Calls of gRPC as the gateway brings them to a pod, through its true server, before a scripted inference process."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from model_pod.protocols.grpc_messages import PREFIX_BYTES, framed, message_class, unframed
from model_pod.server.opened_model import OpenedModel
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import Partial, Piece
from model_pod.wire.rows import Row, RowAnswer, RowOutcome, RowRefused, Tensor
from tests.fakes.inference_process import FakeInference
from tests.model_pod.server.harness import CONFIG, MODEL, Answer, Served, run, served
from tests.model_pod.server.test_dispatch import SIGNATURE

PREDICT, INFER = "/predictions/digits", "/v2/models/digits/infer"
RESPONSE = message_class("org.pytorch.serve.grpc.inference.PredictionResponse")
Scenario = Callable[[Served, FakeInference], Awaitable[None]]


def scene(scenario: Scenario, model: OpenedModel = MODEL) -> None:
    async def body() -> None:
        async with served(lambda _: model, CONFIG) as pods:
            await scenario(pods, await pods.loaded())

    run(body())


def fields(method: str) -> str:
    return f"Content-Type: application/grpc\r\nGrpc-Method: {method}\r\n"


def predictions(model: str = "digits", **given: bytes) -> bytes:
    request = message_class("org.pytorch.serve.grpc.inference.PredictionsRequest")(model_name=model, input=given)
    return framed(request.SerializeToString())


def messages(body: bytes) -> list[bytes]:
    """Return the predictions in a body of messages."""
    found = []
    while body:
        end = PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES])
        found.append(RESPONSE.FromString(body[PREFIX_BYTES:end]).prediction)
        body = body[end:]
    return found


async def ask(pods: Served, target: str, body: bytes, method: str) -> Any:
    client = await pods.client()
    client.request(target, body, fields(method))
    return client


def in_capitals(row: Row, blobs: Sequence[Buffer]) -> tuple[RowOutcome, Sequence[Buffer]]:
    return RowAnswer(content_type="text/plain", blob=0), [bytes(blobs[row.parts[0].blob]).upper()]


def test_an_input_goes_to_the_handler_as_bytes_and_its_answer_comes_as_a_message() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await ask(pods, PREDICT, predictions(data=b"abc"), "Predictions")
        batch, blobs = await fake.received_run()
        assert [part.name for part in batch.rows[0].parts] == ["data"]
        await fake.answer(batch, blobs, in_capitals)
        answer: Answer = await client.answer()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc")
        assert messages(answer.body) == [b"ABC"]

    scene(scenario)


def test_a_refusal_stays_a_refusal() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await ask(pods, PREDICT, predictions("other"), "Predictions")
        answer: Answer = await client.answer()
        assert (answer.status, answer.json["reason"]) == (404, "model_not_found")

    scene(scenario)


async def give_two_parts(fake: FakeInference) -> None:
    batch, _ = await fake.received_run()
    await fake.send(Partial(batch.batch_id, (Piece(0, 0, RowAnswer(blob=0)),)), [b"one"])
    await fake.answer(batch, [], lambda _row, _blobs: (RowAnswer(blob=0), [b"two"]))


def test_each_part_of_a_streamed_answer_is_a_message() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await pods.client()
        body = predictions()
        head = f"POST {PREDICT} HTTP/1.0\r\nHost: a\r\nContent-Length: {len(body)}\r\n{fields('StreamPredictions')}\r\n"
        client.send(head.encode() + body)
        await give_two_parts(fake)
        written, _, content = (await client.rest()).partition(b"\r\n\r\n")
        assert b"content-type: application/grpc" in written
        assert messages(content) == [b"one", b"two"]

    scene(scenario)


def test_a_method_with_one_answer_gets_the_parts_as_one_message() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await ask(pods, PREDICT, predictions(), "Predictions")
        await give_two_parts(fake)
        answer: Answer = await client.answer()
        assert messages(answer.body) == [b"onetwo"]

    scene(scenario)


def test_tensors_come_and_go_as_protobuf() -> None:
    def same(row: Row, blobs: Sequence[Buffer]) -> tuple[RowOutcome, Sequence[Buffer]]:
        tensor = row.tensors[0]
        return RowAnswer(tensors=(Tensor("x", tensor.datatype, tensor.shape, 0),)), [bytes(blobs[tensor.blob])]

    async def scenario(pods: Served, fake: FakeInference) -> None:
        request = message_class("inference.ModelInferRequest")(
            model_name="digits",
            inputs=[{"name": "x", "datatype": "FP32", "shape": [2, 1]}],
            raw_input_contents=[b"abcdefgh"],
        )
        client = await ask(pods, INFER, framed(request.SerializeToString()), "ModelInfer")
        batch, blobs = await fake.received_run()
        await fake.answer(batch, blobs, same)
        answer: Answer = await client.answer()
        assert answer.status == 200, answer.body
        told = message_class("inference.ModelInferResponse").FromString(answer.body[PREFIX_BYTES:])
        assert (told.model_name, list(told.raw_output_contents)) == ("digits", [b"abcdefgh"])

    scene(scenario, replace(MODEL, signature=SIGNATURE))


def gzipped(message: Any) -> bytes:
    """Return a message with its prefix, compressed."""
    content = gzip.compress(message.SerializeToString())
    return b"\x01" + len(content).to_bytes(PREFIX_BYTES - 1) + content


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("target", [PREDICT, INFER])
def test_a_small_body_that_is_large_once_inflated_is_not_read_in_the_loop(
    target: str, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in: list[bool] = []

    def noted(body: bytes, most_bytes: int) -> bytes:
        read_in.append(threading.current_thread() is threading.main_thread())
        return unframed(body, most_bytes)

    for module in ("model_pod.server.endpoints", "model_pod.protocols.grpc_inference"):
        monkeypatch.setattr(f"{module}.unframed", noted)
    content = bytes(2**20 if is_large else 4)
    if target == PREDICT:
        package = "org.pytorch.serve.grpc.inference"
        body = gzipped(message_class(f"{package}.PredictionsRequest")(model_name="digits", input={"data": content}))
    else:
        tensor = {"name": "x", "datatype": "UINT8", "shape": [1, len(content)]}
        request = message_class("inference.ModelInferRequest")
        body = gzipped(request(model_name="digits", inputs=[tensor], raw_input_contents=[content]))
    assert len(body) < 4096

    async def scenario(pods: Served, fake: FakeInference) -> None:
        await ask(pods, target, body, "Predictions" if target == PREDICT else "ModelInfer")
        batch, blobs = await fake.received_run()
        assert [bytes(blob) for blob in blobs] == [content]
        await fake.answer(batch, blobs, lambda *_: (RowRefused("row_refused", "that was all"), []))

    scene(scenario)
    assert read_in == [not is_large]


def test_the_queue_holds_as_many_bytes_as_a_message_has_once_inflated() -> None:
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 2**20]}
    request = message_class("inference.ModelInferRequest")
    body = gzipped(request(model_name="digits", inputs=[tensor], raw_input_contents=[bytes(2**20)]))

    async def scenario() -> None:
        async with served(lambda _: MODEL, replace(CONFIG, queue_bytes=2**19)) as pods:
            await pods.loaded()
            answer: Answer = await (await ask(pods, INFER, body, "ModelInfer")).answer()
            assert answer.json["reason"] == "queue_full"

    run(scenario())
