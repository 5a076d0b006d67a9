"""What an answer's label is, and when two are the same."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.labels import label_digest, label_in, told_digest
from tests.gateway.copies.answered import answer

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("one", "other"), [(2, 2.0), ([7], 7), ([[7]], 7), ({"b": 1, "a": 2}, {"a": 2.0, "b": 1}), ("cat", ["cat"])]
)
def test_these_are_the_same_label(one: Any, other: Any) -> None:
    assert label_digest(one) == label_digest(other)


@pytest.mark.parametrize(("one", "other"), [(2, "2"), (1, True), ([1, 2], [2, 1]), (2, 2.5), ("cat", "Cat")])
def test_these_are_not(one: Any, other: Any) -> None:
    assert label_digest(one) != label_digest(other)


def test_of_a_label_only_a_digest_is_kept() -> None:
    assert "planted" not in label_digest("planted-secret")
    assert len(label_digest("planted-secret " * 1000)) == 32


@pytest.mark.parametrize(
    ("body", "pointer", "expected"),
    [
        (b'{"label":7}', "/label", 7),
        (b"7", "", 7),
        (b'{"predictions":[{"class":"cat"}]}', "/predictions/0/class", "cat"),
        (b'{"outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[7]}]}', "/outputs/0/data", 7),
        (b"cat", "", "cat"),
    ],
)
def test_the_label_is_where_policy_says(body: bytes, pointer: str, expected: Any) -> None:
    assert label_in(answer(body), pointer) == label_digest(expected)


def test_a_label_is_found_in_binary_tensors_too() -> None:
    head = msgspec.json.encode(
        {"outputs": [{"name": "l", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}]}
    )
    fields = b"inference-header-content-length: %d\r\n" % len(head)
    told = msgspec.structs.replace(answer(head + struct.pack("<q", 7)), fields=fields)
    assert label_in(told, "/outputs/0/data") == label_digest(7)


@pytest.mark.parametrize(("body", "status"), [(b'{"label":7}', 503), (b'{"other":7}', 200), (b'{"label":null}', 200)])
def test_an_answer_may_have_none(body: bytes, status: int) -> None:
    assert label_in(answer(body, status), "/label") is None


@given(st.recursive(st.booleans() | st.integers() | _NUMBERS | st.text(max_size=9), lambda one: st.lists(one)))
def test_a_label_that_is_told_as_text_is_the_same(label: Any) -> None:
    assert told_digest(json.dumps(label)) == label_digest(label)


def test_what_is_told_and_is_no_json_is_some_other_label() -> None:
    assert told_digest("[") == label_digest("[")
