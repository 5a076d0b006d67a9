"""Spans over HTTP: both encodings, packed or not, within bounds, and busy senders come again."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Callable, Mapping

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


def post_beside(
    app: OtlpApp, bodies: list[bytes | AsyncIterator[bytes]], after: Callable[[], None] = lambda: None
) -> list[httpx.Response]:
    """Return the answers to posts that come at once; ``after`` is called when all but the first are answered."""

    async def requests() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
            first, *others = [
                asyncio.create_task(client.post("/v1/traces", headers=PROTOBUF, content=body)) for body in bodies
            ]
            answers = await asyncio.gather(*others)
            after()
            return [await first, *answers]

    try:
        return asyncio.run(requests())
    finally:
        app.close()


async def stuck() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.Event().wait()


def test_a_sender_that_does_not_finish_is_not_waited_for_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_app, "BODY_WITHIN_S", 2.0)  # long enough for those who are whole to be done before
    taker = Taker()
    good = [encode_spans(request_spans())] * 20
    slow, *others = post_beside(OtlpApp(taker.take, taker.statuses.append), [stuck(), *(stuck() for _ in good), *good])
    assert slow.status_code == 408
    assert [answer.status_code for answer in others] == [408] * 20 + [200] * 20
    # Those who are whole do not wait for those who are not.
    assert taker.statuses == [200] * 20 + [408] * 21


def test_a_body_that_takes_long_to_read_costs_the_others_a_wait_that_they_may_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp_app, "DECODE_WITHIN_S", 0.05)
    may_end = threading.Event()

    def take(_: list[Span]) -> int:
        assert may_end.wait(10)
        return 0

    statuses: list[int] = []
    body = encode_spans(request_spans())
    answers = post_beside(OtlpApp(take, statuses.append), [body, body, body], may_end.set)
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert statuses == [503, 503, 503]


def test_bodies_that_are_too_many_together_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_app, "HELD_BYTES", 1000)
    monkeypatch.setattr(otlp_app, "BODY_WITHIN_S", 0.5)
    taker = Taker()

    async def large() -> AsyncIterator[bytes]:
        yield b"x" * 900
        await asyncio.Event().wait()

    app = OtlpApp(taker.take, taker.statuses.append)
    slow, refused = post_beside(app, [large(), b"y" * 200])
    assert (slow.status_code, refused.status_code) == (408, 503)


def test_what_was_held_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encode_spans(request_spans())
    monkeypatch.setattr(otlp_app, "HELD_BYTES", len(body))
    taker = Taker()

    async def one_after_the_other() -> list[int]:
        app = OtlpApp(taker.take, taker.statuses.append)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
            for content in (body, b"x" * (len(body) + 1), body):
                await client.post("/v1/traces", headers=PROTOBUF, content=content)
        app.close()
        return taker.statuses

    assert asyncio.run(one_after_the_other()) == [200, 503, 200]
