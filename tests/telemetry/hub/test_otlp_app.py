"""Spans over HTTP: both encodings, packed or not, within bounds, and busy senders come again."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from telemetry.hub import otlp_app
from telemetry.hub.otlp_app import OtlpApp
from telemetry.otlp.encode import encode_spans
from telemetry.span import Span
from tests.telemetry.hub.traces import request_spans

PROTOBUF = {"content-type": "application/x-protobuf"}


class Taker:
    """Takes spans, all or none."""

    def __init__(self, *, has_room: bool = True) -> None:
        self.has_room = has_room
        self.spans: list[Span] = []
        self.statuses: list[int] = []

    def take(self, spans: list[Span]) -> int:
        if self.has_room:
            self.spans += spans
        return 0 if self.has_room else len(spans)


def post(
    taker: Taker,
    body: bytes | AsyncIterator[bytes],
    headers: Mapping[str, str] = PROTOBUF,
    path: str = "/v1/traces",
    method: str = "POST",
) -> httpx.Response:
    async def one_request() -> httpx.Response:
        app = OtlpApp(taker.take, taker.statuses.append)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
            answer = await client.request(method, path, headers=headers, content=body)
        app.close()
        return answer

    return asyncio.run(one_request())


def test_spans_are_taken_as_they_were_sent_packed_or_not() -> None:
    taker = Taker()
    body = encode_spans(request_spans())
    plain = post(taker, body)
    packed = post(taker, gzip.compress(body), {**PROTOBUF, "content-encoding": "gzip"})
    assert [answer.status_code for answer in (plain, packed)] == [200, 200]
    assert plain.headers["content-type"] == "application/x-protobuf"
    assert taker.spans == [*request_spans(), *request_spans()]
    assert taker.statuses == [200, 200]


def test_json_is_answered_in_json() -> None:
    answer = post(Taker(), b"{}", {"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {})


def test_a_sender_is_asked_to_come_again_when_there_is_no_room() -> None:
    answer = post(Taker(has_room=False), encode_spans(request_spans()))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_a_body_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_app, "BODY_BYTES", 1000)
    taker = Taker()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    assert post(taker, endless()).status_code == 413
    assert post(taker, gzip.compress(b"x" * 5000), {**PROTOBUF, "content-encoding": "gzip"}).status_code == 413
    assert taker.statuses == [413, 413]


def test_what_is_no_post_of_spans_is_refused() -> None:
    taker = Taker()
    assert post(taker, b"", path="/v1/metrics").status_code == 404
    assert post(taker, b"", method="GET").status_code == 405
    assert post(taker, b"", {"content-type": "text/plain"}).status_code == 415
    assert post(taker, b"\xff\xff").status_code == 400
    assert taker.spans == []


def test_a_sender_that_does_not_finish_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_app, "BODY_WITHIN_S", 0.01)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    assert post(Taker(), stuck()).status_code == 408
