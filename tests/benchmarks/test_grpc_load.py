"""The calls of the gRPC load are what gRPC's own code reads."""

from __future__ import annotations

import hpack
from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.grpc_messages import message_class
from tests.benchmarks import link_stub
from tests.benchmarks.grpc_hop import CONTENT_BYTES, slice_of
from tests.benchmarks.grpc_load import METHOD, CallHeads, Calls, frame, infer_request


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_each_head_of_a_connection_says_the_same_but_for_trace_and_user(indices: list[int]) -> None:
    heads, decoder = CallHeads("127.0.0.1:7070", "key"), hpack.Decoder()
    for index in indices:
        decoded = decoder.decode(heads.block(index), raw=True)
        assert [name[:1] == b":" for name, _ in decoded] == [True] * 4 + [False] * 7
        fields = dict(decoded)
        assert fields[b":method"] == b"POST"
        assert fields[b":path"] == METHOD.encode()
        assert fields[b":authority"] == b"127.0.0.1:7070"
        assert fields[b"authorization"] == b"Bearer key"
        assert fields[b"te"] == b"trailers"
        assert len(fields[b"traceparent"]) == 55
        assert fields[b"x-user-id"].startswith(b"user-")
        assert len(fields) == 11


def test_two_calls_of_a_connection_differ() -> None:
    heads, decoder = CallHeads("localhost:1", "key"), hpack.Decoder()
    first, second = (dict(decoder.decode(heads.block(index), raw=True)) for index in (1, 2))
    assert first[b"traceparent"] != second[b"traceparent"]


def test_the_message_is_an_inference_request_of_the_model() -> None:
    sent = infer_request("stub", 160)
    message = message_class("inference.ModelInferRequest").FromString(sent[5:])
    assert sent[:5] == b"\x00" + len(sent[5:]).to_bytes(4, "big")
    assert message.model_name == "stub"
    assert list(message.inputs[0].shape) == [160]
    assert message.inputs[0].datatype == "UINT8"
    assert message.raw_input_contents[0] == b"\x07" * 160
    assert 190 <= len(infer_request("stub", CONTENT_BYTES)) <= 210


def test_what_the_stub_answers_is_an_inference_response() -> None:
    message = message_class("inference.ModelInferResponse").FromString(link_stub.GRPC_MESSAGE)
    assert message.model_name == "stub"
    assert len(message.raw_output_contents[0]) == 185


def test_a_frame_has_its_length_kind_flags_and_stream() -> None:
    assert frame(1, 4, 7, b"ab") == b"\x00\x00\x02\x01\x04\x00\x00\x00\x07ab"


def test_a_slice_of_calls_leaves_failed_ones_out_of_the_rate() -> None:
    calls = Calls("key", b"", b"", 0.0, [0.001] * 98 + [0.5, 0.7], failed=10)
    taken = slice_of(calls, 2.0, 0.5, 1024)
    assert (taken.requests_per_s, taken.cpu_per_request_s, taken.busy) == (45.0, 0.005, 0.25)
    assert (taken.p50_s, taken.p99_s, taken.failed, taken.rss_bytes) == (0.001, 0.5, 10, 1024)
