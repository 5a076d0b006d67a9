"""The pause before a worker's next start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.restarts import count_quick_deaths, pause_s


def test_a_worker_that_lived_is_replaced_at_once() -> None:
    assert pause_s(count_quick_deaths(5, lived_s=60.0)) == 0.0


def test_a_series_of_quick_deaths_waits_longer_and_longer() -> None:
    assert [pause_s(deaths) for deaths in range(9)] == [0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@given(st.integers(0, 10**9))
def test_no_pause_is_longer_than_two_seconds(deaths: int) -> None:
    assert 0.0 <= pause_s(deaths) <= 2.0
