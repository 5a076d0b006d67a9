from __future__ import annotations

import pytest

from gateway.dataplane.grpc.answers import ending_of, metadata
from gateway.dataplane.grpc.requests import is_grpc, timeout_ms, to_http
from gateway.dataplane.grpc.status import Status, percent_encoded, status_of
from gateway.errors import REASONS
from model_pod.wire.refusals import Refused
from telemetry.http2.fields import Head
from telemetry.http2.header_blocks import HeaderBlocks

BASE = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]


def head(*fields: tuple[bytes, bytes], method: bytes = b"POST") -> Head:
    return Head(method, b"/s/M", b"mesh", [*BASE, *fields], -1)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(b"1H", 3_600_000), (b"2M", 120_000), (b"3S", 3_000), (b"4m", 4), (b"5000u", 5), (b"6000000n", 6), (b"1n", 0)],
)
def test_a_callers_time_is_read_in_each_unit(given: bytes, wanted: int) -> None:
    assert timeout_ms([(b"grpc-timeout", given)]) == wanted


@pytest.mark.parametrize("given", [b"5", b"S", b"-1S", b"123456789S", b"1 S", b"1s", b"1.5S"])
def test_a_time_in_no_unit_is_refused(given: bytes) -> None:
    with pytest.raises(Refused):
        timeout_ms([(b"grpc-timeout", given)])


def test_only_what_says_so_is_grpc() -> None:
    assert is_grpc(head())
    assert is_grpc(Head(b"POST", b"/", b"", [(b"content-type", b"application/grpc+proto;x=y")], -1))
    for wrong in (b"application/json", b"application/grpcx", b"application/grpc-web", b"application/grpc+json"):
        assert not is_grpc(Head(b"POST", b"/", b"", [(b"content-type", wrong)], -1))
    assert not is_grpc(head(method=b"GET"))


def test_the_request_has_what_the_pod_needs_and_nothing_of_grpcs_own() -> None:
    asked = head((b"grpc-timeout", b"2S"), (b"grpc-encoding", b"gzip"), (b"grpc-method", b"Forged"), (b"x-a", b"b"))
    request = to_http(asked, "/predictions/m", "Predictions", 105, to_pod=True)
    assert (request.method, request.path, request.content_length) == ("POST", "/predictions/m", 105)
    assert request.fields == [
        (b"x-a", b"b"),
        (b"content-type", b"application/grpc"),
        (b"grpc-method", b"Predictions"),
        (b"grpc-encoding", b"gzip"),
    ]
    assert request.get(b"penstock-timeout-ms") == b"2000"
    about = to_http(head(), "/v2/models/m", "ModelMetadata", 9, to_pod=False)
    assert (about.method, about.fields, about.body_expected) == ("GET", [], False)


@pytest.mark.parametrize("name", [b"authorization", b"idempotency-key", b"penstock-version", b"penstock-timeout-ms"])
def test_what_decides_may_not_be_there_twice(name: bytes) -> None:
    with pytest.raises(Refused):
        to_http(head((name, b"1"), (name, b"2")), "/v2", "M", 5, to_pod=True)
    assert len(to_http(head((b"x", b"1"), (b"x", b"2")), "/v2", "M", 5, to_pod=False).fields) == 2


def test_every_refusal_has_a_code_that_is_not_ok() -> None:
    assert {status_of(reason.status) for reason in REASONS.values()} <= set(Status) - {Status.OK}
    assert status_of(418) is Status.FAILED_PRECONDITION
    assert status_of(599) is Status.INTERNAL


def test_messages_are_escaped_as_grpc_does() -> None:
    assert percent_encoded("100% é\n") == b"100%25 %C3%A9%0A"


def test_header_lines_become_fields_and_what_metadata_cannot_carry_is_left_out() -> None:
    lines = (
        b"X-Request-Id: 7\r\nContent-Type: application/grpc\r\ngrpc-status: 0\r\nx-key-bin: no\r\n"
        b"accented: \xe9\r\nempty: \r\nspaced:  a b \r\n"
    )
    fields = HeaderBlocks().decode(metadata(lines))
    assert fields == [(b"x-request-id", b"7"), (b"empty", b""), (b"spaced", b"a b")]
    long = HeaderBlocks().decode(metadata(b"x: " + b"y" * 5_000 + b"\r\n"))
    assert long == [(b"x", b"y" * 5_000)]


def test_an_error_says_what_its_body_says_and_else_its_status() -> None:
    assert ending_of(503, b'{"message": "busy", "reason": "queue_full"}').message == "busy"
    assert ending_of(502, b"<html>").status is Status.UNAVAILABLE
    assert ending_of(404, b'["x"]').message == "the model's server answered HTTP status 404"
