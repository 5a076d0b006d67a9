"""What is judged over random histories is what fractions of the raw events say, to less than one slot.

A history has restarts, gaps, events that are late or come from the future, and clocks set forward and back. For
every window, what was counted lies between the raw events that are surely in it and those of one slot more at each end;
so do the burn rate, what is left of the budget, and whether an alert fires. In ``make soak`` there are 10,000
(PENSTOCK_HISTORIES).
"""

from __future__ import annotations

import os
from fractions import Fraction
from random import Random

import pytest
from msgspec import Struct

from telemetry.slo.alerts import alerts_of
from telemetry.slo.evaluate import evaluate
from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Slots
from tests.telemetry.slo.objectives import WORKBOOK, objective

HISTORIES = int(os.environ.get("PENSTOCK_HISTORIES", "200"))
PARTS = 8
START_S = 1_800_000_000
HOUR_S, DAY_S = 3600, 86_400
WANTED = objective(0.99, alerts=WORKBOOK[:3])
WINDOWS_S = (300, 1800, 3600, 7200, 21_600, 86_400)
GAPS_S = (0.4, 3.0, 10.0, 61.0, 600.0, 1800.0, 2 * HOUR_S + 5.0, 9 * HOUR_S)
LATE_BY_S = (0.0, 0.0, 0.0, 1.0, 12.0, 200.0, 3.0 * HOUR_S, -0.5, -400.0)
SET_BY_S = (-3000.0, -40.0, 40.0, 3000.0)


class Raw(Struct, frozen=True):
    """Events and the moment in which they are counted."""

    at_s: float
    events: EventCount


class History:
    """A random history, told to slots and kept raw beside them.

    Attributes:
        ahead_s: how far into the future, as the clock is now, something was counted when it was set otherwise.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_s = START_S + self.random.uniform(0, 2 * DAY_S)
        self.latest_s = self.now_s
        self.slots = Slots()
        self.raw: list[Raw] = []

    @property
    def ahead_s(self) -> float:
        return max(0.0, self.latest_s - self.now_s)

    def live(self) -> None:
        """Let time pass, set the clock now and then, restart now and then, and count what happened."""
        chance = self.random.random()
        if chance < 0.07:
            self.now_s += self.random.choice(SET_BY_S)
        elif chance < 0.15:
            self.restart()
        self.now_s += self.random.choice(GAPS_S)
        at_s = self.now_s - self.random.choice(LATE_BY_S)
        events = EventCount(self.random.randrange(200), self.random.randrange(1 + 20 * (self.random.random() < 0.5)))
        self.slots.add(at_s, events, self.now_s)
        self.raw.append(Raw(min(at_s, self.now_s), events))
        self.latest_s = max(self.latest_s, self.now_s)

    def restart(self) -> None:
        """Begin anew with what was kept of the slots, of which those to come are left out, as a start does."""
        kept = Slots()
        for level in LEVELS:
            for start_s, events in self.slots.slots(level, 0.0):
                kept.put_back(level, start_s, events)
        self.slots = Slots()
        self.slots.absorb(kept)

    def between(self, start_s: float, end_s: float) -> EventCount:
        """Sum the raw events of ``[start_s, end_s)``."""
        return sum((raw.events for raw in self.raw if start_s <= raw.at_s < end_s), NO_EVENTS)

    def slot_s(self, window_s: float) -> int:
        """The length of slots that reach over the window, from as far ahead as anything was counted."""
        return next(level.slot_s for level in LEVELS if window_s + self.ahead_s + level.slot_s <= level.reach_s)

    def bounds(self, window_s: float, now_s: float) -> tuple[EventCount, EventCount]:
        """What is surely in a window, and what may be: a slot more before it, and the rest of the slot of now."""
        slot_s = self.slot_s(window_s)
        least = self.between(now_s - window_s, now_s)
        ends_s = now_s + (slot_s if self.ahead_s else LEVELS[0].slot_s)
        return least, self.between(now_s - window_s - slot_s, ends_s)


def share_of(bad: int, total: int) -> Fraction:
    return Fraction(bad, total) if total else Fraction(0)


def burns_between(least: EventCount, most: EventCount) -> tuple[Fraction, Fraction]:
    """The slowest and fastest burn of any counts that lie between."""
    budget = Fraction(1, 100)
    slowest = share_of(least.bad, least.bad + most.good) / budget
    return slowest, share_of(most.bad, most.bad + least.good) / budget


def assert_judged(history: History) -> None:
    now_s = float(-(-history.now_s // 10) * 10)  # at the end of a slot, as alerts are
    found = evaluate(WANTED, history.slots, now_s)
    bounds = {window_s: history.bounds(window_s, now_s) for window_s in (*WINDOWS_S, WANTED.period_s)}
    for burn in found.burn:
        least, most = bounds[burn.window_s]
        assert least.good <= burn.events.good <= most.good, burn
        assert least.bad <= burn.events.bad <= most.bad, burn
        slowest, fastest = burns_between(least, most)
        assert float(slowest) <= burn.burn_rate <= float(fastest)
    for alert, verdict in zip(alerts_of(WANTED), found.verdicts, strict=True):
        factor = Fraction(str(alert.factor))
        pairs = [burns_between(*bounds[length_s]) for length_s in (alert.long_s, alert.short_s)]
        if all(slowest > factor for slowest, _ in pairs):
            assert verdict.fires
        if any(fastest <= factor for _, fastest in pairs):
            assert not verdict.fires
    least, most = bounds[WANTED.period_s]
    assert least.bad <= found.period.bad <= most.bad
    assert least.total <= found.period.total <= most.total


@pytest.mark.parametrize("part", range(PARTS))
def test_a_random_history_is_judged_as_fractions_of_the_raw_events_say(part: int) -> None:
    for seed in range(part, HISTORIES, PARTS):
        history = History(seed)
        for _ in range(history.random.randrange(1, 40)):
            history.live()
        assert_judged(history)


def test_a_judge_that_is_a_slot_off_would_be_found() -> None:
    """The bounds are no wider than a slot: two more and less are outside of them in some histories."""
    wrong = 0
    for seed in range(60):
        history = History(seed)
        for _ in range(30):
            history.live()
        now_s = float(-(-history.now_s // 10) * 10)
        for window_s in WINDOWS_S:
            least, most = history.bounds(window_s, now_s)
            off = history.slots.count(window_s, now_s - 2 * history.slot_s(window_s))
            wrong += not (least.good <= off.good <= most.good and least.bad <= off.bad <= most.bad)
    assert wrong > 10
