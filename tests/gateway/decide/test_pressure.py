"""What a worker takes on when memory is short."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.pressure import MOST_LAG_S, Pressure, accepts, pressure


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


def test_connections_wait_while_memory_is_nearly_gone_or_the_loop_is_late() -> None:
    assert accepts(Pressure.NONE, 0.0)
    assert accepts(Pressure.REFUSES, MOST_LAG_S)
    assert not accepts(Pressure.SHUT, 0.0)
    assert not accepts(Pressure.NONE, MOST_LAG_S + 0.01)
