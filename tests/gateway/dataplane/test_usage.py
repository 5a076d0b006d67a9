"""Reading what a pod says a request used: ours and others', whole and broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.usage import NOT_TOLD, read_usage
from model_pod.server.answers import usage_headers
from model_pod.server.reply import Usage

AMOUNTS = st.integers(0, 10**12 - 1)


@given(AMOUNTS, AMOUNTS, st.integers(1, 10_000))
def test_what_our_pod_writes_is_what_is_read(device_us: int, tokens: int, batch_rows: int) -> None:
    written = dict(usage_headers(Usage(device_us=device_us, tokens=tokens, batch_rows=batch_rows, queue_s=0.25)))
    assert read_usage(written["penstock-usage"].encode()) == (device_us, tokens)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"tokens=17;device_us=812", (812, 17)),
        (b"device_us=812; batch=8; tokens=17", (812, 17)),
        (b"device_us=812;batch=8;queue_us=3;flops=9", (812, 0)),
        (b"device_us=812", (812, 0)),
        (b"tokens=17", (NOT_TOLD, 17)),
        (b"", (NOT_TOLD, 0)),
        (b"device_us=-1;tokens=-5", (NOT_TOLD, 0)),
        (b"device_us=1.5;tokens=1e3", (NOT_TOLD, 0)),
        (b"device_us=" + b"9" * 13, (NOT_TOLD, 0)),
        (b"my_device_us=3;max_tokens=4", (NOT_TOLD, 0)),
        (b"batch=1;" * 40 + b"device_us=3", (NOT_TOLD, 0)),
        ("device_us=\u0663".encode(), (NOT_TOLD, 0)),
    ],
)
def test_what_cannot_be_read_is_not_told(value: bytes, expected: tuple[int, int]) -> None:
    assert read_usage(value) == expected


@given(st.one_of(st.binary(max_size=600), st.text("devicustokn_=; 0123456789", max_size=600).map(str.encode)))
def test_nothing_that_a_pod_sends_is_too_much_or_raises(value: bytes) -> None:
    device_us, tokens = read_usage(value)
    assert NOT_TOLD <= device_us < 10**12
    assert 0 <= tokens < 10**12
