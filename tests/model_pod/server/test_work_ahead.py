"""How much device time is ahead."""

from __future__ import annotations

from model_pod.server.work_ahead import WorkAhead


def test_nothing_is_predicted_before_anything_ran() -> None:
    assert WorkAhead().ahead_us(10) == 0


def test_the_first_request_says_what_a_row_takes_and_later_ones_move_it() -> None:
    work = WorkAhead()
    work.ran(3000, 3)
    assert work.ahead_us(10) == 10_000
    for _ in range(100):
        work.ran(2000, 1)
    assert 19_900 < work.ahead_us(10) <= 20_000
