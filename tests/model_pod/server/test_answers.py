"""Answers as bytes."""

from __future__ import annotations

import msgspec
import pytest

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.answers import JOIN_BELOW_BYTES, MethodNotAllowed, encode, refusal, usage_headers
from model_pod.server.reply import Usage
from model_pod.wire.inference import StageTimes
from model_pod.wire.refusals import POD_REASONS, Reason, Refused


def _bytes(answer: HttpAnswer, keep_alive: bool = True, is_head: bool = False) -> bytes:
    return b"".join(encode(answer, "r", keep_alive, is_head))


def test_an_answer_is_written_whole() -> None:
    assert _bytes(HttpAnswer(200, (("a", "é"),), b"hi")) == (
        "HTTP/1.1 200 OK\r\na: é\r\nx-request-id: r\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi".encode()
    )


def test_the_handlers_phrase_and_odd_status_are_kept() -> None:
    assert _bytes(HttpAnswer(418, (), b"", "short and stout")).startswith(b"HTTP/1.1 418 short and stout\r\n")
    assert _bytes(HttpAnswer(599, (), b"")).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_neither_body_nor_length(status: int) -> None:
    written = _bytes(HttpAnswer(status, (), b"never sent"), keep_alive=False)
    assert b"content-length" not in written
    assert written.endswith(b"connection: close\r\n\r\n")


def test_a_head_answer_has_the_length_of_the_body_that_it_leaves_out() -> None:
    written = _bytes(HttpAnswer(200, (), b"12345"), is_head=True)
    assert b"content-length: 5\r\n" in written
    assert written.endswith(b"\r\n\r\n")


def test_a_large_body_is_not_copied() -> None:
    body = bytes(JOIN_BELOW_BYTES)
    assert encode(HttpAnswer(200, (), body), "r", True, False)[1] is body


@pytest.mark.parametrize("reason", POD_REASONS, ids=lambda reason: reason.name)
def test_every_reason_is_a_refusal_with_its_status(reason: Reason) -> None:
    answer = refusal(Refused(reason.name, "why"), "r")
    headers = dict(answer.headers)
    assert (answer.status, headers["penstock-reason"]) == (reason.status, reason.name)
    assert ("retry-after" in headers) == (reason.status == 503 or reason.name == "idempotency_in_progress")
    body = msgspec.json.decode(answer.body)
    assert (body["reason"], body["message"], body["code"], body["request_id"]) == (
        reason.name,
        "why",
        reason.status,
        "r",
    )


def test_what_never_ran_tells_no_cost() -> None:
    assert usage_headers(Usage()) == ()
    assert usage_headers(Usage(1234, 0, 3, 0.0))[0] == ("penstock-usage", "device_us=1234;batch=3;queue_us=0")


def test_a_handlers_own_status_overrides_the_reasons() -> None:
    answer = refusal(Refused("row_refused", "why", 599), "r")
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (599, 599)


def test_a_method_refusal_says_what_is_allowed() -> None:
    assert dict(refusal(MethodNotAllowed("PUT", "GET, HEAD"), "r").headers)["allow"] == "GET, HEAD"


def test_usage_is_in_whole_microseconds_and_timing_in_milliseconds() -> None:
    usage = Usage(1234, 0, 3, 0.000_05, StageTimes(0.001, 0.002, 0.003))
    assert usage_headers(usage) == (
        ("penstock-usage", "device_us=1234;batch=3;queue_us=50"),
        ("server-timing", "queue;dur=0.050, preprocess;dur=1.000, inference;dur=2.000, postprocess;dur=3.000"),
    )
