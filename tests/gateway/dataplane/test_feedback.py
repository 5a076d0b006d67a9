"""Whatever comes as late labels is read, or refused with a reason: nothing else comes out."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dataplane.feedback import read_feedback
from model_pod.wire.refusals import Refused


def outcome(body: bytes) -> str:
    try:
        read_feedback(body)
    except Refused as refused:
        return refused.reason
    return "read"


@pytest.mark.parametrize(
    "body",
    [
        b'{"request_id":"a","label":"\xff"}',
        b'{"request_id":"\xff","label":1}',
        b'{"request_id":"a","label":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"request_id":"a","label":"\\ud800"}',
        b"\xff",
        b"",
    ],
)
def test_what_is_no_text_or_nested_without_end_is_refused(body: bytes) -> None:
    assert outcome(body) == "malformed_body"


def test_labels_are_of_any_script() -> None:
    (label,) = read_feedback('{"request_id":"a","label":"κατηγορία"}'.encode())
    assert json.loads(label.label) == "κατηγορία"


def is_json(value: object) -> bool:
    """Whether JSON can say it; Python writes other numbers too."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@example("Infinity")
@example([float("nan")])
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda one: st.lists(one)))
def test_any_json_is_a_label(label: object) -> None:
    body = json.dumps([{"request_id": "a", "label": label}]).encode()
    assert outcome(body) == ("read" if is_json(label) else "malformed_body")


@given(st.binary(max_size=200))
def test_whatever_else_is_sent_is_refused(body: bytes) -> None:
    assert outcome(body) in ("read", "malformed_body")
