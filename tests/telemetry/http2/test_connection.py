from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.http2 import frames
from telemetry.http2.connection import MAX_STREAMS, Begun, Body, Gone, Room
from telemetry.http2.fields import field
from telemetry.http2.frames import Code, ConnectionBroken
from telemetry.http2.windows import STREAM_WINDOW_BYTES
from tests.telemetry.http2.peer import GRPC, Peer, raw

OK = field(b":status", b"200")
TRAILERS = field(b"grpc-status", b"0")


def greeted(settings: dict[int, int] | None = None) -> Peer:
    peer = Peer(settings)
    peer.greet()
    return peer


def breaks(peer: Peer, data: bytes) -> Code:
    """Send what ends the connection, and return why it did, as the caller is told."""
    with pytest.raises(ConnectionBroken) as broken:
        peer.send(data)
    assert peer.went_away[-1][1] == broken.value.code
    return broken.value.code


def flood(peer: Peer, frame: bytes, times: int) -> Code:
    """Send the same until the server has had enough, and return how it says so."""

    def send_all() -> None:
        for _ in range(times):
            peer.send(frame)

    with pytest.raises(ConnectionBroken) as broken:
        send_all()
    return broken.value.code


def reset_each(peer: Peer, make_it_end: Callable[[int], bytes]) -> int:
    """Begin streams and end them at once until the server has had enough; return how many it took."""
    begun = 0
    for number in range(1, 20_000, 2):
        try:
            events = peer.send(peer.head(number) + make_it_end(number))
        except ConnectionBroken:
            break
        begun += sum(isinstance(event, Begun) for event in events)
    assert peer.went_away[-1][1] == Code.ENHANCE_YOUR_CALM
    return begun


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


# --- beginnings


def test_a_request_and_its_answer() -> None:
    peer = greeted()
    head, body = peer.send(peer.head(1) + raw(frames.DATA, frames.END_STREAM, 1, b"asked"))
    assert isinstance(head, Begun)
    assert (head.head.method, head.head.path, head.head.authority, head.ends) == (b"POST", GRPC[2][1], b"mesh", False)
    assert body == Body(1, b"asked", True)
    peer.server.head(1, OK)
    peer.server.body(1, b"answered")
    peer.server.trailers(1, TRAILERS)
    peer.read()
    answer = peer.answers[1]
    assert (answer.fields, answer.body, answer.ended) == ({b":status": b"200", b"grpc-status": b"0"}, b"answered", True)
    assert not peer.server.streams


@pytest.mark.parametrize("cut", range(1, 90, 7))
def test_bytes_may_be_cut_anywhere(cut: int) -> None:
    peer = Peer()
    data = peer.greeting + peer.head(1) + raw(frames.DATA, frames.END_STREAM, 1, b"asked")
    events = [event for at in range(0, len(data), cut) for event in peer.send(data[at : at + cut])]
    assert [type(event) for event in events] == [Begun, Body]


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSX", b"\x16\x03\x01"])
def test_what_is_no_preface_is_no_connection(start: bytes) -> None:
    assert breaks(Peer(), start) is Code.PROTOCOL_ERROR


def test_settings_come_first() -> None:
    assert breaks(Peer(), frames.PREFACE + raw(frames.PING, 0, 0, bytes(8))) is Code.PROTOCOL_ERROR


# --- what breaks the connection


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (raw(frames.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
        (raw(frames.DATA, 0, 7, b"x"), Code.PROTOCOL_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS, 2, b"\x82"), Code.PROTOCOL_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS, 0, b"\x82"), Code.PROTOCOL_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS, 1, b"\xfe"), Code.COMPRESSION_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS, 1, b"\x82\x3f\x01"), Code.COMPRESSION_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
        (raw(frames.HEADERS, frames.END_HEADERS | frames.HAS_PRIORITY, 1, b"abc"), Code.FRAME_SIZE_ERROR),
        (raw(frames.HEADERS, 0, 1, b"\x82") + raw(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
        (raw(frames.HEADERS, 0, 1, b"\x82") + raw(frames.CONTINUATION, 4, 3, b"\x82"), Code.PROTOCOL_ERROR),
        (raw(frames.CONTINUATION, frames.END_HEADERS, 1, b"\x82"), Code.PROTOCOL_ERROR),
        (raw(frames.PUSH_PROMISE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (raw(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (raw(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (raw(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (raw(frames.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
        (raw(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
        (frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 2**31}), Code.FLOW_CONTROL_ERROR),
        (frames.settings_frame({frames.MAX_FRAME_SIZE: 16_383}), Code.PROTOCOL_ERROR),
        (frames.settings_frame({frames.MAX_FRAME_SIZE: 2**24}), Code.PROTOCOL_ERROR),
        (frames.settings_frame({frames.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
        (raw(frames.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
        (raw(frames.WINDOW_UPDATE, 0, 0, u32(0)), Code.PROTOCOL_ERROR),
        (raw(frames.WINDOW_UPDATE, 0, 0, u32(2**31 - 1)), Code.FLOW_CONTROL_ERROR),
        (raw(frames.WINDOW_UPDATE, 0, 9, u32(1)), Code.PROTOCOL_ERROR),
        (raw(frames.RST_STREAM, 0, 9, u32(0)), Code.PROTOCOL_ERROR),
        (raw(frames.RST_STREAM, 0, 0, u32(0)), Code.PROTOCOL_ERROR),
        (raw(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
        (raw(frames.PRIORITY, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (raw(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (raw(frames.DATA, 0, 1, bytes(16_385)), Code.FRAME_SIZE_ERROR),
    ],
)
def test_frames_that_break_the_protocol_end_the_connection(frame: bytes, code: Code) -> None:
    assert breaks(greeted(), frame) is code


def test_stream_numbers_only_rise() -> None:
    peer = greeted()
    peer.send(peer.head(5, ends=True))
    assert peer.send(peer.head(3, ends=True)) == []
    assert 3 not in peer.server.streams


# --- what breaks a stream


def changed(name: bytes, value: bytes | None) -> list[tuple[bytes, bytes]]:
    kept = [pair for pair in GRPC if pair[0] != name]
    return kept if value is None else sorted([*kept, (name, value)], key=lambda pair: pair[0][:1] != b":")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        changed(b":method", None),
        changed(b":scheme", None),
        changed(b":path", None),
        changed(b":path", b""),
        changed(b":path", b"no-slash"),
        changed(b":path", b"/a b"),
        changed(b":path", b"/a\x00b"),
        changed(b":status", b"200"),
        [*GRPC[:3], GRPC[2], *GRPC[3:]],
        [*GRPC, (b":authority", b"late")],
        [*GRPC, (b"Upper", b"x")],
        [*GRPC, (b"with space", b"x")],
        [*GRPC, (b"", b"x")],
        [*GRPC, (b"connection", b"close")],
        [*GRPC, (b"transfer-encoding", b"chunked")],
        [*GRPC, (b"upgrade", b"h2c")],
        changed(b"te", b"gzip"),
        [*GRPC, (b"x", b"a\r\nb")],
        [*GRPC, (b"x", b"a\nb")],
        [*GRPC, (b"x", b"a\x00b")],
        [*GRPC, (b"x", b" a")],
        [*GRPC, (b"x", b"a\t")],
        [*GRPC, (b"content-length", b"1"), (b"content-length", b"2")],
        [*GRPC, (b"content-length", b"-1")],
        [*GRPC, (b"content-length", b"+1")],
        [*GRPC, (b"content-length", b"")],
    ],
)
def test_malformed_requests_are_reset_and_others_go_on(fields: list[tuple[bytes, bytes]]) -> None:
    peer = greeted()
    events = peer.send(peer.head(1, fields) + peer.head(3, ends=True))
    assert [event.stream for event in events if isinstance(event, Begun)] == [3]
    assert peer.answers[1].reset == Code.PROTOCOL_ERROR
    assert not peer.went_away


@pytest.mark.parametrize(("announced", "pieces"), [(b"3", [b"ab"]), (b"3", [b"ab", b"cd"]), (b"0", [b"a"]), (b"3", [])])
def test_a_body_is_as_long_as_it_was_announced(announced: bytes, pieces: list[bytes]) -> None:
    peer = greeted()
    peer.send(peer.head(1, [*GRPC, (b"content-length", announced)], ends=not pieces))
    for number, piece in enumerate(pieces, 1):
        with suppress(ConnectionBroken):
            peer.send(raw(frames.DATA, frames.END_STREAM if number == len(pieces) else 0, 1, piece))
    assert peer.answers[1].reset == Code.PROTOCOL_ERROR
    assert not peer.server.streams


def test_data_after_the_end_resets_the_stream() -> None:
    peer = greeted()
    peer.send(peer.head(1, ends=True))
    assert peer.send(raw(frames.DATA, 0, 1, b"x")) == [Gone(1)]
    assert peer.answers[1].reset == Code.STREAM_CLOSED


def test_a_stream_beyond_the_limit_is_refused_so_that_it_may_be_tried_again() -> None:
    peer = greeted()
    for number in range(MAX_STREAMS):
        peer.send(peer.head(1 + 2 * number))
    peer.send(peer.head(1 + 2 * MAX_STREAMS))
    assert peer.answers[1 + 2 * MAX_STREAMS].reset == Code.REFUSED_STREAM
    assert len(peer.server.streams) == MAX_STREAMS


# --- floods


def test_rapid_reset_is_told_to_calm_down_and_then_cut_off() -> None:
    assert reset_each(greeted(), lambda number: raw(frames.RST_STREAM, 0, number, u32(8))) <= 102


def test_resets_that_the_peer_makes_us_send_count_alike() -> None:
    assert reset_each(greeted(), lambda number: raw(frames.WINDOW_UPDATE, 0, number, u32(0))) <= 102


def test_who_cancels_now_and_then_is_not_bothered() -> None:
    peer = greeted()
    for number in range(1, 2_001, 2):
        peer.now_s += 0.11
        peer.send(peer.head(number) + raw(frames.RST_STREAM, 0, number, u32(8)))
    assert not peer.went_away


def test_what_runs_is_answered_after_the_peer_was_told_to_calm_down() -> None:
    peer = greeted()
    peer.send(peer.head(1, ends=True))
    number = 1
    while not peer.went_away:
        number += 2
        peer.send(peer.head(number) + raw(frames.RST_STREAM, 0, number, u32(8)))
    peer.server.head(1, OK)
    peer.server.trailers(1, TRAILERS)
    peer.read()
    assert peer.answers[1].ended


@pytest.mark.parametrize(
    "frame",
    [
        raw(frames.PING, 0, 0, bytes(8)),
        raw(frames.SETTINGS, 0, 0),
        raw(frames.SETTINGS, frames.ACK, 0),
        raw(frames.DATA, 0, 1),
        raw(frames.DATA, frames.PADDED, 1, b"\x03abc"[:1] + bytes(3)),
        raw(0x42, 0, 0, b"unknown"),
        raw(frames.PRIORITY, 0, 1, bytes(5)),
        raw(frames.WINDOW_UPDATE, 0, 0, u32(1)),
    ],
)
def test_floods_of_what_asks_for_nothing_are_cut_off(frame: bytes) -> None:
    peer = greeted()
    peer.send(peer.head(1))
    assert flood(peer, frame, 1_000) is Code.ENHANCE_YOUR_CALM
    assert peer.pongs <= 501
    assert peer.acknowledged <= 501


def test_a_flood_of_continuation_is_cut_off_while_little_of_it_is_kept() -> None:
    peer = greeted()
    peer.send(raw(frames.HEADERS, 0, 1, b"\x82"))
    assert flood(peer, raw(frames.CONTINUATION, 0, 1), 100) is Code.ENHANCE_YOUR_CALM


def test_a_small_block_that_unfolds_to_a_large_list_is_refused() -> None:
    peer = greeted()
    filling = peer.encoder.encode([*GRPC, (b"x", b"y" * 3_000)])
    peer.send(raw(frames.HEADERS, frames.END_HEADERS, 1, filling))
    pointer = bytes([0x80 | 62])  # the newest entry of the dynamic table
    assert breaks(peer, raw(frames.HEADERS, frames.END_HEADERS, 3, pointer * 50)) is Code.ENHANCE_YOUR_CALM


# --- windows


def test_a_stream_may_send_its_window_and_no_more() -> None:
    peer = greeted()
    peer.send(peer.head(1))
    piece = raw(frames.DATA, 0, 1, bytes(16_384))
    peer.send(piece * (STREAM_WINDOW_BYTES // 16_384))
    assert peer.send(raw(frames.DATA, 0, 1, b"x")) == [Gone(1)]
    assert peer.answers[1].reset == Code.FLOW_CONTROL_ERROR


def test_what_was_taken_may_be_sent_again() -> None:
    peer = greeted()
    peer.send(peer.head(1))
    for _ in range(64):
        for event in peer.send(raw(frames.DATA, 0, 1, bytes(16_384))):
            assert isinstance(event, Body)
            peer.server.credit(1, len(event.data))
    peer.read()
    assert not peer.answers.get(1) or peer.answers[1].reset is None
    assert peer.credited[1] >= 63 * 16_384 - STREAM_WINDOW_BYTES // 2


def test_a_stream_that_nobody_reads_does_not_stop_the_others() -> None:
    peer = greeted()
    stalled = range(1, 2 * 40, 2)
    for number in stalled:
        peer.send(peer.head(number) + raw(frames.DATA, 0, number, bytes(16_384)) * 4)
    peer.send(peer.head(101))
    assert peer.send(raw(frames.DATA, frames.END_STREAM, 101, bytes(16_384)))[0] == Body(101, bytes(16_384), True)


def test_a_peer_without_a_window_gets_nothing_until_it_opens_one() -> None:
    peer = greeted({frames.INITIAL_WINDOW_SIZE: 0})
    peer.send(peer.head(1, ends=True))
    peer.server.head(1, OK)
    peer.server.body(1, b"answer")
    peer.read()
    assert peer.answers[1].body == b""
    assert peer.server.streams[1].unsent_bytes == 6
    assert peer.send(raw(frames.WINDOW_UPDATE, 0, 1, u32(2))) == []
    assert peer.answers[1].body == b"an"
    assert peer.send(frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 4})) == [Room(1)]
    assert peer.answers[1].body == b"answer"


def test_a_window_may_be_made_smaller_than_what_is_out() -> None:
    peer = greeted()
    peer.send(peer.head(1, ends=True))
    peer.server.head(1, OK)
    peer.server.body(1, bytes(60_000))
    peer.send(frames.settings_frame({frames.INITIAL_WINDOW_SIZE: 10}))
    peer.server.body(1, b"x" * 10)
    peer.server.trailers(1, TRAILERS)
    peer.read()
    assert len(peer.answers[1].body) == 60_000
    peer.send(raw(frames.WINDOW_UPDATE, 0, 1, u32(60_000)))
    assert (len(peer.answers[1].body), peer.answers[1].ended) == (60_010, True)


def test_a_blocked_socket_gets_no_more_than_what_answers_the_peer() -> None:
    peer = greeted()
    peer.send(peer.head(1, ends=True))
    peer.server.is_blocked = True
    peer.server.head(1, OK)
    peer.server.body(1, b"answer")
    peer.server.trailers(1, TRAILERS)
    peer.read()
    assert peer.answers[1].body == b""
    peer.server.is_blocked = False
    peer.server.send_waiting()
    peer.read()
    assert (peer.answers[1].body, peer.answers[1].ended) == (b"answer", True)


def test_answers_that_wait_for_the_connections_window_take_turns() -> None:
    peer = greeted({frames.INITIAL_WINDOW_SIZE: 2**20})
    peer.send(peer.head(1, ends=True) + peer.head(3, ends=True) + peer.head(5, ends=True))
    for number in (1, 3, 5):
        peer.server.head(number, OK)
        peer.server.body(number, bytes(200_000))
    peer.read()
    peer.send(raw(frames.WINDOW_UPDATE, 0, 0, u32(150_000)))
    got = [len(peer.answers[number].body) for number in (3, 5)]
    assert max(got) - min(got) <= 16_384
    assert sum(len(answer.body) for answer in peer.answers.values()) == 65_535 + 150_000


def test_a_window_that_opens_little_by_little_serves_all_in_turn() -> None:
    peer = greeted({frames.INITIAL_WINDOW_SIZE: 2**20})
    peer.send(peer.head(1, ends=True) + peer.head(3, ends=True) + peer.head(5, ends=True))
    for number in (1, 3, 5):
        peer.server.head(number, OK)
        peer.server.body(number, bytes(100_000))
    peer.read()
    before = {number: len(peer.answers[number].body) for number in (1, 3, 5)}
    for _ in range(30):
        peer.send(raw(frames.WINDOW_UPDATE, 0, 0, u32(1_000)))
    assert [len(peer.answers[number].body) - before[number] for number in (1, 3, 5)] == [10_000] * 3


def test_a_request_that_is_answered_early_is_told_to_stop() -> None:
    peer = greeted()
    peer.send(peer.head(1) + raw(frames.DATA, 0, 1, b"some"))
    peer.server.head(1, OK + TRAILERS, ends=True)
    assert peer.send(raw(frames.DATA, 0, 1, b"more")) == []
    assert (peer.answers[1].ended, peer.answers[1].reset) == (True, Code.NO_ERROR)


def test_after_goaway_new_streams_are_not_taken_and_not_answered() -> None:
    peer = greeted()
    peer.send(peer.head(1))
    peer.server.warn_of_leaving()
    assert len(peer.send(peer.head(3))) == 1
    peer.server.go_away()
    assert peer.send(peer.head(5)) == []
    assert 5 not in peer.answers
    assert peer.went_away == [(2**31 - 1, Code.NO_ERROR), (3, Code.NO_ERROR)]
    assert sorted(peer.server.streams) == [1, 3]


# --- whatever comes


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_bytes_are_taken_or_refused_by_name(pieces: list[bytes]) -> None:
    peer = greeted()
    with suppress(ConnectionBroken):
        for piece in pieces:
            peer.send(piece)


_FRAMES = st.builds(
    raw,
    st.integers(0, 10),
    st.integers(0, 255),
    st.integers(0, 9),
    st.binary(max_size=40) | st.sampled_from([u32(0), u32(1), bytes(8), bytes(5), bytes(6)]),
)


@settings(max_examples=300)
@given(st.lists(_FRAMES, max_size=30), st.integers(1, 50))
def test_any_frames_cut_anyhow_mean_the_same(sent: list[bytes], cut: int) -> None:
    whole, pieces = greeted(), greeted()
    data = whole.head(1) + b"".join(sent)
    seen: list[list[object]] = [[], []]
    for events, peer, size in ((seen[0], whole, len(data)), (seen[1], pieces, cut)):
        with suppress(ConnectionBroken):
            for at in range(0, len(data), size):
                events += peer.send(data[at : at + size])
    if not whole.went_away:
        assert seen[0] == seen[1]
    assert whole.went_away == pieces.went_away
    assert {number: answer.reset for number, answer in whole.answers.items()} == {
        number: answer.reset for number, answer in pieces.answers.items()
    }


_KINDS = st.sampled_from(["body", "stream", "connection", "initial", "block"])
_STEPS = st.lists(st.tuples(_KINDS, st.sampled_from([1, 3, 5]), st.integers(1, 70_000)), max_size=40)


class Downloads:
    """Three answers on their way, and what the peer allows of each."""

    def __init__(self) -> None:
        self.peer = greeted()
        self.wanted = {1: b"", 3: b"", 5: b""}
        for number in self.wanted:
            self.peer.send(self.peer.head(number, ends=True))
            self.peer.server.head(number, OK)
        self.peer.read()
        self.allowed = dict.fromkeys(self.wanted, 65_535)
        self.allowed_together = self.initial = 65_535

    def sent(self) -> dict[int, int]:
        return {number: len(self.peer.answers[number].body) for number in self.wanted}

    def step(self, kind: str, number: int, amount: int) -> None:
        server = self.peer.server
        match kind:
            case "body":
                piece = bytes([amount % 251]) * amount
                self.wanted[number] += piece
                server.body(number, piece)
            case "stream":
                self.allowed[number] += amount
                self.peer.send(raw(frames.WINDOW_UPDATE, 0, number, u32(amount)))
            case "connection":
                self.allowed_together += amount
                self.peer.send(raw(frames.WINDOW_UPDATE, 0, 0, u32(amount)))
            case "initial":
                self.allowed = {each: room + amount - self.initial for each, room in self.allowed.items()}
                self.initial = amount
                self.peer.send(frames.settings_frame({frames.INITIAL_WINDOW_SIZE: amount}))
            case _:
                server.is_blocked = not server.is_blocked
                server.send_waiting()
        self.peer.read()

    def finish(self, number: int) -> None:
        self.peer.server.trailers(number, TRAILERS)
        if number in self.peer.server.streams:
            self.peer.send(raw(frames.WINDOW_UPDATE, 0, number, u32(10_000_000)))
        self.peer.read()


@settings(max_examples=200)
@given(_STEPS)
def test_bodies_arrive_whole_and_in_order_and_never_beyond_a_window(steps: list[tuple[str, int, int]]) -> None:
    downloads = Downloads()
    for step in steps:
        before = downloads.sent()
        downloads.step(*step)
        after = downloads.sent()
        assert sum(after.values()) <= downloads.allowed_together
        assert all(after[each] in (before[each], min(after[each], downloads.allowed[each])) for each in after)
    downloads.peer.server.is_blocked = False
    downloads.step("connection", 1, 10_000_000)
    for number, wanted in downloads.wanted.items():
        downloads.finish(number)
        answer = downloads.peer.answers[number]
        assert (answer.body, answer.ended) == (wanted, True)
