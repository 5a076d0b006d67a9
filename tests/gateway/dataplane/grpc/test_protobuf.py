from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.grpc.protobuf import Names, counted, counted_fields, names_of, number, numbers, varint, without
from model_pod.protocols.grpc_messages import message_class
from model_pod.wire.refusals import Refused

REQUEST = message_class("inference.ModelInferRequest")


@given(st.text(min_size=1, max_size=40), st.text(max_size=10), st.binary(max_size=50), st.integers(0, 200))
def test_the_names_are_found_in_whatever_part_of_a_message_holds_them(
    model: str, version: str, raw: bytes, cut: int
) -> None:
    message = REQUEST(model_name=model, model_version=version, id="i", raw_input_contents=[raw]).SerializeToString()
    wanted = Names(model, version)
    assert names_of(message, is_whole=True) == wanted
    assert names_of(message[:cut], is_whole=False) in (None, wanted)
    assert names_of(message + counted(7, bytes(5)), is_whole=False) == wanted


@given(st.binary(max_size=80))
def test_any_bytes_name_what_protobuf_reads_in_them_or_are_refused(message: bytes) -> None:
    try:
        names = names_of(message, is_whole=True)
        read = REQUEST.FromString(message)
    except Exception:
        return
    assert names is not None
    if names.model and names.version:
        return  # found early; what comes later may say it again, and the pod judges the whole
    assert names.model in ("", read.model_name) or read.model_name


def test_a_message_without_names_names_nothing_and_one_out_of_order_is_read_on() -> None:
    assert names_of(b"", is_whole=True) == Names("", "")
    assert names_of(b"", is_whole=False) is None
    late = counted(7, b"data") + number(9, 5) + counted(1, "m")
    assert names_of(late, is_whole=True) == Names("m", "")
    assert names_of(late[:8], is_whole=False) is None


@pytest.mark.parametrize(
    "message", [b"\x0a\x05ab", b"\x08\x01", b"\x0b", b"\xff" * 11, b"\x0a\x02\xff\xfe", b"\x0f\x01", b"\x0a"]
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(Refused) as refused:
        names_of(message, is_whole=True)
    assert refused.value.reason == "malformed_body"


def test_a_field_is_taken_out_wherever_it_stands() -> None:
    message = counted(2, "a") + counted(1, "m") + number(2, 7) + counted(2, "b") + counted(9, b"x")
    assert without(message, 2) == counted(1, "m") + number(2, 7) + counted(9, b"x")
    with pytest.raises(Refused):
        without(message[:-1], 2)


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=200))
def test_what_is_written_is_what_protobuf_writes(value: int, text: str) -> None:
    tensor = message_class("inference.ModelMetadataResponse.TensorMetadata")
    written = counted(1, text) + numbers(3, [value, 0]) if text else numbers(3, [value, 0])
    assert tensor.FromString(written) == tensor(name=text, shape=[value, 0])
    assert counted_fields(counted(1, text) + number(5, 7)) == [(1, text.encode())]
    assert varint(300) == b"\xac\x02"
