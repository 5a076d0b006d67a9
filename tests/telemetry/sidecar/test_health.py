"""How long the oldest that waits has waited."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.health import MARKS, Lag, Lost, lost_list


def test_the_oldest_that_waits_came_when_it_was_noted_first() -> None:
    lag = Lag()
    for now_s, came in ((10.0, 5), (20.0, 5), (30.0, 9), (40.0, 12)):
        lag.note(came, now_s)
    assert lag.waited_s(0, 50.0) == 40.0
    assert lag.waited_s(5, 50.0) == 20.0
    assert lag.waited_s(11, 50.0) == 10.0
    assert lag.waited_s(12, 50.0) == 0.0


def test_nothing_that_came_has_waited_for_nothing() -> None:
    assert Lag().waited_s(0, 50.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 3)), max_size=50), st.integers(0, 150))
def test_it_is_never_longer_than_the_truth(steps: list[tuple[float, int]], left: int) -> None:
    lag, now_s, came_at = Lag(), 0.0, list[float]()
    for pause_s, more in steps:
        now_s += pause_s
        came_at += [now_s] * more
        lag.note(len(came_at), now_s)
    truth_s = now_s - came_at[left] if left < len(came_at) else 0.0
    assert 0.0 <= lag.waited_s(left, now_s) <= truth_s + 1e-9


def test_very_many_moments_become_coarser_and_stay_bounded() -> None:
    lag = Lag()
    for second in range(10 * MARKS):
        lag.note(second + 1, float(second))
    assert lag.waited_s(0, 10.0 * MARKS) == 10.0 * MARKS
    assert len(lag._marks) <= MARKS


def test_what_was_lost_is_told_by_name() -> None:
    assert lost_list({("spans", "refused"): 2, ("packets", "bad"): 1}) == [
        Lost("packets", "bad", 1),
        Lost("spans", "refused", 2),
    ]
