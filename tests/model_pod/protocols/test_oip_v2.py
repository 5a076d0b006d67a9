"""Open Inference Protocol requests against a signature, and answers merged from rows."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.exchange import RowOutput
from model_pod.protocols.oip_v2 import InferRequest, ModelName, RequestFacts, decode, encode, metadata
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer, RowOutcome, RowRefused, Tensor

FACTS = RequestFacts("r", (("X", "y"),))
NAME = ModelName("m", "1")
SIGNATURE = Signature(
    (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1, 1))),
    (TensorSpec("y", "INT64", (-1, 1)), TensorSpec("p", "FP32", (-1, 2))),
)
A = {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4.5]}
S = {"name": "s", "datatype": "BYTES", "shape": [2, 1], "data": ["x", "é"]}


def _decode(body: object, signature: Signature | None = SIGNATURE) -> InferRequest:
    return decode(FACTS, msgspec.json.encode(body), signature, row_limit=100)


def _refusal(body: object, signature: Signature | None = SIGNATURE) -> Refused:
    with pytest.raises(Refused) as refused:
        _decode(body, signature)
    return refused.value


def _one(**changes: object) -> dict[str, Any]:
    return {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], **changes}]}


def test_a_request_is_one_row_per_index_of_its_first_dimension() -> None:
    request = _decode({"id": "7", "inputs": [A, S], "outputs": [{"name": "p"}]})
    assert (request.id, request.outputs) == ("7", ("p",))
    assert [row.row.tensors for row in request.rows] == [
        (Tensor("a", "FP32", (2,), 0), Tensor("s", "BYTES", (1,), 1))
    ] * 2
    assert [tuple(map(bytes, row.blobs)) for row in request.rows] == [
        (struct.pack("<ff", 1, 2), b"\x01\0\0\0x"),
        (struct.pack("<ff", 3, 4.5), b"\x02\0\0\0\xc3\xa9"),
    ]
    assert {row.row.request_id for row in request.rows} == {"r"}
    assert request.batch_key.tensors == (("a", "FP32", (2,)), ("s", "BYTES", (1,)))


def test_nested_and_flat_data_are_the_same() -> None:
    nested = {**A, "data": [[1, 2], [3, 4.5]]}
    assert _decode({"inputs": [nested, S]}) == _decode({"inputs": [A, S]})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"inputs": [A]}, "input 's' is missing; the model takes 'a', 's'"),
        ({"inputs": [A, S, {**A, "name": "z"}]}, "input 'z' is unknown; the model takes 'a', 's'"),
        ({"inputs": [A, A]}, "input 'a' is there twice"),
        ({"inputs": []}, "the request has 0 inputs; it needs 1 to 256"),
        ({"inputs": [{**A, "datatype": "FP64"}, S]}, "input 'a' is FP64; the model takes FP32"),
        (
            {"inputs": [{**A, "shape": [4]}, S]},
            "input 'a' has the shape [4]; the model takes [-1, 2], where -1 is any size",
        ),
        (
            {"inputs": [{**A, "shape": [2, 3]}, S]},
            "input 'a' has the shape [2, 3]; the model takes [-1, 2], where -1 is any size",
        ),
        ({"inputs": [{**A, "data": [1, 2, 3]}, S]}, "input 'a' has 3 elements; its shape [2, 2] takes 4"),
        (
            {"inputs": [{**A, "shape": [1, 2], "data": [1, 2]}, S]},
            "inputs 'a' and 's' have 1 and 2 rows; all inputs need as many",
        ),
        ({"inputs": [A, S], "outputs": [{"name": "q"}]}, "output 'q' is unknown; the model gives 'y', 'p'"),
        ({"inputs": [A, S], "outputs": [{"name": "p"}, {"name": "p"}]}, "output 'p' is asked for twice"),
        (
            {"inputs": [{**A, "shape": [101, 2]}, {**S, "shape": [101, 1]}]},
            "the request has 101 rows; one request may have 100",
        ),
    ],
)
def test_a_request_that_does_not_fit_the_signature_is_refused_by_name(body: object, sentence: str) -> None:
    refused = _refusal(body)
    assert (refused.reason, refused.message) == ("bad_input", sentence)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (_one(datatype="FP16"), "FP16, which JSON cannot carry"),
        (_one(datatype="FLOAT"), "unknown datatype 'FLOAT'"),
        (_one(shape=[]), "needs 1 to 32 sizes of at least 1"),
        (_one(shape=[1, 0]), "needs 1 to 32 sizes of at least 1"),
        (_one(shape=[-1, 2]), "needs 1 to 32 sizes of at least 1"),
        (_one(shape=[1] * 33), "needs 1 to 32 sizes of at least 1"),
        (_one(data=5), "no `data` that is a JSON array"),
        (_one(data=["x", "y"]), "an element that is not of datatype FP32"),
        (_one(data=[None, 1]), "an element that is not of datatype FP32"),
        (_one(data=[[1], 2]), "nested unevenly"),
        (_one(data=[1e39, 1]), "outside the range of FP32"),
        (_one(datatype="INT8", data=[128, 1]), "outside the range of INT8"),
        (_one(datatype="UINT64", data=[-1, 1]), "outside the range of UINT64"),
        (_one(datatype="INT32", data=[1.5, 1]), "an element that is not of datatype INT32"),
        (_one(datatype="BOOL", data=[1, 0]), "an element that is not of datatype BOOL"),
        (_one(datatype="BYTES", data=[1, 0]), "an element that is not of datatype BYTES"),
        ({"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2]}]}, "has no `data`"),
        ({"inputs": [{"name": "a"}]}, "missing required field `datatype`"),
        ({}, "missing required field `inputs`"),
        ([], "Expected `object`"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(body: object, part: str) -> None:
    refused = _refusal(body, None)
    assert refused.reason == "bad_input"
    assert part in refused.message


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":' + b"[" * 10_000, b'{"inputs": nope}', b'{"id":"\xff"}'])
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        decode(FACTS, body, None, 100)
    assert refused.value.reason == "malformed_body"


def test_a_body_that_came_compressed_is_told_to_be_sent_plain() -> None:
    facts = RequestFacts("r", (("content-encoding", "gzip"),))
    with pytest.raises(Refused, match=r"not JSON: it is compressed \(gzip\).*send it plain"):
        decode(facts, gzip.compress(b"{}"), None, 100)


def test_without_a_signature_any_declared_tensor_is_taken() -> None:
    (row,) = _decode(_one(datatype="UINT64", data=[2**64 - 1, 0]), None).rows
    assert bytes(row.blobs[0]) == struct.pack("<QQ", 2**64 - 1, 0)


def _rows(*outcomes: RowOutcome) -> list[RowOutput]:
    blobs = [struct.pack("<q", 3), struct.pack("<ff", 0.25, 0.75), struct.pack("<q", 4), struct.pack("<ff", 1, 0)]
    return [RowOutput(outcome, blobs) for outcome in outcomes]


FIRST = RowAnswer(tensors=(Tensor("p", "FP32", (2,), 1), Tensor("y", "INT64", (1,), 0)))
SECOND = RowAnswer(tensors=(Tensor("y", "INT64", (1,), 2), Tensor("p", "FP32", (2,), 3)))
ASKED = InferRequest("7", (), _decode({"inputs": [A, S]}).batch_key, ())


def test_rows_are_merged_in_the_signatures_order() -> None:
    answer = encode(ASKED, NAME, SIGNATURE, _rows(FIRST, SECOND))
    assert msgspec.json.decode(answer.body) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "y", "datatype": "INT64", "shape": [2, 1], "data": [3, 4]},
            {"name": "p", "datatype": "FP32", "shape": [2, 2], "data": [0.25, 0.75, 1.0, 0.0]},
        ],
    }


def test_outputs_are_given_as_they_were_asked_for() -> None:
    asked = ASKED._replace(id="", outputs=("p",))
    body = msgspec.json.decode(encode(asked, NAME, SIGNATURE, _rows(FIRST)).body)
    assert [output["name"] for output in body["outputs"]] == ["p"]
    assert "id" not in body


@pytest.mark.parametrize(
    ("second", "reason", "part"),
    [
        (RowRefused("handler_failed", "ValueError: x"), "handler_failed", "row 1: ValueError: x"),
        (RowAnswer(blob=0), "bad_output", "row 1: the handler answered no tensors"),
        (RowAnswer(status=418, blob=0), "row_refused", "row 1: the handler answered status 418"),
        (RowAnswer(tensors=(Tensor("y", "INT64", (1,), 2),)), "bad_output", "no output 'p'"),
        (
            RowAnswer(tensors=(Tensor("y", "INT64", (1,), 2), Tensor("p", "FP32", (1, 2), 3))),
            "bad_output",
            "output 'p' differs in datatype or shape",
        ),
    ],
)
def test_rows_that_do_not_fit_together_refuse_the_request(second: RowOutcome, reason: str, part: str) -> None:
    with pytest.raises(Refused) as refused:
        encode(ASKED, NAME, SIGNATURE, _rows(FIRST, second))
    assert refused.value.reason == reason
    assert part in refused.value.message


@pytest.mark.parametrize(
    ("datatype", "shape", "blob"),
    [
        ("FP32", (1,), struct.pack("<f", float("nan"))),
        ("FP64", (1,), struct.pack("<d", float("inf"))),
        ("FP32", (1,), b"\0\0\0"),
        ("FP32", (2,), b"\0\0\0\0"),
        ("BYTES", (1,), b"\xff\0\0\0x"),
        ("BYTES", (1,), b"\x01\0\0\0\xff"),
        ("BYTES", (1,), b"\x01\0"),
        ("COMPLEX", (1,), b"\0\0\0\0"),
    ],
)
def test_an_output_that_json_cannot_carry_is_the_models_failure(
    datatype: str, shape: tuple[int, ...], blob: bytes
) -> None:
    outputs = [RowOutput(RowAnswer(tensors=(Tensor("o", datatype, shape, 0),)), [blob])]
    with pytest.raises(Refused, match="'o'") as refused:
        encode(ASKED, NAME, None, outputs)
    assert refused.value.reason == "bad_output"


elements = {
    "BOOL": st.booleans(),
    "INT8": st.integers(-(2**7), 2**7 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    "BYTES": st.text(st.characters(codec="utf-8"), max_size=5),
}


@given(st.sampled_from(sorted(elements)), st.integers(1, 4), st.integers(1, 3), st.data())
def test_a_tensor_comes_back_as_it_was_sent(datatype: str, rows: int, width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(elements[datatype], min_size=rows * width, max_size=rows * width))
    tensor = {"name": "t", "datatype": datatype, "shape": [rows, width], "data": values}
    request = _decode({"inputs": [tensor]}, None)
    mirrored = [RowOutput(RowAnswer(tensors=row.row.tensors), row.blobs) for row in request.rows]
    assert msgspec.json.decode(encode(request, NAME, None, mirrored).body)["outputs"] == [tensor]


def test_metadata_is_the_signature() -> None:
    body = msgspec.json.decode(metadata(NAME, SIGNATURE).body)
    assert (body["name"], body["versions"]) == ("m", ["1"])
    assert body["inputs"][0] == {"name": "a", "datatype": "FP32", "shape": [-1, 2]}
    assert [output["name"] for output in body["outputs"]] == ["y", "p"]
    assert msgspec.json.decode(metadata(NAME, None).body)["inputs"] == []


@pytest.mark.parametrize("name", ["n" * 257, "\N{SNOWMAN}" * 86], ids=["ascii", "snowmen"])
def test_names_of_tensors_are_bounded(name: str) -> None:
    tensor = {"name": name, "datatype": "FP32", "shape": [1], "data": [1.0]}
    asked = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}
    for request in ({"inputs": [tensor]}, {"inputs": [asked], "outputs": [{"name": name}]}):
        with pytest.raises(Refused, match="longer than 256 bytes") as refused:
            decode(FACTS, msgspec.json.encode(request), None, 10)
        assert refused.value.reason == "malformed_body"


def test_outputs_that_are_asked_for_are_bounded() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}
    request = {"inputs": [tensor], "outputs": [{"name": str(number)} for number in range(257)]}
    with pytest.raises(Refused, match="asks for 257 outputs"):
        decode(FACTS, msgspec.json.encode(request), None, 10)


def test_a_long_array_is_the_same_decoded_in_pieces() -> None:
    data = [number * 0.5 for number in range(100_000)]
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(data)], "data": data}
    body = msgspec.json.encode({"inputs": [tensor]}).replace(b",", b" ,\n ")
    (row,) = decode(FACTS, body, None, 10).rows
    assert row.blobs[0] == np.array(data, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    "element", [b"[1,2]", b"[" + b"1," * 300_000 + b"1]", b'"1,2"'], ids=["array", "long array", "text"]
)
def test_a_long_array_with_an_element_that_is_no_number_is_refused(element: bytes) -> None:
    data = b"[" + b"1," * 200_000 + element + b"]"
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,200001],"data":' + data + b"}]}"
    with pytest.raises(Refused, match="not of datatype FP32, or is nested unevenly"):
        decode(FACTS, body, None, 10)
