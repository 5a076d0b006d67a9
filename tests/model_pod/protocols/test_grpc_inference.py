"""Open Inference Protocol calls over gRPC: both forms of contents against a signature, answers in the same form."""

from __future__ import annotations

import gzip
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.exchange import RowOutput
from model_pod.protocols.grpc_inference import MAX_TYPED_ELEMENTS, GrpcInference
from model_pod.protocols.grpc_messages import byte_count, framed, message_class, unframed
from model_pod.protocols.oip_v2 import InferRequest, ModelName, RequestFacts
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.protocols.tensors import DTYPES, pack_strings, unpack_strings
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer, RowRefused, Tensor

FACTS = RequestFacts("r", (("x", "y"),))
NAME = ModelName("m", "1")
MOST_BYTES = 1_000_000
SIGNATURE = Signature(
    (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1, 1))), (TensorSpec("y", "INT64", (-1, 1)),)
)
A = {"name": "a", "datatype": "FP32", "shape": [2, 2]}
S = {"name": "s", "datatype": "BYTES", "shape": [2, 1]}
RAW_A = struct.pack("<4f", 1, 2, 3, 4.5)
RAW_S = pack_strings([b"x", b"\xff"])
TYPED = [{**A, "contents": {"fp32_contents": [1, 2, 3, 4.5]}}, {**S, "contents": {"bytes_contents": [b"x", b"\xff"]}}]


def call(**fields: Any) -> bytes:
    request = message_class("inference.ModelInferRequest")(**{"model_name": "m", **fields})
    return framed(request.SerializeToString())


def decode(body: bytes, signature: Signature | None = SIGNATURE) -> InferRequest:
    return GrpcInference(NAME, MOST_BYTES, is_streamed=False).decode(FACTS, body, signature, row_limit=100)


def refusal(body: bytes, signature: Signature | None = SIGNATURE) -> Refused:
    with pytest.raises(Refused) as refused:
        decode(body, signature)
    return refused.value


def test_raw_and_typed_contents_are_the_same_rows() -> None:
    raw = decode(call(id="7", inputs=[A, S], raw_input_contents=[RAW_A, RAW_S], outputs=[{"name": "y"}]))
    typed = decode(call(id="7", inputs=TYPED, outputs=[{"name": "y"}]))
    for request in (raw, typed):
        assert (request.id, request.outputs) == ("7", ("y",))
        assert [tuple(map(bytes, row.blobs)) for row in request.rows] == [
            (struct.pack("<ff", 1, 2), b"\x01\0\0\0x"),
            (struct.pack("<ff", 3, 4.5), b"\x01\0\0\0\xff"),
        ]
        assert request.rows[0].row.tensors == (Tensor("a", "FP32", (2,), 0), Tensor("s", "BYTES", (1,), 1))
        assert request.batch_key == raw.batch_key


@pytest.mark.parametrize(
    ("field", "datatype"),
    [
        ("bool_contents", "BOOL"),
        ("int_contents", "INT8"),
        ("int_contents", "INT16"),
        ("int_contents", "INT32"),
        ("int64_contents", "INT64"),
        ("uint_contents", "UINT8"),
        ("uint_contents", "UINT16"),
        ("uint_contents", "UINT32"),
        ("uint64_contents", "UINT64"),
        ("fp32_contents", "FP32"),
        ("fp64_contents", "FP64"),
    ],
)
def test_each_datatype_has_its_contents(field: str, datatype: str) -> None:
    tensor = {"name": "a", "datatype": datatype, "shape": [2, 1], "contents": {field: [0, 1]}}
    request = decode(call(inputs=[tensor]), None)
    assert [bytes(row.blobs[0]) for row in request.rows] == [
        np.array([value], DTYPES[datatype]).tobytes() for value in (0, 1)
    ]


@given(st.sampled_from(["INT32", "FP32", "FP64", "UINT64", "FP16"]), st.integers(1, 5), st.integers(1, 4), st.data())
def test_what_goes_in_raw_comes_out_raw(datatype: str, rows: int, width: int, data: st.DataObject) -> None:
    size = rows * width * DTYPES[datatype].itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    form = GrpcInference(NAME, MOST_BYTES, is_streamed=False)
    body = call(inputs=[{"name": "a", "datatype": datatype, "shape": [rows, width]}], raw_input_contents=[raw])
    request = form.decode(FACTS, body, None, 100)
    outputs = [RowOutput(RowAnswer(tensors=(Tensor("y", datatype, (width,), 0),)), row.blobs) for row in request.rows]
    answer = form.encode(request, NAME, None, outputs)
    told = message_class("inference.ModelInferResponse").FromString(unframed(bytes(answer.body), MOST_BYTES))
    assert list(told.raw_output_contents) == [raw]
    assert (told.outputs[0].name, list(told.outputs[0].shape)) == ("y", [rows, width])


def answered(body: bytes, datatype: str, blob: bytes, shape: tuple[int, ...], *, is_streamed: bool = False) -> Any:
    form = GrpcInference(NAME, MOST_BYTES, is_streamed=is_streamed)
    request = form.decode(FACTS, body, None, 100)
    output = RowOutput(RowAnswer(tensors=(Tensor("y", datatype, shape, 0),)), [blob])
    answer = form.encode(request, NAME, None, [output])
    assert dict(answer.headers)["content-type"] == "application/grpc"
    name = "ModelStreamInferResponse" if is_streamed else "ModelInferResponse"
    return message_class(f"inference.{name}").FromString(unframed(bytes(answer.body), MOST_BYTES))


ONE_TYPED = {"name": "a", "datatype": "INT32", "shape": [1, 1], "contents": {"int_contents": [5]}}


def test_typed_contents_are_answered_by_typed_contents() -> None:
    told = answered(call(id="i", inputs=[ONE_TYPED]), "INT64", struct.pack("<2q", -1, 2), (2,))
    assert (told.model_name, told.model_version, told.id) == ("m", "1", "i")
    assert list(told.outputs[0].contents.int64_contents) == [-1, 2]
    assert not told.raw_output_contents
    told = answered(call(inputs=[ONE_TYPED]), "BYTES", pack_strings([b"\xff"]), (1,))
    assert list(told.outputs[0].contents.bytes_contents) == [b"\xff"]


def test_half_floats_and_what_no_number_is_are_answered_too() -> None:
    told = answered(call(inputs=[ONE_TYPED]), "FP16", bytes(2), (1,))
    assert list(told.raw_output_contents) == [bytes(2)]
    told = answered(call(inputs=[ONE_TYPED]), "FP32", struct.pack("<f", float("nan")), (1,))
    assert np.isnan(told.outputs[0].contents.fp32_contents[0])


def test_an_answer_of_a_stream_is_wrapped() -> None:
    told = answered(call(inputs=[ONE_TYPED]), "INT64", bytes(8), (1,), is_streamed=True)
    assert told.infer_response.model_name == "m"
    assert told.error_message == ""


def test_a_compressed_message_is_inflated_up_to_a_bound() -> None:
    plain = call(inputs=TYPED)[5:]
    body = b"\x01" + len(gzip.compress(plain)).to_bytes(4) + gzip.compress(plain)
    assert len(decode(body).rows) == 2
    bomb = gzip.compress(bytes(MOST_BYTES + 1))
    assert refusal(b"\x01" + len(bomb).to_bytes(4) + bomb).reason == "body_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\0",
        b"\0\0\0\0\x01",
        b"\0\0\0\0\0extra",
        b"\x02\0\0\0\0",
        b"\x01\0\0\0\x03abc",
        framed(b"\xff\xff"),
        framed(b"\x0a\x02\xff\xfe"),
        framed(b"\x2a\x02\x0a" + b"\x7f"),
    ],
)
def test_what_is_no_message_is_malformed(body: bytes) -> None:
    assert refusal(body).reason == "malformed_body"


def test_a_message_for_another_model_is_not_answered_by_this_one() -> None:
    assert refusal(call(model_name="n", inputs=TYPED)).reason == "model_not_found"
    assert refusal(call(model_version="2", inputs=TYPED)).reason == "version_not_found"
    assert decode(call(model_version="1", inputs=TYPED)).rows


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"inputs": []}, "0 inputs"),
        ({"inputs": [TYPED[0]]}, "'s' is missing"),
        ({"inputs": [*TYPED, {**S, "name": "z"}]}, "'z' is unknown"),
        ({"inputs": [{**TYPED[0], "datatype": "FP64"}, TYPED[1]]}, "FP64; the model takes FP32"),
        ({"inputs": [{**TYPED[0], "shape": [4, 1]}, TYPED[1]]}, "shape [4, 1]"),
        ({"inputs": [{**TYPED[0], "shape": [3, 2]}, TYPED[1]]}, "rows"),
        ({"inputs": [{**TYPED[0], "contents": {"fp32_contents": [1]}}, TYPED[1]]}, "1 elements"),
        ({"inputs": [{**TYPED[0], "contents": {"fp64_contents": [1, 2, 3, 4]}}, TYPED[1]]}, "fp32_contents alone"),
        ({"inputs": [A, S], "raw_input_contents": [RAW_A]}, "2 inputs and 1 raw"),
        ({"inputs": TYPED, "raw_input_contents": [RAW_A, RAW_S]}, "beside raw_input_contents"),
        ({"inputs": [A, S], "raw_input_contents": [RAW_A[:-1], RAW_S]}, "15 bytes"),
        ({"inputs": [A, S], "raw_input_contents": [RAW_A, RAW_S[:-1]]}, "cut short"),
        ({"inputs": TYPED, "outputs": [{"name": "q"}]}, "'q' is unknown"),
    ],
)
def test_inputs_that_are_not_the_models_are_told_by_name(fields: dict[str, Any], words: str) -> None:
    refused = refusal(call(**fields))
    assert refused.reason == "bad_input"
    assert words in refused.message


def test_elements_outside_their_range_are_refused() -> None:
    tensor = {"name": "a", "datatype": "INT8", "shape": [1, 1], "contents": {"int_contents": [300]}}
    assert "outside the range of INT8" in refusal(call(inputs=[tensor]), None).message
    flag = {"name": "a", "datatype": "BOOL", "shape": [1, 1]}
    assert "neither 0 nor 1" in refusal(call(inputs=[flag], raw_input_contents=[b"\x02"]), None).message


def test_a_refused_row_refuses_the_call() -> None:
    form = GrpcInference(NAME, MOST_BYTES, is_streamed=False)
    request = form.decode(FACTS, call(inputs=[ONE_TYPED]), None, 100)
    with pytest.raises(Refused) as refused:
        form.encode(request, NAME, None, [RowOutput(RowRefused("row_refused", "no"), [])])
    assert refused.value.reason == "row_refused"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(Refused):
        decode(framed(content), None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"inputs": [{"contents": {"bool_contents": [False] * (MAX_TYPED_ELEMENTS + 1)}}]}, "too many typed"),
        ({"inputs": [{"datatype": "BYTES", "shape": [1, MAX_TYPED_ELEMENTS + 1]}]}, "too many typed or BYTES"),
        ({"inputs": [{}] * 257}, "over 256 inputs"),
        ({"outputs": [{}] * 257}, "over 256 inputs or outputs"),
        ({"raw_input_contents": [b""] * 257}, "over 256 raw_input_contents"),
        ({"inputs": [{"shape": [1] * 33}]}, "over 32 sizes"),
    ],
)
def test_what_is_too_many_is_counted_before_anything_is_made_for_each(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(call(**fields), None).message


def test_more_strings_than_a_shape_has_are_not_read() -> None:
    assert unpack_strings(memoryview(bytes(40)), 1) == [b"", b""]


def test_typed_elements_of_several_slices_keep_their_order() -> None:
    count = 2 * 2**14 + 5
    tensor = {"name": "a", "datatype": "INT32", "shape": [1, count], "contents": {"int_contents": range(count)}}
    (row,) = decode(call(inputs=[tensor]), None).rows
    assert bytes(row.blobs[0]) == np.arange(count, dtype="<i4").tobytes()


@pytest.mark.parametrize("told_bytes", [0, 20])
def test_a_message_is_as_large_as_its_gzip_says_or_malformed(told_bytes: int) -> None:
    content = gzip.compress(bytes(100))
    forged = content[:-4] + told_bytes.to_bytes(4, "little")
    assert byte_count(b"\x01" + len(content).to_bytes(4) + content) == 100
    assert refusal(b"\x01" + len(forged).to_bytes(4) + forged).reason == "malformed_body"
