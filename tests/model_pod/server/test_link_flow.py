"""Bodies on a stream: windows, lengths and turns, without a link."""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from model_pod.server.link_flow import SLICE_BYTES, ArrivingBody, OutgoingBody
from model_pod.wire.link import CREDIT_BYTES, NOT_TOLD, WINDOW_BYTES, BadLink
from model_pod.wire.refusals import Refused


def _take(body: ArrivingBody, piece: bytes) -> int:
    body.held_bytes += len(piece)
    return body.take(piece, 0.0)


@given(st.lists(st.integers(0, WINDOW_BYTES)))
def test_whatever_a_worker_sends_within_its_window_is_credited_in_time(sizes: list[int]) -> None:
    payload = hashlib.sha256()
    body = ArrivingBody(NOT_TOLD, 2**40, 0.0, payload)
    room_bytes, sent = WINDOW_BYTES, b""
    for size in sizes:
        piece = bytes(min(size, room_bytes))
        room_bytes += _take(body, piece) - len(piece)
        sent += piece
        assert room_bytes > WINDOW_BYTES - CREDIT_BYTES
    assert body.whole() == sent
    assert payload.digest() == hashlib.sha256(sent).digest()


def test_more_than_the_window_breaks_the_link() -> None:
    body = ArrivingBody(NOT_TOLD, 2**40, 0.0)
    _take(body, bytes(CREDIT_BYTES - 1))
    with pytest.raises(BadLink):
        _take(body, bytes(WINDOW_BYTES - CREDIT_BYTES + 2))


def test_a_body_keeps_to_its_limit_and_its_length() -> None:
    with pytest.raises(Refused, match="larger than 10 bytes"):
        _take(ArrivingBody(NOT_TOLD, 10, 0.0), bytes(11))
    with pytest.raises(Refused, match="content-length"):
        _take(ArrivingBody(5, 10, 0.0), bytes(6))
    short = ArrivingBody(5, 10, 0.0)
    _take(short, bytes(4))
    with pytest.raises(Refused, match="content-length"):
        short.whole()


def test_a_body_is_late_when_it_pauses_or_takes_too_long() -> None:
    body = ArrivingBody(NOT_TOLD, 10, 0.0)
    assert not body.is_late(5.0, 20.0, 4.9)
    assert body.is_late(5.0, 20.0, 5.0)
    body.take(b"", 19.0)
    assert not body.is_late(5.0, 20.0, 19.9)
    assert body.is_late(5.0, 20.0, 20.0)


@given(st.lists(st.integers(0, 3 * SLICE_BYTES), max_size=8), st.data())
def test_an_answer_goes_out_whole_in_order_and_within_the_window(sizes: list[int], data: st.DataObject) -> None:
    pieces = [number.to_bytes(1, "little") * size for number, size in enumerate(sizes)]
    body = OutgoingBody(0.0)
    for piece in pieces:
        body.add(piece, 0.0)
    body.finish(b"head")
    received, untaken_bytes, is_last = b"", 0, False
    while not is_last:
        if not body.can_send:
            taken = data.draw(st.integers(1, untaken_bytes))
            body.credit(taken, 0.0)
            untaken_bytes -= taken
            continue
        piece_sent, is_last = body.next()
        assert len(piece_sent) <= SLICE_BYTES
        received += piece_sent
        untaken_bytes += len(piece_sent)
        assert untaken_bytes <= WINDOW_BYTES
        assert body.unread_bytes == untaken_bytes + sum(map(len, pieces)) - len(received)
    assert received == b"".join(pieces)


def test_a_slice_ends_where_the_window_does() -> None:
    body = OutgoingBody(0.0)
    body.add(b"x", 0.0)
    body.add(bytes(2 * WINDOW_BYTES), 0.0)
    sent_bytes = 0
    while body.can_send:
        sent_bytes += len(body.next()[0])
    assert sent_bytes == WINDOW_BYTES


def test_more_credit_than_was_sent_breaks_the_link() -> None:
    body = OutgoingBody(0.0)
    body.add(b"abc", 0.0)
    body.next()
    with pytest.raises(BadLink):
        body.credit(4, 0.0)


def test_a_reader_is_slow_only_while_something_waits_for_it() -> None:
    body = OutgoingBody(0.0)
    body.add(bytes(2 * WINDOW_BYTES), 0.0)
    assert not body.is_stalled(5.0, 100.0)  # the link has not had its turn yet
    while body.can_send:
        body.next()
    assert body.is_stalled(5.0, 5.0)
    body.credit(1, 4.0)
    assert not body.is_stalled(5.0, 8.0)
    body.next()
    assert body.is_stalled(5.0, 9.0)
