"""What requests meant to objectives, by slot and since the start, for each version and tier that is counted apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.control.series_room import SeriesRoom
from gateway.control.slo_kept import Series, SlotRow
from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Slots

# The slots of a series take memory whether it has events or not; 200 models with 3 versions and 2 objectives fit.
MAX_SERIES = 2000
# Each outcome of a series is one in Prometheus.
_OUTCOMES = 3
_LEVEL_OF = {level.slot_s: level for level in LEVELS}


class SeriesCounts:
    """The counts of one series.

    Attributes:
        total: since the supervisor's start.
        last_s: start of the latest slot with an event, 0 without one.
        changed_s: start of the earliest slot that changed since it was last taken to be kept; None when none did.
    """

    __slots__ = ("changed_s", "last_s", "slots", "total")

    def __init__(self) -> None:
        self.slots = Slots()
        self.total = NO_EVENTS
        self.last_s = 0.0
        self.changed_s: float | None = None

    def add(self, slot_s: int, events: EventCount, now_s: float) -> bool:
        """Add what happened in a slot; whether any window can still reach it."""
        self.total += events
        if not self.slots.add(slot_s, events, now_s):
            return False
        at_s = min(slot_s, now_s)
        self.last_s = max(self.last_s, at_s)
        self.mark(at_s)
        return True

    def mark(self, slot_s: float) -> None:
        """Note that slots from this one on must be kept again."""
        self.changed_s = slot_s if self.changed_s is None else min(self.changed_s, slot_s)


class Together:
    """Several series as one: what happened to any of them."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Collection[Slots]) -> None:
        self._parts = parts

    def count(self, window_s: float, now_s: float) -> EventCount:
        """Return what happened in the window that ends now."""
        return sum((part.count(window_s, now_s) for part in self._parts), NO_EVENTS)


class SloCounts:
    """All series; at the bound a new one is refused."""

    def __init__(self, room: SeriesRoom, most: int = MAX_SERIES) -> None:
        self.by_series: dict[Series, SeriesCounts] = {}
        self._by_objective: dict[tuple[str, str], dict[Series, SeriesCounts]] = {}
        self._room = room
        self._most = most

    def open(self, series: Series) -> SeriesCounts | None:
        """Return the counts of a series, made at 0 where there are none; None when there is no room for another."""
        known = self.by_series.get(series)
        if known is not None:
            return known
        if len(self.by_series) >= self._most or not self._room.take(_OUTCOMES):
            return None
        opened = self.by_series[series] = SeriesCounts()
        self._by_objective.setdefault(series[:2], {})[series] = opened
        return opened

    def of(self, slo: str, model: str, version: str | None = None) -> Together:
        """Return what an objective of a model counts, of all its versions or of one."""
        of_model = self._by_objective.get((slo, model), {})
        return Together([counts.slots for series, counts in of_model.items() if version in (None, series.version)])

    def versions(self, slo: str, model: str) -> list[str]:
        """Return the versions that an objective of a model tells apart, by name."""
        return sorted({series.version for series in self._by_objective.get((slo, model), {})} - {""})

    def forget(self, gone: Collection[Series]) -> None:
        """Forget series; what a file has of them grows old there."""
        for series in gone:
            del self.by_series[series]
            del self._by_objective[series[:2]][series]
            self._room.give(_OUTCOMES)

    def restore(self, row: SlotRow) -> None:
        """Take a slot that was kept; those of a level come in the order of their time."""
        level = _LEVEL_OF.get(row.level_s)
        counts = self.open(row.series)
        if level is not None and counts is not None:
            # As of its own time: a slot costs one addition for each that is open after it.
            counts.slots.put(level, row.start_s, EventCount(row.good, row.bad, row.ignored), row.start_s)
            counts.last_s = max(counts.last_s, row.start_s)

    def take_changed(self) -> tuple[SlotRow, ...]:
        """Return every slot that changed since the last time."""
        changed = [(series, counts) for series, counts in self.by_series.items() if counts.changed_s is not None]
        rows = tuple(row for series, counts in changed for row in _changed_slots(series, counts))
        for _, counts in changed:
            counts.changed_s = None
        return rows

    def mark(self, rows: Collection[SlotRow]) -> None:
        """Note that these slots were not kept after all."""
        for row in rows:
            counts = self.by_series.get(row.series)
            if counts is not None:
                counts.mark(row.start_s)


def _changed_slots(series: Series, counts: SeriesCounts) -> Iterator[SlotRow]:
    assert counts.changed_s is not None  # noqa: S101 - asked for changed ones alone
    for level in LEVELS:
        for start_s, events in counts.slots.slots(level, counts.changed_s):
            yield SlotRow(level.slot_s, start_s, series, events.good, events.bad, events.ignored)
