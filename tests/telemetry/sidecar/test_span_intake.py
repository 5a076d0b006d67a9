"""Bodies of spans are taken apart beside the loop, a bounded number of them at once."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.foreign import ForeignTrace
from telemetry.sidecar.http import Answer, Request
from telemetry.sidecar.redaction import Redactor
from telemetry.sidecar.span_intake import BODIES, SpanIntake
from telemetry.span import Kind, Span

SPAN = Span("a" * 32, "b" * 16, "c" * 16, "tokenise", Kind.INTERNAL, 1, 2)
PROTOBUF = {"content-type": "application/x-protobuf"}


def posted(body: bytes, **headers: str) -> Request:
    return Request("POST", "/v1/traces", PROTOBUF | headers, body, is_last=False)


class Gate(Redactor):
    """A redactor that waits until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()

    def foreign(self, spans: Iterable[Span]) -> list[Span]:
        self.has_begun.set()
        self.may_go_on.wait(10.0)
        return super().foreign(spans)


@pytest.mark.parametrize("packed", [True, False])
def test_spans_are_taken_redacted_packed_or_not(packed: bool) -> None:
    taken: list[ForeignTrace] = []
    body = encode_spans([SPAN, replace(SPAN, span_id="d" * 16, attributes={"secret": "4111"})])
    request = posted(gzip.compress(body), **{"content-encoding": "gzip"}) if packed else posted(body)
    answer = asyncio.run(SpanIntake(Redactor(), taken.extend).answer(request))
    assert (answer.status, answer.body, answer.content_type) == (200, b"", "application/x-protobuf")
    (trace,) = taken
    assert trace.spans == (SPAN, replace(SPAN, span_id="d" * 16, attributes={Attribute.REDACTED: 1}))


def test_what_is_no_spans_is_refused_and_nothing_taken() -> None:
    taken: list[ForeignTrace] = []
    intake = SpanIntake(Redactor(), taken.extend)
    assert asyncio.run(intake.answer(posted(b"\xff"))).status == 400
    assert asyncio.run(intake.answer(Request("POST", "/v1/traces", {}, b"x", is_last=False))).status == 415
    assert taken == []


def test_while_bodies_are_read_the_loop_goes_on_and_senders_beyond_the_bound_come_again() -> None:
    taken: list[ForeignTrace] = []
    gate = Gate()

    async def story() -> tuple[Answer, list[Answer], Answer]:
        intake = SpanIntake(gate, taken.extend)
        request = posted(encode_spans([SPAN]))
        reading = [asyncio.create_task(intake.answer(request)) for _ in range(BODIES)]
        async with asyncio.timeout(10.0):
            while not gate.has_begun.is_set():  # the loop turns although the thread does not  # noqa: ASYNC110
                await asyncio.sleep(0)
        too_many = await intake.answer(request)
        assert taken == []
        gate.may_go_on.set()
        return too_many, await asyncio.gather(*reading), await intake.answer(request)

    too_many, answers, after = asyncio.run(story())
    assert (too_many.status, too_many.headers) == (503, (("retry-after", "1"),))
    assert too_many.content_type == "application/x-protobuf"
    assert {answer.status for answer in [*answers, after]} == {200}
    assert len(taken) == BODIES + 1
