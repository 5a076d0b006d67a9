"""A packet is a frame that can be relied on, or a bad packet: never anything worse."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from telemetry.materialise import spans_of
from telemetry.otlp.encode import encode_spans
from telemetry.records import Frame, Member, Part, PodRequest, PodSummary
from telemetry.sidecar.frames import PACKET_BYTES, BadPacket, read_frame
from tests.telemetry.sidecar.recording import (
    GATEWAY,
    POD,
    batch_times,
    frame,
    gateway_request,
    packet,
    pod_batch,
    pod_load,
    pod_request,
)

ONE = pod_request(1, batch=batch_times(1))
WHOLE = frame(POD, ONE, pod_batch(batch_times(1), ONE), pod_load(2), dropped={"ring_full": 3})


def written(told: Frame) -> bytes:
    return msgspec.msgpack.encode(told)


@pytest.mark.parametrize("told", [WHOLE, frame(GATEWAY, gateway_request(1, lost="refused"))])
def test_what_was_told_is_read(told: Frame) -> None:
    assert read_frame(written(told)) == told
    assert read_frame(memoryview(written(told))) == told


BATCH = batch_times(1)
ATTEMPT = gateway_request(1).attempts[0]
MEMBER = Member("a" * 32, "b" * 16, 0, "id", 1, 0.0)
WRONG = {
    "another version": replace(WHOLE, frame_version=2),
    "a clock of nowhere": replace(WHOLE, wall_offset_ns=2**63),
    "a count below nothing": replace(WHOLE, dropped={"ring_full": -1}),
    "a trace id of capitals": frame(POD, replace(ONE, trace_id="A" * 32)),
    "a trace id that is short": frame(POD, replace(ONE, trace_id="a" * 31)),
    "a span id of another alphabet": frame(POD, replace(ONE, span_id="é" * 16)),
    "a parent's id with a line's end": frame(POD, replace(ONE, parent_id="a" * 15 + "\n")),
    "a batch's id": frame(POD, pod_batch(replace(BATCH, trace_id=""), ONE)),
    "a member's id": frame(POD, replace(pod_batch(BATCH), members=(Member("", "", 0, "", 1, 0.0),))),
    "a time that is no number": frame(POD, replace(ONE, ended_s=math.nan)),
    "a time without end": frame(POD, replace(ONE, ended_s=math.inf)),
    "a time before all": frame(POD, pod_batch(replace(BATCH, device_s=-1.0), ONE)),
    "a status of nowhere": frame(POD, replace(ONE, status=42)),
    "a status below nothing": frame(GATEWAY, replace(gateway_request(1), status=-500)),
    "a status of an attempt": frame(GATEWAY, replace(gateway_request(1), attempts=(replace(ATTEMPT, status=1000),))),
    "less than no rows of a request": frame(POD, replace(ONE, row_count=-1)),
    "less than no rows of a part": frame(POD, replace(ONE, parts=(Part(0, -1, 50.0),))),
    "less than no rows of a member": frame(POD, replace(pod_batch(BATCH), members=(replace(MEMBER, row_count=-1),))),
    "less than no rows left": frame(POD, replace(pod_batch(BATCH), queued_rows=-1)),
    "a member that waited for less than nothing": frame(
        POD, replace(pod_batch(BATCH), members=(replace(MEMBER, queue_s=-0.1),))
    ),
    "a batch of no rows": frame(POD, pod_request(1, batch=replace(BATCH, row_count=0))),
}


@pytest.mark.parametrize("told", WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_a_bad_packet(told: Frame) -> None:
    with pytest.raises(BadPacket):
        read_frame(written(told))


def test_a_request_without_an_answer_has_no_status_and_that_may_be() -> None:
    told = frame(GATEWAY, replace(gateway_request(1), status=0))
    assert read_frame(written(told)) == told


def test_a_packet_that_is_longer_than_any_frame_is_bad_whatever_it_holds() -> None:
    with pytest.raises(BadPacket, match="longer"):
        read_frame(packet(POD, *(pod_request(number) for number in range(PACKET_BYTES // 100))))


@given(st.binary(max_size=200))
def test_bytes_of_anybody_do_no_more_than_be_bad(data: bytes) -> None:
    with pytest.raises(BadPacket):
        read_frame(data)


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40)


@given(st.data())
def test_a_frame_that_is_read_can_be_made_into_spans_and_written(data: st.DataObject) -> None:
    """One field of a whole frame is anything at all."""
    told: list[Any] = msgspec.to_builtins(WHOLE)
    *path, last = data.draw(st.sampled_from(_paths(told)))
    place: Any = told
    for step in path:
        place = place[step]
    place[last] = data.draw(LEAVES)
    try:
        read = read_frame(msgspec.msgpack.encode(told))
    except BadPacket:
        return
    records = [record for record in read.records if not isinstance(record, PodSummary)]
    assert encode_spans([span for record in records for span in spans_of(read, record)])


def _paths(told: list[Any]) -> list[tuple[int, ...]]:
    """Return where in nested lists there is something that is no list."""
    found: list[tuple[int, ...]] = []
    for number, item in enumerate(told):
        if isinstance(item, list | tuple):
            told[number] = list(item)
            found += [(number, *path) for path in _paths(told[number])]
        else:
            found.append((number,))
    return found


def test_what_a_request_said_of_itself_is_typed() -> None:
    (record,) = read_frame(packet(POD, ONE)).records
    assert isinstance(record, PodRequest)
    assert record.parts == ONE.parts
