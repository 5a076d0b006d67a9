from __future__ import annotations

import struct

import pytest
import torch

from model_pod.engine.inputs import TORCH_DTYPES, BadInput, handler_row, request_header
from model_pod.wire.rows import Part, PartKind, Row, Tensor


@pytest.mark.parametrize(
    ("kind", "blob", "seen"),
    [
        (PartKind.BYTES, b"hello", bytearray(b"hello")),
        (PartKind.TEXT, b"hello", "hello"),
        (PartKind.TEXT, b"\xff", bytearray(b"\xff")),
        (PartKind.JSON, b'{"a": [1]}', {"a": [1]}),
        (PartKind.JSON, b'{"a":[1,2', bytearray(b'{"a":[1,2')),
        (PartKind.JSON, b"[" * 100_000, bytearray(b"[" * 100_000)),
        (PartKind.JSON, b"\xff\xfe", bytearray(b"\xff\xfe")),
    ],
)
def test_a_handler_sees_a_body_as_torchserve_shows_it(kind: PartKind, blob: bytes, seen: object) -> None:
    value = handler_row(Row("id", parts=(Part("body", kind, 0),)), [memoryview(blob)])["body"]
    assert value == seen
    assert type(value) is type(seen)


def test_the_last_of_two_fields_with_one_name_wins() -> None:
    parts = (Part("data", PartKind.TEXT, 0), Part("data", PartKind.TEXT, 1))
    assert handler_row(Row("id", parts=parts), [b"first", b"last"]) == {"data": "last"}


@pytest.mark.parametrize("datatype", TORCH_DTYPES)
def test_a_tensor_of_every_datatype_arrives(datatype: str) -> None:
    dtype = TORCH_DTYPES[datatype]
    expected = torch.tensor([[0, 1], [1, 0]], dtype=dtype)
    blob = expected.numpy().tobytes()
    value = handler_row(Row("id", tensors=(Tensor("x", datatype, (2, 2), 0),)), [blob])["x"]
    assert value.dtype == dtype
    assert torch.equal(value, expected)


def test_byte_strings_arrive_as_a_list() -> None:
    row = Row("id", tensors=(Tensor("text", "BYTES", (2,), 0),))
    assert handler_row(row, [struct.pack("<I2sI", 2, b"ab", 0)]) == {"text": [b"ab", b""]}


@pytest.mark.parametrize(
    ("datatype", "shape", "blob"),
    [
        ("FP32", (2,), b"1234"),
        ("FP32", (), b""),
        ("BF32", (1,), b"1234"),
        ("BYTES", (1,), b"\x05\0\0\0abc"),
        ("BYTES", (1,), b"\x01\0"),
        ("BYTES", (2,), b"\x01\0\0\0a"),
    ],
)
def test_bytes_that_do_not_fit_their_tensor_are_refused(datatype: str, shape: tuple[int, ...], blob: bytes) -> None:
    with pytest.raises(BadInput):
        handler_row(Row("id", tensors=(Tensor("x", datatype, shape, 0),)), [blob])


def test_an_empty_tensor_is_a_tensor() -> None:
    assert handler_row(Row("id", tensors=(Tensor("x", "FP32", (0, 3), 0),)), [b""])["x"].shape == (0, 3)


def test_headers_keep_the_clients_spelling_and_gain_torchserves_own() -> None:
    row = Row("id", (("X-Test", "v"),), (Part("body", PartKind.JSON, 0, "application/json"),), url_path="a/b")
    assert request_header(row) == {
        "X-Test": "v",
        "explain": "False",
        "url_path": "a/b",
        "body": {"content-type": "application/json"},
    }
