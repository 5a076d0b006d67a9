"""Counts what was lost, by what it was and why; nothing is lost silently."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

from telemetry.conventions import TELEMETRY_DROPPED
from telemetry.records import Frame, Source
from telemetry.sidecar.samples import Sample

SOURCES = 256
WHYS = 32
OTHER = "other"


class Drops:
    """Losses here, and those that recorders tell of."""

    def __init__(self) -> None:
        self._lost: Counter[tuple[str, str]] = Counter()
        self._told: OrderedDict[Source, dict[str, int]] = OrderedDict()

    def add(self, what: str, why: str, count: int = 1) -> None:
        """Count what was lost here."""
        self._lost[what, why] += count

    def heed(self, frame: Frame) -> None:
        """Count what a recorder lost since it last told; a number that went back is of a process that started anew."""
        told = self._told.pop(frame.source, {})
        for why, count in frame.dropped.items():
            before = told.get(why, 0)
            self._lost["records", self._bounded(why)] += count - before if count >= before else count
        self._told[frame.source] = dict(frame.dropped)
        if len(self._told) > SOURCES:
            self._told.popitem(last=False)

    def of(self, what: str) -> dict[str, int]:
        """Return how many of one kind were lost here, by why."""
        return {why: count for (lost, why), count in self._lost.items() if lost == what}

    @property
    def all(self) -> dict[tuple[str, str], int]:
        """How much was lost, by what it was and why."""
        return dict(self._lost)

    def samples(self) -> Iterator[Sample]:
        """Yield how much was lost, by what it was and why."""
        for (what, why), count in self._lost.items():
            yield Sample(TELEMETRY_DROPPED, (what, why), float(count))

    def _bounded(self, why: str) -> str:
        return why if ("records", why) in self._lost or len(self._lost) < WHYS else OTHER
