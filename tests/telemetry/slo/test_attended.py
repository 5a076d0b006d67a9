"""A time in which nobody counted is told from one in which nothing happened."""

from __future__ import annotations

from telemetry.slo.attended import AWAY_AFTER_S, MAX_TIMES, Attended, Time

START_S = 1_800_000_000.0


def counting(from_s: float, to_s: float, attended: Attended) -> None:
    """Have somebody count from moment to moment, and say so every 3 s."""
    at_s = from_s
    while at_s <= to_s:
        attended.note(at_s)
        at_s += 3.0


def test_a_stop_is_a_gap_and_what_was_before_the_first_start_is_one() -> None:
    attended = Attended()
    counting(START_S, START_S + 60, attended)
    counting(START_S + 600, START_S + 660, attended)
    assert attended.has(START_S + 10, START_S + 20)
    assert not attended.has(START_S + 100, START_S + 500)
    assert attended.has(START_S + 50, START_S + 500)  # some of it
    assert not attended.has(START_S - 100, START_S)
    assert [time.to_s - time.from_s for time in attended.times] == [60.0, 60.0]


def test_whoever_is_late_by_less_than_two_slots_was_there() -> None:
    attended = Attended()
    for at_s in (START_S, START_S + AWAY_AFTER_S, START_S + 2 * AWAY_AFTER_S + 1):
        attended.note(at_s)
    assert attended.times == (Time(START_S, START_S + AWAY_AFTER_S), Time(*[START_S + 2 * AWAY_AFTER_S + 1] * 2))


def test_a_clock_that_is_set_back_begins_anew_and_forgets_nothing() -> None:
    attended = Attended()
    counting(START_S, START_S + 60, attended)
    counting(START_S - 1000, START_S - 970, attended)
    assert attended.has(START_S, START_S + 10)
    assert attended.has(START_S - 990, START_S - 980)
    assert not attended.has(START_S - 900, START_S - 100)


def test_what_was_kept_is_from_before_or_the_same() -> None:
    kept = (Time(START_S - 500, START_S - 400), Time(START_S, START_S + 10))
    attended = Attended()
    counting(START_S, START_S + 30, attended)
    attended.restore(kept)
    assert attended.times == (kept[0], Time(START_S, START_S + 30))


def test_the_oldest_are_forgotten_beyond_the_bound() -> None:
    attended = Attended()
    for start in range(MAX_TIMES + 5):
        attended.note(START_S + 1000 * start)
    assert len(attended.times) == MAX_TIMES
    assert attended.times[0].from_s == START_S + 5000
