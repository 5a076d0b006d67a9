"""The bytes of a call: one message, whole and packed as it says; and an ending that tells when to come again."""

from __future__ import annotations

import base64

import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no types
from hpack import Decoder

from telemetry.http2.fields import Head
from telemetry.otlp import grpc
from telemetry.otlp.receive import Code, Refused, no_time

PATH = grpc.EXPORT_SPANS


def head(*fields: tuple[bytes, bytes], method: bytes = b"POST") -> Head:
    return Head(method, PATH, b"sidecar", list(fields), -1)


def fields_of(block: bytes) -> dict[str, str]:
    return {str(name): str(value) for name, value in Decoder().decode(block)}


def message(flag: int, content: bytes) -> bytes:
    return bytes((flag,)) + len(content).to_bytes(4) + content


@pytest.mark.parametrize(
    ("content_type", "is_call"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc; x=y", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_a_call_is_told_by_its_content_type(content_type: bytes, is_call: bool) -> None:
    assert grpc.is_grpc(head((b"content-type", content_type))) is is_call
    assert not grpc.is_grpc(head((b"content-type", content_type), method=b"GET"))


def test_of_two_fields_with_one_name_the_first_holds() -> None:
    assert grpc.packing_of(head((b"grpc-encoding", b"gzip"), (b"grpc-encoding", b"identity"))) == "gzip"
    assert grpc.packing_of(head()) == "identity"


def test_what_is_packed_otherwise_is_refused() -> None:
    with pytest.raises(Refused, match="identity, gzip"):
        grpc.packing_of(head((b"grpc-encoding", b"zstd")))


@pytest.mark.parametrize(
    ("flag", "packing", "packed"), [(0, "identity", "identity"), (0, "gzip", "identity"), (1, "gzip", "gzip")]
)
def test_a_message_says_whether_it_is_packed_and_the_call_how(flag: int, packing: str, packed: str) -> None:
    assert grpc.message_of(message(flag, b"abc"), packing, 3) == (packed, b"abc")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.INVALID_ARGUMENT),
        (b"\0\0\0\0", Code.INVALID_ARGUMENT),
        (message(0, b"abc")[:-1], Code.INVALID_ARGUMENT),
        (message(0, b"abc") + b"x", Code.INVALID_ARGUMENT),
        (message(0, b"abc") * 2, Code.INVALID_ARGUMENT),
        (message(1, b"abc"), Code.INVALID_ARGUMENT),
        (message(2, b"abc"), Code.INVALID_ARGUMENT),
        (message(0, b"abcd"), Code.RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", Code.RESOURCE_EXHAUSTED),
    ],
)
def test_what_is_not_one_whole_message_is_refused(body: bytes, code: Code) -> None:
    with pytest.raises(Refused) as refused:
        grpc.message_of(body, "identity", 3)
    assert refused.value.code is code


def test_an_empty_message_is_one() -> None:
    assert grpc.message_of(message(0, b""), "identity", 3) == ("identity", b"")
    assert grpc.whole_message(b"ab") == message(0, b"ab")


def test_who_may_come_again_is_told_when_as_the_official_messages_say_it() -> None:
    fields = fields_of(grpc.refusal(no_time()))
    assert (fields[":status"], fields["grpc-status"], fields["content-type"]) == ("200", "14", "application/grpc")
    details = fields["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1))
    assert (status.code, status.message) == (14, fields["grpc-message"])
    packed = any_pb2.Any()
    packed.Pack(retry)
    assert list(status.details) == [packed]


def test_who_sent_what_is_wrong_is_not_asked_to_come_again() -> None:
    fields = fields_of(grpc.refusal(Refused(400, Code.INVALID_ARGUMENT, "100 % ä")))
    assert (fields["grpc-status"], fields["grpc-message"]) == ("3", "100 %25 %C3%A4")
    assert "grpc-status-details-bin" not in fields


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (b"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", "Metrics are not taken here"),
        (b"/opentelemetry.proto.collector.logs.v1.LogsService/Export", "Logs are not taken here"),
        (b"/x", "No method is at /x."),
    ],
)
def test_another_method_is_unimplemented_in_a_sentence(path: bytes, said: str) -> None:
    fields = fields_of(grpc.why_unknown(path))
    assert fields["grpc-status"] == "12"
    assert fields["grpc-message"].startswith(said)
