"""Reads a recorder's packet as a frame that the rest of the sidecar need not doubt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from telemetry.drift.fields import PATH_LETTERS, SIDES, is_field
from telemetry.records import (
    FRAME_VERSION,
    BatchTimes,
    Frame,
    GatewayCopy,
    GatewayRequest,
    PodBatch,
    PodLoad,
    PodRequest,
    PodSummary,
    Record,
)

PACKET_BYTES = 192 * 2**10
"""A recorder writes half as much at most; a packet that is longer is somebody else's."""

STATUSES = range(100, 600)
# Monotonic clocks begin at the machine's start and the wall's in 1970: no moment of either is beyond these.
_LATEST_S = 2.0**33
_LATEST_NS = 2**62

_is_trace_id = re.compile(r"[0-9a-f]{32}").fullmatch
_is_span_id = re.compile(r"[0-9a-f]{16}").fullmatch
_decode = msgspec.msgpack.Decoder(Frame).decode


class BadPacket(Exception):
    """A packet is no frame; the message says why."""


def read_frame(packet: bytes | memoryview) -> Frame:
    """Return what a packet says.

    Raises:
        BadPacket: it is no frame of this version, or an id or a moment in it is none.
    """
    if len(packet) > PACKET_BYTES:
        raise BadPacket(f"longer than {PACKET_BYTES} bytes")
    try:
        frame = _decode(packet)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadPacket(str(error)) from error
    if frame.frame_version != FRAME_VERSION:
        raise BadPacket(f"version {frame.frame_version} instead of {FRAME_VERSION}")
    if not 0 <= frame.wall_offset_ns <= _LATEST_NS or any(count < 0 for count in frame.dropped.values()):
        raise BadPacket("a clock or a count is out of range")
    for record in frame.records:
        if isinstance(record, PodSummary):
            _check_summary(record)
        else:
            _check(record)
    return frame


def _check_summary(summary: PodSummary) -> None:
    if summary.side not in SIDES or len(summary.path) > PATH_LETTERS:
        raise BadPacket("a summary is of no part of a row")
    if not 0.0 <= summary.ended_s <= _LATEST_S or not is_field(summary.field):
        raise BadPacket("a summary is out of bounds")


def _check(record: Record) -> None:
    traces, spans = zip(*_ids(record), strict=True)
    if not all(map(_is_trace_id, traces)) or not all(map(_is_span_id, spans)):
        raise BadPacket("an id is not hexadecimal digits")
    if (
        isinstance(record, GatewayRequest | GatewayCopy | PodRequest)
        and record.parent_id
        and not _is_span_id(record.parent_id)
    ):
        raise BadPacket("a parent's id is not hexadecimal digits")
    if not all(0.0 <= moment_s <= _LATEST_S for moment_s in _seconds(record)):
        raise BadPacket("a time is out of range")
    if not all(status == 0 or status in STATUSES for status in _statuses(record)):
        raise BadPacket("a status is none of HTTP's")
    if any(batch.row_count < 1 for batch in _batches(record)) or any(number < 0 for number in _counts(record)):
        raise BadPacket("a batch has no rows, or a number is below nothing")


def _ids(record: Record) -> Iterator[tuple[str, str]]:
    """Yield pairs of a trace's and a span's id, parents' left out."""
    match record:
        case PodBatch():
            yield from ((member.trace_id, member.span_id) for member in record.members)
        case GatewayRequest():
            yield record.trace_id, record.span_id
            yield from ((record.trace_id, attempt.span_id) for attempt in record.attempts)
        case GatewayCopy() | PodRequest() | PodLoad():
            yield record.trace_id, record.span_id
    yield from ((times.trace_id, times.span_id) for times in _batches(record))


def _statuses(record: Record) -> Iterator[int]:
    match record:
        case GatewayRequest():
            yield record.status
            yield from (attempt.status for attempt in record.attempts)
        case GatewayCopy() | PodRequest():
            yield record.status


def _counts(record: Record) -> Iterator[int]:
    """Yield numbers of parts, rows, requests and runs."""
    match record:
        case PodBatch():
            yield record.queued_rows
            for member in record.members:
                yield from (member.part, member.row_count)
        case PodRequest():
            yield record.row_count
            for part in record.parts:
                yield from (part.part, part.row_count)
    for times in _batches(record):
        yield from (times.request_count, times.runs)


def _batches(record: Record) -> Iterable[BatchTimes]:
    match record:
        case PodBatch():
            return (record.times,)
        case PodRequest():
            return (part.batch for part in record.parts if part.batch is not None)
    return ()


def _seconds(record: Record) -> Iterator[float]:
    """Yield every moment and length of time."""
    match record:
        case GatewayRequest():
            yield from (record.started_s, record.ended_s)
            for attempt in record.attempts:
                yield from (attempt.started_s, attempt.ended_s)
        case GatewayCopy():
            yield from (record.started_s, record.ended_s)
        case PodRequest():
            yield from (record.started_s, record.ended_s)
            yield from (part.enqueued_s for part in record.parts)
        case PodLoad():
            yield from (record.started_s, record.ended_s, record.handler_s)
        case PodBatch():
            yield from (member.queue_s for member in record.members)
    for times in _batches(record):
        yield from (times.sent_s, times.began_s, times.preprocess_s, times.inference_s)
        yield from (times.postprocess_s, times.ended_s, times.answered_s, times.device_s)
