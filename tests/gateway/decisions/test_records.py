"""Frames: what is written is read again, and damage costs the frame that it hit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.decisions.records import Frame, framed, frames, opened, packed, record_at
from policies.snapshot.limits import Limit
from tests.gateway.policy import policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded

BLOCK, IDS = recorded(policy(limit=Limit("tier/gold", 2.0, 2)), [Call(at_s=number / 10) for number in range(8)])
FRAME = framed(BLOCK, IDS)


def whole(content: bytes) -> list[Frame]:
    return [frame for frame in frames(content) if frame is not None]


def test_a_block_is_read_as_it_was_written() -> None:
    (frame,) = whole(FRAME)
    assert opened(frame) == BLOCK
    assert (frame.first_s, frame.last_s, frame.ids, frame.count) == (START_S, START_S + 0.7, IDS, 8)
    assert packed(frame) == FRAME


def test_a_request_is_found_by_its_id() -> None:
    (frame,) = whole(FRAME)
    assert [frame.place_of(IDS[16 * place : 16 * place + 16]) for place in range(8)] == list(range(8))
    assert frame.place_of(b"\xff" * 16) == -1


def test_an_id_that_only_appears_across_two_others_is_not_found() -> None:
    frame = Frame(0.0, 0.0, bytes(8) + b"\x01" * 16 + bytes(8), b"")
    assert frame.place_of(b"\x01" * 16) == -1


@given(st.integers(0, 3 * len(FRAME) - 1), st.integers(1, 255))
def test_a_changed_byte_costs_at_most_its_own_frame(place: int, change: int) -> None:
    content = bytearray(FRAME * 3)
    content[place] ^= change
    found = whole(bytes(content))
    assert len(found) == 2
    assert all(opened(frame) == BLOCK for frame in found)


@given(st.integers(0, len(FRAME) - 1))
def test_a_torn_frame_hides_none_that_follows(length: int) -> None:
    found = list(frames(FRAME + FRAME[:length] + FRAME))
    assert [frame for frame in found if frame is not None] == whole(FRAME) * 2
    assert (None in found) == (length > 0)


@given(st.binary(max_size=200))
def test_bytes_of_anything_else_are_no_frame(content: bytes) -> None:
    assert whole(content) == []


def test_a_block_whose_rows_point_nowhere_is_not_taken() -> None:
    moments, asked, *rest = BLOCK.columns
    for columns in (
        (moments, tuple(99 for _ in asked), *rest),
        (moments, tuple(-1 for _ in asked), *rest),
        (moments[:-1], asked, *rest),
        (moments,),
    ):
        (frame,) = whole(framed(replace(BLOCK, columns=columns), IDS))
        assert opened(frame) is None
    unknown_api = replace(BLOCK, asked=(replace(BLOCK.asked[0], api="dance"),))
    assert opened(whole(framed(unknown_api, IDS))[0]) is None
    assert opened(Frame(0.0, 0.0, b"", b"no zlib")) is None


def test_records_of_a_refusal_say_which_limit_it_was() -> None:
    refused = record_at(BLOCK, 3)
    assert (refused.ended.refusal, refused.ended.status, refused.ended.limits) == ("rate_limited", 429, ("tier/gold",))
