"""TorchServe's predictions over gRPC, to a row and back."""

from __future__ import annotations

from typing import Any

import pytest

from model_pod.protocols.exchange import HttpAnswer
from model_pod.protocols.grpc_messages import message_class, unframed
from model_pod.protocols.grpc_torchserve import decode, encode, head
from model_pod.protocols.oip_v2 import ModelName
from model_pod.protocols.torchserve import MAX_FORM_FIELDS, RequestFacts
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Part, PartKind

FACTS = RequestFacts("r", (("x", "y"),), "application/grpc")
NAME = ModelName("m", "1.0")


def request(**fields: Any) -> bytes:
    made = message_class("org.pytorch.serve.grpc.inference.PredictionsRequest")(**{"model_name": "m", **fields})
    message: bytes = made.SerializeToString()
    return message


def test_inputs_become_the_parts_of_one_row_as_bytes() -> None:
    row = decode(FACTS, request(input={"data": b"\xff"}, model_version="1.0"), NAME)
    assert row.row.parts == (Part("data", PartKind.BYTES, 0),)
    assert (row.blobs, row.row.headers) == ((b"\xff",), (("x", "y"),))
    assert decode(FACTS, request(), NAME).blobs == ()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request(model_name="n"), "model_not_found"),
        (request(model_version="2"), "version_not_found"),
        (request(input={str(number): b"" for number in range(MAX_FORM_FIELDS + 1)}), "malformed_body"),
        (request(input={"x" * 300: b""}), "malformed_body"),
        (b"\xff", "malformed_body"),
    ],
)
def test_what_is_not_for_this_model_or_no_request_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(FACTS, message, NAME)
    assert refused.value.reason == reason


def test_a_handlers_bytes_become_a_message_and_its_type_is_lost() -> None:
    answer = encode(HttpAnswer(418, (("Content-Type", "text/plain"), ("x", "y")), b"tea"))
    response = message_class("org.pytorch.serve.grpc.inference.PredictionResponse")
    assert response.FromString(unframed(bytes(answer.body), 100)).prediction == b"tea"
    assert (answer.status, answer.headers) == (418, (("x", "y"), ("content-type", "application/grpc")))
    assert head(answer).body == b""
