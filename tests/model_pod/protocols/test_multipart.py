"""Forms: what is read, and that nothing but a form is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.multipart import MAX_PART_HEAD_BYTES, MAX_PARTS, parameters, parse
from model_pod.wire.refusals import Refused

TYPE = "multipart/form-data; boundary=b"
HEAD = b'Content-Disposition: form-data; name="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("field_value", "found"),
    [
        ("form-data", {}),
        ('form-data; name="a b"; filename="c\\"d"', {"name": "a b", "filename": 'c"d'}),
        ("form-data; NAME=x", {"name": "x"}),
        ('form-data; name=""', {"name": ""}),
        ("multipart/form-data;boundary=----x", {"boundary": "----x"}),
    ],
)
def test_parameters_are_read_quoted_or_not(field_value: str, found: dict[str, str]) -> None:
    assert parameters(field_value) == found


def test_a_preamble_an_epilogue_and_spaces_after_a_boundary_are_dropped() -> None:
    (part,) = parse(TYPE, b"preamble\r\n--b \t\r\n" + HEAD + b"value\r\n--b--\r\nepilogue")
    assert (part.name, bytes(part.value)) == ("a", b"value")


def test_values_may_hold_what_looks_like_a_boundary() -> None:
    (part,) = parse(TYPE, b"--b\r\n" + HEAD + b" --b\r\n -b\n--b\r\n--b--")
    assert bytes(part.value) == b" --b\r\n -b\n--b"


def test_a_part_may_be_empty() -> None:
    (part,) = parse(TYPE, b"--b\r\n" + HEAD + b"\r\n--b--")
    assert bytes(part.value) == b""


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=" + "x" * 71, b"--" + b"x" * 71 + b"--"),
        ('multipart/form-data; boundary="a\x01"', b""),
        (TYPE, b"no boundary at all"),
        (TYPE, b"--b\r\n" + HEAD + b"never ends"),
        (TYPE, b"--b\r\n" + HEAD + b"value\r\n--b"),
        (TYPE, b"--bx\r\n" + HEAD + b"value\r\n--b--"),
        (TYPE, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"),
        (TYPE, b'--b\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--b--'),
        (TYPE, b"--b\r\nno colon\r\n\r\nx\r\n--b--"),
        (TYPE, b"--b\r\n\r\n--b--"),
        (TYPE, b"--b\r\nX: " + b"y" * MAX_PART_HEAD_BYTES + b"\r\n" + HEAD + b"x\r\n--b--"),
        (TYPE, (b"--b\r\n" + HEAD + b"x\r\n") * (MAX_PARTS + 1) + b"--b--"),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(content_type, body)
    assert refused.value.reason == "malformed_body"


@given(st.lists(st.binary(max_size=40).filter(lambda value: b"--b" not in value), max_size=5))
def test_a_form_gives_back_what_was_put_in(values: list[bytes]) -> None:
    body = b"".join(b"--b\r\n" + HEAD + value + b"\r\n" for value in values) + b"--b--\r\n"
    assert [bytes(part.value) for part in parse(TYPE, body)] == values


@given(st.binary(max_size=200))
def test_any_bytes_are_read_within_their_bounds_or_refused(noise: bytes) -> None:
    body = b"--b\r\n" + noise + b"\r\n--b--"
    with suppress(Refused):  # and nothing else is raised
        parts = parse(TYPE, body)
        assert sum(len(part.value) for part in parts) <= len(body)
