"""Slots: event counts of one series by time, in rings of slots from fine to coarse, so that any window is one look.

Each ring holds running totals rather than counts: slot ``i`` has all events up to its end, and a window is the
difference of two slots whatever its length. An event adds to its slot and to all later ones, which for events on time
is one slot; a late one costs one addition per slot that it is late. Time comes as an argument, in seconds since the
epoch, for counts outlive the process.
"""

from __future__ import annotations

from array import array
from typing import Final

from msgspec import Struct

from telemetry.slo.events import NO_EVENTS, EventCount


class Level(Struct, frozen=True):
    """One length of slots.

    Attributes:
        slot_s: length of a slot; each starts at a multiple of it.
        reach_s: longest window that is counted in them.
    """

    slot_s: int
    reach_s: int


# Fine for windows that must be answered at once, coarse for the budget: 170 KiB for one series in all.
LEVELS: Final = (Level(10, 2 * 3600), Level(60, 3 * 86_400), Level(3600, 90 * 86_400))


class Slots:
    """Event counts of one series, such as one version's for one objective.

    Args:
        levels: from the finest to the coarsest.
    """

    def __init__(self, levels: tuple[Level, ...] = LEVELS) -> None:
        self._rings = {level: _Ring(level) for level in levels}

    def add(self, at_s: float, events: EventCount, now_s: float) -> bool:
        """Count events in the slots of their own time, at every level that reaches back to it.

        Events from the future, as clocks may make them, count as of now. Returns whether any level counted them: those
        from before the reach of all are not counted.
        """
        counted = [ring.add(min(at_s, now_s), events, now_s) for ring in self._rings.values()]
        return any(counted)

    def count(self, window_s: float, now_s: float) -> EventCount:
        """Return the events of all slots that overlap the window ``[now_s - window_s, now_s)``.

        They are those of the finest level that reaches back to the window's start. So nothing in the window is missed;
        where it does not start with a slot of that level, events from less than one slot before it are counted too.
        ``now_s`` may lie in the past; then the same holds at the window's end.
        """
        start_s = now_s - window_s
        *finer, coarsest = self._rings.values()
        ring = next((ring for ring in finer if ring.reaches(start_s, now_s)), coarsest)
        return ring.between(start_s, now_s)

    def slots(self, level: Level, since_s: float) -> list[tuple[int, EventCount]]:
        """Return start and events of each slot of a level that is not empty, from the one of ``since_s`` on."""
        return self._rings[level].slots(since_s)

    def put(self, level: Level, start_s: int, events: EventCount, now_s: float) -> None:
        """Set what one slot of a level holds, as ``slots`` returned it; out of reach or in the future it is nothing.

        Whole levels are cheapest to restore in the order of time, each slot as of its own start.
        """
        self._rings[level].put(start_s, events, now_s)


class _Ring:
    """Running totals at the ends of the latest slots of one level; slots have numbers, from the epoch on."""

    def __init__(self, level: Level) -> None:
        self._slot_s = level.slot_s
        self._reach_s = level.reach_s
        # A window that starts within a slot overlaps one more, and the oldest needs the total before it.
        self._size = level.reach_s // level.slot_s + 2
        self._newest: int | None = None
        self._totals = self._no_events()

    def add(self, at_s: float, events: EventCount, now_s: float) -> bool:
        newest = self._advance(int(now_s // self._slot_s))
        slot = int(at_s // self._slot_s)
        if slot <= newest - self._size + 1:
            return False
        for total, count in zip(self._totals, (events.good, events.bad, events.ignored), strict=True):
            if count:
                for later in range(slot, newest + 1):
                    total[later % self._size] += count
        return True

    def put(self, start_s: int, events: EventCount, now_s: float) -> None:
        self._advance(int(now_s // self._slot_s))
        slot = start_s // self._slot_s
        self.add(start_s, events - self._between(slot, slot), now_s)

    def reaches(self, start_s: float, now_s: float) -> bool:
        latest_s = now_s if self._newest is None else max(now_s, self._newest * self._slot_s)
        return latest_s - start_s <= self._reach_s

    def between(self, start_s: float, end_s: float) -> EventCount:
        """Return the events of all slots that overlap ``[start_s, end_s)``."""
        return self._between(int(start_s // self._slot_s), int(-(-end_s // self._slot_s)) - 1)

    def slots(self, since_s: float) -> list[tuple[int, EventCount]]:
        if self._newest is None:
            return []
        first = max(int(since_s // self._slot_s), self._newest - self._size + 2)
        numbers = range(first - 1, self._newest + 1)
        ends = list(zip(*([total[number % self._size] for number in numbers] for total in self._totals), strict=True))
        return [
            (number * self._slot_s, self._between(number, number))
            for number, before, end in zip(numbers[1:], ends, ends[1:], strict=False)
            if before != end
        ]

    def _between(self, first: int, last: int) -> EventCount:
        if self._newest is None:
            return NO_EVENTS
        before = max(first - 1, self._newest - self._size + 1)
        last = min(last, self._newest)
        if last <= before:
            return NO_EVENTS
        return EventCount(*(total[last % self._size] - total[before % self._size] for total in self._totals))

    def _advance(self, now: int) -> int:
        """Open the slots up to the one of now, and return the newest.

        A clock that was set back leaves slots in the future; they wait until it is their time. Where it was set back so
        far that all of them are, they were of a clock that was wrong, and counting begins anew.
        """
        if self._newest is None or now >= self._newest + self._size or now <= self._newest - self._size + 1:
            self._totals = self._no_events()
            self._newest = now
        for opened in range(self._newest + 1, now + 1):
            for total in self._totals:
                total[opened % self._size] = total[(opened - 1) % self._size]
        self._newest = max(self._newest, now)
        return self._newest

    def _no_events(self) -> tuple[array[int], array[int], array[int]]:
        none = bytes(8 * self._size)
        return array("q", none), array("q", none), array("q", none)
