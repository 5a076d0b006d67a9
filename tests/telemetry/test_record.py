"""The recorder over a real socket: what is written arrives whole, nothing waits, and what is lost is counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.record import PACKET_BYTES, PACKET_RECORDS, RING_RECORDS, Packed, Recorder
from telemetry.records import FRAME_VERSION, PodLoad, Source
from tests.fakes.sidecar import FakeSidecar

SOURCE = Source("penstock-pod", "digits/1", 7, "digits", "1", "0.1.0")


def load(message: str = "", number: int = 0) -> Packed:
    return ("l", f"{number:032x}", "b" * 16, 1.0, 2.0, message, "cpu", 0.5)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[FakeSidecar]:
    there = FakeSidecar(tmp_path / "records")
    yield there
    there.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(str(tmp_path / "records"), SOURCE)
    yield made
    made.close()


def test_what_is_recorded_arrives_as_typed_records(sidecar: FakeSidecar, recorder: Recorder) -> None:
    recorder.record(load("no room"))
    recorder.flush()
    (frame,) = sidecar.frames()
    assert (frame.frame_version, frame.source, frame.dropped) == (FRAME_VERSION, SOURCE, {})
    assert frame.records == (PodLoad("0" * 32, "b" * 16, 1.0, 2.0, "no room", "cpu", 0.5),)
    assert frame.wall_offset_ns > 0


def test_many_records_go_in_several_packets_in_their_order(sidecar: FakeSidecar, recorder: Recorder) -> None:
    for number in range(3 * PACKET_RECORDS + 1):
        recorder.record(load(number=number))
    recorder.flush()
    frames = sidecar.frames()
    assert [len(frame.records) for frame in frames] == [PACKET_RECORDS] * 3 + [1]
    sent = [record.trace_id for frame in frames for record in frame.records if isinstance(record, PodLoad)]
    assert sent == [f"{number:032x}" for number in range(3 * PACKET_RECORDS + 1)]


def test_records_wait_for_a_sidecar_that_is_started_again(tmp_path: Path, recorder: Recorder) -> None:
    recorder.record(load())
    recorder.flush()
    first = FakeSidecar(tmp_path / "records")
    recorder.flush()
    assert len(first.frames()) == 1
    first.close()
    recorder.record(load(number=2))
    recorder.flush()
    second = FakeSidecar(tmp_path / "records")
    recorder.flush()
    (frame,) = second.frames()
    second.close()
    assert frame.dropped == {"sidecar_lost": 1}  # whether the first had done with its record nobody can tell
    assert [record.trace_id for record in frame.records if isinstance(record, PodLoad)] == [f"{2:032x}"]


def test_a_sidecar_that_reads_nothing_costs_the_newest_records_and_they_are_counted(
    sidecar: FakeSidecar, recorder: Recorder
) -> None:
    for number in range(6 * RING_RECORDS):
        recorder.record(load(number=number))
        if number % 500 == 0:
            recorder.flush()
    dropped = recorder.dropped["ring_full"]
    assert dropped > 0
    arrived = 0
    for _ in range(100):
        arrived += sum(len(frame.records) for frame in sidecar.frames())
        recorder.flush()
    assert arrived + dropped == 6 * RING_RECORDS
    recorder.record(load())
    recorder.flush()
    assert sidecar.frames()[-1].dropped == {"ring_full": dropped}
    recorder.flush()
    assert sidecar.frames() == []


def test_what_was_lost_is_told_though_nothing_else_is(sidecar: FakeSidecar, recorder: Recorder) -> None:
    recorder.record(load("x" * PACKET_BYTES))
    recorder.flush()
    recorder.flush()
    (frame,) = sidecar.frames()
    assert (frame.dropped, frame.records) == ({"too_large": 1}, ())


def test_large_records_share_packets_with_fewer_others(sidecar: FakeSidecar, recorder: Recorder) -> None:
    for _ in range(PACKET_RECORDS):
        recorder.record(load("x" * (PACKET_BYTES // 10)))
    for _ in range(20):
        recorder.flush()
        for frame in sidecar.frames():
            assert 1 <= len(frame.records) < 10
    assert recorder.dropped == {}


def test_a_record_that_fits_no_packet_is_counted_and_holds_up_no_other(
    sidecar: FakeSidecar, recorder: Recorder
) -> None:
    recorder.record(load("x" * PACKET_BYTES))
    recorder.record(load())
    recorder.flush()
    (frame,) = sidecar.frames()
    assert len(frame.records) == 1
    assert recorder.dropped == {"too_large": 1}


@pytest.mark.parametrize("value", ["\ud800", 2**70])
def test_a_record_that_cannot_be_encoded_is_counted_and_holds_up_no_other(
    sidecar: FakeSidecar, recorder: Recorder, value: object
) -> None:
    recorder.record(load())
    recorder.record(("l", value))
    recorder.record(load())
    recorder.flush()
    assert len(sidecar.records()) == 2
    assert recorder.dropped == {"unencodable": 1}


def test_what_no_sidecar_took_by_the_end_is_counted(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "nobody"), SOURCE)
    recorder.record(load())
    recorder.close()
    assert recorder.dropped == {"sidecar": 1}


def test_ids_are_new_each_time_and_leave_room_for_parts(recorder: Recorder) -> None:
    assert len({recorder.new_trace_id() for _ in range(1000)}) == 1000
    span_id = recorder.new_span_id()
    assert len(span_id) == 16
    assert span_id.endswith("0000")
    assert int(span_id, 16)
