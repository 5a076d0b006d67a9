"""Frames of the link: what is written is what is read, however the bytes are cut, and windows hold."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model_pod.server.link_flow import ArrivingBody, OutgoingBody
from model_pod.wire.http1.head import METHODS
from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    HEADER_BYTES,
    LAST,
    MAX_HEAD_BYTES,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    WINDOW_BYTES,
    BadLink,
    Buffer,
    FrameReader,
    PodAnswer,
    PodCharge,
    PodRequest,
    Reset,
    credit,
    credited,
    decode_answer,
    decode_charge,
    decode_request,
    decode_reset,
    encode_head,
    frame,
)

_FRAMES = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(), st.binary()), max_size=8)


def test_no_request_of_http_begins_like_a_link() -> None:
    assert not any(PREFACE.startswith(method[:2]) for method in METHODS)


@given(_FRAMES, st.data())
def test_frames_are_read_as_they_were_written_however_they_are_cut(
    frames: list[tuple[int, int, bytes, bytes]], data: st.DataObject
) -> None:
    sent = b"".join(b"".join(frame(*each)) for each in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=10)))
    reader, read = FrameReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        read += reader.feed(sent[start:stop])
    assert read == frames


def test_a_frame_is_at_most_a_head_and_a_window() -> None:
    largest = b"".join(frame(DATA, 1, bytes(MAX_HEAD_BYTES), bytes(WINDOW_BYTES)))
    assert FrameReader().feed(largest) == [(DATA, 1, bytes(MAX_HEAD_BYTES), bytes(WINDOW_BYTES))]
    for head, body in [(bytes(MAX_HEAD_BYTES + 1), b""), (b"", bytes(WINDOW_BYTES + 1))]:
        with pytest.raises(BadLink):
            FrameReader().feed(b"".join(frame(DATA, 1, head, body))[:HEADER_BYTES])


def test_a_head_longer_than_its_frame_is_none() -> None:
    written = b"".join(frame(DATA, 1, b"", b"abc"))
    with pytest.raises(BadLink):
        FrameReader().feed(written[:8] + (4).to_bytes(4, "little") + written[12:])


def test_heads_are_read_as_they_were_written() -> None:
    request = PodRequest("POST", "/x?y", "r", "ads", "00-..", 5, NOT_TOLD, "k", [(b"A", b"\xff")])
    assert decode_request(encode_head(request)) == request
    answer = PodAnswer(200, "Fine", "", b"a: b\r\n", b"queue;dur=1", 5, 1, 2, 3, 4)
    assert decode_answer(encode_head(answer)) == answer
    assert decode_reset(encode_head(Reset("pod_draining", False))) == Reset("pod_draining", False)
    assert decode_charge(encode_head(PodCharge(1, 2, 3, 4))) == PodCharge(1, 2, 3, 4)


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    later = [*msgspec.msgpack.decode(encode_head(Reset("pod_draining", False))), "new"]
    assert decode_reset(encode_head(later)) == Reset("pod_draining", False)


@given(st.integers(0, 2**32 - 1))
def test_a_credit_is_read_as_it_was_written(byte_count: int) -> None:
    ((kind, stream, head, body),) = FrameReader().feed(credit(7, byte_count))
    assert (kind, stream, credited(head), body) == (CREDIT, 7, byte_count, b"")


@pytest.mark.parametrize("head", [b"", b"\0\0\0", bytes(5)])
def test_a_credit_of_another_size_is_none(head: bytes) -> None:
    with pytest.raises(BadLink):
        credited(head)


class _End:
    """One end of a link: sends bodies by the rules of ``OutgoingBody``, takes them by those of ``ArrivingBody``."""

    def __init__(self, opening: int) -> None:
        self.opening = opening  # the kind that begins what it sends
        self.reader = FrameReader()
        self.wire = b""  # on its way to the other end
        self.outgoing: dict[int, OutgoingBody] = {}
        self.sent: dict[int, bytes] = {}
        self.finished: set[int] = set()
        self.arriving: dict[int, ArrivingBody] = {}
        self.received: dict[int, bytes] = {}
        self.ends: dict[int, int] = {}
        self.reset: set[int] = set()

    def write(self, pieces: list[Buffer]) -> None:
        self.wire += b"".join(pieces)

    def begin(self, stream: int) -> None:
        self.outgoing[stream] = OutgoingBody(0.0)
        self.sent[stream] = b""
        self.write(frame(self.opening, stream))

    def turn(self, stream: int) -> None:
        """Send one slice, if the window has room."""
        outgoing = self.outgoing[stream]
        if outgoing.can_send:
            piece, is_last = outgoing.next()
            self.write(frame(DATA | LAST if is_last else DATA, stream, b"", bytes(piece)))
            if is_last:
                del self.outgoing[stream]

    def hear(self, data: bytes) -> None:
        for kind, stream, head, body in self.reader.feed(data):
            if stream in self.reset:
                continue
            self._on_frame(kind & ~LAST, bool(kind & LAST), stream, head, body)

    def _on_frame(self, kind: int, is_last: bool, stream: int, head: bytes, body: bytes) -> None:
        if kind in (REQUEST, ANSWER):
            assert stream not in self.received, "a stream begins once"
            self.arriving[stream] = ArrivingBody(NOT_TOLD, 2**40, 0.0)
            self.received[stream] = b""
        elif kind == DATA:
            assert not self.ends.get(stream), "nothing follows the end"
            arriving = self.arriving[stream]
            arriving.held_bytes += len(body)
            taken_bytes = arriving.take(body, 0.0)  # raises when the window is exceeded
            self.received[stream] += body
            self.ends[stream] = self.ends.get(stream, 0) + is_last
            if taken_bytes:
                self.wire += credit(stream, taken_bytes)
        elif kind == CREDIT and stream in self.outgoing:
            self.outgoing[stream].credit(credited(head), 0.0)
        elif kind == RESET:
            self.drop(stream)

    def drop(self, stream: int) -> None:
        self.outgoing.pop(stream, None)
        self.reset.add(stream)


class TwoEnds(RuleBasedStateMachine):
    """Two ends exchange bodies on many streams, and the bytes between them arrive in slices of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = _End(REQUEST), _End(ANSWER)
        self.next_stream = 1

    def _streams(self, side: int) -> list[int]:
        return sorted(self.ends[side].outgoing)

    @rule(side=st.integers(0, 1))
    def begins(self, side: int) -> None:
        self.ends[side].begin(self.next_stream)
        self.next_stream += 1

    @rule(side=st.integers(0, 1), piece=st.integers(0, 3 * WINDOW_BYTES), data=st.data())
    def adds(self, side: int, piece: int, data: st.DataObject) -> None:
        end = self.ends[side]
        if streams := [stream for stream in self._streams(side) if stream not in end.finished]:
            stream = data.draw(st.sampled_from(streams))
            body = len(end.sent[stream]).to_bytes(8, "little") * (piece // 8)
            end.outgoing[stream].add(body, 0.0)
            end.sent[stream] += body

    @rule(side=st.integers(0, 1), data=st.data())
    def finishes(self, side: int, data: st.DataObject) -> None:
        end = self.ends[side]
        if streams := [stream for stream in self._streams(side) if stream not in end.finished]:
            stream = data.draw(st.sampled_from(streams))
            end.finished.add(stream)
            end.outgoing[stream].finish()

    @rule(side=st.integers(0, 1), turns=st.integers(1, 8))
    def takes_turns(self, side: int, turns: int) -> None:
        for _ in range(turns):
            for stream in self._streams(side):
                self.ends[side].turn(stream)

    @rule(side=st.integers(0, 1), byte_count=st.integers(1, 100_000))
    def bytes_arrive(self, side: int, byte_count: int) -> None:
        end, other = self.ends[side], self.ends[1 - side]
        arrived, end.wire = end.wire[:byte_count], end.wire[byte_count:]
        other.hear(arrived)

    @precondition(lambda self: self.next_stream > 1)
    @rule(side=st.integers(0, 1), data=st.data())
    def resets(self, side: int, data: st.DataObject) -> None:
        stream = data.draw(st.integers(1, self.next_stream - 1))
        end = self.ends[side]
        if stream in end.sent or stream in end.received:
            end.drop(stream)
            end.write(frame(RESET, stream, encode_head(Reset("client_gone"))))

    @invariant()
    def nothing_is_lost_or_out_of_order(self) -> None:
        for end, other in (self.ends, self.ends[::-1]):
            for stream, received in end.received.items():
                assert other.sent[stream].startswith(received)
                assert end.ends.get(stream, 0) <= 1
                if end.ends.get(stream):
                    assert received == other.sent[stream]

    def teardown(self) -> None:
        """Whatever happened, what was finished and not reset arrives whole once the wire is quiet."""
        for side in (0, 1):
            for stream in set(self._streams(side)) - self.ends[side].finished:
                self.ends[side].outgoing[stream].finish()
        while any(end.wire for end in self.ends) or any(end.outgoing for end in self.ends):
            for side in (0, 1):
                self.takes_turns(side, 1)
                self.bytes_arrive(side, 10**9)
        for end, other in (self.ends, self.ends[::-1]):
            for stream, sent in other.sent.items():
                if stream not in end.reset and stream not in other.reset:
                    assert end.received[stream] == sent
                    assert end.ends[stream] == 1


TestTwoEnds = TwoEnds.TestCase
