"""What each path answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus

import msgspec
import pytest

from telemetry.otlp.encode import encode_status
from telemetry.sidecar.endpoints import Endpoints
from telemetry.sidecar.health import Health
from telemetry.sidecar.http import BODY_BYTES, Answer, Refused, Request
from telemetry.sidecar.judgement import Kept
from telemetry.sidecar.kept import Keep, Keeps
from telemetry.sidecar.machine.history import Told

PROTOBUF = {"content-type": "application/x-protobuf"}
LOOPBACK = frozenset({"127.0.0.1"})


class Beside:
    """What is beside the endpoints."""

    def __init__(self, *, has_list: bool = True, bound_hosts: frozenset[str] = LOOPBACK) -> None:
        self.has_list = has_list
        self.endpoints = Endpoints(
            lambda accept: ("text/plain", accept.encode()),
            self.keeps_after,
            self.take,
            bound_hosts,
            self.machine,
            lambda: Health(2.0, 1.0, {"batches": {"linked": 3}}, 0, 0, [], {}, 0, None),
        )

    def machine(self, last: int) -> Told:
        return Told(15.0, float(last), 0, [])

    def keeps_after(self, number: int) -> Keeps | None:
        return Keeps(number + 1, (Keep("a" * 32, Kept.SLOW),)) if self.has_list else None

    async def take(self, request: Request) -> Answer:
        return Answer(200, "text/plain", b"took " + request.body)

    def answer(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        answer = self.endpoints.answer(Request(method, target, headers or {}, body, is_last=False))
        return answer if isinstance(answer, Answer) else asyncio.run(_awaited(answer))


async def _awaited(answer: Awaitable[Answer]) -> Answer:
    return await answer


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        ("GET", "/livez", 200, b"ok\n"),
        ("GET", "/metrics?name[]=x", 200, b"*/*"),
        ("GET", "/", 404, b"not found\n"),
        ("GET", "/metrics/", 404, b"not found\n"),
        ("POST", "/metrics", 405, b"method not allowed\n"),
        ("GET", "/machine", 200, b'{"step_s":15.0,"ends_s":240.0,"left_out":0,"series":[]}'),
        ("GET", "/machine?last=2", 200, b'{"step_s":15.0,"ends_s":2.0,"left_out":0,"series":[]}'),
        ("GET", "/machine?last=0", 400, b"bad request\n"),
        ("GET", "/machine?last=x", 400, b"bad request\n"),
        ("POST", "/telemetry", 405, b"method not allowed\n"),
        ("HEAD", "/livez", 405, b"method not allowed\n"),
        ("GET", "/v1/traces", 405, b"method not allowed\n"),
        ("GET", "/keep?after=-1", 400, b"bad request\n"),
        ("GET", "/keep?after=" + "9" * 5000, 400, b"bad request\n"),
    ],
)
def test_a_path_has_its_answer(method: str, target: str, status: int, body: bytes) -> None:
    answer = Beside().answer(method, target, {"accept": "*/*"})
    assert (answer.status, answer.body) == (status, body)


def test_what_is_kept_is_told_after_a_number_or_from_the_first() -> None:
    beside = Beside()
    assert msgspec.json.decode(beside.answer("GET", "/keep?after=7").body, type=Keeps).next == 8
    assert msgspec.json.decode(beside.answer("GET", "/keep").body, type=Keeps).next == 1
    assert Beside(has_list=False).answer("GET", "/keep?after=7").status == 404


def test_what_became_of_things_is_told() -> None:
    health = msgspec.json.decode(Beside().answer("GET", "/telemetry").body, type=Health)
    assert (health.at_s, health.records, health.spans) == (2.0, {"batches": {"linked": 3}}, None)


def test_spans_are_handed_on() -> None:
    assert Beside().answer("POST", "/v1/traces?x", PROTOBUF, b"spans").body == b"took spans"


def test_a_web_page_is_answered_nothing() -> None:
    for method, target in (("GET", "/metrics"), ("GET", "/keep"), ("POST", "/v1/traces"), ("GET", "/x")):
        assert Beside().answer(method, target, {"host": "rebound.example"}).status == 403
        assert Beside().answer(method, target, {"host": "127.0.0.1", "origin": "null"}).status == 403
    anywhere = Beside(bound_hosts=frozenset({"0.0.0.0"}))
    assert anywhere.answer("GET", "/livez", {"host": "sidecar:9464"}).status == 200


@pytest.mark.parametrize(
    ("target", "status", "content_type"),
    [
        ("/v1/traces", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "application/x-protobuf"),
        ("/metrics", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain; charset=utf-8"),
        ("/v1/traces", HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8"),
        ("", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "text/plain; charset=utf-8"),
    ],
)
def test_a_sender_of_too_much_is_told_in_its_own_terms(target: str, status: HTTPStatus, content_type: str) -> None:
    answer = Beside().endpoints.refuse(Refused(status, target, PROTOBUF))
    assert (answer.status, answer.content_type) == (status, content_type)


def test_what_is_too_much_is_said() -> None:
    answer = Beside().endpoints.refuse(Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "/v1/traces", PROTOBUF))
    assert answer.body.startswith(encode_status(8, "")[:2])
    assert str(BODY_BYTES).encode() in answer.body
