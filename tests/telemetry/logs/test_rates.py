"""How often one event is told, and that nothing left out goes untold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.logs.rates import MAX_EVENTS, TELL_AFTER_S, EventRates


def test_a_burst_is_told_and_then_a_few_a_second_with_the_number_of_the_others() -> None:
    rates = EventRates(burst=3, per_s=1.0)
    assert [rates.admit("a", 0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert rates.admit("b", 0.0) == 0
    assert rates.admit("a", 1.0) == 2
    assert rates.admit("a", 1.0) is None
    assert rates.suppressed == 3


def test_what_was_left_out_of_an_event_that_has_ceased_is_told_once() -> None:
    rates = EventRates(burst=1, per_s=1.0)
    for _ in range(4):
        rates.admit("a", 0.0)
    assert rates.due(TELL_AFTER_S - 0.1) == []
    assert rates.due(TELL_AFTER_S) == [("a", 3)]
    assert rates.due(TELL_AFTER_S * 9) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=200))
def test_every_line_is_written_or_told_of_as_left_out(lines: list[tuple[str, float]]) -> None:
    rates, now_s, written, told = EventRates(burst=2, per_s=0.5), 0.0, 0, 0
    for event, pause_s in lines:
        now_s += pause_s
        told += sum(count for _, count in rates.due(now_s))
        unsaid = rates.admit(event, now_s)
        written += unsaid is not None
        told += unsaid or 0
    told += sum(count for _, count in rates.due(now_s + TELL_AFTER_S + 1.0))
    assert (written + told, told) == (len(lines), rates.suppressed)


def test_events_are_bounded_and_the_one_told_longest_ago_is_forgotten() -> None:
    rates = EventRates(burst=1, per_s=0.0)
    for number in range(MAX_EVENTS + 1):
        assert rates.admit(str(number), 0.0) == 0
    assert rates.admit("1", 0.0) is None
    assert rates.admit("0", 0.0) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    rates = EventRates(burst=1, per_s=1.0)
    assert rates.admit("a", 10.0) == 0
    assert rates.admit("a", 5.0) is None
