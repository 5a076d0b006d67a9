from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import torch
from ts.context import RequestProcessor

from model_pod.engine.outputs import MAX_ANSWER_BYTES, Outbox, row_outcome
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer, RowRefused, Tensor

BODY_ROW = Row("id", parts=(Part("body", PartKind.BYTES, 0),))
TENSOR_ROW = Row("id", tensors=(Tensor("x", "FP32", (), 0),))
SIGNATURE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1,)),),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
)


class Exiting(dict[str, int]):
    def items(self) -> Any:
        raise SystemExit(1)


def _answer(row: Row, value: object, processor: RequestProcessor | None = None) -> tuple[Any, list[bytes]]:
    outbox = Outbox()
    outcome = row_outcome(row, value, processor or RequestProcessor(), None, outbox)
    return outcome, [bytes(blob) for blob in outbox.blobs]


def _tensors(value: object, signature: Signature | None) -> list[tuple[str, str, tuple[int, ...], bytes]] | RowRefused:
    outbox = Outbox()
    outcome = row_outcome(TENSOR_ROW, value, RequestProcessor(), signature, outbox)
    if isinstance(outcome, RowRefused):
        return outcome
    return [(item.name, item.datatype, item.shape, bytes(outbox.blobs[item.blob])) for item in outcome.tensors]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b"\0\1", b"\0\1"),
        (bytearray(b"zz"), b"zz"),
        ("é", "é".encode()),
        (None, b"null"),
        (5, b"5"),
        ([1, 2], b"[\n  1,\n  2\n]"),
        ({"a": 1}, b'{\n  "a": 1\n}'),
    ],
)
def test_an_answer_is_sent_as_torchserve_sends_it(value: object, sent: bytes) -> None:
    outcome, blobs = _answer(BODY_ROW, value)
    assert (outcome, blobs) == (RowAnswer(blob=0), [sent])


def test_a_tensor_is_sent_as_torch_saves_it() -> None:
    _, blobs = _answer(BODY_ROW, torch.tensor([1.0, 2.0]))
    assert torch.equal(torch.load(io.BytesIO(blobs[0]), weights_only=True), torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, "\ud800", b"x" * (MAX_ANSWER_BYTES + 1), {"a": b"x"}, Exiting(a=1)]
)
def test_an_answer_that_cannot_be_sent_refuses_its_row(value: object) -> None:
    outcome, blobs = _answer(BODY_ROW, value)
    assert isinstance(outcome, RowRefused)
    assert (outcome.reason, blobs) == ("bad_output", [])


def test_status_phrase_and_headers_are_the_handlers() -> None:
    processor = RequestProcessor()
    processor.report_status(418, "teapot")
    for name, value in (("Content-Type", "text/plain"), ("dummy", "1"), ("Content-Length", "9")):
        processor.add_response_property(name, value)
    outcome, _ = _answer(BODY_ROW, b"x", processor)
    assert outcome == RowAnswer(418, "teapot", "text/plain", (("dummy", "1"),), blob=0)


@pytest.mark.parametrize(
    ("name", "value"), [("x", "a\r\nb: c"), ("a b", "c"), ("", "c"), ("x", "\u20ac"), ("x", "y" * 9000)]
)
def test_a_header_that_http_cannot_carry_refuses_the_row(name: str, value: str) -> None:
    processor = RequestProcessor()
    processor.add_response_property(name, value)
    assert _answer(BODY_ROW, b"x", processor)[0].reason == "bad_output"


def test_a_status_that_is_none_refuses_the_row() -> None:
    processor = RequestProcessor()
    processor.report_status(99)
    assert _answer(BODY_ROW, b"x", processor)[0].reason == "bad_output"


@pytest.mark.parametrize(
    "value",
    [
        {"label": 3, "probabilities": [0.25, 0.75]},
        {"label": torch.tensor([3]), "probabilities": torch.tensor([[0.25, 0.75]], dtype=torch.float64)},
        {"label": np.int64(3), "probabilities": np.array([0.25, 0.75]), "more": "is left out"},
    ],
)
def test_outputs_take_the_names_types_and_shapes_of_the_signature(value: object) -> None:
    assert _tensors(value, SIGNATURE) == [
        ("label", "INT64", (), struct.pack("<q", 3)),
        ("probabilities", "FP32", (2,), struct.pack("<2f", 0.25, 0.75)),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"label": 3}, "The handler's answer lacks 'probabilities'."),
        (3, "The handler must answer a dict with the outputs 'label', 'probabilities'."),
        ({"label": 3, "probabilities": [1.0]}, "The output 'probabilities' has the shape [1] and should have [2]."),
        (
            {"label": 3.5, "probabilities": [0, 1]},
            "The output 'label' is torch.float32, which does not convert to torch.int64.",
        ),
    ],
)
def test_outputs_that_do_not_fit_the_signature_refuse_the_row(value: object, message: str) -> None:
    assert _tensors(value, SIGNATURE) == RowRefused("bad_output", message)


def test_a_bare_value_is_the_only_output() -> None:
    signature = Signature(inputs=SIGNATURE.inputs, outputs=(TensorSpec("text", "BYTES", (-1, -1)),))
    assert _tensors(["a", b"bc"], signature) == [("text", "BYTES", (2,), b"\1\0\0\0a\2\0\0\0bc")]


def test_without_a_signature_types_are_inferred() -> None:
    value = {"n": 1, "f": [0.5], "b": True, "s": "x", "h": torch.tensor([1.0], dtype=torch.bfloat16)}
    found = _tensors(value, None)
    assert isinstance(found, list)
    assert [item[:3] for item in found] == [
        ("n", "INT64", ()),
        ("f", "FP32", (1,)),
        ("b", "BOOL", ()),
        ("s", "BYTES", ()),
        ("h", "FP32", (1,)),
    ]


def _told_tokens(value: str) -> Any:
    processor = RequestProcessor()
    processor.add_response_property("dummy", "1")
    processor.add_response_property("Penstock-Tokens", value)
    return _answer(BODY_ROW, b"x", processor)[0]


def test_tokens_are_told_beside_the_header_fields_and_not_among_them() -> None:
    assert _told_tokens("17") == RowAnswer(headers=(("dummy", "1"),), blob=0, tokens=17)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "many", "1 2", "9" * 13, "\xb2"])
def test_tokens_that_are_no_number_refuse_the_row(value: str) -> None:
    assert _told_tokens(value) == RowRefused(
        "bad_output", f"The handler set penstock-tokens to {value!r:.40}; it must be a whole number of tokens."
    )
