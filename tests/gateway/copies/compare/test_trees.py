"""A body is the same tree whatever protocol it came in."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.elements import Unreadable
from gateway.copies.compare.pointers import MISSING, part_at
from gateway.copies.compare.trees import Tensor, read
from gateway.copies.messages import MAX_COPIED_BYTES
from gateway.dataplane.grpc.protobuf import counted, numbers
from tests.gateway.copies.compare.exchanges import JSON, binary, says, tensors

GRPC = b"content-type: application/grpc\r\n"


def tree_of(answer: Answer) -> object:
    return read(answer.fields, answer.body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        (b"cat", "cat"),
        (b"7", 7),
        (b"007", "007"),
        (b"", ""),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"[-Infinity, 1]", [-math.inf, 1]),
    ],
)
def test_a_body_is_json_else_text_else_bytes_whatever_it_is_called(body: bytes, value: object) -> None:
    for fields in (b"", JSON, b"content-type: text/plain\r\n"):
        assert read(fields, body) == value


def test_nan_is_read_as_python_writes_it() -> None:
    (number,) = read(JSON, b"[NaN]")
    assert math.isnan(number)


@pytest.mark.parametrize(
    ("datatype", "elements"),
    [
        ("FP16", [0.5, -2.0, 65504.0, 0.0]),
        ("BF16", [0.5, -2.0, 1.0, 256.0]),
        ("FP32", [0.5, -2.0, 1.5, 3.0]),
        ("FP64", [0.1, -2.0, 1.5, 3.0]),
        ("INT8", [-128, 127, 0, 1]),
        ("INT64", [-(2**63), 2**63 - 1, 0, 1]),
        ("UINT8", [255, 0, 1, 2]),
        ("BOOL", [True, False, False, True]),
    ],
)
def test_binary_tensors_are_the_tensors_that_json_would_be(datatype: str, elements: list[float]) -> None:
    other = ("other", "INT8", [1], [5])
    told = ("scores", datatype, [2, 2], elements), other
    assert tree_of(binary(*told)) == tree_of(tensors(*told))
    nested = [elements[:2], elements[2:]]
    assert tree_of(tensors(("scores", datatype, [2, 2], nested), other)) == tree_of(binary(*told))


def test_binary_text_is_text_where_it_is_utf_8() -> None:
    tree = tree_of(binary(("labels", "BYTES", [3], [b"cat", "Käse".encode(), b"\xff"])))
    assert part_at(tree, "/outputs/0/data") == Tensor("BYTES", (3,), ["cat", "Käse", b"\xff"])


def test_what_says_who_answered_is_no_part_of_the_answer() -> None:
    told = ("label", "INT64", [1], [3])
    assert tree_of(tensors(told, version="1")) == tree_of(tensors(told, version="2"))
    # Only of this protocol: elsewhere these names mean what the handler means by them.
    assert tree_of(says({"id": 1, "outputs": [{"x": 1}]})) == {"id": 1, "outputs": [{"x": 1}]}


def message(content: bytes) -> bytes:
    return b"\x00" + len(content).to_bytes(4) + content


def output(name: str, datatype: str, shape: list[int], contents: bytes = b"") -> bytes:
    return counted(5, counted(1, name) + counted(2, datatype) + numbers(3, shape) + counted(5, contents))


def test_inference_answers_of_grpc_are_the_trees_of_json() -> None:
    typed = output("scores", "FP32", [2], counted(6, struct.pack("<2f", 0.5, 2.0)))
    named = output("ids", "INT64", [2], numbers(3, [-1, 300]))
    texts = output("labels", "BYTES", [2], counted(8, b"cat") + counted(8, b"dog"))
    raw = output("scores", "FP32", [2]) + counted(6, struct.pack("<2f", 0.5, 2.0))
    scores = ("scores", "FP32", [2], [0.5, 2.0])
    head = counted(1, "m") + counted(2, "1")
    assert read(GRPC, message(head + raw)) == tree_of(tensors(scores))
    assert read(GRPC, message(head + typed + named + texts)) == tree_of(
        tensors(scores, ("ids", "INT64", [2], [-1, 300]), ("labels", "BYTES", [2], ["cat", "dog"]))
    )


def test_predictions_of_grpc_are_what_the_handler_said() -> None:
    assert read(GRPC, message(counted(1, b'{"label": 3}'))) == {"label": 3}
    assert read(GRPC, message(counted(1, b"one ")) + message(counted(1, b"two"))) == "one two"


@pytest.mark.parametrize(
    ("fields", "body", "why"),
    [
        (JSON, b" " * (MAX_COPIED_BYTES + 1), "too large"),
        (JSON, b"[" + b"[]," * 140_000 + b"1]", "too large"),
        (JSON, b"[" * 200_000, "nested too deep"),
        (JSON, b"[" * 100 + b"]" * 100, "nested too deep"),
        (GRPC, b"\x01\x00\x00\x00\x00", "compressed"),
        (GRPC, b"\x00\x00\x00\x00\x09abc", "cut short"),
        (GRPC, message(b"\xff\xff\xff"), "no message"),
        (GRPC, message(output("x", "FP32", [1], counted(6, b"abc"))), "cut short"),
    ],
)
def test_what_cannot_be_read_says_why(fields: bytes, body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(fields, body)


def test_a_tensor_that_lacks_bytes_cannot_be_read() -> None:
    whole = binary(("scores", "FP32", [2], [1.0, 2.0]))
    for fewer in range(1, 8):
        with pytest.raises(Unreadable, match="cut short"):
            read(whole.fields, whole.body[:-fewer])


@given(st.binary(max_size=200), st.sampled_from([JSON, GRPC, b"inference-header-content-length: 9\r\n"]))
def test_whatever_a_pod_says_is_read_or_refused(body: bytes, fields: bytes) -> None:
    try:
        read(fields, body)
    except Unreadable as why:
        said = str(why)
    else:
        said = "read"
    assert said


def test_a_part_that_is_not_there_is_missing() -> None:
    tree = tree_of(tensors(("scores", "FP32", [2], [0.5, 2.0])))
    assert part_at(tree, "/outputs/1/data") is MISSING
    assert part_at(tree, "/outputs/0/data/1") == 2.0
