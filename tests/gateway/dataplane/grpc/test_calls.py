"""Calls of other people's client (grpcio, and its health and reflection clients) against the edge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from model_pod.protocols.grpc_messages import framed, message_class
from policies.snapshot.limits import Limit
from telemetry.record import Recorder
from telemetry.records import GatewayRequest, Source
from tests.fakes.pod import Answering, Seen
from tests.fakes.sidecar import FakeSidecar
from tests.gateway.dataplane.grpc.edge import (
    INFER,
    PREDICT,
    STREAM_INFER,
    STREAM_PREDICT,
    WITHIN_S,
    Edge,
    answering,
    at_edge,
    infer_request,
    predictions_request,
    told,
)
from tests.gateway.policy import KEY, PLAIN_KEY, policy

OIP = "/inference.GRPCInferenceService/"
METADATA = (("authorization", f"Bearer {KEY}"),)
STATUS = grpc.StatusCode


async def never(seen: Seen, connection: Answering) -> None:
    await asyncio.Event().wait()


async def refusing(seen: Seen, connection: Answering) -> None:
    body = b'{"message": "the queue is full \xc3\xa9\\n", "reason": "queue_full"}'
    head = b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nPenstock-Reason: queue_full\r\n"
    connection.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def speaking_json(seen: Seen, connection: Answering) -> None:
    connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def test_a_message_reaches_the_pod_as_it_was_sent_and_its_answer_the_caller() -> None:
    async def test(edge: Edge) -> None:
        asked = infer_request(raw_input_contents=[b"abc"])
        told = await edge.call(INFER, asked, metadata=(("x-user-id", "7"),))
        assert (told.code, told.messages) == (STATUS.OK, [b"an answer"])
        assert told.initial["penstock-decision"].startswith("gen=1;model=digits;version=1;why=stable;pod=digits/1/0")
        seen = edge.pods[0].seen[0]
        assert seen.line == "POST /v2/models/digits/infer HTTP/1.1"
        assert seen.body == framed(asked)
        assert (seen.fields["content-type"], seen.fields["grpc-method"]) == ("application/grpc", "ModelInfer")
        assert (seen.fields["x-user-id"], seen.fields["penstock-tenant"]) == ("7", "ads")
        assert not {"te", "authorization", "grpc-timeout", "grpc-accept-encoding"} & seen.fields.keys()
        assert 0 < int(seen.fields["penstock-timeout-ms"]) <= WITHIN_S * 1000

    at_edge(test, answering(b"an answer"))


def test_a_call_is_recorded_under_its_method_and_service(tmp_path: Path) -> None:
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-gateway", "worker 0", 7))

    async def test(edge: Edge) -> None:
        await edge.call(INFER, infer_request())
        await edge.call(OIP + "ModelReady", infer_request())

    at_edge(test, answering(b"an answer"), recorder=recorder)
    recorder.close()
    methods = [record.method for record in sidecar.records() if isinstance(record, GatewayRequest)]
    sidecar.close()
    assert methods == ["inference.GRPCInferenceService/ModelInfer", "inference.GRPCInferenceService/ModelReady"]


@pytest.mark.parametrize("ready", [False, True])
def test_the_index_lists_what_a_caller_may_call(ready: bool) -> None:
    asked = message_class("inference.RepositoryIndexRequest")(repository_name="any", ready=ready).SerializeToString()
    response = message_class("inference.RepositoryIndexResponse")

    async def index(edge: Edge, key: str) -> list[tuple[str, str, str, str]]:
        told = await edge.call(OIP + "RepositoryIndex", asked, key=key)
        assert told.code is STATUS.OK
        models = response.FromString(told.messages[0]).models
        return [(model.name, model.version, model.state, model.reason) for model in models]

    async def test(edge: Edge) -> None:
        stable, other = ("digits", "1", "READY", ""), ("digits", "2", "UNAVAILABLE", "it has no pod")
        assert await index(edge, KEY) == ([stable] if ready else [stable, other])
        assert await index(edge, PLAIN_KEY) == [stable]  # it may not ask for another version
        assert not edge.pods[0].seen

    at_edge(test, answering(b"an answer"))


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_messages_of_any_size_arrive_whole_both_ways(size: int) -> None:
    async def test(edge: Edge) -> None:
        asked = infer_request(raw_input_contents=[bytes(size)])
        told = await edge.call(INFER, asked, options=(("grpc.max_receive_message_length", -1),))
        assert told.code is STATUS.OK, told
        assert told.messages == [b"a" * size]
        assert edge.pods[0].seen[0].body == framed(asked)

    at_edge(test, answering(b"a" * size))


def test_a_version_in_the_message_pins_and_names_are_escaped_in_the_target() -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call(INFER, infer_request(model_version="2"))
        assert told.code is STATUS.UNAVAILABLE  # version 2 has no pod
        told = await edge.call(PREDICT, predictions_request("a/../digits?x#y"))
        assert told.code is STATUS.NOT_FOUND
        assert not edge.pods[0].seen

    at_edge(test, answering(b""))


@pytest.mark.parametrize(
    ("key", "model", "code", "reason"),
    [
        ("", "digits", STATUS.UNAUTHENTICATED, "key_missing"),
        ("wrong", "digits", STATUS.UNAUTHENTICATED, "key_unknown"),
        (KEY, "nobody", STATUS.NOT_FOUND, "model_not_found"),
        (KEY, "", STATUS.INVALID_ARGUMENT, "malformed_body"),
    ],
)
def test_refusals_have_their_code_their_reason_and_a_request_id(key: str, model: str, code: Any, reason: str) -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call(INFER, infer_request(model), key=key)
        assert (told.code, told.trailing["penstock-reason"]) == (code, reason)
        assert told.details
        assert len(told.trailing["x-request-id"]) == 32
        assert edge.gateway.settlement.refusals[reason] == 1
        assert not edge.pods[0].seen

    at_edge(test, answering(b""))


def test_a_limit_refuses_with_the_time_to_wait() -> None:
    async def test(edge: Edge) -> None:
        assert (await edge.call(INFER, infer_request())).code is STATUS.OK
        told = await edge.call(INFER, infer_request())
        assert (told.code, told.trailing["penstock-reason"]) == (STATUS.RESOURCE_EXHAUSTED, "rate_limited")
        assert int(told.trailing["retry-after"]) >= 1

    at_edge(test, answering(b""), snapshot=policy(rate_per_s=0.01, burst=1))


def test_a_pods_refusal_keeps_its_words_whatever_is_in_them() -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call(INFER, infer_request())
        assert (told.code, told.details) == (STATUS.UNAVAILABLE, "the queue is full é\n")
        assert told.trailing["penstock-reason"] == "queue_full"

    at_edge(test, refusing)


def test_a_pod_that_answers_json_is_not_taken_for_an_answer() -> None:
    async def test(edge: Edge) -> None:
        assert (await edge.call(INFER, infer_request())).code is STATUS.INTERNAL

    at_edge(test, speaking_json)


@pytest.mark.parametrize("path", ["/inference.GRPCInferenceService/Nothing", "/no.Service/ModelInfer"])
def test_unknown_methods_and_services_are_unimplemented(path: str) -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call(path, b"")
        reason = (told.initial | told.trailing)["penstock-reason"]
        assert (told.code, reason) == (STATUS.UNIMPLEMENTED, "path_not_found")

    at_edge(test)


def test_a_deadline_that_passes_ends_the_call_and_the_pod_learns_of_it() -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call(INFER, infer_request(), timeout_s=2.0)
        assert told.code is STATUS.DEADLINE_EXCEEDED
        await edge.pods[0].hung_up.wait()

    at_edge(test, never)


def test_a_cancelled_call_frees_the_pod() -> None:
    async def test(edge: Edge) -> None:
        channel = grpc.insecure_channel(edge.target)
        call = channel.unary_unary(INFER).future(infer_request(), metadata=METADATA)
        await edge.pods[0].asked.wait()
        assert edge.gateway.in_flight == 1
        call.cancel()
        await edge.pods[0].hung_up.wait()
        assert edge.gateway.in_flight == 0
        assert edge.gateway.settlement.refusals["client_gone"] == 1
        channel.close()

    at_edge(test, never)


def test_a_compressed_message_goes_on_as_it_is_and_is_named() -> None:
    async def test(edge: Edge) -> None:
        asked = infer_request(raw_input_contents=[bytes(50_000)])
        told = await edge.call(INFER, asked, compression=grpc.Compression.Gzip)
        assert told.code is STATUS.OK
        seen = edge.pods[0].seen[0]
        assert (seen.fields["grpc-encoding"], seen.body[0]) == ("gzip", 1)
        assert len(seen.body) < 1_000

    at_edge(test, answering(b""))


def test_another_compression_is_refused() -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call(INFER, infer_request(id="x" * 5_000), compression=grpc.Compression.Deflate)
        assert (told.code, told.trailing["penstock-reason"]) == (STATUS.UNIMPLEMENTED, "encoding_not_supported")

    at_edge(test, answering(b""))


def test_each_part_of_a_streamed_answer_is_a_message_as_it_comes() -> None:
    first_was_read = threading.Event()

    async def script(seen: Seen, connection: Answering) -> None:
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n")
        for content in (b"one", b"two"):
            piece = framed(content)
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if content == b"one":
                await asyncio.to_thread(first_was_read.wait, 10)
        connection.write(b"0\r\n\r\n")

    def read(target: str) -> Any:
        with grpc.insecure_channel(target) as channel:
            call = channel.unary_stream(STREAM_PREDICT)(predictions_request(), metadata=METADATA, timeout=10)
            messages = [next(call)]
            first_was_read.set()
            messages += call
            return told(call, messages)

    async def test(edge: Edge) -> None:
        answer = await asyncio.to_thread(read, edge.target)
        assert (answer.code, answer.messages) == (STATUS.OK, [b"one", b"two"])

    at_edge(test, script)


@pytest.mark.parametrize(("torn", "code"), [(False, STATUS.UNAVAILABLE), (True, STATUS.INTERNAL)])
def test_an_answer_that_breaks_off_ends_by_an_error_never_as_if_it_were_whole(torn: bool, code: Any) -> None:
    async def script(seen: Seen, connection: Answering) -> None:
        piece = framed(b"one") + (framed(b"two")[:-1] if torn else b"")
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.close()

    def read(target: str) -> Any:
        with grpc.insecure_channel(target) as channel:
            call = channel.unary_stream(STREAM_PREDICT)(predictions_request(), metadata=METADATA, timeout=10)
            messages: list[bytes] = []
            with suppress(grpc.RpcError):
                messages += call
            return call.code(), messages

    async def test(edge: Edge) -> None:
        ended, messages = await asyncio.to_thread(read, edge.target)
        assert ended is code
        assert messages in ([], [b"one"])

    at_edge(test, script)


def _ask_in_turn(target: str, requests: list[bytes]) -> tuple[Any, list[Any]]:
    answer_type = message_class("inference.ModelStreamInferResponse")
    with grpc.insecure_channel(target) as channel:
        call = channel.stream_stream(STREAM_INFER)(iter(requests), metadata=METADATA, timeout=10)
        answers = [answer_type.FromString(message) for message in call]
        return call.code(), answers


def test_requests_of_one_stream_are_answered_in_turn_and_an_error_ends_it_not() -> None:
    response = message_class("inference.ModelStreamInferResponse")(infer_response={"model_name": "digits"})

    async def test(edge: Edge) -> None:
        requests = [infer_request(id="1"), infer_request("nobody"), infer_request(id="3")]
        code, answers = await asyncio.to_thread(_ask_in_turn, edge.target, requests)
        assert code is STATUS.OK
        assert [answer.infer_response.model_name for answer in answers] == ["digits", "", "digits"]
        assert "nobody" in answers[1].error_message
        assert [seen.fields["grpc-method"] for seen in edge.pods[0].seen] == ["ModelStreamInfer"] * 2

    at_edge(test, answering(response.SerializeToString()))


def test_a_stream_of_nothing_is_answered_by_nothing() -> None:
    async def test(edge: Edge) -> None:
        assert await asyncio.to_thread(_ask_in_turn, edge.target, []) == (STATUS.OK, [])

    at_edge(test, answering(b""))


def test_many_calls_at_once_on_one_connection_are_each_answered() -> None:
    def ask(target: str) -> list[bytes]:
        with grpc.insecure_channel(target) as channel:
            method = channel.unary_unary(INFER)
            calls = [method.future(infer_request(id=str(n)), metadata=METADATA, timeout=15) for n in range(300)]
            return [call.result() for call in calls]

    async def test(edge: Edge) -> None:
        assert await asyncio.to_thread(ask, edge.target) == [b"y" * 2_000] * 300
        assert edge.gateway.in_flight == 0
        assert len(edge.connections) == 1

    at_edge(test, answering(b"y" * 2_000), snapshot=policy(in_flight=1_000))


async def answering_json(seen: Seen, connection: Answering) -> None:
    if seen.line.split(" ")[1].endswith("/ready"):
        body = b'{"name": "digits", "ready": true}'
    else:
        body = (
            b'{"name": "digits", "versions": ["1"], "platform": "pytorch", '
            b'"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}], "outputs": []}'
        )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection.write(head % len(body) + body)


def test_what_is_asked_about_server_and_model_is_answered_in_protobuf() -> None:
    async def test(edge: Edge) -> None:
        async def ask(method: str, **fields: Any) -> Any:
            request = message_class(f"inference.{method}Request")(**fields).SerializeToString()
            told = await edge.call(OIP + method, request)
            assert told.code is STATUS.OK, told
            return message_class(f"inference.{method}Response").FromString(told.messages[0])

        assert (await ask("ServerLive")).live
        assert (await ask("ServerReady")).ready
        assert (await ask("ServerMetadata")).name == "penstock"
        assert (await ask("ModelReady", name="digits")).ready
        assert not (await ask("ModelReady", name="digits", version="2")).ready
        metadata = await ask("ModelMetadata", name="digits", version="1")
        assert (metadata.name, list(metadata.versions), metadata.platform) == ("digits", ["1"], "pytorch")
        assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [("pixels", "FP32", [-1, 64])]
        assert [seen.line.split(" ")[:2] for seen in edge.pods[0].seen] == [
            ["GET", "/v2/models/digits/ready"],
            ["GET", "/v2/models/digits/versions/1"],
        ]

    at_edge(test, answering_json)


def test_ping_answers_torchserves_words() -> None:
    async def test(edge: Edge) -> None:
        told = await edge.call("/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping", b"", key="")
        response = message_class("org.pytorch.serve.grpc.inference.TorchServeHealthResponse")
        assert response.FromString(told.messages[0]).health == '{\n  "status": "Healthy"\n}\n'

    at_edge(test, answering(b""))


def test_the_standard_health_client_is_told_of_server_services_and_models() -> None:
    def check(target: str, service: str) -> Any:
        with grpc.insecure_channel(target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
            except grpc.RpcError as error:
                return error.code()

    async def test(edge: Edge) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        for service in ("", "inference.GRPCInferenceService", "digits"):
            assert await asyncio.to_thread(check, edge.target, service) == serving
        assert await asyncio.to_thread(check, edge.target, "nobody") is STATUS.NOT_FOUND
        edge.gateway.draining = True
        assert await asyncio.to_thread(check, edge.target, "") == health_pb2.HealthCheckResponse.NOT_SERVING

    at_edge(test, answering(b""))


def test_who_watches_is_told_when_it_changes() -> None:
    first_came = threading.Event()

    def watch(target: str) -> Iterator[Any]:
        with grpc.insecure_channel(target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            call = stub.Watch(health_pb2.HealthCheckRequest(), timeout=15)
            yield next(call).status
            first_came.set()
            yield next(call).status
            call.cancel()

    async def test(edge: Edge) -> None:
        watching = asyncio.create_task(asyncio.to_thread(lambda: list(watch(edge.target))))
        await asyncio.to_thread(first_came.wait, 10)
        edge.gateway.draining = True
        assert await watching == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]

    at_edge(test, answering(b""))


def test_a_reflection_client_finds_services_and_can_make_their_messages() -> None:
    def reflect(target: str) -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(target) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(database)
            service = pool.FindServiceByName("org.pytorch.serve.grpc.inference.InferenceAPIsService")
            pool.FindMessageTypeByName("inference.ModelInferRequest.InferInputTensor")
            with pytest.raises(KeyError):
                pool.FindMessageTypeByName("inference.Nothing")
            return set(database.get_services()), [method.name for method in service.methods]

    async def test(edge: Edge) -> None:
        services, methods = await asyncio.to_thread(reflect, edge.target)
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= services
        assert methods == ["Ping", "Predictions", "StreamPredictions", "StreamPredictions2"]

    at_edge(test, answering(b""))


def test_a_worker_that_leaves_lets_calls_finish_and_the_client_goes_elsewhere() -> None:
    let_go = asyncio.Event()

    async def script(seen: Seen, connection: Answering) -> None:
        await let_go.wait()
        await answering(b"late")(seen, connection)

    async def test(edge: Edge) -> None:
        calling = asyncio.create_task(edge.call(INFER, infer_request()))
        await edge.pods[0].asked.wait()
        connection = edge.connections[0]
        while not connection.refuses:
            connection.close_if_idle()
            await asyncio.sleep(0.01)
        let_go.set()
        assert (await calling).messages == [b"late"]
        connection.close_if_idle()
        while edge.gateway.connections:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)

    at_edge(test, script)


def test_limits_of_requests_in_flight_hold_for_calls() -> None:
    async def test(edge: Edge) -> None:
        first = asyncio.create_task(edge.call(INFER, infer_request(), timeout_s=3.0))
        await edge.pods[0].asked.wait()
        told = await edge.call(INFER, infer_request())
        assert (told.code, told.trailing["penstock-reason"]) == (STATUS.RESOURCE_EXHAUSTED, "in_flight_limited")
        assert (await first).code is STATUS.DEADLINE_EXCEEDED

    at_edge(test, never, snapshot=policy(limit=Limit("tenant/ads", in_flight=1)))
