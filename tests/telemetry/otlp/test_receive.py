from __future__ import annotations

import gzip
import json
import time
import zlib

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it has no stubs
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.otlp.encode import encode_spans
from telemetry.otlp.receive import RETRY_AFTER_S, Answer, answer, busy, too_large, too_slow
from telemetry.span import Kind, Span

PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json; charset=utf-8"}
GZIPPED = {**PROTOBUF, "content-encoding": "gzip"}
SPANS = [Span("1" * 32, f"{index:016x}", "", "n", Kind.INTERNAL, 1, 2) for index in range(1, 4)]
BODY = encode_spans(SPANS)
NO_ID = Span("0" * 32, "1" * 16, "", "n", Kind.INTERNAL, 1, 2)


class Taker:
    def __init__(self, room: int = 100) -> None:
        self.taken: list[Span] = []
        self.calls = 0
        self._room = room

    def __call__(self, spans: list[Span]) -> int:
        self.calls += 1
        self.taken += spans[: self._room]
        return max(0, len(spans) - self._room)


def _refused(answered: Answer) -> tuple[int, int]:
    """Return the statuses of HTTP and of the message, which says why."""
    if answered.content_type == "application/json":
        status = json.loads(answered.body)
        assert status["message"]
        return answered.status, status["code"]
    official = Status.FromString(answered.body)
    assert official.message
    return answered.status, official.code


def _rejected(answered: Answer) -> tuple[int, str]:
    assert answered.status == 200
    partial = ExportTraceServiceResponse.FromString(answered.body).partial_success
    return partial.rejected_spans, partial.error_message


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, BODY),
        ({**PROTOBUF, "content-encoding": "identity"}, BODY),
        ({"content-type": "Application/X-Protobuf"}, BODY),
        (GZIPPED, gzip.compress(BODY, mtime=0)),
        (GZIPPED, gzip.compress(BODY[:50], mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(BODY[50:], mtime=0)),
    ],
)
def test_spans_in_protobuf_are_taken(headers: dict[str, str], body: bytes) -> None:
    taker = Taker()
    assert answer(headers, body, taker) == Answer(200, "application/x-protobuf", b"")
    assert taker.taken == SPANS


def test_spans_in_json_are_taken_and_answered_in_json() -> None:
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "n"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    taker = Taker()
    assert answer(JSON, body, taker) == Answer(200, "application/json", b"{}")
    assert [taken.span_id for taken in taker.taken] == ["2" * 16]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, b""),
        (GZIPPED, gzip.compress(b"", mtime=0)),
        (JSON, b""),
        (JSON, b"{}"),
        (JSON, b'{"resourceSpans": []}'),
    ],
)
def test_a_request_without_spans_is_a_success_and_nobody_is_asked(headers: dict[str, str], body: bytes) -> None:
    taker = Taker()
    assert answer(headers, body, taker).status == 200
    assert taker.calls == 0


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/grpc", "application/jsonx"])
def test_other_content_types_are_415(content_type: str) -> None:
    assert _refused(answer({"content-type": content_type}, BODY, Taker())) == (415, 3)


def test_other_codings_are_415() -> None:
    assert _refused(answer({**PROTOBUF, "content-encoding": "deflate"}, zlib.compress(BODY), Taker())) == (415, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not gzip",
        gzip.compress(BODY, mtime=0)[:-9],
        gzip.compress(BODY, mtime=0) + b"x",
        gzip.compress(b"", mtime=0) * 1025,
    ],
)
def test_gzip_that_is_none_or_not_whole_is_400(body: bytes) -> None:
    taker = Taker()
    assert _refused(answer(GZIPPED, body, taker)) == (400, 3)
    assert taker.calls == 0


def test_a_body_that_is_no_otlp_is_400_in_its_own_encoding() -> None:
    for headers in (PROTOBUF, JSON):
        answered = answer(headers, b"\xff\xff", Taker())
        assert _refused(answered) == (400, 3)
        assert headers["content-type"].startswith(answered.content_type)


def test_a_body_that_is_too_large_is_413_packed_or_not() -> None:
    taker = Taker()
    assert _refused(answer(PROTOBUF, BODY, taker, max_bytes=len(BODY) - 1)) == (413, 8)
    assert _refused(answer(GZIPPED, gzip.compress(BODY, mtime=0), taker, max_bytes=len(BODY) - 1)) == (413, 8)
    assert _refused(answer(GZIPPED, 2 * gzip.compress(BODY, mtime=0), taker, max_bytes=len(BODY))) == (413, 8)
    assert _refused(too_large(JSON)) == (413, 8)
    assert taker.calls == 0
    assert answer(GZIPPED, gzip.compress(BODY, mtime=0), taker, max_bytes=len(BODY)).status == 200


def test_a_bomb_is_unpacked_no_further_than_allowed() -> None:
    bomb = gzip.compress(bytes(2**26), mtime=0)
    assert len(bomb) < 2**17
    assert _refused(answer(GZIPPED, bomb, Taker(), max_bytes=2**17)) == (413, 8)


@pytest.mark.parametrize("spans", [b"{}" + b",{}" * 20_000, b'{"":0}' + b',{"":0,"a":0,"b":0}' * 19_000, b'""' * 2**20])
def test_json_that_would_take_long_is_413(spans: bytes) -> None:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + spans + b"]}]}]}"
    taker = Taker()
    began_s = time.process_time()
    assert _refused(answer({**JSON, "content-encoding": "gzip"}, gzip.compress(body, mtime=0), taker)) == (413, 8)
    assert time.process_time() - began_s < 0.5
    assert taker.calls == 0


def test_protobuf_of_very_many_messages_is_413() -> None:
    many = 4 * 2**20
    inner = b"\x12" + _varint(2 * many) + b"\x12\x00" * many
    body = b"\x0a" + _varint(len(inner)) + inner
    taker = Taker()
    began_s = time.process_time()
    assert _refused(answer(GZIPPED, gzip.compress(body, 1, mtime=0), taker)) == (413, 8)
    assert time.process_time() - began_s < 2.0  # to make the objects takes ten seconds
    assert taker.calls == 0


def _varint(number: int) -> bytes:
    rest, last = divmod(number, 128)
    return bytes([last | 128]) + _varint(rest) if rest else bytes([last])


def test_those_who_are_too_slow_or_too_many_are_told_in_their_encoding() -> None:
    assert _refused(too_slow(JSON)) == (408, 4)
    assert _refused(busy(PROTOBUF)) == (503, 14)
    assert busy(JSON).headers == (("retry-after", str(RETRY_AFTER_S)),)


def test_spans_that_are_none_are_told_and_the_others_taken() -> None:
    taker = Taker()
    rejected, why = _rejected(answer(PROTOBUF, encode_spans([NO_ID, *SPANS]), taker))
    assert (rejected, why) == (1, "A trace id is 16 bytes that are not all zero.")
    assert taker.taken == SPANS


def test_a_taker_that_is_full_asks_for_another_try() -> None:
    answered = answer(PROTOBUF, BODY, Taker(room=0))
    assert _refused(answered) == (503, 14)
    assert answered.headers == (("retry-after", str(RETRY_AFTER_S)),)


def test_a_taker_with_some_room_asks_for_no_other_try() -> None:
    # The whole request would come again, and what was taken twice.
    rejected, why = _rejected(answer(PROTOBUF, encode_spans([NO_ID, *SPANS]), Taker(room=2)))
    assert rejected == 2
    assert why
    assert _rejected(answer(PROTOBUF, BODY, Taker(room=1))) == (2, "There was no room for the last spans.")


@given(st.sampled_from([PROTOBUF, GZIPPED, JSON]), st.binary(max_size=40))
def test_whatever_comes_has_an_answer(headers: dict[str, str], body: bytes) -> None:
    assert answer(headers, body, Taker()).status in (200, 400)
