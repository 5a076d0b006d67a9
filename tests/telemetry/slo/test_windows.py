"""Counts in slots are those of the raw events to less than one slot, whatever gaps, delays and restarts there were.

Precisely: a window ``[now - window, now)`` is counted as all slots that overlap it, of the finest level that reaches as
far; its last slot only up to the end of the finest slot that overlaps it. The count equals the raw events of these; so
it is exact where the window starts with a slot, and otherwise has, besides all of the window, the events of the part of
one slot before it.
"""

from __future__ import annotations

from random import Random

import pytest
from msgspec import Struct

from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Level, Slots

START_S = 1_800_000_000
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
ONE = EventCount(good=1)
WINDOWS_S = (40, 70, 300, 30 * MINUTE_S, HOUR_S, 2 * HOUR_S, 6 * HOUR_S, DAY_S, 3 * DAY_S, 7 * DAY_S, 30 * DAY_S)
GAPS_S = (0.0, 0.4, 3.0, 10.0, 61.0, 900.0, 2 * HOUR_S + 5.0, 9 * HOUR_S, 4.3 * DAY_S, 33.0 * DAY_S)
LATE_BY_S = (0.0, 0.0, 0.0, 1.0, 12.0, 200.0, 3.0 * HOUR_S, 5.0 * DAY_S, 91.0 * DAY_S, -0.5, -400.0)


class Raw(Struct, frozen=True):
    """One raw event count and its time."""

    at_s: float
    events: EventCount


class History:
    """A random history, told to slots and kept raw beside them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_s = START_S + self.random.uniform(0, 2 * DAY_S)
        self.slots = Slots()
        self.raw: list[Raw] = []

    def live(self) -> None:
        """Let time pass, and count an event that may be late or, by its clock, early."""
        # Many short gaps and few long ones, as events are; a quarter of the moments are whole slots.
        self.now_s += GAPS_S[min(self.random.randrange(len(GAPS_S)), self.random.randrange(len(GAPS_S)))]
        if self.random.random() < 0.25:
            self.now_s = float(-(-self.now_s // HOUR_S) * HOUR_S)
        at_s = self.now_s - self.random.choice(LATE_BY_S)
        events = EventCount(*(self.random.randrange(4) for _ in range(3)))
        self.slots.add(at_s, events, self.now_s)
        self.raw.append(Raw(min(at_s, self.now_s), events))

    def restart(self) -> None:
        """Begin anew with what was kept of the slots, as a process does, before or after it counts again."""
        kept = Slots()
        for level in LEVELS:
            for start_s, events in self.slots.slots(level, 0.0):
                kept.put_back(level, start_s, events)
        self.slots = Slots()
        for _ in range(self.random.randrange(3)):
            self.live()
        self.slots.absorb(kept)

    def brute(self, start_s: float, end_s: float) -> EventCount:
        """Sum the raw events of ``[start_s, end_s)``."""
        return sum((raw.events for raw in self.raw if start_s <= raw.at_s < end_s), NO_EVENTS)


def slot_of(window_s: float) -> int:
    """The length of slots in which a window is counted."""
    return 10 if window_s <= 2 * HOUR_S else 60 if window_s <= 3 * DAY_S else 3600


def assert_counted(history: History, window_s: float) -> None:
    slot_s, now_s = slot_of(window_s), history.now_s
    first_s, end_s = (now_s - window_s) // slot_s * slot_s, -(-now_s // LEVELS[0].slot_s) * LEVELS[0].slot_s
    counted = history.slots.count(window_s, now_s)
    assert counted == history.brute(first_s, end_s)
    # No event of the window is missed, and what is there besides is of less than a slot.
    assert counted - history.brute(now_s - window_s, end_s) == history.brute(first_s, now_s - window_s)
    assert now_s - window_s - first_s < slot_s


@pytest.mark.parametrize("hundred", range(10))
def test_a_random_history_counts_as_its_raw_events_do(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        history = History(seed)
        for _ in range(history.random.randrange(1, 30)):
            history.live()
            if history.random.random() < 0.08:
                history.restart()
            for window_s in history.random.sample(WINDOWS_S, 3):
                assert_counted(history, window_s)


def test_a_window_that_starts_with_a_slot_is_exact() -> None:
    slots = Slots()
    for second in range(600):
        slots.add(START_S + second, ONE, START_S + second)
    assert slots.count(300, START_S + 600) == EventCount(good=300)
    assert slots.count(300, START_S + 609) == EventCount(good=300)  # the slot that 309 s are in, from 300 on
    assert slots.count(300, START_S + 610) == EventCount(good=290)


def test_an_event_of_this_moment_is_counted_unless_a_new_slot_begins_with_it() -> None:
    slots = Slots()
    slots.add(START_S, ONE, START_S)
    assert slots.count(60, START_S) == NO_EVENTS
    assert slots.count(60, START_S + 0.1) == ONE
    assert slots.count(60, START_S + 60) == ONE
    assert slots.count(60, START_S + 70) == NO_EVENTS


def test_a_late_event_goes_to_the_slots_of_its_own_time() -> None:
    slots = Slots()
    slots.add(START_S, ONE, START_S + 2 * HOUR_S)
    assert slots.count(HOUR_S, START_S + 2 * HOUR_S) == NO_EVENTS
    assert slots.count(2 * HOUR_S, START_S + 2 * HOUR_S) == ONE


def test_an_event_from_before_the_reach_of_all_levels_is_said_not_to_count() -> None:
    slots = Slots()
    assert not slots.add(START_S, ONE, START_S + 91 * DAY_S)
    assert slots.add(START_S + 2 * DAY_S, ONE, START_S + 91 * DAY_S)
    assert slots.count(90 * DAY_S, START_S + 91 * DAY_S) == ONE


@pytest.mark.parametrize(("late_by_slots", "counts"), [(6, True), (7, False)])
def test_the_slot_in_which_the_longest_window_starts_is_the_oldest_that_counts(
    late_by_slots: int, counts: bool
) -> None:
    slots = Slots((Level(10, 60),))
    assert slots.add(START_S + 5 - 10 * late_by_slots, ONE, START_S + 5) is counts
    assert slots.count(60, START_S + 5) == (ONE if counts else NO_EVENTS)


def test_an_event_from_the_future_counts_as_of_now() -> None:
    slots = Slots()
    slots.add(START_S + 5 * HOUR_S, ONE, START_S + 1)
    assert slots.count(10, START_S + 2) == ONE
    assert slots.count(10, START_S + 5 * HOUR_S + 2) == NO_EVENTS


def test_the_past_can_be_asked_for() -> None:
    slots = Slots()
    for hour in range(48):
        slots.add(START_S + hour * HOUR_S, ONE, START_S + hour * HOUR_S)
    assert slots.count(6 * HOUR_S, START_S + 12 * HOUR_S) == EventCount(good=6)
    assert slots.count(300, START_S + HOUR_S) == NO_EVENTS


@pytest.mark.parametrize("window_s", WINDOWS_S)
def test_the_past_knows_nothing_of_what_came_after_it(window_s: int) -> None:
    slots = Slots()
    fault_s = START_S + 16 * MINUTE_S + 1
    slots.add(START_S + 5 * MINUTE_S, ONE, START_S + 5 * MINUTE_S)
    slots.add(fault_s, EventCount(bad=20), fault_s)
    slots.add(START_S + 25 * MINUTE_S, ONE, START_S + 25 * MINUTE_S)
    for before_s in range(START_S, fault_s, 10):
        assert slots.count(window_s, before_s).bad == 0
    assert slots.count(30 * DAY_S, START_S + 6 * MINUTE_S) == ONE
    assert slots.count(window_s, fault_s + 9).bad == 20


def test_far_back_a_window_ends_where_the_slot_begins_that_no_finer_level_reaches() -> None:
    slots = Slots()
    for at_s in (START_S, START_S + HOUR_S + 60, START_S + 10 * DAY_S):
        slots.add(at_s, ONE, at_s)
    assert slots.count(30 * DAY_S, START_S + HOUR_S + 120) == ONE
    assert slots.count(30 * DAY_S, START_S + 2 * HOUR_S) == EventCount(good=2)


@pytest.mark.parametrize("set_back_s", [3 * HOUR_S, 5 * DAY_S])
def test_after_a_clock_was_set_back_the_slot_of_now_is_counted_whole(set_back_s: int) -> None:
    slots = Slots()
    slots.add(START_S + 65, ONE, START_S + 65)
    slots.add(START_S + set_back_s, ONE, START_S + set_back_s)
    slots.add(START_S + 75, ONE, START_S + 75)
    assert slots.count(30 * DAY_S, START_S + 85).good >= 2


def test_a_clock_that_is_set_back_a_little_keeps_what_was_counted() -> None:
    slots = Slots()
    slots.add(START_S + 600, ONE, START_S + 600)
    slots.add(START_S + 300, ONE, START_S + 300)
    assert slots.count(60, START_S + 310) == ONE
    assert slots.count(600, START_S + 610) == EventCount(good=2)


def test_a_clock_that_is_set_back_leaves_a_window_no_shorter() -> None:
    slots = Slots()
    slots.add(START_S, ONE, START_S)
    slots.add(START_S + 150 * MINUTE_S, ONE, START_S + 150 * MINUTE_S)
    slots.add(START_S + 110 * MINUTE_S, ONE, START_S + 110 * MINUTE_S)
    assert slots.count(2 * HOUR_S, START_S + 111 * MINUTE_S) == EventCount(good=2)


def test_a_clock_that_was_years_ahead_does_not_stop_the_count() -> None:
    slots = Slots()
    slots.add(START_S + 3000 * DAY_S, ONE, START_S + 3000 * DAY_S)
    assert slots.add(START_S, ONE, START_S)
    assert slots.count(60, START_S + 1) == slots.count(30 * DAY_S, START_S + 1) == ONE


@pytest.mark.parametrize("ahead_s", [3 * HOUR_S, 2 * DAY_S, 10 * DAY_S])
def test_after_a_clock_was_wrong_a_coarser_level_answers_for_what_was_before(ahead_s: int) -> None:
    slots = Slots()
    for second in range(0, HOUR_S, 10):
        slots.add(START_S + second, ONE, START_S + second)
    slots.add(START_S + HOUR_S + ahead_s, ONE, START_S + HOUR_S + ahead_s)
    slots.add(START_S + HOUR_S, ONE, START_S + HOUR_S)
    assert slots.count(HOUR_S, START_S + HOUR_S + 10).good >= 360
    slots.add(START_S + HOUR_S + 70, ONE, START_S + HOUR_S + 70)
    assert slots.count(60, START_S + HOUR_S + 80) == ONE  # in the finest again, as it began before the window


def test_what_others_counted_is_added() -> None:
    for first, second in ((0, 3 * HOUR_S), (3 * HOUR_S, 0), (0, 100 * DAY_S), (100 * DAY_S, 0), (0, 0), (30, 0)):
        mine, others = Slots(), Slots()
        mine.add(START_S + first, EventCount(5, 1), START_S + first)
        others.add(START_S + second, EventCount(2, 0, 3), START_S + second)
        mine.absorb(others)
        latest_s = START_S + max(first, second)
        assert mine.last_s == latest_s
        # What lies further back than any level reaches is gone, be it one's own or another's.
        reached = [
            e
            for at_s, e in ((first, EventCount(5, 1)), (second, EventCount(2, 0, 3)))
            if at_s + 90 * DAY_S >= max(first, second)
        ]
        assert mine.count(90 * DAY_S, latest_s + 10) == sum(reached, NO_EVENTS)
        assert others.count(60, START_S + second + 10) == EventCount(2, 0, 3)


def test_a_series_takes_memory_for_what_it_has_seen() -> None:
    slots = Slots()

    def held() -> int:
        return sum(total is not None for ring in slots._rings.values() for total in ring._totals)

    assert held() == 0
    slots.add(START_S, ONE, START_S)
    assert held() == len(LEVELS)


def test_slots_are_listed_from_a_moment_on_and_empty_ones_are_not() -> None:
    slots = Slots()
    for at_s in (START_S + 5, START_S + 40, START_S + 100):
        slots.add(at_s, ONE, at_s)
    assert slots.slots(LEVELS[0], START_S + 45) == [(START_S + 40, ONE), (START_S + 100, ONE)]
    assert slots.slots(LEVELS[1], 0.0) == [(START_S, EventCount(good=2)), (START_S + 60, ONE)]


def test_what_was_never_counted_is_nothing() -> None:
    slots = Slots()
    assert slots.count(30 * DAY_S, START_S) == NO_EVENTS
    assert slots.slots(LEVELS[2], 0.0) == []


def test_a_window_longer_than_any_level_has_what_is_still_there() -> None:
    slots = Slots((Level(10, 60),))
    for second in range(0, 200, 10):
        slots.add(START_S + second, ONE, START_S + second)
    assert slots.count(1000, START_S + 200) == EventCount(good=7)
