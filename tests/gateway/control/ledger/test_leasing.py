"""What one claim changes of one account."""

from __future__ import annotations

from gateway.control.ledger.leasing import (
    Movement,
    granted_total,
    is_of_a_wrong_clock,
    movement,
    refunded,
    steady_now_s,
)
from gateway.control.ledger.protocol import CLOCK_SET_BACK_S, REFUND_WITHIN_S, Claim
from gateway.decide.quota_windows import Window

NOW = 100_000.0
WINDOW = Window(NOW - 3000.0, NOW + 600.0, 300.0)


def claim(cap: int | None, used: int = 0, held: int = 0, want: int = 0) -> Claim:
    return Claim("tenant/a/quota/q", "calendar-hour", "UTC", cap, used, held, want)


def test_two_readings_say_what_was_spent_or_came_back() -> None:
    assert movement(10, 25) == Movement(15, 0)
    assert movement(25, 10) == Movement(0, 15)


def test_room_is_what_others_leave() -> None:
    assert granted_total(claim(100, used=7, held=7, want=50), window_used=40, outstanding_others=30) == 7 + 30
    assert granted_total(claim(100, used=7, held=20, want=50), window_used=90, outstanding_others=30) == 20
    assert granted_total(claim(None, used=7, held=7, want=50), window_used=90, outstanding_others=30) == 57


def test_a_holder_that_used_more_than_it_held_gets_nothing_more_without_room() -> None:
    assert granted_total(claim(100, used=25, held=20, want=50), window_used=110, outstanding_others=0) == 25


def test_what_comes_back_is_taken_from_the_oldest_slot_that_may_have_had_it() -> None:
    """The newest would leave the window after what it still shows."""
    slots = {NOW - REFUND_WITHIN_S - 1: 50, NOW - 200.0: 4, NOW + 100.0: 30}
    assert refunded(slots, 10, WINDOW, NOW) == {NOW - 200.0: 4, NOW + 100.0: 6}
    assert refunded(slots, 100, WINDOW, NOW) == {NOW - 200.0: 4, NOW + 100.0: 30}


def test_nothing_comes_back_out_of_a_window_that_has_ended() -> None:
    begun = Window(NOW - 10.0, NOW + 3590.0, 300.0)
    assert refunded({NOW - 100.0: 50, NOW - 10.0: 50, NOW + 290.0: 3}, 10, begun, NOW) == {NOW + 290.0: 3}


def test_time_stands_still_while_the_clock_is_a_little_behind() -> None:
    assert steady_now_s(NOW, NOW + 1) == NOW + 1
    assert steady_now_s(NOW, NOW - CLOCK_SET_BACK_S) == NOW
    assert steady_now_s(NOW, NOW - CLOCK_SET_BACK_S - 1) == NOW - CLOCK_SET_BACK_S - 1


def test_only_a_clock_that_was_ahead_writes_slots_that_end_much_later() -> None:
    assert not is_of_a_wrong_clock(NOW + 86_400.0 + CLOCK_SET_BACK_S, NOW)
    assert is_of_a_wrong_clock(NOW + 86_401.0 + CLOCK_SET_BACK_S, NOW)
