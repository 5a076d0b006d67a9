"""An objective's whole is always counted; what is told apart is bounded."""

from __future__ import annotations

from random import Random

import pytest

from gateway.control.slo_counts import MAX_UNKNOWN, Fate, SloCounts
from gateway.control.slo_kept import Series, SlotRow
from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Slots
from tests.gateway.control.objectives import START_S

WHOLE = Series("slo", "model", "", "")
A, B, C = (Series("slo", "model", version, "") for version in "abc")


def kept(good: int) -> Slots:
    slots = Slots()
    slots.add(START_S, EventCount(good), START_S)
    return slots


def in_whole(counts: SloCounts) -> EventCount:
    return counts.of("slo", "model").count(60.0, START_S + 10)


def test_what_finds_no_room_apart_is_in_the_whole_and_shown_there() -> None:
    counts = SloCounts(most_apart=2)
    fates = [counts.add(series, int(START_S), EventCount(1, 2), START_S) for series in (A, B, C)]
    assert fates == [Fate.COUNTED, Fate.COUNTED, Fate.NOT_APART]
    assert in_whole(counts) == EventCount(3, 6)
    assert dict(counts.totals()) == {A: EventCount(1, 2), B: EventCount(1, 2), WHOLE: EventCount(1, 2)}
    counts.forget([A])
    assert counts.versions("slo", "model") == ["b"]
    assert counts.add(C, int(START_S), EventCount(1), START_S) is Fate.COUNTED
    assert in_whole(counts) == EventCount(4, 6)


def test_what_is_not_told_apart_at_all_is_one_series() -> None:
    counts = SloCounts()
    counts.open(WHOLE)
    assert dict(counts.totals()) == {WHOLE: NO_EVENTS}
    assert counts.add(WHOLE, int(START_S), EventCount(7), START_S) is Fate.COUNTED
    assert dict(counts.totals()) == {WHOLE: EventCount(7)}


def test_what_was_kept_is_added_and_is_no_event_since_the_start() -> None:
    counts = SloCounts()
    counts.add(A, int(START_S), EventCount(1), START_S)
    assert counts.restore({WHOLE: kept(10), A: kept(6), B: kept(4)}, {WHOLE[:2]}) == 0
    assert in_whole(counts) == EventCount(11)
    assert counts.of_version("slo", "model", "a").count(60.0, START_S + 10) == EventCount(7)
    assert dict(counts.totals()) == {A: EventCount(1), B: NO_EVENTS}


def test_what_was_kept_and_finds_no_room_is_said_and_the_policy_s_objectives_find_it_first() -> None:
    others = {Series(f"a{number:04}", "model", "", ""): kept(1) for number in range(MAX_UNKNOWN + 3)}
    counts = SloCounts(most_apart=1)
    assert counts.restore({**others, WHOLE: kept(9), A: kept(5), B: kept(4)}, {WHOLE[:2]}) == 4
    assert in_whole(counts) == EventCount(9)
    assert counts.versions("slo", "model") == ["a"]


def test_slots_that_are_emptied_leave_the_totals() -> None:
    counts = SloCounts()
    counts.add(A, int(START_S), EventCount(3), START_S)
    counts.empty_slots()
    counts.add(A, int(START_S), EventCount(1), START_S)
    assert in_whole(counts) == EventCount(1)
    assert dict(counts.totals()) == {A: EventCount(4)}


def test_the_tiers_of_a_version_are_one_for_whoever_asks_for_the_version() -> None:
    counts = SloCounts()
    for tier, good in (("gold", 2), ("free", 3)):
        counts.add(A._replace(tier=tier), int(START_S), EventCount(good), START_S)
    version = counts.of_version("slo", "model", "a")
    for counted in (version, version.merged()):
        assert counted.count(60.0, START_S + 10) == EventCount(5)


LATE_BY_S = (0.0, 0.0, 0.0, 14.0, 3600.0, 3 * 3600.0, 4 * 86_400.0, 100 * 86_400.0)


@pytest.mark.parametrize("seed", range(200))
def test_what_was_taken_to_be_kept_is_what_there_is_however_late_events_came_and_saving_failed(seed: int) -> None:
    random, counts, now_s = Random(seed), SloCounts(), START_S
    kept: dict[tuple[Series, int, int], SlotRow] = {}
    for _ in range(random.randrange(1, 60)):
        now_s += random.choice((0.0, 3.0, 10.0, 700.0, 9000.0, 4 * 86_400.0))
        at_s = int((now_s - random.choice(LATE_BY_S)) // 10 * 10)
        counts.add(random.choice((WHOLE, A, B)), at_s, EventCount(random.randrange(3), random.randrange(2)), now_s)
        if random.random() < 0.4:
            rows = counts.take_changed()
            if random.random() < 0.2:
                counts.mark(rows)
            else:
                kept |= {(row.series, row.level_s, row.start_s): row for row in rows}
    kept |= {(row.series, row.level_s, row.start_s): row for row in counts.take_changed()}
    assert counts.take_changed() == ()
    slots = counts.of("slo", "model")
    for level in LEVELS:
        for start_s, events in slots.slots(level, 0.0):
            row = kept[WHOLE, level.slot_s, start_s]
            assert EventCount(row.good, row.bad, row.ignored) == events


def test_a_label_that_comes_days_late_has_its_own_slots_kept_again_and_no_others() -> None:
    counts, day_s = SloCounts(), 86_400
    for hour in range(72):
        counts.add(WHOLE, int(START_S) + hour * 3600, EventCount(5), START_S + hour * 3600)
    counts.take_changed()
    counts.add(WHOLE, int(START_S), EventCount(bad=1), START_S + 2 * day_s)
    taken = {(row.level_s, row.good, row.bad) for row in counts.take_changed()}
    assert taken == {(60, 5, 1), (3600, 5, 1)}
