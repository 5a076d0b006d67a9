"""Slots: event counts of one series by time, in rings of slots from fine to coarse, so that any window is one look.

Each ring holds running totals rather than counts: slot ``i`` has all events up to its end, and a window is the
difference of two slots whatever its length. An event adds to its slot and to all later ones, which for events on time
is one slot; a late one costs one addition per slot that it is late. Time comes as an argument, in seconds since the
epoch, for counts outlive the process.
"""

from __future__ import annotations

from array import array
from math import inf
from operator import add
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


# Fine for windows that must be answered at once, coarse for the budget: 58 KiB for each outcome that a series has seen,
# and nothing before its first event.
LEVELS: Final = (Level(10, 2 * 3600), Level(60, 3 * 86_400), Level(3600, 90 * 86_400))


class Slots:
    """Event counts of one series, such as one version's for one objective.

    A clock that is set back a little leaves slots in the future; they wait until it is their time. One that is set back
    further than a level reaches leaves nothing there that is over, so that level begins anew; until a window begins
    after that, a coarser level that reached further answers it.

    Args:
        levels: from the finest to the coarsest.

    Attributes:
        last_s: when the latest events were, 0 without any.
    """

    def __init__(self, levels: tuple[Level, ...] = LEVELS) -> None:
        self._rings = {level: _Ring(level) for level in levels}
        self._finest_first = tuple(self._rings.values())
        self.last_s = 0.0

    def add(self, at_s: float, events: EventCount, now_s: float) -> bool:
        """Count events in the slots of their own time, at every level that reaches back to it.

        Events from the future, as clocks may make them, count as of now. Returns whether any level counted them: those
        from before the reach of all are not counted.
        """
        at_s = min(at_s, now_s)
        counted = [ring.add(at_s, events, now_s) for ring in self._rings.values()]
        if any(counted):
            self.last_s = max(self.last_s, at_s)
        return any(counted)

    def count(self, window_s: float, now_s: float) -> EventCount:
        """Return the events of all slots that overlap the window ``[now_s - window_s, now_s)``.

        They are those of the finest level that knows the window from its start. So nothing in the window is missed;
        where it does not start with a slot of that level, events from less than one slot before it are counted too.
        ``now_s`` may lie in the past, and what came after it is not counted, but for the rest of a slot of the finest
        level: where the window ends within a coarser slot, finer levels count that slot up to there. Once they reach
        that slot no more, the window ends where it begins.
        """
        start_s = now_s - window_s
        *finer, coarsest = range(len(self._finest_first))
        level = next((level for level in finer if self._answers(level, start_s, now_s)), coarsest)
        return self._counted(level, start_s, now_s)

    def _counted(self, level: int, start_s: float, end_s: float) -> EventCount:
        """Return the events of ``[start_s, end_s)`` in slots of this level, and of finer ones in its last slot."""
        ring = self._finest_first[level]
        last_s = end_s // ring.slot_s * ring.slot_s
        if level == 0 or last_s == end_s:
            return ring.between(start_s, end_s)
        if not self._finest_first[level - 1].reaches(last_s, end_s):
            return ring.between(start_s, last_s)
        if not self._answers(level - 1, last_s, end_s):
            return ring.between(start_s, end_s)  # the clock was set back: too much is better than too little
        return ring.between(start_s, last_s) + self._counted(level - 1, max(start_s, last_s), end_s)

    def _answers(self, level: int, start_s: float, end_s: float) -> bool:
        """Whether a level knows what happened from a moment on, or no less of it than any other."""
        ring = self._finest_first[level]
        return ring.reaches(start_s, end_s) and (start_s >= ring.known_from_s or self._knows_best(ring))

    def _knows_best(self, ring: _Ring) -> bool:
        return ring.known_from_s - min(other.known_from_s for other in self._finest_first) <= ring.slot_s

    def slots(self, level: Level, since_s: float) -> list[tuple[int, EventCount]]:
        """Return start and events of each slot of a level that is not empty, from the one of ``since_s`` on."""
        return self._rings[level].slots(since_s)

    def at(self, level: Level, start_s: int) -> EventCount:
        """Return the events of one slot of a level, of which ``slots`` tells more; none of one that is held no more."""
        return self._rings[level].between(start_s, start_s + level.slot_s)

    def put_back(self, level: Level, start_s: int, events: EventCount) -> None:
        """Add what one slot of a level held, as ``slots`` returned it; cheapest in the order of time."""
        if self._rings[level].add_latest(start_s, events):
            self.last_s = max(self.last_s, start_s)

    def absorb(self, other: Slots) -> None:
        """Add all that others of the same levels counted."""
        for level, ring in self._rings.items():
            ring.absorb(other._rings[level])
        self.last_s = max(self.last_s, other.last_s)


class _Ring:
    """Running totals at the ends of the latest slots of one level; slots have numbers, from the epoch on.

    Attributes:
        slot_s: length of its slots.
        known_from_s: what was before is not known here, for the clock was set back.
    """

    __slots__ = ("_newest", "_reach_s", "_size", "_totals", "known_from_s", "slot_s")

    def __init__(self, level: Level) -> None:
        self.slot_s = level.slot_s
        self._reach_s = level.reach_s
        # A window that starts within a slot overlaps one more, and the oldest needs the total before it.
        self._size = level.reach_s // level.slot_s + 2
        self._newest: int | None = None
        # One for each outcome, from its first event on: most series never see them all.
        self._totals: list[array[int] | None] = [None, None, None]
        self.known_from_s = -inf

    def add(self, at_s: float, events: EventCount, now_s: float) -> bool:
        newest = self._advance(int(now_s // self.slot_s))
        slot = int(at_s // self.slot_s)
        if slot <= newest - self._size + 1:
            return False
        for outcome, count in enumerate((events.good, events.bad, events.ignored)):
            if count:
                total = self._opened(outcome)
                for later in range(slot, newest + 1):
                    total[later % self._size] += count
        return True

    def add_latest(self, start_s: int, events: EventCount) -> bool:
        """Add to a slot as of its own time, or of the newest slot's if that is later."""
        newest_s = start_s if self._newest is None else max(start_s, self._newest * self.slot_s)
        return self.add(start_s, events, newest_s)

    def absorb(self, other: _Ring) -> None:
        self.known_from_s = max(self.known_from_s, other.known_from_s)
        if other._newest is None:
            return
        if self._newest is None:
            self._newest = other._newest
            self._totals = [None if total is None else total[:] for total in other._totals]
            return
        newest = self._advance(max(self._newest, other._newest))
        turn = (newest + 1) % self._size
        for outcome, theirs in enumerate(other._totals):
            if theirs is not None:
                mine = _turned(self._opened(outcome), turn)
                both = array("q", map(add, mine, other._oldest_first(theirs, newest)))
                self._totals[outcome] = _turned(both, self._size - turn)

    def _oldest_first(self, total: array[int], newest: int) -> array[int]:
        """Return the totals of as many slots as it holds, of which the last is this one; after its own nothing adds."""
        assert self._newest is not None  # noqa: S101 - asked for where there is one
        later = min(newest - self._newest, self._size)
        held = _turned(total, (self._newest + 1) % self._size)
        return held[later:] + array("q", [held[-1]]) * later

    def reaches(self, start_s: float, now_s: float) -> bool:
        latest_s = now_s if self._newest is None else max(now_s, self._newest * self.slot_s)
        return latest_s - start_s <= self._reach_s

    def between(self, start_s: float, end_s: float) -> EventCount:
        """Return the events of all slots that overlap ``[start_s, end_s)``."""
        if self._newest is None:
            return NO_EVENTS
        before = self._held(int(start_s // self.slot_s) - 1)
        last = self._held(int(-(-end_s // self.slot_s)) - 1)
        if last <= before:
            return NO_EVENTS
        last, before = last % self._size, before % self._size
        return EventCount(*[0 if total is None else total[last] - total[before] for total in self._totals])

    def slots(self, since_s: float) -> list[tuple[int, EventCount]]:
        if self._newest is None:
            return []
        first = max(int(since_s // self.slot_s), self._newest - self._size + 2)
        starts_s = range(first * self.slot_s, (self._newest + 1) * self.slot_s, self.slot_s)
        totals = [total for total in self._totals if total is not None]
        ends = [tuple(total[n % self._size] for total in totals) for n in range(first - 1, self._newest + 1)]
        return [
            (start_s, self.between(start_s, start_s + self.slot_s))
            for start_s, before, end in zip(starts_s, ends, ends[1:], strict=False)
            if before != end
        ]

    def _held(self, slot: int) -> int:
        """Return the slot at whose end the total is the same as at this one's, among those that are held."""
        assert self._newest is not None  # noqa: S101 - asked for where there is one
        return min(max(slot, self._newest - self._size + 1), self._newest)

    def _opened(self, outcome: int) -> array[int]:
        total = self._totals[outcome]
        if total is None:
            total = self._totals[outcome] = array("q", bytes(8 * self._size))
        return total

    def _advance(self, now: int) -> int:
        """Open the slots up to the one of now, and return the newest."""
        if self._newest is not None and now <= self._newest - self._size + 1:
            # Of the slot that is now, what was before the clock was set is not known either.
            self.known_from_s = (now + 1) * self.slot_s
            self._newest = None
        if self._newest is None or now >= self._newest + self._size:
            self._totals = [None, None, None]
            self._newest = now
        for opened in range(self._newest + 1, now + 1):
            for total in self._totals:
                if total is not None:
                    total[opened % self._size] = total[(opened - 1) % self._size]
        self._newest = max(self._newest, now)
        return self._newest


def _turned(ring: array[int], first: int) -> array[int]:
    return ring[first:] + ring[:first]
