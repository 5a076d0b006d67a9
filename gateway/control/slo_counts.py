"""What requests meant to objectives, by slot and since the start: each objective whole, and apart by version and tier.

The whole is what is judged. It needs no room of any bound, so that nothing which requests carry can hide what they
meant; what is told apart is bounded, and beyond the bound it is in the whole alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum, auto

from gateway.control.slo_kept import Series, SlotRow
from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Slots

# Versions and tiers of all objectives together. A series takes 58 KiB for each outcome that it has seen: 87 MiB if all
# have seen all three.
MAX_APART = 512
# Objectives that only the kept file knows, and that may come back.
MAX_UNKNOWN = 512

Pair = tuple[str, str]
"""An objective and a model."""


class Fate(Enum):
    """What became of events."""

    COUNTED = auto()
    NOT_APART = auto()
    TOO_LATE = auto()


class SeriesCounts:
    """The counts of one series.

    Attributes:
        total: since the supervisor's start.
        changed_s: starts of the finest slots that changed since they were last taken to be kept.
    """

    __slots__ = ("changed_s", "slots", "total")

    def __init__(self) -> None:
        self.slots = Slots()
        self.total = NO_EVENTS
        self.changed_s: set[int] = set()

    def add(self, slot_s: int, events: EventCount, now_s: float) -> bool:
        """Add what happened in a slot; whether any window can still reach it."""
        self.total += events
        if not self.slots.add(slot_s, events, now_s):
            return False
        self.mark(min(slot_s, now_s))
        return True

    def mark(self, slot_s: float) -> None:
        """Note that this slot, and the coarser ones that it is a part of, must be kept again."""
        finest_s = LEVELS[0].slot_s
        self.changed_s.add(int(slot_s // finest_s) * finest_s)


class Together:
    """Several series as one: what happened to any of them."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Collection[Slots]) -> None:
        self._parts = parts

    def count(self, window_s: float, now_s: float) -> EventCount:
        """Return what happened in the window that ends now."""
        return sum((part.count(window_s, now_s) for part in self._parts), NO_EVENTS)

    def merged(self) -> Slots:
        """Return what happened to any of them by slot, for whoever asks for many windows."""
        merged = Slots()
        for part in self._parts:
            merged.absorb(part)
        return merged


class _Counts:
    """One objective of one model.

    Attributes:
        apart: by version and tier.
        beside: since the supervisor's start, of what is not told apart.
    """

    __slots__ = ("apart", "beside", "whole")

    def __init__(self) -> None:
        self.whole = SeriesCounts()
        self.apart: dict[tuple[str, str], SeriesCounts] = {}
        self.beside = NO_EVENTS


class SloCounts:
    """All objectives.

    Args:
        most_apart: series that are told apart by version or tier.
    """

    def __init__(self, most_apart: int = MAX_APART) -> None:
        self._by_pair: dict[Pair, _Counts] = {}
        self._apart_left = most_apart

    def open(self, series: Series) -> None:
        """Show a series from now on, be its counts 0; one that is told apart only while there is room."""
        self._apart(self._whole(series[:2]), series)

    def add(self, series: Series, slot_s: int, events: EventCount, now_s: float) -> Fate:
        """Add what happened in a slot."""
        counts = self._whole(series[:2])
        apart = self._apart(counts, series)
        if apart is None:
            counts.beside += events
        else:
            apart.add(slot_s, events, now_s)
        if not counts.whole.add(slot_s, events, now_s):
            return Fate.TOO_LATE
        return Fate.NOT_APART if apart is None and any(series[2:]) else Fate.COUNTED

    def _whole(self, pair: Pair) -> _Counts:
        known = self._by_pair.get(pair)
        if known is None:
            known = self._by_pair[pair] = _Counts()
        return known

    def _apart(self, counts: _Counts, series: Series) -> SeriesCounts | None:
        known = counts.apart.get(series[2:])
        if known is None and any(series[2:]) and self._apart_left > 0:
            self._apart_left -= 1
            known = counts.apart[series[2:]] = SeriesCounts()
        return known

    def of(self, slo: str, model: str) -> Slots:
        """Return what an objective of a model counts."""
        return self._whole((slo, model)).whole.slots

    def of_version(self, slo: str, model: str, version: str) -> Together:
        """Return what an objective of a model counts of one version."""
        apart = self._whole((slo, model)).apart
        return Together([counts.slots for (own, _), counts in apart.items() if own == version])

    def versions(self, slo: str, model: str) -> list[str]:
        """Return the versions that an objective of a model tells apart, by name."""
        counts = self._by_pair.get((slo, model))
        return sorted({version for version, _ in counts.apart} - {""}) if counts is not None else []

    def totals(self) -> Iterator[tuple[Series, EventCount]]:
        """Yield what happened since the supervisor's start: each event in one series, the one that tells most of it."""
        for pair, counts in self._by_pair.items():
            for names, apart in counts.apart.items():
                yield Series(*pair, *names), apart.total
            if counts.beside or not counts.apart:
                yield Series(*pair, "", ""), counts.beside

    def last_s(self) -> Iterator[tuple[Series, float]]:
        """Yield when the latest events of each series were, 0 without any."""
        for series, counts in self._each():
            yield series, counts.slots.last_s

    def _each(self) -> Iterator[tuple[Series, SeriesCounts]]:
        for pair, counts in self._by_pair.items():
            yield Series(*pair, "", ""), counts.whole
            for names, apart in counts.apart.items():
                yield Series(*pair, *names), apart

    def forget(self, gone: Collection[Series]) -> None:
        """Forget series, and with the whole all that it tells apart; what a file has of them grows old there."""
        for series in gone:
            counts = self._by_pair.get(series[:2])
            if counts is None:
                continue
            if any(series[2:]):
                del counts.apart[series[2:]]
                self._apart_left += 1
            else:
                del self._by_pair[series[:2]]
                self._apart_left += len(counts.apart)

    def restore(self, kept: Mapping[Series, Slots], in_policy: Collection[Pair]) -> int:
        """Add what was kept, the policy's objectives first; return how many series found no room.

        What such a series of an objective in the policy had is in its whole all the same.
        """
        refused, most = 0, len(in_policy) + MAX_UNKNOWN
        for series, slots in sorted(kept.items(), key=lambda item: (item[0][:2] not in in_policy, item[0])):
            is_known = series[:2] in self._by_pair or series[:2] in in_policy
            own = self._place(series) if is_known or len(self._by_pair) < most else None
            if own is None:
                refused += 1
            else:
                own.slots.absorb(slots)
        return refused

    def _place(self, series: Series) -> SeriesCounts | None:
        counts = self._whole(series[:2])
        return self._apart(counts, series) if any(series[2:]) else counts.whole

    def empty_slots(self) -> None:
        """Go on with empty slots, for what they had is to be restored; the totals stay."""
        for _, counts in self._each():
            counts.slots = Slots()

    def take_changed(self) -> tuple[SlotRow, ...]:
        """Return every slot that changed since the last time."""
        rows: list[SlotRow] = []
        for series, counts in self._each():
            rows += _slots_at(series, counts.slots, counts.changed_s)
            counts.changed_s.clear()
        return tuple(rows)

    def mark(self, rows: Collection[SlotRow]) -> None:
        """Note that these slots were not kept after all."""
        by_series = dict(self._each())
        for row in rows:
            counts = by_series.get(row.series)
            if counts is not None:
                counts.mark(row.start_s)


def _slots_at(series: Series, slots: Slots, changed_s: Collection[int]) -> Iterator[SlotRow]:
    for level in LEVELS:
        for start_s in sorted({at_s // level.slot_s * level.slot_s for at_s in changed_s}):
            events = slots.at(level, start_s)
            if events != NO_EVENTS:
                yield SlotRow(level.slot_s, start_s, series, events.good, events.bad, events.ignored)
