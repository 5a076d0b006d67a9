"""Other people's gRPC client against the whole mesh: the demo's model, by each of the two protocols."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_pod.protocols.grpc_messages import message_class
from tests.system.digits import Digit, known_digits
from tests.system.mesh import MeshUnderTest, demo_store, running_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

OIP = "inference.GRPCInferenceService"
TORCHSERVE = "org.pytorch.serve.grpc.inference.InferenceAPIsService"


@dataclass(frozen=True, slots=True)
class Caller:
    """A client of a mesh, with the key that the mesh printed."""

    mesh: MeshUnderTest
    digits: list[Digit]
    channel: grpc.Channel

    def ask(self, service: str, method: str, request: Any, answer: str, **options: Any) -> Any:
        call = self.channel.unary_unary(f"/{service}/{method}")
        metadata = (("authorization", f"Bearer {self.mesh.key}"),)
        told = call(request.SerializeToString(), timeout=30, metadata=metadata, **options)
        return message_class(f"{service.rpartition('.')[0]}.{answer}").FromString(told)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    store = demo_store(tmp_path_factory)
    with running_mesh(tmp_path_factory.mktemp("grpc"), store) as mesh:
        address = mesh.published().inference_grpc
        assert mesh.said.line("^gRPC ").text.split()[1] == address
        with grpc.insecure_channel(address) as channel:
            yield Caller(mesh, known_digits(mesh), channel)


def infer_request(digits: list[Digit], *, raw: bool, **fields: Any) -> Any:
    pixels = [value for digit in digits for value in digit.pixels]
    tensor: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": [len(digits), 64]}
    if raw:
        fields["raw_input_contents"] = [struct.pack(f"<{len(pixels)}f", *pixels)]
    else:
        tensor["contents"] = {"fp32_contents": pixels}
    return message_class("inference.ModelInferRequest")(model_name="digits", inputs=[tensor], **fields)


@pytest.mark.parametrize("raw", [True, False])
def test_tensors_are_inferred_in_the_form_in_which_they_were_sent(caller: Caller, raw: bool) -> None:
    request = infer_request(caller.digits, raw=raw, id="mine", outputs=[{"name": "label"}])
    told = caller.ask(OIP, "ModelInfer", request, "ModelInferResponse")
    assert (told.model_name, told.model_version, told.id) == ("digits", "1", "mine")
    labels = (
        list(struct.unpack(f"<{len(caller.digits)}q", told.raw_output_contents[0]))
        if raw
        else list(told.outputs[0].contents.int64_contents)
    )
    assert labels == [digit.label for digit in caller.digits]


def test_torchserves_predictions_reach_the_handler(caller: Caller) -> None:
    digit = caller.digits[0]
    request = message_class("org.pytorch.serve.grpc.inference.PredictionsRequest")(
        model_name="digits", input={"data": digit.body}
    )
    told = caller.ask(TORCHSERVE, "Predictions", request, "PredictionResponse")
    assert json.loads(told.prediction)["label"] == digit.label


def test_the_models_inputs_are_told_and_wrong_ones_refused_by_name(caller: Caller) -> None:
    metadata = caller.ask(
        OIP, "ModelMetadata", message_class("inference.ModelMetadataRequest")(name="digits"), "ModelMetadataResponse"
    )
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [("pixels", "FP32", [-1, 64])]
    request = infer_request(caller.digits, raw=True)
    request.inputs[0].name = "pixel"
    with pytest.raises(grpc.RpcError) as raised:
        caller.ask(OIP, "ModelInfer", request, "ModelInferResponse")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "pixel" in raised.value.details()


def test_a_key_is_asked_for_and_health_is_told_to_anyone(caller: Caller) -> None:
    health = health_pb2_grpc.HealthStub(caller.channel)
    for service in ("", OIP, "digits"):
        told = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert told.status == health_pb2.HealthCheckResponse.SERVING
    call = caller.channel.unary_unary(f"/{OIP}/ModelInfer")
    with pytest.raises(grpc.RpcError) as raised:
        call(infer_request(caller.digits, raw=True).SerializeToString(), timeout=10)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_many_calls_over_one_connection_are_each_answered_as_they_should(caller: Caller) -> None:
    call = caller.channel.unary_unary(f"/{OIP}/ModelInfer")
    metadata = (("authorization", f"Bearer {caller.mesh.key}"),)
    asked = [caller.digits[number % len(caller.digits)] for number in range(100)]
    answers = [
        call.future(infer_request([digit], raw=True).SerializeToString(), timeout=60, metadata=metadata)
        for digit in asked
    ]
    response = message_class("inference.ModelInferResponse")
    for digit, answer in zip(asked, answers, strict=True):
        label = response.FromString(answer.result()).raw_output_contents[0]
        assert struct.unpack("<q", label) == (digit.label,)
