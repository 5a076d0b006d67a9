"""What a worker takes on when memory is short."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.pressure import (
    HELD_OF_BODY_BYTES,
    MOST_BODIES_BYTES,
    MOST_LAG_S,
    SMALL_BODY_BYTES,
    Pressure,
    accepts,
    bodies_room_bytes,
    may_hold_bytes,
    most_resting,
    pressure,
    wants_rest,
)


def after(*used: float) -> Pressure:
    """Return the pressure after these readings."""
    now = Pressure.NONE
    for ratio in used:
        now = pressure(now, ratio)
    return now


def test_requests_are_refused_from_92_percent_and_connections_wait_from_95() -> None:
    assert [after(ratio) for ratio in (0.0, 0.9199, 0.92, 0.9499, 0.95, 1.2)] == [
        Pressure.NONE,
        Pressure.NONE,
        Pressure.REFUSES,
        Pressure.REFUSES,
        Pressure.SHUT,
        Pressure.SHUT,
    ]


def test_relief_counts_once_it_is_clear() -> None:
    assert after(0.92, 0.91) is Pressure.REFUSES
    assert after(0.92, 0.89) is Pressure.NONE
    assert after(0.95, 0.94) is Pressure.SHUT
    assert after(0.95, 0.925) is Pressure.REFUSES
    assert after(0.95, 0.91) is Pressure.REFUSES
    assert after(0.95, 0.89) is Pressure.NONE


@given(st.sampled_from(Pressure), st.lists(st.floats(0.0, 2.0), min_size=2, max_size=20))
def test_more_memory_in_use_never_means_less_pressure(before: Pressure, readings: list[float]) -> None:
    found = [pressure(before, ratio) for ratio in sorted(readings)]
    assert all(less <= more for less, more in pairwise(found))


def test_connections_wait_while_memory_is_nearly_gone_or_a_sibling_takes_them() -> None:
    assert accepts(Pressure.NONE, rests=False)
    assert accepts(Pressure.REFUSES, rests=False)
    assert not accepts(Pressure.SHUT, rests=False)
    assert not accepts(Pressure.NONE, rests=True)


def test_a_worker_that_is_late_wants_rest() -> None:
    assert not wants_rest(MOST_LAG_S)
    assert wants_rest(MOST_LAG_S + 0.01)


@given(st.integers(0, 1000))
def test_where_all_workers_are_late_one_goes_on_accepting(worker_count: int) -> None:
    assert most_resting(worker_count) == max(1, worker_count) - 1


def test_bodies_may_hold_half_of_what_memory_is_left_each_worker_its_part() -> None:
    assert bodies_room_bytes(400.0, 1) == 200
    assert bodies_room_bytes(400.0, 4) == 50
    assert bodies_room_bytes(-1.0, 2) == 0
    assert bodies_room_bytes(inf, 2) == MOST_BODIES_BYTES


def test_a_small_body_does_not_count_and_of_a_large_one_only_what_may_be_held() -> None:
    small = (0, SMALL_BODY_BYTES)
    assert [may_hold_bytes(count) for count in small] == [0, 0]
    assert may_hold_bytes(SMALL_BODY_BYTES + 1) == SMALL_BODY_BYTES + 1
    assert may_hold_bytes(2**40) == may_hold_bytes(None) == HELD_OF_BODY_BYTES
