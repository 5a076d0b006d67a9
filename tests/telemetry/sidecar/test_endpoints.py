"""What each path answers."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import msgspec
import pytest

from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.endpoints import Endpoints
from telemetry.sidecar.http import Answer, Request
from telemetry.sidecar.judgement import Kept
from telemetry.sidecar.kept import Keep, Keeps
from telemetry.span import Kind, Span

SPAN = Span("a" * 32, "b" * 16, "c" * 16, "tokenise", Kind.INTERNAL, 1, 2)
PROTOBUF = {"content-type": "application/x-protobuf"}


class Beside:
    """What is beside the endpoints."""

    def __init__(self, *, has_list: bool = True) -> None:
        self.has_list = has_list
        self.taken: list[Span] = []
        self.endpoints = Endpoints(lambda accept: ("text/plain", accept.encode()), self.keeps_after, self.take)

    def keeps_after(self, number: int) -> Keeps | None:
        return Keeps(number + 1, (Keep("a" * 32, Kept.SLOW),)) if self.has_list else None

    def take(self, spans: Sequence[Span]) -> None:
        self.taken += spans

    def answer(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        return self.endpoints.answer(Request(method, target, headers or {}, body, is_last=False))


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        ("GET", "/livez", 200, b"ok\n"),
        ("GET", "/metrics?name[]=x", 200, b"*/*"),
        ("GET", "/", 404, b"not found\n"),
        ("GET", "/metrics/", 404, b"not found\n"),
        ("POST", "/metrics", 405, b"method not allowed\n"),
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


@pytest.mark.parametrize("packed", [True, False])
def test_spans_are_taken_packed_or_not(packed: bool) -> None:
    beside = Beside()
    body = encode_spans([SPAN, SPAN])
    headers = PROTOBUF | ({"content-encoding": "gzip"} if packed else {})
    answer = beside.answer("POST", "/v1/traces", headers, gzip.compress(body) if packed else body)
    assert (answer.status, answer.body, answer.content_type) == (200, b"", "application/x-protobuf")
    assert beside.taken == [SPAN, SPAN]


def test_what_is_no_spans_is_refused() -> None:
    beside = Beside()
    assert beside.answer("POST", "/v1/traces", PROTOBUF, b"\xff").status == 400
    assert beside.answer("POST", "/v1/traces", {"content-type": "text/plain"}, b"x").status == 415
    assert beside.taken == []
